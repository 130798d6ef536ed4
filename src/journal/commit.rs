//! The writer: takes all that waits, makes it one commit, syncs it, and gives the tickets back in order.
//!
//! It runs on a thread of its own, because a commit may take as long as the card pleases. The order of its steps is the
//! promise 'durable before acknowledged': number → append and flush (a full sync) → books → durable high water (lanes
//! may read) → tickets (intake may acknowledge). A failure anywhere before the flush returned leaves books, high water
//! and tickets as they were, and the very same records, under the same numbers, are tried again until the disk takes
//! them. Nothing that was received is ever dropped here; what is unacknowledged stays with the broker.

use super::books::Outcome;
use super::generation::{Facts, Generation, GenerationError, LaneFact};
use super::log::{framed, locked};
use super::quarantine::Reason;
use super::retention::{self, Retention};
use super::{Append, Item, Journal, JournalError};
use crate::record::{Draft, Identity, KeyKind, LaneId, Message, Record, Slot, TimeSource, codec};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Most records in one commit; bounds the memory and the time of a single `apply_batch`.
const COMMIT_RECORDS: usize = 1_000;
/// Most payload bytes in one commit.
const COMMIT_BYTES: usize = 1024 * 1024;
/// A group of at least this many shows a flood: waiting a moment for the broker's next window then saves a sync.
const FLOOD: usize = 8;
const FLOOD_LINGER: Duration = Duration::from_millis(1);
/// Between attempts on a failing or full disk.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Bytes that an envelope adds to topic and payload, rounded up.
const ENVELOPE_BYTES: usize = 400;

/// What the writer is at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WriterHealth {
    /// Commits when something comes.
    #[default]
    Fine,
    /// At the bound with `on_full = "stop"`: nothing is acknowledged until lanes have trimmed.
    Full,
    /// The disk refuses: nothing is acknowledged, and every few seconds the commit is tried again.
    Failing {
        /// What the disk said.
        error: String,
    },
}

/// A hole in a lane that a gap record is going to announce.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) lane: LaneId,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) count: u64,
    pub(super) reason: &'static str,
}

/// Where the writer goes on.
#[derive(Debug)]
pub(super) struct Tail {
    /// The next record's number.
    pub(super) next: u64,
    /// The generation to go on in, with the bytes it holds; `None`: start one.
    pub(super) active: Option<(Arc<Generation>, u64)>,
}

/// The writer; made once per open, run on a thread of its own.
#[derive(Debug)]
pub struct Writer<T> {
    journal: Journal,
    inbox: UnboundedReceiver<Append<T>>,
    committed: UnboundedSender<Vec<T>>,
    linger: Duration,
    stop: Arc<AtomicBool>,
    next: u64,
    active: Option<Arc<Generation>>,
    active_bytes: u64,
    last_group: usize,
}

impl<T> Writer<T> {
    pub(super) fn new(
        journal: Journal,
        tail: Tail,
        linger: Duration,
        inbox: UnboundedReceiver<Append<T>>,
        committed: UnboundedSender<Vec<T>>,
        stop: Arc<AtomicBool>,
    ) -> Writer<T> {
        let (active, active_bytes) = tail.active.unzip();
        let active_bytes = active_bytes.unwrap_or(0);
        Writer { journal, inbox, committed, linger, stop, next: tail.next, active, active_bytes, last_group: 0 }
    }

    /// Commits until the other end of the inbox is gone, or, on a disk that refuses, until told to stop.
    pub fn run(mut self) {
        while let Some(first) = self.inbox.blocking_recv() {
            let group = self.collect(first);
            let mut drafts = Vec::new();
            let mut tickets = Vec::with_capacity(group.len());
            for Append { item, ticket } in group {
                tickets.push(ticket);
                match item {
                    Item::Record(draft) => drafts.push(*draft),
                    Item::Repeat => {}
                    Item::Oversize { draft, bytes, delivery } => {
                        // Committed first, so that the tickets of what came before do not wait for nothing.
                        if !self.commit(std::mem::take(&mut drafts)) || !self.keep_oversize(*draft, bytes, delivery) {
                            return;
                        }
                    }
                }
            }
            if crate::rig::armed(crate::rig::Sabotage::AckEarly) {
                let _ = self.committed.send(std::mem::take(&mut tickets));
            }
            if !self.commit(drafts) {
                return;
            }
            // The intake may be gone already; then nobody can acknowledge, and the broker delivers again.
            let _ = self.committed.send(tickets);
        }
        // What is still to be announced goes with the last commit.
        self.commit(Vec::new());
    }

    fn collect(&mut self, first: Append<T>) -> Vec<Append<T>> {
        if !self.linger.is_zero() {
            std::thread::sleep(self.linger);
        } else if self.last_group >= FLOOD && self.inbox.len() + 1 < self.last_group {
            std::thread::sleep(FLOOD_LINGER);
        }
        let size = |append: &Append<T>| match &append.item {
            Item::Record(draft) | Item::Oversize { draft, .. } => weight(draft),
            Item::Repeat => 0,
        };
        let mut bytes = size(&first);
        let mut group = vec![first];
        while group.len() < COMMIT_RECORDS && bytes < COMMIT_BYTES {
            let Ok(next) = self.inbox.try_recv() else { break };
            bytes += size(&next);
            group.push(next);
        }
        self.last_group = group.len();
        group
    }

    /// Commits drafts and whatever gap records wait. `false`: told to stop before the disk took them.
    fn commit(&mut self, drafts: Vec<Draft>) -> bool {
        let bytes: usize = drafts.iter().map(weight).sum();
        if !self.insist(|writer| writer.make_room(bytes as u64)) {
            return false;
        }
        let gaps = std::mem::take(&mut *locked(&self.journal.0.gaps));
        let announced = gaps.iter().map(|gap| gap_draft(&self.journal, gap));
        let drafts: Vec<Draft> = announced.chain(drafts).collect();
        if drafts.is_empty() {
            return true;
        }
        let records = self.number(drafts);
        if !self.insist(|writer| writer.write(&records).map(|()| true)) {
            return false;
        }
        self.next += records.len() as u64;
        self.publish(records);
        true
    }

    /// Repeats a step until it says `true`. `false`: told to stop in between.
    fn insist(&mut self, mut step: impl FnMut(&mut Self) -> Result<bool, JournalError>) -> bool {
        let mut pause = RETRY_FIRST;
        loop {
            let health = match step(self) {
                Ok(true) => {
                    self.set_health(WriterHealth::Fine);
                    return true;
                }
                Ok(false) => WriterHealth::Full,
                Err(error) => {
                    // sled's errors stick to an open database: whatever it was, go on with another one.
                    self.active = None;
                    WriterHealth::Failing { error: error.to_string() }
                }
            };
            self.set_health(health);
            if self.stop.load(Relaxed) {
                return false;
            }
            std::thread::sleep(pause);
            // A full journal has room again as soon as a lane trims; a failing disk is not hurried.
            let full = *locked(&self.journal.0.health) == WriterHealth::Full;
            pause = if full { RETRY_FIRST } else { (pause * 2).min(RETRY_MAX) };
        }
    }

    fn set_health(&self, now: WriterHealth) {
        let mut health = locked(&self.journal.0.health);
        if std::mem::discriminant(&*health) != std::mem::discriminant(&now) {
            match &now {
                WriterHealth::Fine => tracing::info!("journal takes records again"),
                WriterHealth::Full => tracing::error!(
                    max_bytes = self.journal.0.max_bytes,
                    "journal full, nothing is acknowledged: mend the uplink, or raise journal.max_bytes"
                ),
                WriterHealth::Failing { error } => tracing::error!(
                    error,
                    "journal cannot be written, nothing is acknowledged: check disk space and the card's health"
                ),
            }
        }
        *health = now;
    }

    /// Makes room for a commit by the bound's policy. `Ok(false)`: stopped at the bound.
    fn make_room(&mut self, bytes: u64) -> Result<bool, JournalError> {
        loop {
            let log = &self.journal.0.log;
            let firsts = log.firsts();
            match retention::decide(
                log.disk_bytes(),
                bytes,
                self.journal.0.max_bytes,
                firsts.len(),
                self.journal.0.on_full,
            ) {
                Retention::Fits => return Ok(true),
                Retention::Stop => {
                    let before = log.disk_bytes();
                    self.release()?;
                    if self.journal.0.log.disk_bytes() >= before {
                        return Ok(false);
                    }
                }
                Retention::Rotate if self.active_bytes == 0 => return Ok(true),
                Retention::Rotate => self.rotate()?,
                Retention::EvictOldest => {
                    if !self.evict(firsts[0], firsts[1])? {
                        // Somebody still reads it; it goes as soon as they are done, and this commit is small.
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Lets everything go that all lanes are past, the active generation too: at the bound, even the one generation that
    /// is otherwise kept would be in the way.
    fn release(&mut self) -> Result<(), JournalError> {
        let drained =
            locked(&self.journal.0.books).iter().all(|book| book.waiting() == 0 || book.read_from >= self.next);
        if drained && self.active_bytes > 0 {
            self.rotate()?;
        }
        self.journal.0.write_state()?;
        self.journal.0.let_go(self.next, 0);
        Ok(())
    }

    /// Gives up what lanes still need of the generation at `first`; cursors are durable before it is deleted.
    fn evict(&mut self, first: u64, end: u64) -> Result<bool, JournalError> {
        let shared = &self.journal.0;
        let lanes_at_end = shared.log.facts(end).map(|facts| facts.lanes).unwrap_or_default();
        let mut evicted = Vec::new();
        for book in locked(&shared.books).iter_mut().filter(|book| book.read_from < end) {
            let Some(fact) = lanes_at_end.iter().find(|fact| fact.id == book.id) else {
                // The note is lost: the reader will find the jump and book it.
                book.read_from = end;
                continue;
            };
            let from = book.cursor;
            let upto = fact.next.min(book.next);
            let count = book.settle_below(upto, end, Outcome::Evicted);
            if count > 0 {
                evicted.push((book.name.clone(), Gap { lane: book.id, from, to: upto - 1, count, reason: "evicted" }));
            }
        }
        for (lane, gap) in evicted {
            tracing::error!(
                lane,
                from = gap.from,
                to = gap.to,
                count = gap.count,
                "records evicted: the journal is at its bound"
            );
            locked(&shared.gaps).push(gap);
        }
        shared.write_state()?;
        Ok(shared.log.delete(first))
    }

    fn number(&self, drafts: Vec<Draft>) -> Vec<Arc<Record>> {
        let shared = &self.journal.0;
        let mut next: HashMap<LaneId, u64> = locked(&shared.books).iter().map(|book| (book.id, book.next)).collect();
        let numbered = drafts.into_iter().zip(self.next..).map(|(draft, number)| {
            let mut slots = Vec::with_capacity(draft.lanes.len());
            for lane in &draft.lanes {
                let position = next.get_mut(lane).expect("routes name only lanes that were opened");
                slots.push(Slot { lane: *lane, position: *position });
                *position += 1;
            }
            Arc::new(Record::number(draft, shared.id, shared.epoch, number, shared.clock.boot(), slots))
        });
        numbered.collect()
    }

    fn write(&mut self, records: &[Arc<Record>]) -> Result<(), JournalError> {
        if self.active_bytes >= self.journal.0.generation_bytes {
            self.rotate()?;
        }
        let mut frames = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for record in records {
            let envelope = codec::encode(record);
            let first = record.number == self.next;
            bytes += envelope.len() as u64;
            frames.extend(framed(record.number, first.then_some(self.next - 1), &envelope));
        }
        self.active()?.append(frames)?;
        self.active_bytes += bytes;
        Ok(())
    }

    fn active(&mut self) -> Result<Arc<Generation>, JournalError> {
        if let Some(generation) = &self.active {
            return Ok(generation.clone());
        }
        let generation = self.journal.0.log.start(self.facts())?;
        self.active_bytes = 0;
        Ok(self.active.insert(generation).clone())
    }

    fn facts(&self) -> Facts {
        let fact = |book: &super::LaneBook| LaneFact { id: book.id, name: book.name.clone(), next: book.next };
        let lanes = locked(&self.journal.0.books).iter().map(fact).collect();
        Facts { format: 1, first: self.next, epoch: self.journal.0.epoch, lanes }
    }

    /// Closes the active generation and starts the next one; what all lanes are past goes now.
    fn rotate(&mut self) -> Result<(), GenerationError> {
        let fresh = self.journal.0.log.start(self.facts())?;
        self.active = Some(fresh);
        self.active_bytes = 0;
        self.journal.0.dirty();
        Ok(())
    }

    fn publish(&self, records: Vec<Arc<Record>>) {
        let shared = &self.journal.0;
        {
            let mut books = locked(&shared.books);
            for slot in records.iter().flat_map(|record| &record.slots) {
                let book = books.iter_mut().find(|book| book.id == slot.lane).expect("numbered from these books");
                book.next = slot.position + 1;
            }
        }
        let high = records.last().expect("a commit has records").number;
        shared.remember(records.into_iter());
        shared.durable.send_replace(high);
        shared.dirty();
    }

    fn keep_oversize(&mut self, draft: Draft, bytes: u64, delivery: u64) -> bool {
        let topic = draft.message.topic.clone();
        let text = format!("payload of {bytes} bytes is larger than mqtt.max_payload_bytes");
        let record = Record::number(
            draft,
            self.journal.id(),
            self.journal.epoch(),
            self.next,
            self.journal.0.clock.boot(),
            vec![],
        );
        let reason = Reason { code: "oversize", text: &text, place: None, whole: Some((bytes, delivery)) };
        self.insist(|writer| {
            let quarantine = &writer.journal.0.quarantine;
            let kept =
                quarantine.keep(&record, reason).map_err(|source| JournalError::io(&writer.journal.0.path, source))?;
            tracing::error!(
                topic,
                bytes,
                kept,
                "message too large to be journaled: its head is in quarantine, the rest is lost"
            );
            // A full quarantine must not stop the intake: the message is counted either way.
            Ok(true)
        })
    }
}

fn weight(draft: &Draft) -> usize {
    draft.message.payload.len() + draft.message.topic.len() + ENVELOPE_BYTES
}

/// The record that announces a hole: its own position, in a group of its own, so not in order with those it speaks of.
fn gap_draft(journal: &Journal, gap: &Gap) -> Draft {
    let lane = locked(&journal.0.books).iter().find(|book| book.id == gap.lane).map(|book| book.name.clone());
    let payload = serde_json::json!({
        "lane": lane,
        "ranges": [[gap.from, gap.to]],
        "count": gap.count,
        "reason": gap.reason,
    });
    Draft {
        received: journal.0.clock.now(),
        message: Message {
            topic: "$tidegate/gap".to_owned(),
            payload: payload.to_string().into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: 0,
        },
        profile: "tidegate".to_owned(),
        identity: Identity {
            key: None,
            key_kind: KeyKind::Arrival,
            group: format!("tidegate.gap.{}", journal.id()),
            device: None,
            record_type: "gap".to_owned(),
            event_time: None,
            time_source: TimeSource::Arrival,
        },
        lanes: vec![gap.lane],
    }
}
