//! The end of a journal in its process: a caller that opens it again there waits for this, or finds its own lock.

use crate::journal::handle::Journal;
use tokio::sync::watch;

/// Tells when the last clone of a journal is gone, and with it the lock.
#[derive(Debug)]
pub struct Closing(watch::Receiver<()>);

impl Journal {
    /// To be asked before the last clone is dropped, by a caller that opens the same journal again.
    pub fn closing(&self) -> Closing {
        Closing(self.0.closing.subscribe())
    }
}

impl Closing {
    /// Waits until the last clone is gone and the lock is free.
    pub async fn wait(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}
