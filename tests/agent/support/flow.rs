//! Sensors that go on publishing while the test breaks things.

use super::LONG;
use testkit::fleet::Fleet;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Uplinks per call: how soon an end is noticed.
const STRIDE: usize = 50;

/// A fleet at work in the background.
pub(crate) struct Flow {
    stop: watch::Sender<bool>,
    progress: watch::Receiver<u64>,
    task: JoinHandle<testkit::Result<Fleet>>,
}

impl Flow {
    pub(crate) fn start(mut fleet: Fleet) -> Flow {
        let progress = fleet.progress();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                fleet.publish(STRIDE).await?;
            }
            Ok(fleet)
        });
        Flow { stop, progress, task }
    }

    /// Waits until the broker has acknowledged `count` more.
    pub(crate) async fn more(&mut self, count: u64) {
        let until = *self.progress.borrow_and_update() + count;
        let waited = timeout(LONG, self.progress.wait_for(|done| *done >= until)).await;
        waited.unwrap_or_else(|_| panic!("the flow stands still")).expect("the fleet is at work");
    }

    /// Ends it; everything published is acknowledged by the broker.
    pub(crate) async fn end(self) -> Fleet {
        self.stop.send_replace(true);
        timeout(LONG, self.task).await.expect("the flow ends").expect("the flow does not panic").unwrap()
    }
}
