//! One flight: mark, render, send. Everything in it that waits for the disk does so off the runtime's threads.

use crate::clock::Clock;
use crate::config::{BodyFormat, RecordsConfig};
use crate::drain::duplicate::Doubt;
use crate::drain::settle::{self, Verdict};
use crate::drain::status::CANNOT_READ;
use crate::journal::{Lane, ReadRecord};
use crate::record::type_template::Template;
use crate::record::{Number, Position, Record};
use crate::sqs::client::attempt_limit;
use crate::sqs::entry::{self, Rendering};
use crate::sqs::{BatchSender, Entry, Fault, FaultClass, SendOutcome};
use std::sync::Arc;
use std::time::Duration;

/// What is the same for all flights of a lane.
#[derive(Debug)]
pub(super) struct Airline<S> {
    pub(super) lane: Lane,
    pub(super) sender: Arc<S>,
    pub(super) clock: Clock,
    pub(super) format: BodyFormat,
    pub(super) fifo: bool,
    pub(super) records: RecordsConfig,
    pub(super) gateway_id: String,
    pub(super) site: String,
    /// What an attempt may take at least; a larger batch has more.
    pub(super) attempt_timeout: Duration,
    /// The record type for routing.
    pub(super) rectype: Option<Template>,
}

/// Bounds of what is rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of the batch; a larger record travels alone.
    pub(super) batch: usize,
    /// Bytes of one message.
    pub(super) message: usize,
}

/// One record on board.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) position: Position,
    pub(super) number: Number,
    /// `None`: to be read again, because there was no room to keep it.
    pub(super) record: Option<Arc<Record>>,
    /// Attempts before, with an unknown outcome.
    pub(super) doubt: Doubt,
}

/// What became of a seat.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// It was sent, or was to be; this is what is known.
    Judged(Verdict),
    /// No room in the batch once it was rendered: it goes with the next one.
    Postponed,
    /// It can never be sent to this queue.
    Unsendable(String),
    /// It cannot be read back.
    Unreadable,
}

/// A flight that came back.
#[derive(Debug)]
pub(super) struct Landing {
    /// Every seat, with its record where it was read, and its fate.
    pub(super) seats: Vec<(Seat, Fate)>,
    /// Time since boot of the attempt, in ms.
    pub(super) attempted_ms: u64,
    /// Why the call failed as a whole, if it did.
    pub(super) fault: Option<Fault>,
    /// Entries that were really handed to the sender.
    pub(super) sent: usize,
    /// Entries that said `possibleduplicate`.
    pub(super) marked: usize,
}

/// Flies one batch. `mark`: the positions need a durable mark first; without it nothing is sent.
pub(super) async fn fly<S: BatchSender>(
    airline: Arc<Airline<S>>,
    seats: Vec<Seat>,
    mark: bool,
    bounds: Bounds,
) -> Landing {
    let attempted_ms = airline.clock.now().boottime_ms;
    let grounded = |seats: Vec<Seat>, fault: Fault| Landing {
        seats: seats.into_iter().map(|seat| (seat, Fate::Judged(Verdict::NotSent))).collect(),
        attempted_ms,
        fault: Some(fault),
        sent: 0,
        marked: 0,
    };
    let seats = if mark || seats.iter().any(|seat| seat.record.is_none()) {
        let lane = airline.lane.clone();
        let kept = seats.clone();
        match tokio::task::spawn_blocking(move || prepare(&lane, seats, mark)).await {
            Ok(Ok(seats)) => seats,
            Ok(Err(fault)) => return grounded(kept, fault),
            Err(error) => return grounded(kept, disk_fault(error.to_string())),
        }
    } else {
        seats
    };
    let (aboard, entries, marked, mut left) = board(&airline, seats, bounds);
    let sent = entries.len();
    let mut fault = None;
    if !entries.is_empty() {
        let outcome = airline.sender.send(&entries).await;
        let verdicts = settle::judge(entries.len(), &outcome, |index| aboard[index].doubt != Doubt::None);
        if let SendOutcome::Fault(why) = outcome {
            fault = Some(why);
        }
        left.extend(aboard.into_iter().zip(verdicts.into_iter().map(Fate::Judged)));
    }
    Landing { seats: left, attempted_ms, fault, sent, marked }
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

fn prepare(lane: &Lane, mut seats: Vec<Seat>, mark: bool) -> Result<Vec<Seat>, Fault> {
    for seat in seats.iter_mut().filter(|seat| seat.record.is_none()) {
        seat.record = lane.reread(seat.number).map_err(|error| reading_fault(error.to_string()))?;
    }
    if mark {
        let positions: Vec<Position> = seats.iter().map(|seat| seat.position).collect();
        lane.mark(&positions).map_err(|error| disk_fault(error.to_string()))?;
    }
    Ok(seats)
}

/// Those that fly, their entries, how many of these say that they may be duplicates, and the others with their fates.
type Boarded = (Vec<Seat>, Vec<Entry>, usize, Vec<(Seat, Fate)>);

/// Renders the seats. The present is looked at here, behind whatever the mark had to wait for: from now on nothing but the
/// way itself takes time.
fn board<S>(airline: &Airline<S>, seats: Vec<Seat>, bounds: Bounds) -> Boarded {
    let (mut aboard, mut entries, mut left) = (Vec::new(), Vec::new(), Vec::new());
    let mut room = bounds.batch;
    let mut full = false;
    let mut marked = 0;
    let now = airline.clock.now();
    // Behind the mark: where that could only be kept for this boot, the next one sends all of it again.
    let unmarked = airline.lane.is_on_a_read_only_disk();
    let way_ms = attempt_limit(airline.attempt_timeout, weight_max(&seats, bounds.batch)).as_millis() as u64;
    for seat in seats {
        let Some(record) = &seat.record else {
            left.push((seat, Fate::Unreadable));
            continue;
        };
        let possible_duplicate = unmarked || seat.doubt.is_said(airline.fifo, now.boottime_ms, way_ms);
        let rendering = Rendering {
            format: airline.format,
            fifo: airline.fifo,
            type_prefix: &airline.records.type_prefix,
            rectype: airline.rectype.as_ref(),
            redact: &airline.records.redact,
            gateway_id: &airline.gateway_id,
            site: &airline.site,
            lane: airline.lane.id(),
            now: Some((airline.clock.boot(), now)),
            possible_duplicate,
            limit: bounds.message,
        };
        match entry::render(record, &rendering) {
            Err(reason) => left.push((seat, Fate::Unsendable(reason.to_string()))),
            // Once one is left behind, all behind it are: in a packed batch they may be of its group.
            Ok(entry) if full || entry.size() > room && !entries.is_empty() => {
                full = true;
                left.push((seat, Fate::Postponed));
                drop(entry);
            }
            Ok(entry) => {
                room = room.saturating_sub(entry.size());
                marked += usize::from(possible_duplicate);
                entries.push(entry);
                aboard.push(seat);
            }
        }
    }
    (aboard, entries, marked, left)
}

/// What a record is likely to take in a batch, before it is rendered.
pub(super) fn estimate(read: &ReadRecord) -> usize {
    weight(&read.record)
}

/// The most that a batch of these records weighs. Rendered, a text full of quotes doubles; more than one record never
/// exceed the batch's bound.
fn weight_max(seats: &[Seat], bytes_max: usize) -> usize {
    let weights = || seats.iter().filter_map(|seat| seat.record.as_deref()).map(|record| 2 * weight(record));
    weights().sum::<usize>().min(bytes_max.max(weights().max().unwrap_or(0)))
}

fn weight(record: &Record) -> usize {
    const AROUND: usize = 700;
    record.draft.message.payload.len() + record.draft.message.topic.len() + AROUND
}
