//! Brokers of one program, one port and no state on disk: aedes, amqtt, rumqttd. `scripts/peers.sh` puts them into `.peers/`.
//!
//! They keep sessions in memory alone, so a restart forgets them, and all that they held for a client that was away. That is
//! what they are here for: gateways run them, and none of them was made with us in mind.

use crate::port::HeldPort;
use crate::process::{self, Process};
use crate::{Error, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// Starting Node.js or Python on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Some do not end on SIGTERM while clients are connected; they are killed then.
const MANNERS: Duration = Duration::from_secs(5);
pub(super) const REMEDY: &str = "run scripts/peers.sh";

/// How one of them is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// Below `.peers/`: what must be there.
    pub(super) needs: &'static str,
    /// Whether clients must give a user name.
    pub(super) wants_a_name: bool,
    /// Files to write into its folder: name, and text for an address.
    pub(super) files: fn(SocketAddr) -> Vec<(&'static str, String)>,
    /// The command: `.peers/`, its folder, its address.
    pub(super) command: fn(&Path, &Path, SocketAddr) -> Result<Command>,
}

/// A running one; killed when dropped.
#[derive(Debug)]
pub struct ProgramBroker {
    recipe: Recipe,
    peers: PathBuf,
    // Fields go in this order: the process ends before its folder does.
    process: Option<Process>,
    folder: TempDir,
    port: HeldPort,
}

impl ProgramBroker {
    pub(super) async fn start(recipe: Recipe, repo: &Path) -> Result<ProgramBroker> {
        let peers = repo.join(".peers");
        if !peers.join(recipe.needs).exists() {
            return Err(Error::Missing { what: recipe.name.into(), remedy: REMEDY.into() });
        }
        let folder = tempfile::tempdir().map_err(Error::io(format!("making a folder for {}", recipe.name)))?;
        let port = HeldPort::take()?;
        for (name, text) in (recipe.files)(port.addr()) {
            std::fs::write(folder.path().join(name), text).map_err(Error::io(format!("writing {name}")))?;
        }
        let mut broker = ProgramBroker { recipe, peers, process: None, folder, port };
        broker.restart().await?;
        Ok(broker)
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    pub(super) async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let mut command = (self.recipe.command)(&self.peers, self.folder.path(), self.addr())?;
        command.current_dir(self.folder.path());
        let mut process = Process::start(self.recipe.name, &mut command, &self.folder.path().join("log"))?;
        process.wait_listening(self.addr(), PATIENCE).await?;
        self.process = Some(process);
        Ok(())
    }

    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        match process.terminate(MANNERS).await {
            Err(Error::Timeout { .. }) => process.kill().await,
            ended => ended.map(drop),
        }
    }

    pub(super) async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub(super) fn wants_a_name(&self) -> bool {
        self.recipe.wants_a_name
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }
}

/// aedes in memory: the broker inside Node-RED.
pub(super) const AEDES: Recipe = Recipe {
    name: "aedes",
    needs: "aedes/node_modules/aedes",
    wants_a_name: false,
    files: |_| vec![("broker.js", include_str!("aedes.js").to_owned())],
    command: |peers, folder, addr| {
        let mut command = Command::new(process::find_program("node", REMEDY)?);
        command.arg(folder.join("broker.js")).arg(addr.port().to_string());
        command.env("NODE_PATH", peers.join("aedes/node_modules"));
        Ok(command)
    },
};

/// amqtt, as its own command runs it. It keeps nothing for a client that was let in without a user name, so it is set up
/// to let in every client that gives one, and no other ([`super::AnyBroker::credentials`]).
pub(super) const AMQTT: Recipe = Recipe {
    name: "amqtt",
    needs: "amqtt/amqtt",
    wants_a_name: true,
    files: |addr| {
        let listener = format!("listeners:\n  default:\n    type: tcp\n    bind: {addr}\n");
        let anybody = "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: false\n";
        vec![("amqtt.yaml", listener + anybody)]
    },
    command: |peers, folder, _| {
        let mut command = Command::new(peers.join("ministack/bin/python"));
        command.args(["-m", "amqtt.scripts.broker_script", "-c"]).arg(folder.join("amqtt.yaml"));
        command.env("PYTHONPATH", peers.join("amqtt"));
        Ok(command)
    },
};

/// rumqttd with room for 320 MiB per filter: when its segments are full, it drops the oldest without a word.
pub(super) const RUMQTTD: Recipe = Recipe {
    name: "rumqttd",
    needs: "rumqttd/bin/rumqttd",
    wants_a_name: false,
    files: |addr| {
        let router = "id = 0\n[router]\nid = 0\nmax_connections = 100\nmax_outgoing_packet_count = 200\n\
             max_segment_size = 16777216\nmax_segment_count = 20\n";
        let server = format!("[v4.1]\nname = \"v4-1\"\nlisten = \"{addr}\"\nnext_connection_delay_ms = 1\n");
        let connections = "[v4.1.connections]\nconnection_timeout_ms = 5000\nmax_payload_size = 1048576\n\
             max_inflight_count = 100\ndynamic_filters = true\n";
        vec![("rumqttd.toml", router.to_owned() + &server + connections)]
    },
    command: |peers, folder, _| {
        let mut command = Command::new(peers.join("rumqttd/bin/rumqttd"));
        command.arg("--quiet").arg("--config").arg(folder.join("rumqttd.toml"));
        Ok(command)
    },
};
