//! The customer at the other end: reads the queue from the start until the demo says that all was sent.

use crate::failure::Failure;
use crate::scene::QUEUE;
use testkit::consumer::{Consumer, Delivered};
use testkit::fake_sqs::{AccessKey, SqsStub};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A reading task.
pub(crate) struct Customer {
    reading: JoinHandle<testkit::Result<Vec<Delivered>>>,
    count: watch::Receiver<u64>,
    finish: watch::Sender<bool>,
}

impl Customer {
    /// Starts to read.
    pub(crate) fn start(stub: &SqsStub) -> Customer {
        let consumer = Consumer::new(&stub.endpoint(), stub.region(), &AccessKey::consumer(), &stub.queue_url(QUEUE));
        let (counted, count) = watch::channel(0);
        let (finish, finishing) = watch::channel(false);
        Customer { reading: tokio::spawn(read(consumer, counted, finishing)), count, finish }
    }

    /// How many messages were received.
    pub(crate) fn count(&self) -> watch::Receiver<u64> {
        self.count.clone()
    }

    /// Reads until a second brings nothing more, and gives everything in the order of receipt.
    pub(crate) async fn finish(self) -> Result<Vec<Delivered>, Failure> {
        self.finish.send_replace(true);
        let next = "try again; if it comes back, it is a bug of the demo's queue worth reporting";
        let read = self.reading.await.map_err(|error| Failure::new(format!("the consumer: {error}"), next))?;
        read.map_err(Failure::at("the consumer", next))
    }
}

async fn read(
    mut consumer: Consumer,
    counted: watch::Sender<u64>,
    finishing: watch::Receiver<bool>,
) -> testkit::Result<Vec<Delivered>> {
    // A receive is never cut short: what it had taken would stay hidden until its visibility timeout.
    loop {
        let last = *finishing.borrow();
        let came = consumer.step(1).await?;
        counted.send_replace(consumer.delivered().len() as u64);
        if last && came == 0 {
            return Ok(consumer.delivered().to_vec());
        }
    }
}
