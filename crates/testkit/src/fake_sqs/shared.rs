//! What the stub's server and the test that runs it share.

use super::ACCOUNT;
use super::answer::Refusal;
use super::clock::StubClock;
use super::fault::Faults;
use super::model::Queue;
use super::signature::AccessKey;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What the server's tasks and the test share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) region: String,
    pub(super) clock: StubClock,
    pub(super) faults: Faults,
    pub(super) keys: Mutex<Vec<AccessKey>>,
    pub(super) queues: Mutex<BTreeMap<String, Queue>>,
    pub(super) unexpected: Mutex<Vec<String>>,
    pub(super) denied: Mutex<Vec<String>>,
    pub(super) latency_us: AtomicU64,
    pub(super) calls: AtomicU64,
    /// Counts changes of any queue: what waiting receivers and tests wake up on.
    pub(super) arrived: watch::Sender<u64>,
    /// Ports of the other ends of all connections that there were, and whether they are open.
    pub(super) peers: watch::Sender<BTreeMap<u16, bool>>,
}

impl Shared {
    pub(super) fn new(region: String, keys: Vec<AccessKey>, seed: u64) -> Shared {
        Shared {
            region,
            clock: StubClock::default(),
            faults: Faults::new(seed),
            keys: Mutex::new(keys),
            queues: Mutex::default(),
            unexpected: Mutex::default(),
            denied: Mutex::default(),
            latency_us: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            arrived: watch::Sender::new(0),
            peers: watch::Sender::new(BTreeMap::new()),
        }
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Vec<AccessKey>> {
        lock(&self.keys)
    }

    pub(super) fn with_queue<T>(
        &self,
        path: &str,
        run: impl FnOnce(&mut Queue) -> T,
    ) -> std::result::Result<T, Refusal> {
        let missing = || Refusal::modelled("QueueDoesNotExist", "The specified queue does not exist.");
        let name = path.strip_prefix(ACCOUNT).and_then(|rest| rest.strip_prefix('/')).ok_or_else(missing)?;
        lock(&self.queues).get_mut(name).map(run).ok_or_else(missing)
    }

    pub(super) fn note_unexpected(&self, what: String) {
        lock(&self.unexpected).push(what);
    }

    pub(super) fn denied(&self, operation: &str) {
        lock(&self.denied).push(operation.into());
    }
}

/// Locks; a test that panicked while it held the lock must not make others fail.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
