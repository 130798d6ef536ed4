//! Sends one batch: writes the mark, renders the records, calls SQS. Whatever waits for the disk runs off the runtime's threads.

use crate::clock::Clock;
use crate::drain::duplicate::SendHistory;
use crate::drain::settle::{self, Verdict};
use crate::drain::status::CANNOT_READ;
use crate::journal::Lane;
use crate::record::chain::Digest;
use crate::record::{Number, Position, Record};
use crate::sqs::entry::{self, RenderOptions, Rendering};
use crate::sqs::{BatchSender, Entry, Fault, FaultClass, SendOutcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What all batches of a lane share.
#[derive(Debug)]
pub(super) struct DrainContext<S> {
    pub(super) lane: Lane,
    pub(super) sender: Arc<S>,
    pub(super) clock: Clock,
    pub(super) rendering: RenderOptions,
}

/// Bounds of what is rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of the batch; a larger record travels alone.
    pub(super) batch: usize,
    /// Bytes of one message.
    pub(super) message: usize,
}

/// One record of a batch.
#[derive(Clone, Debug)]
pub(super) struct BatchItem {
    pub(super) position: Position,
    pub(super) number: Number,
    /// `None`: to be read again, because there was no room to keep it.
    pub(super) record: Option<Arc<Record>>,
    /// Attempts before, with an unknown outcome.
    pub(super) history: SendHistory,
    /// What the chain has of it once it is sent; `None`: an attempt before may have sent it another way.
    pub(super) digest: Option<Digest>,
}

/// What became of one record of a batch.
#[derive(Clone, Debug)]
pub(super) enum ItemOutcome {
    /// It was sent, or was to be; this is what is known.
    Judged(Verdict),
    /// No room in the batch once it was rendered: it goes with the next one.
    Postponed,
    /// It can never be sent to this queue.
    Unsendable(String),
    /// It cannot be read back.
    Unreadable,
}

/// A batch whose call has ended.
#[derive(Debug)]
pub(super) struct BatchOutcome {
    /// Every item, with its record where it was read, and its outcome.
    pub(super) items: Vec<(BatchItem, ItemOutcome)>,
    /// Time since boot of the attempt, in ms.
    pub(super) attempted_ms: u64,
    /// Why the call failed as a whole, if it did.
    pub(super) fault: Option<Fault>,
    /// Entries that were really handed to the sender.
    pub(super) sent: usize,
    /// Entries that said `possibleduplicate`.
    pub(super) marked: usize,
    /// What the call took; `None`: there was none.
    pub(super) took: Option<Duration>,
}

/// Sends one batch. `mark`: the positions need a durable mark first; without it nothing is sent.
pub(super) async fn send_batch<S: BatchSender>(
    context: Arc<DrainContext<S>>,
    items: Vec<BatchItem>,
    mark: bool,
    bounds: Bounds,
) -> BatchOutcome {
    let attempted_ms = context.clock.now().boottime_ms;
    let not_sent = |items: Vec<BatchItem>, fault: Fault| BatchOutcome {
        items: items.into_iter().map(|item| (item, ItemOutcome::Judged(Verdict::NotSent))).collect(),
        attempted_ms,
        fault: Some(fault),
        sent: 0,
        marked: 0,
        took: None,
    };
    let items = if mark || items.iter().any(|item| item.record.is_none()) {
        let lane = context.lane.clone();
        let kept = items.clone();
        match tokio::task::spawn_blocking(move || prepare(&lane, items, mark)).await {
            Ok(Ok(items)) => items,
            Ok(Err(fault)) => return not_sent(kept, fault),
            Err(error) => return not_sent(kept, disk_fault(error.to_string())),
        }
    } else {
        items
    };
    let (rendered, entries, marked, mut left) = render_batch(&context, items, bounds);
    let sent = entries.len();
    let (mut fault, mut took) = (None, None);
    if !entries.is_empty() {
        let began = Instant::now();
        let outcome = context.sender.send(&entries).await;
        took = Some(began.elapsed());
        let verdicts = settle::judge(entries.len(), &outcome, |index| rendered[index].history != SendHistory::None);
        if let SendOutcome::Fault(why) = outcome {
            fault = Some(why);
        }
        left.extend(rendered.into_iter().zip(verdicts.into_iter().map(ItemOutcome::Judged)));
    }
    BatchOutcome { items: left, attempted_ms, fault, sent, marked, took }
}

fn disk_fault(text: String) -> Fault {
    Fault {
        class: FaultClass::Link,
        code: Some("JournalDisk".to_owned()),
        text: format!("the mark of what is about to be sent cannot be written: {text}"),
        remedy: "check disk space and the card's health".to_owned(),
        never_sent: true,
        retry_after: None,
    }
}

/// What is to be sent and cannot be read now: shown as a journal that cannot be read.
fn reading_fault(text: String) -> Fault {
    let text = format!("a record that is to be sent cannot be read: {text}");
    Fault { code: Some(CANNOT_READ.to_owned()), text, ..disk_fault(String::new()) }
}

fn prepare(lane: &Lane, mut items: Vec<BatchItem>, mark: bool) -> Result<Vec<BatchItem>, Fault> {
    let numbers: Vec<Number> = items.iter().filter(|item| item.record.is_none()).map(|item| item.number).collect();
    let records = lane.reread_all(&numbers).map_err(|error| reading_fault(error.to_string()))?;
    let missing = items.iter_mut().filter(|item| item.record.is_none());
    missing.zip(records).for_each(|(item, record)| item.record = record);
    if mark {
        let positions: Vec<Position> = items.iter().map(|item| item.position).collect();
        lane.mark(&positions).map_err(|error| disk_fault(error.to_string()))?;
    }
    Ok(items)
}

/// Items that are sent, their entries, how many of these say that they may be duplicates, and the other items with their
/// outcomes.
type RenderedBatch = (Vec<BatchItem>, Vec<Entry>, usize, Vec<(BatchItem, ItemOutcome)>);

/// Renders the items. The present is looked at here, behind whatever the mark had to wait for: from now on nothing but the
/// way itself takes time. Where the machine is suspended nevertheless, the entry says until when it may leave.
fn render_batch<S: BatchSender>(context: &DrainContext<S>, items: Vec<BatchItem>, bounds: Bounds) -> RenderedBatch {
    let (mut rendered, mut entries, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let mut room = bounds.batch;
    let mut full = false;
    let mut marked = 0;
    let now = context.clock.now();
    // Behind the mark: where that could only be kept for this boot, the next one sends all of it again.
    let unmarked = context.lane.is_on_a_read_only_disk();
    let way_ms = context.sender.attempt_limit(weight_max(&items, bounds.batch)).as_millis() as u64;
    for mut item in items {
        let Some(record) = &item.record else {
            left.push((item, ItemOutcome::Unreadable));
            continue;
        };
        let possible_duplicate =
            unmarked || item.history.must_flag_duplicate(context.rendering.fifo, now.boottime_ms, way_ms);
        let now = Some((context.clock.boot(), now));
        let rendering = Rendering { now, possible_duplicate, limit: bounds.message, ..rendering(context) };
        match entry::render(record, &rendering) {
            Err(reason) => left.push((item, ItemOutcome::Unsendable(reason.to_string()))),
            // Once one is left behind, all behind it are: in a packed batch they may be of its group.
            Ok(entry) if full || entry.size() > room && !entries.is_empty() => {
                full = true;
                left.push((item, ItemOutcome::Postponed));
                drop(entry);
            }
            Ok(mut entry) => {
                entry.deadline = item.history.deadline(way_ms).filter(|_| !possible_duplicate);
                room = room.saturating_sub(entry.size());
                marked += usize::from(possible_duplicate);
                let first = item.history == SendHistory::None;
                item.digest = (first || entry.digest.steady).then_some(entry.digest.sum);
                entries.push(entry);
                rendered.push(item);
            }
        }
    }
    (rendered, entries, marked, left)
}

/// How the records of a lane are rendered, but for what is known of the moment and of each attempt.
pub(super) fn rendering<S>(context: &DrainContext<S>) -> Rendering<'_> {
    context.rendering.in_lane(context.lane.id())
}

/// What the digests of a lane depend on beside its records.
pub(super) fn chain_settings<S>(context: &DrainContext<S>) -> u64 {
    entry::settings(&rendering(context))
}

/// What a record is likely to take in a batch, before it is rendered, in bytes.
pub(super) fn estimate(record: &Record) -> usize {
    const AROUND: usize = 700;
    record.draft.message.payload.len() + record.draft.message.topic.len() + AROUND
}

/// The most that a batch of these records weighs. Rendered, a text full of quotes doubles; more than one record never
/// exceed the batch's bound.
fn weight_max(items: &[BatchItem], bytes_max: usize) -> usize {
    let weights = || items.iter().filter_map(|item| item.record.as_deref()).map(|record| 2 * estimate(record));
    weights().sum::<usize>().min(bytes_max.max(weights().max().unwrap_or(0)))
}
