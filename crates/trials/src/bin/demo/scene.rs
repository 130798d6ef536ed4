//! Everything around the agent, and the agent itself as a process.

use crate::failure::Failure;
use crate::options::Options;
use crate::screen::Screen;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::agent::program;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{EmbeddedBroker, EmbeddedOptions};
use testkit::fake_sqs::{SqsStub, StubOptions};
use testkit::fleet::FleetOptions;
use testkit::proxy::{self, CuttingProxy};

/// The queue that the agent sends to.
pub(crate) const QUEUE: &str = "site.fifo";
/// Round trip to the region, on every call of the agent: what a gateway in the field sees at best.
const ROUND_TRIP: Duration = Duration::from_millis(40);
const START: Duration = Duration::from_secs(20);

/// The running parts; the agent's folder goes with it.
pub(crate) struct Scene {
    pub(crate) agent: AgentProcess,
    pub(crate) program: PathBuf,
    pub(crate) uplink: CuttingProxy,
    pub(crate) stub: SqsStub,
    pub(crate) broker: EmbeddedBroker,
    pub(crate) fleet: FleetOptions,
}

impl Scene {
    /// Builds the agent if need be, starts everything, and comes back when the agent takes messages.
    pub(crate) async fn set_up(options: &Options, screen: &mut Screen) -> Result<Scene, Failure> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = program::find(options.agent.as_deref(), package, "demo", &mut |text| screen.say(text))
            .await
            .map_err(Failure::at("finding the agent", "see that 'cargo build --bin tidegate' works"))?;
        let loopback = "see that this machine lets programs listen on 127.0.0.1";
        let stub = SqsStub::start(StubOptions { seed: options.seed, ..StubOptions::default() })
            .map_err(Failure::at("starting the queue", loopback))?;
        stub.set_latency(ROUND_TRIP);
        let broker = EmbeddedBroker::start(EmbeddedOptions::default())
            .await
            .map_err(Failure::at("starting the broker", loopback))?;
        let (uplink, endpoint) =
            proxy::in_front_of(&stub.endpoint()).map_err(Failure::at("starting the uplink", loopback))?;
        let queue = QueueTarget { endpoint: Some(endpoint), ..QueueTarget::on_stub("main", &stub, QUEUE) };
        let fleet = FleetOptions {
            rate: Some(f64::from(options.rate)),
            seed: options.seed,
            client_id: "network-server".into(),
            ..FleetOptions::new(broker.addr(), options.devices)
        };
        journal_beside_the_program();
        let folder = "see that the disk of the target folder has space and may be written to";
        let agent = AgentProcess::prepare(&program, AgentConfig::new(broker.addr(), queue))
            .map_err(Failure::at("preparing the agent's folder", folder))?;
        let mut scene = Scene { agent, program, uplink, stub, broker, fleet };
        scene.start_agent().await?;
        let about = format!(
            "{} sensors, {} messages/s for {} s, seed {}: broker {}, queue {}, uplink of {} ms",
            options.devices,
            options.rate,
            options.seconds,
            options.seed,
            scene.broker.addr(),
            scene.stub.endpoint(),
            ROUND_TRIP.as_millis()
        );
        screen.say(&about);
        Ok(scene)
    }

    /// Starts the agent with its folder as it is, and waits until it takes messages.
    pub(crate) async fn start_agent(&mut self) -> Result<(), Failure> {
        let next = "read what the agent says above; if it is not the demo's fault, it is a bug worth reporting";
        self.agent.spawn().map_err(Failure::at("starting the agent", "see that its binary may be executed"))?;
        self.agent.wait_ready(START).await.map_err(Failure::at("starting the agent", next))?;
        let online = |status: &serde_json::Value| status["intake"]["state"] == "online";
        self.agent.wait_status("online", START, online).await.map_err(Failure::at("connecting the agent", next))?;
        Ok(())
    }

    /// Ends the agent before its folder goes, then all else.
    pub(crate) async fn clean_up(mut self) {
        // Killed and not asked: what there was to prove is proven, and Ctrl-C should not take seconds. A failure means
        // that it has ended already.
        let _ = self.agent.kill().await;
        let _ = self.broker.stop().await;
    }
}

/// Puts the agent's folder on the disk of the target folder: `/tmp` is often RAM, where syncs cost nothing and the agent
/// rightly complains. Where that cannot be, the system's choice stays.
fn journal_beside_the_program() {
    let Ok(folder) = program::profile_folder() else { return };
    // The demo itself has the plain name.
    let folder = folder.join("demo.tmp");
    if std::fs::create_dir_all(&folder).is_ok() {
        // Only the first call counts, and there is one.
        let _ = tempfile::env::override_temp_dir(&folder);
    }
}
