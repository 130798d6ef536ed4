//! A broker inside the test's own process: no package needed, port chosen by the kernel, stops in milliseconds.

use crate::{Error, Result};
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::task::JoinHandle;

/// How the embedded broker is set up. Its own defaults drop the oldest of 10,000 queued messages after having
/// acknowledged them, listen on every interface and write into the working folder.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedOptions {
    /// Port on 127.0.0.1; 0: a free one.
    pub port: u16,
    /// Most messages sent to a client and not yet acknowledged.
    pub max_inflight: u16,
    /// Most messages queued for an absent client.
    pub max_queued: usize,
    /// Most bytes queued for an absent client.
    pub max_queued_bytes: usize,
}

impl Default for EmbeddedOptions {
    /// A free port, window 100, 5 million messages or 2 GiB queued.
    fn default() -> EmbeddedOptions {
        EmbeddedOptions { port: 0, max_inflight: 100, max_queued: 5_000_000, max_queued_bytes: 2 << 30 }
    }
}

/// A running embedded broker; sessions live in memory and end with it.
pub struct EmbeddedBroker {
    addr: SocketAddr,
    stop: BrokerShutdownHandle,
    task: Option<JoinHandle<std::result::Result<(), String>>>,
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBroker").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl EmbeddedBroker {
    /// Starts and waits until it accepts.
    pub async fn start(options: EmbeddedOptions) -> Result<EmbeddedBroker> {
        let failed = |error: &dyn std::fmt::Display| Error::peer("starting the embedded broker", error);
        let storage = StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            .with_max_queued_messages_per_client(options.max_queued)
            .with_max_queued_bytes_per_client(options.max_queued_bytes);
        let config = BrokerConfig::new()
            .with_bind_address((Ipv4Addr::LOCALHOST, options.port))
            .with_max_outbound_inflight(options.max_inflight)
            .with_storage(storage)
            .with_sys_topics_enabled(false);
        let mut broker = MqttBroker::with_config(config).await.map_err(|error| failed(&error))?;
        let addr = broker.local_addr().ok_or_else(|| failed(&"no address"))?;
        let (stop, mut ready) = (broker.shutdown_handle(), broker.ready_receiver());
        let task = tokio::spawn(async move { broker.run().await.map_err(|error| error.to_string()) });
        ready.wait_for(|ready| *ready).await.map_err(|_| failed(&"it stopped before it was ready"))?;
        Ok(EmbeddedBroker { addr, stop, task: Some(task) })
    }

    /// Address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.shutdown();
        let Some(task) = self.task.take() else { return Ok(()) };
        let ended = task.await.map_err(|error| Error::peer("stopping the embedded broker", error))?;
        ended.map_err(|error| Error::peer("the embedded broker", error))
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.stop.shutdown();
    }
}
