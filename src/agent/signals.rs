//! What the agent tells its stages while they run.

use tokio::sync::watch;

/// What every stage may be told.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    /// `true`: end.
    pub(super) stop: watch::Receiver<bool>,
    /// Counts orders to try at once.
    pub(super) retry: watch::Receiver<u64>,
    /// Counts addresses and routes that came.
    pub(super) link: watch::Receiver<u64>,
}
