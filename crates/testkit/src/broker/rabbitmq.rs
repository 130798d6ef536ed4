//! RabbitMQ with its MQTT plugin: queues on disk, and topics of its own kind (a dot becomes a slash).
//!
//! Debian's packages, unpacked into `.peers/rabbitmq` and never installed: no service, no user, no files elsewhere. Each
//! instance has its own node name, cookie, ports and folders, all on loopback, and its own epmd (Erlang's directory of
//! nodes), a child like the node itself: Erlang would leave one behind.

use super::program::REMEDY;
use crate::port::HeldPort;
use crate::process::Process;
use crate::{Error, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// A first start takes ten seconds, six of them a wait of the plugin for other members of a cluster.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running RabbitMQ; killed when dropped.
#[derive(Debug)]
pub struct RabbitMq {
    root: PathBuf,
    // Fields go in this order: the node ends before its directory, and both before the folder.
    process: Option<Process>,
    _epmd: Process,
    folder: TempDir,
    port: HeldPort,
    epmd_port: HeldPort,
    distribution_port: HeldPort,
}

impl RabbitMq {
    /// Starts it from what `scripts/peers.sh` unpacked under `repo`, and waits until it accepts MQTT.
    pub async fn start(repo: &Path) -> Result<RabbitMq> {
        let root = repo.join(".peers/rabbitmq");
        if !root.join("usr/lib/rabbitmq/bin/rabbitmq-server").exists() {
            return Err(Error::Missing { what: "RabbitMQ".into(), remedy: REMEDY.into() });
        }
        let root = fs::canonicalize(&root).map_err(Error::io(format!("looking for {}", root.display())))?;
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for RabbitMQ"))?;
        let (port, epmd_port, distribution_port) = (HeldPort::take()?, HeldPort::take()?, HeldPort::take()?);
        write(folder.path(), "enabled_plugins", "[rabbitmq_mqtt].\n")?;
        write(folder.path(), "rabbitmq.conf", &configuration(port.addr()))?;
        let mut epmd = Command::new(root.join("usr/lib/erlang/bin/epmd"));
        epmd.args(["-port", &epmd_port.addr().port().to_string()]).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let mut epmd = Process::start("epmd", &mut epmd, &folder.path().join("epmd.log"))?;
        epmd.wait_listening(epmd_port.addr(), PATIENCE).await?;
        let mut broker = RabbitMq { root, process: None, _epmd: epmd, folder, port, epmd_port, distribution_port };
        broker.restart().await?;
        Ok(broker)
    }

    /// Address of its MQTT listener.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Starts it again with the same ports and queues; kills it first when it is still running.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let mut command = self.command();
        let mut process = Process::start("RabbitMQ", &mut command, &self.folder.path().join("log"))?;
        process.wait_listening(self.addr(), PATIENCE).await?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGTERM: it closes its queues and ends.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(PATIENCE).await.map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL, without an orderly end.
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    fn command(&self) -> Command {
        let folder = self.folder.path();
        let erlang = self.root.join("usr/lib/erlang");
        let mut command = Command::new(self.root.join("usr/lib/rabbitmq/bin/rabbitmq-server"));
        // Nothing of a RabbitMQ that this machine may have for itself.
        command.env_clear();
        command.env("HOME", folder).env("ERL_ROOTDIR", &erlang);
        command.env("PATH", format!("{}:/usr/bin:/bin", erlang.join("bin").display()));
        command.env("ERL_EPMD_PORT", self.epmd_port.addr().port().to_string());
        command.env("RABBITMQ_DIST_PORT", self.distribution_port.addr().port().to_string());
        command.env("RABBITMQ_NODENAME", format!("proving-{}@localhost", self.port.addr().port()));
        for (name, file) in [
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "logs"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_CONF_ENV_FILE", "absent"),
        ] {
            command.env(name, folder.join(file));
        }
        // The script becomes the node instead of waiting for it, so that our signals reach the node.
        command.env("RABBITMQ_ALLOW_INPUT", "1").env("RABBITMQ_LOGS", "-");
        let loopback = "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 1";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback);
        command
    }
}

fn configuration(addr: SocketAddr) -> String {
    format!(
        "listeners.tcp = none\nmqtt.listeners.tcp.1 = {addr}\nmqtt.allow_anonymous = true\n\
         log.file = false\nlog.console = true\nlog.console.level = warning\n"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(folder.join(name), text).map_err(Error::io(format!("writing {name}")))
}
