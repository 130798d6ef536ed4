//! One world per seed: a real broker, a queue, links that can be cut, a disk that can be filled, and the agent between
//! them as its own process. Everything in it goes when it is dropped, the agent first.

use crate::classes::Means;
use crate::links;
use crate::plan::{Lanes, Mix, Plan, Shape};
use crate::routes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use testkit::Result;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{Arrival, Fate, QueueOptions, SqsStub, StubOptions};
use testkit::fleet::{Fleet, FleetOptions, WEAK};
use testkit::ids::SmallIds;
use testkit::link::SlowLink;
use testkit::port::HeldPort;
use testkit::proxy::CuttingProxy;
use testkit::small_disk::SmallDisk;
use tokio::time::Instant;

/// The FIFO queue of every world.
pub(crate) const QUEUE: &str = "site.fifo";
/// The Standard queue of some.
pub(crate) const AUDIT: &str = "audit";
/// The second FIFO queue of others.
pub(crate) const COPIES: &str = "copies.fifo";
/// Size of the disk that can be filled: more than a run writes.
const DISK_MIB: u32 = 48;
/// A bound for what should take a moment, on a machine that is busy with other worlds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// With nothing waiting and nothing coming for so long, nothing more will come.
const IDLE: Duration = Duration::from_secs(5);
/// Small generations: a run of a thousand messages rotates and trims a few times.
const GENERATION_BYTES: u64 = 400_000;
const DEVICES: usize = 40;
pub(crate) const BARE_DEVICES: usize = 6;
/// Where the topics begin of sensors without identity: meters, lamps, and both with QoS 0.
pub(crate) const BARE: [&str; 2] = ["bare/", "zigbee2mqtt/"];
pub(crate) const BARE_QOS0: &str = WEAK;
/// The broker's window, where it has one.
const WINDOW: u32 = 100;
/// Messages per second while something goes wrong.
const RATE: f64 = 500.0;

/// What is asked of every world alike.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The agent's binary.
    pub(crate) program: PathBuf,
    pub(crate) means: Means,
    /// Whether to print each fault when it is over.
    pub(crate) steps: bool,
    /// Fault put into the agent on purpose.
    pub(crate) sabotage: Option<String>,
}

/// What is to be undone, and when.
#[derive(Debug)]
pub(crate) enum Undo {
    ThawBroker,
    ThawUplink,
    OpenUplink,
    Mend,
    FreeDisk,
    FastDisk,
    GoodLink,
    LoudLink,
}

/// A world; dropped in the order of its fields.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) agent: AgentProcess,
    pub(crate) disk: Option<SmallDisk>,
    pub(crate) clock: ClockControl,
    pub(crate) broker_link: CuttingProxy,
    pub(crate) uplink: CuttingProxy,
    /// What lies between the agent and the uplink's end, in some worlds.
    pub(crate) link: Option<SlowLink>,
    pub(crate) small_ids: Option<SmallIds>,
    pub(crate) broker: Mosquitto,
    pub(crate) shape: Shape,
    /// Which filters ask for the topics.
    filters: usize,
    pub(crate) stub: SqsStub,
    pub(crate) due: Vec<(Instant, Undo)>,
    /// How often each class was really injected.
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

impl World {
    /// Starts everything; comes back when the agent takes messages.
    pub(crate) async fn start(setting: &Setting, plan: &Plan) -> Result<World> {
        let &Plan { seed, shape, .. } = plan;
        let fifo = |name: &str| (name.into(), QueueOptions::fifo());
        let queues = vec![fifo(QUEUE), (AUDIT.into(), QueueOptions::standard()), fifo(COPIES)];
        let stub = SqsStub::start(StubOptions { queues, seed, ..StubOptions::default() })?;
        // A round trip long enough for faults to find batches in the air.
        stub.set_latency(Duration::from_millis(15));
        let broker = Mosquitto::start(&broker_options(shape.mix)).await?;
        let small_ids = if shape.small_ids { Some(SmallIds::start(broker.addr())?) } else { None };
        let broker_link = CuttingProxy::start(small_ids.as_ref().map_or(broker.addr(), SmallIds::addr))?;
        let link = if plan.has_link() { Some(SlowLink::open(links::GOOD, seed).await?) } else { None };
        let port = link.as_ref().map_or_else(HeldPort::take, SlowLink::far_port)?;
        let uplink = CuttingProxy::at(port, stub.addr())?;
        let endpoint = format!("http://{}", uplink.addr());
        let clock = ClockControl::new()?;
        let queue = |name: &str, queue: &str| QueueTarget {
            endpoint: Some(endpoint.clone()),
            // A batch that gets no answer is given up after 1 s, and what the slowest link would need for its bytes.
            extra:
                "connect_timeout = \"1 s\"\nattempt_timeout = \"1 s\"\nbatch_bytes = \"8 KiB\"\nallow_plain_http = true"
                    .into(),
            ..QueueTarget::on_stub(name, &stub, queue)
        };
        let mut config = AgentConfig::new(broker_link.addr(), queue("main", QUEUE));
        match shape.lanes {
            Lanes::One => {}
            Lanes::Both => config.queues.push(queue("audit", AUDIT)),
            Lanes::Apart => {
                config.queues.push(queue("copies", COPIES));
                config.route_to = vec!["main".into()];
            }
        }
        routes::put(&mut config, shape, 0);
        // A full disk is to be waited for: what is evicted would be lost as configured, and prove nothing.
        // In one half of the worlds a commit fails on the full disk, in the other the floor stops it before.
        let min_free = if seed.is_multiple_of(2) { "0 MiB" } else { "8 MiB" };
        config.journal_extra = format!("on_full = \"stop\"\nmin_free = \"{min_free}\"");
        config.environment.push(clock.environment());
        config.environment.push(("TIDEGATE_RIG_GENERATION".into(), GENERATION_BYTES.to_string()));
        config.environment.extend(setting.sabotage.iter().map(|name| ("TIDEGATE_SABOTAGE".into(), name.clone())));
        let agent = AgentProcess::prepare(&setting.program, config)?;
        let disk = match setting.means.disk {
            true => Some(SmallDisk::mount(&agent.journal_path(), DISK_MIB).await?),
            false => None,
        };
        let (due, tally) = (Vec::new(), BTreeMap::new());
        let filters = 0;
        let mut world = World {
            agent,
            disk,
            clock,
            broker_link,
            uplink,
            link,
            small_ids,
            broker,
            shape,
            filters,
            stub,
            due,
            tally,
        };
        world.agent.spawn()?;
        world.online().await?;
        Ok(world)
    }

    /// The sensors of this world: straight at the broker, faults of links are the agent's alone.
    pub(crate) fn fleet(&self, seed: u64) -> Fleet {
        let copies = self.shape.lanes == Lanes::Apart;
        Fleet::new(FleetOptions { rate: Some(RATE), seed, copies, ..FleetOptions::new(self.broker.addr(), DEVICES) })
    }

    /// Sensors whose messages carry no identity; their records go to the FIFO queue alone.
    pub(crate) fn bare_fleet(&self, seed: u64, qos0: bool) -> Fleet {
        let options = FleetOptions::new(self.broker.addr(), BARE_DEVICES);
        let client_id = if qos0 { "weak-sensors" } else { "bare-sensors" }.into();
        Fleet::new(FleetOptions { rate: Some(RATE / 5.0), seed, client_id, bare: true, qos0, ..options })
    }

    /// The queue beside the first, if there is one.
    pub(crate) fn second_queue(&self) -> Option<&'static str> {
        match self.shape.lanes {
            Lanes::One => None,
            Lanes::Both => Some(AUDIT),
            Lanes::Apart => Some(COPIES),
        }
    }

    /// The configuration in force, with other filters for the same topics.
    pub(crate) fn next_filters(&mut self) -> AgentConfig {
        self.filters += 1;
        let mut config = self.agent.config().clone();
        routes::put(&mut config, self.shape, self.filters);
        config
    }

    /// The filters of all routes, in their order.
    pub(crate) fn filters(&self) -> Vec<String> {
        routes::filters(self.shape, self.filters)
    }

    /// Waits until the agent's filters are granted.
    pub(crate) async fn online(&mut self) -> Result<()> {
        let granted = |s: &Value| {
            let routes = s["intake"]["routes"].as_array();
            let filters =
                routes.into_iter().flatten().flat_map(|route| route["filters"].as_array().into_iter().flatten());
            s["intake"]["state"] == "online"
                && filters.clone().count() > 0
                && filters.clone().all(|f| f["granted"] == true)
        };
        self.agent.wait_status("online", PATIENCE, granted).await.map(drop)
    }

    pub(crate) fn count(&mut self, class: &'static str, times: u64) {
        *self.tally.entry(class).or_default() += times;
    }

    /// Notes that something is to be undone after `time`.
    pub(crate) fn later(&mut self, time: Duration, undo: Undo) {
        self.due.push((Instant::now() + time, undo));
    }

    /// Undoes what is due by `now`.
    pub(crate) async fn undo(&mut self, now: Instant) -> Result<()> {
        let due = std::mem::take(&mut self.due);
        let (due, left): (Vec<_>, Vec<_>) = due.into_iter().partition(|(at, _)| *at <= now);
        self.due = left;
        for (_, undo) in due {
            match undo {
                Undo::ThawBroker => self.broker_link.black_hole(false),
                Undo::ThawUplink => self.uplink.black_hole(false),
                Undo::OpenUplink => self.uplink.open()?,
                Undo::Mend => self.mend()?,
                Undo::FreeDisk => self.disk.as_ref().map_or(Ok(()), SmallDisk::clear)?,
                Undo::FastDisk => {
                    self.clock.sync_ms = 0;
                    self.clock.set()?;
                }
                Undo::GoodLink => self.own_link()?.shape(links::GOOD).await?,
                Undo::LoudLink => self.own_link()?.tell("up").await.map(drop)?,
            }
        }
        Ok(())
    }

    /// A person mends what the queue refuses, and installs the credentials again, which the agent looks for.
    pub(crate) fn mend(&mut self) -> Result<()> {
        self.stub.faults().clear();
        let config = self.agent.config().clone();
        self.agent.rewrite(config)
    }

    /// Everything that was broken works again; the agent runs.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        self.due.iter_mut().for_each(|(at, _)| *at = Instant::now());
        self.undo(Instant::now()).await?;
        self.mend()?;
        self.uplink.drop_answers(0);
        if !self.agent.is_up() {
            self.agent.spawn()?;
        }
        Ok(())
    }

    /// Whether the record has reached every queue that records go to.
    pub(crate) fn has_arrived(&self, id: &str) -> bool {
        has_arrived(&self.stub, self.second_queue(), id)
    }

    /// Waits until the last record published has reached the queues and nothing waits any more, or nothing has moved for so
    /// long that nothing more will come; gives the last status.
    pub(crate) async fn drained(&mut self, last: &str) -> Result<Value> {
        self.online().await?;
        // Where a broker holds messages back, the last one published need not be the last to come.
        let late = self.shape.mix == Mix::Window;
        // Everything works again, and a lane that failed often need not wait out its pause of up to 30 s to learn it.
        self.agent.retry()?;
        let start = Instant::now();
        let still = std::sync::Mutex::new((String::new(), start));
        let (stub, second) = (&self.stub, self.second_queue());
        let ended = |s: &Value| {
            let lanes = s["journal"]["lanes"].as_array();
            let empty = lanes.is_some_and(|lanes| lanes.iter().all(|lane| lane["waiting"] == 0));
            let idle = s["intake"]["unacked_messages"] == 0 && empty;
            let mut still = still.lock().expect("nobody panics with it");
            let now = lanes.map(|lanes| serde_json::json!(lanes).to_string()).unwrap_or_default();
            if still.0 != now {
                *still = (now, Instant::now());
            }
            let patience = if idle { IDLE } else { PATIENCE };
            idle && !late && has_arrived(stub, second, last) || still.1.elapsed() > patience
        };
        self.agent.wait_status("drained", 3 * PATIENCE, ended).await
    }
}

/// Whether every queue of the stub has kept the record.
fn has_arrived(stub: &SqsStub, second: Option<&'static str>, id: &str) -> bool {
    let kept = |arrival: &Arrival| matches!(arrival.fate, Fate::Accepted(_)) && arrival.body.contains(id);
    [Some(QUEUE), second].into_iter().flatten().all(|queue| stub.log(queue).iter().rev().any(kept))
}

fn broker_options(mix: Mix) -> MosquittoOptions {
    let max_inflight = if mix == Mix::NoWindow { 0 } else { WINDOW };
    let extra = if mix == Mix::None { "" } else { "queue_qos0_messages true" };
    MosquittoOptions { max_inflight, extra: extra.into(), ..MosquittoOptions::default() }
}
