//! The SQS stub: one implementation for the demo, the tests and the benches.
//!
//! It speaks AWS JSON 1.0 on loopback and keeps the promises that the real service documents or was recorded to keep:
//! order and locks per message group, deduplication, limits counted in bytes, per-entry failures, real signatures,
//! permissions. On top of that it can be made to go wrong on purpose ([`fault`]) and it remembers every entry that ever
//! reached a queue, in order ([`SqsStub::log`]), so that a checker can tell what was sent from what was kept. What it
//! does not know it refuses and records ([`SqsStub::unexpected`]).

mod answer;
mod calls;
mod clock;
mod dedup;
pub mod fault;
pub mod limits;
mod log;
mod message;
pub mod model;
mod protocol;
mod server;
mod shared;
pub mod signature;

pub use dedup::DEDUP_WINDOW_MS;
pub use fault::{Fault, Faults, Telling, When};
pub use log::{Arrival, Counters, Fate};
pub use message::{Attribute, Attributes};
pub use model::QueueOptions;
pub use signature::{AccessKey, Allowed};

use crate::consumer::Delivered;
use crate::port::HeldPort;
use crate::{Error, Result};
use model::Queue;
use shared::{Shared, lock};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The account that all queues belong to.
pub const ACCOUNT: &str = "123456789012";

/// How the stub starts.
#[derive(Clone, Debug)]
pub struct StubOptions {
    /// Region that signatures must be scoped to.
    pub region: String,
    /// Keys that are known from the start.
    pub keys: Vec<AccessKey>,
    /// Queues that exist from the start, by name.
    pub queues: Vec<(String, QueueOptions)>,
    /// Seed of the fault plan's chances.
    pub seed: u64,
}

impl Default for StubOptions {
    /// Region `eu-west-1`, [`AccessKey::agent`] and [`AccessKey::consumer`], one FIFO queue `site.fifo`, seed 1.
    fn default() -> StubOptions {
        StubOptions {
            region: "eu-west-1".into(),
            keys: vec![AccessKey::agent(), AccessKey::consumer()],
            queues: vec![("site.fifo".into(), QueueOptions::fifo())],
            seed: 1,
        }
    }
}

/// A running stub; dropping it closes its port and every connection.
#[derive(Debug)]
pub struct SqsStub {
    shared: Arc<Shared>,
    port: HeldPort,
    accepting: Option<JoinHandle<()>>,
}

impl SqsStub {
    /// Starts on a free loopback port. Must be called inside a runtime.
    pub fn start(options: StubOptions) -> Result<SqsStub> {
        let StubOptions { region, keys, queues, seed } = options;
        let shared = Shared::new(region, keys, seed);
        let mut stub = SqsStub { shared: Arc::new(shared), port: HeldPort::take()?, accepting: None };
        for (name, options) in queues {
            stub.create_queue(&name, options)?;
        }
        stub.open()?;
        Ok(stub)
    }

    /// Address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `http://127.0.0.1:port`, for `endpoint = …`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Region that signatures must be scoped to.
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// URL of the queue as AWS would give it; its host is not where the stub listens, as the service ignores it too.
    pub fn queue_url(&self, name: &str) -> String {
        format!("https://sqs.{}.amazonaws.com/{ACCOUNT}/{name}", self.shared.region)
    }

    /// Makes a queue; an error when the name and the kind of queue do not fit, or it exists.
    pub fn create_queue(&self, name: &str, options: QueueOptions) -> Result<()> {
        let mut queues = lock(&self.shared.queues);
        if name.ends_with(".fifo") != options.fifo || queues.contains_key(name) {
            return Err(Error::peer(format!("creating queue {name}"), "name taken, or .fifo and the kind do not fit"));
        }
        queues.insert(name.into(), Queue::new(options));
        Ok(())
    }

    /// Removes a queue; later calls are answered that it does not exist.
    pub fn delete_queue(&self, name: &str) {
        lock(&self.shared.queues).remove(name);
    }

    /// Refuses connections from now on and cuts the existing ones. The port stays ours.
    pub async fn close(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            // Its sockets are closed once it has ended; the error says that it was aborted.
            let _ = task.await;
        }
    }

    /// Accepts connections again on the same port; nothing happens when it already does.
    pub fn open(&mut self) -> Result<()> {
        if self.accepting.is_none() {
            self.accepting = Some(tokio::spawn(server::accept(self.port.listen()?, self.shared.clone())));
        }
        Ok(())
    }

    /// The fault plan, to be changed at any time.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Delays every send call by this much from now on: the round trip to the region.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.latency_us.store(latency.as_micros() as u64, Relaxed);
    }

    /// Waits until each connection from these ports was accepted here and has ended: what was on its way over them was judged.
    ///
    /// # Errors
    /// Not within that time.
    pub async fn ended(&self, ports: &BTreeSet<u16>, within: Duration) -> Result<()> {
        let mut peers = self.shared.peers.subscribe();
        let ended = peers.wait_for(|peers| ports.iter().all(|port| peers.get(port) == Some(&false)));
        let late = |_| Error::peer("waiting for connections to end", "one is open");
        // The sender lives in `shared`: the wait cannot fail.
        tokio::time::timeout(within, ended).await.map(drop).map_err(late)
    }

    /// Lets queue time pass: deduplication ids and visibility timeouts age by `by`.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
        self.shared.arrived.send_modify(|n| *n += 1);
    }

    /// Sets the service's clock this many seconds ahead of the system's (behind, when negative): to the client, its own
    /// clock is wrong by as much.
    pub fn skew(&self, seconds: i64) {
        self.shared.clock.skew(seconds);
    }

    /// Makes a key known, in place of one with the same id.
    pub fn set_key(&self, key: AccessKey) {
        let mut keys = lock(&self.shared.keys);
        keys.retain(|known| known.id != key.id);
        keys.push(key);
    }

    /// Makes a key unknown.
    pub fn remove_key(&self, id: &str) {
        lock(&self.shared.keys).retain(|known| known.id != id);
    }

    /// Requests that the stub did not know: a test ends by asserting that there are none.
    pub fn unexpected(&self) -> Vec<String> {
        lock(&self.shared.unexpected).clone()
    }

    /// Operations that were refused for want of permission, in order.
    pub fn denied(&self) -> Vec<String> {
        lock(&self.shared.denied).clone()
    }

    /// Counters of a queue; all zero when there is none of that name.
    pub fn counters(&self, queue: &str) -> Counters {
        lock(&self.shared.queues).get(queue).map(|q| q.counters).unwrap_or_default()
    }

    /// Messages waiting and in flight.
    pub fn depth(&self, queue: &str) -> usize {
        lock(&self.shared.queues).get(queue).map_or(0, Queue::depth)
    }

    /// Every entry that reached the queue, in order, whatever became of it.
    pub fn log(&self, queue: &str) -> Vec<Arrival> {
        lock(&self.shared.queues).get(queue).map(|q| q.log.clone()).unwrap_or_default()
    }

    /// What the queue kept, in its order, as a consumer that reads everything would see it: without the reading.
    pub fn accepted(&self, queue: &str) -> Vec<Delivered> {
        let queues = lock(&self.shared.queues);
        let log = queues.get(queue).map_or(&[][..], |q| &q.log);
        let fifo = queues.get(queue).is_some_and(|q| q.options.fifo);
        (log.iter()).filter_map(|arrival| Delivered::from_arrival(arrival, fifo)).collect()
    }

    /// Waits until the counters of `queue` satisfy `done`; the error prints the counters.
    pub async fn wait_for(&self, queue: &str, within: Duration, done: impl Fn(&Counters) -> bool) -> Result<Counters> {
        let mut arrived = self.shared.arrived.subscribe();
        let waiting = async {
            loop {
                let counters = self.counters(queue);
                if done(&counters) {
                    return counters;
                }
                // The sender lives in `self`: there is no end to wait for.
                let _ = arrived.changed().await;
            }
        };
        timeout(within, waiting).await.map_err(|_| Error::Timeout {
            what: format!("counters of {queue}"),
            after: within,
            detail: format!("\n{:?}", self.counters(queue)),
        })
    }
}

impl Drop for SqsStub {
    fn drop(&mut self) {
        if let Some(task) = &self.accepting {
            task.abort();
        }
    }
}
