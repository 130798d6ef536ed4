//! Every broker behind one handle, so that one test runs over all of them.

use super::program::{AEDES, AMQTT, ProgramBroker, RUMQTTD};
use super::{Mosquitto, MosquittoOptions, MosquittoRelease, RabbitMq};
use crate::process::{Memory, Process};
use crate::{Error, Result};
use std::net::SocketAddr;
use std::path::Path;

/// A broker of another project.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BrokerKind {
    /// Mosquitto of the distribution.
    Mosquitto,
    /// A newer Mosquitto than the distribution's.
    NewerMosquitto,
    /// RabbitMQ with its MQTT plugin.
    RabbitMq,
    /// aedes in memory, as in Node-RED.
    Aedes,
    /// amqtt, written in Python.
    Amqtt,
    /// rumqttd, written in Rust.
    Rumqttd,
}

impl BrokerKind {
    /// Whether a session, and what it holds, is there after a restart.
    pub fn keeps_sessions(self) -> bool {
        matches!(self, BrokerKind::Mosquitto | BrokerKind::NewerMosquitto | BrokerKind::RabbitMq)
    }

    /// Whether what a client had not acknowledged when its connection broke is sent again on the next one. amqtt 0.12.1
    /// forgets it.
    pub fn sends_again(self) -> bool {
        self != BrokerKind::Amqtt
    }

    /// Whether it says so when it does (DUP), under the same packet id. rumqttd 0.20.0 does neither; it also cuts the
    /// connection of a client that asks for `$SYS`, so that it happens at every first connection.
    pub fn says_again(self) -> bool {
        self != BrokerKind::Rumqttd
    }
}

/// A running broker of any kind; killed when dropped.
#[derive(Debug)]
pub struct AnyBroker(Broker, BrokerKind);

#[derive(Debug)]
enum Broker {
    Mosquitto(Mosquitto),
    RabbitMq(Box<RabbitMq>),
    Program(ProgramBroker),
}

impl From<Mosquitto> for AnyBroker {
    fn from(broker: Mosquitto) -> AnyBroker {
        AnyBroker(Broker::Mosquitto(broker), BrokerKind::Mosquitto)
    }
}

impl AnyBroker {
    /// Starts one from what `scripts/peers.sh` installed under `repo`; an error says what is missing.
    pub async fn start(kind: BrokerKind, repo: &Path) -> Result<AnyBroker> {
        let release = |release| MosquittoOptions { release, ..MosquittoOptions::default() };
        let broker = match kind {
            BrokerKind::Mosquitto => Broker::Mosquitto(Mosquitto::start(&MosquittoOptions::default()).await?),
            BrokerKind::NewerMosquitto => {
                Broker::Mosquitto(Mosquitto::start(&release(MosquittoRelease::newer(repo))).await?)
            }
            BrokerKind::RabbitMq => Broker::RabbitMq(Box::new(RabbitMq::start(repo).await?)),
            BrokerKind::Aedes => Broker::Program(ProgramBroker::start(AEDES, repo).await?),
            BrokerKind::Amqtt => Broker::Program(ProgramBroker::start(AMQTT, repo).await?),
            BrokerKind::Rumqttd => Broker::Program(ProgramBroker::start(RUMQTTD, repo).await?),
        };
        Ok(AnyBroker(broker, kind))
    }

    /// Which one it is.
    pub fn kind(&self) -> BrokerKind {
        self.1
    }

    /// Where it listens for MQTT, also while it is down.
    pub fn addr(&self) -> SocketAddr {
        match &self.0 {
            Broker::Mosquitto(broker) => broker.addr(),
            Broker::RabbitMq(broker) => broker.addr(),
            Broker::Program(broker) => broker.addr(),
        }
    }

    /// Starts it again on its port, with what it keeps on disk; kills it first when it is still running.
    pub async fn restart(&mut self) -> Result<()> {
        match &mut self.0 {
            Broker::Mosquitto(broker) => broker.restart().await,
            Broker::RabbitMq(broker) => broker.restart().await,
            Broker::Program(broker) => broker.restart().await,
        }
    }

    /// SIGTERM, and its end.
    pub async fn stop(&mut self) -> Result<()> {
        match &mut self.0 {
            Broker::Mosquitto(broker) => broker.stop().await,
            Broker::RabbitMq(broker) => broker.stop().await,
            Broker::Program(broker) => broker.stop().await,
        }
    }

    /// SIGKILL, without an orderly end.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.0 {
            Broker::Mosquitto(broker) => broker.kill().await,
            Broker::RabbitMq(broker) => broker.kill().await,
            Broker::Program(broker) => broker.kill().await,
        }
    }

    /// User and password that a client must give for the broker to keep a session for it.
    pub fn credentials(&self) -> Option<(&'static str, &'static str)> {
        matches!(&self.0, Broker::Program(broker) if broker.wants_a_name()).then_some(("somebody", "word"))
    }

    /// What it has logged, for a failing test.
    pub fn tail(&self) -> String {
        self.process().map(Process::tail).unwrap_or_default()
    }

    /// Resident memory of its process.
    pub fn memory(&self) -> Result<Memory> {
        self.process().ok_or_else(|| Error::peer("broker", "it is not running"))?.memory()
    }

    fn process(&self) -> Option<&Process> {
        match &self.0 {
            Broker::Mosquitto(broker) => broker.process(),
            Broker::RabbitMq(broker) => broker.process(),
            Broker::Program(broker) => broker.process(),
        }
    }
}
