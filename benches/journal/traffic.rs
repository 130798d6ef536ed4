//! Journal and drain as the agent has them, under traffic: runs in its own process, which can be traced.

use super::counts::Counts;
use super::real::{Keeping, LANE, Real, append};
use super::store::{Message, Outcome, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tidegate::clock::Clock;
use tidegate::config::Config;
use tidegate::drain::{Drain, DrainOptions, DrainShared};
use tidegate::sqs::client::attempt_limit;
use tidegate::sqs::entry::RenderOptions;
use tidegate::sqs::{AcceptedEntry, Answer, BatchSender, Entry, SendOutcome};
use tokio::sync::{Notify, watch};

/// Messages that a broker has on their way before it waits for acks.
const WINDOW: u64 = 100;
/// What the queue takes to answer.
const ANSWER: Duration = Duration::from_millis(20);
/// `attempt_timeout` by default.
const ATTEMPT: Duration = Duration::from_secs(20);

/// A queue that accepts everything, after a moment.
struct Queue {
    accepted: AtomicU64,
    all: u64,
    done: Notify,
}

impl BatchSender for Queue {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        tokio::time::sleep(ANSWER).await;
        let count = entries.len();
        if self.accepted.fetch_add(count as u64, Relaxed) + count as u64 >= self.all {
            self.done.notify_one();
        }
        let accepted = (0..count).map(|index| AcceptedEntry { index, md5_matches: true, sequence_number: None });
        SendOutcome::Answer(Answer { accepted: accepted.collect(), ..Answer::default() })
    }

    fn attempt_limit(&self, bytes: usize) -> Duration {
        attempt_limit(ATTEMPT, bytes)
    }

    fn is_mended(&self) -> bool {
        false
    }
}

fn drain_options() -> Outcome<DrainOptions> {
    let text = format!(
        "[gateway]\nid = \"bench\"\n[mqtt]\nurl = \"mqtt://127.0.0.1\"\n[queues.{LANE}]\n\
         url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\ncredentials = \"aws-chain\"\n\
         [[routes]]\nprofile = \"chirpstack-v4\"\nqueue = \"{LANE}\"\n"
    );
    let config = Config::parse(&text, Path::new("bench.toml"), &BTreeMap::new())
        .map_err(|problems| problems.iter().map(|problem| format!("{problem}\n")).collect::<String>())?;
    let queue = config.queues.into_iter().next().ok_or("one queue")?;
    let rendering = RenderOptions {
        format: queue.body,
        fifo: queue.url.fifo,
        type_prefix: config.records.type_prefix,
        gateway_id: config.gateway.id,
        site: config.gateway.site,
        rectype: queue.rectype,
        redact: config.records.redact,
    };
    Ok(DrainOptions {
        queue: queue.name,
        rendering,
        ordering: queue.ordering,
        max_in_flight: queue.max_in_flight,
        batch_bytes: queue.batch_bytes,
        link_probe: queue.link_probe,
        grace: Duration::from_secs(1),
        link: watch::channel(0).1,
        retry: watch::channel(0).1,
    })
}

/// Sends all of them: at an even pace, or as fast as a window of the broker's allows.
async fn feed(real: &mut Real, Load { records, per_second, devices }: Load) -> Outcome<()> {
    let (lane, clock) = (real.lane.id(), Clock::new(None));
    let pause = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
    let inbox = real.inbox.take().ok_or("fed once")?;
    let begun = tokio::time::Instant::now();
    let mut back = 0;
    for n in 1..=records {
        if let Some(pause) = pause {
            tokio::time::sleep_until(begun + pause * n as u32).await;
        }
        inbox.send(append(n, Message::among(devices, n), lane, clock.now()))?;
        while n - back >= if pause.is_some() { 1 } else { WINDOW } {
            back += real.committed.recv().await.ok_or("the writer is gone")?.len() as u64;
        }
    }
    while back < records {
        back += real.committed.recv().await.ok_or("the writer is gone")?.len() as u64;
    }
    real.inbox = Some(inbox);
    Ok(())
}

/// What goes through. Without records it is only opened and closed: a caller that traces this process subtracts what that
/// costs.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) records: u64,
    /// 0: as fast as a broker's window allows.
    pub(crate) per_second: u32,
    pub(crate) devices: u64,
}

/// Runs the load and counts what it cost.
pub(crate) fn run(folder: &Path, load: Load) -> Outcome<Counts> {
    let records = load.records;
    let mut real = Real::open(folder, Keeping::Thread)?;
    let before = Counts::flushed(folder);
    let mut after = before;
    if records > 0 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let queue = Arc::new(Queue { accepted: AtomicU64::new(0), all: records, done: Notify::new() });
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(DrainShared::default());
        let drain = Drain::new(real.lane.clone(), queue.clone(), drain_options()?, &Clock::new(None), shared);
        let fed = runtime.block_on(async {
            let lane = real.lane.clone();
            let feeding = async {
                feed(&mut real, load).await?;
                queue.done.notified().await;
                while lane.waiting() > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                after = Counts::now(folder);
                stop.send_replace(true);
                Ok(())
            };
            tokio::join!(feeding, drain.run(stopped)).0
        });
        fed.map_err(|error: Box<dyn std::error::Error>| error)?;
        let facts = real.journal.stats();
        let lane = &facts.lanes[0];
        if (lane.accepted, queue.accepted.load(Relaxed)) != (records, records) {
            return Err(format!("{records} went in: {lane:?}").into());
        }
        // What is settled is noted before it ends, too; and what it wrote has reached the device.
        after.device = Counts::flushed(folder).device;
    }
    Box::new(real).close()?;
    Ok(after - before)
}
