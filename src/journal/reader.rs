//! A lane as the drain uses it: read forward, mark, settle.
//!
//! A [`Reader`] walks the log by number, from the lane's cursor up to the durable high water, and yields the lane's
//! records by position, without those that are settled. Positions are contiguous, so a jump is a hole: the records in
//! it cannot be read back, and are booked as damaged and announced. A hole at the very end of what an earlier run left
//! shows when all of that was read. Point reads, not iterators: an iteration would keep every leaf it passes in memory.

use crate::journal::checkpoint::state::Home;
use crate::journal::error::JournalError;
use crate::journal::handle::Journal;
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::journal::ledger::cadence::Moved;
use crate::journal::ledger::gap_record;
use crate::journal::ledger::gaps::{About, PendingGap, Reason, trusted_ms};
use crate::journal::log::entry::Readings;
use crate::journal::quarantine::Cause;
use crate::record::{Epoch, LaneId, Number, Position, Record};
use crate::sync::locked;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Generations that a reader keeps its place in: batches in strict order straddle two, and the window's first records may
/// lie in a third.
const KEPT: usize = 3;

/// Whether a record may have been sent by an earlier run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaybeSent {
    /// An earlier run certainly did not send it.
    No,
    /// Maybe; in this boot, not before this many milliseconds since boot.
    Since(u64),
    /// Maybe, in another boot: how long ago cannot be known.
    Unknown,
}

/// A record read for a lane.
#[derive(Clone, Debug)]
pub struct ReadRecord {
    /// Its position in the lane.
    pub position: Position,
    /// The record, with topic, payload and times.
    pub record: Arc<Record>,
    /// Whether an earlier run may have sent it.
    pub maybe_sent: MaybeSent,
}

/// One queue's view of the journal; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lane {
    journal: Journal,
    id: LaneId,
    /// Where records are read a second time.
    again: Arc<Mutex<Readings>>,
    /// Held while a mark is being written: a caller that comes meanwhile waits until it is on disk.
    marking: Arc<Mutex<()>>,
}

/// The place of one reader in the log. Reading blocks on the disk: keep it off the runtime's threads.
#[derive(Debug)]
pub struct Reader {
    lane: Lane,
    number: Number,
    /// Position that the next record must have.
    expected: Position,
    /// Positions up to here may have been attempted in this epoch before this reader was made: by a drain that ended.
    attempted: Position,
    /// When the last record was received, by a trusted clock: what is missing behind it came later.
    received: Option<i64>,
    reading: Readings,
}

impl Journal {
    /// The lane of a configured queue.
    pub fn lane(&self, name: &str) -> Option<Lane> {
        let id = locked(&self.0.books).iter().find(|book| book.name == name)?.id;
        Some(Lane::new(self.clone(), id))
    }
}

impl Lane {
    pub(crate) fn new(journal: Journal, id: LaneId) -> Lane {
        Lane { journal, id, again: Arc::new(Mutex::new(Readings::of_last(KEPT))), marking: Arc::default() }
    }

    /// The lane's id in records.
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// The journal it belongs to.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn book<R>(&self, look: impl FnOnce(&mut LaneLedger) -> R) -> R {
        let mut books = locked(&self.journal.0.books);
        look(
            books
                .iter_mut()
                .find(|book| book.id == self.id)
                .expect("a lane has a book for as long as the journal is open"),
        )
    }

    /// A reader at the lane's cursor. One at a time: reading tells the books which number each position has.
    pub fn reader(&self) -> Reader {
        let (number, expected, attempted) = self.book(|book| (book.read_from, book.cursor, book.attempted_upto()));
        let reading = Readings::of_last(KEPT);
        Reader { lane: self.clone(), number, expected, attempted, received: None, reading }
    }

    /// Changes whenever more records are durable.
    pub fn durable(&self) -> watch::Receiver<Number> {
        self.journal.0.durable.subscribe()
    }

    /// Lowest unsettled position; all below have an outcome.
    pub fn cursor(&self) -> Position {
        self.book(|book| book.cursor)
    }

    /// Records without an outcome.
    pub fn waiting(&self) -> u64 {
        self.book(|book| book.waiting())
    }

    /// Books outcomes, and notes the gap where one loses a record, to be announced. Cheap: the state file follows in its
    /// time ([`crate::journal::ledger::cadence`]).
    pub fn settle(&self, outcomes: impl IntoIterator<Item = (Position, Outcome)>) {
        let shared = &self.journal.0;
        let moved = self.book(|book| {
            let (mut positions, mut lost) = (0, false);
            for (position, outcome) in outcomes {
                let first = book.settle(position, outcome);
                positions += u64::from(first);
                lost |= first && outcome != Outcome::Accepted;
                if first && outcome == Outcome::Damaged {
                    book.holes.note(PendingGap::new(Reason::Damaged, vec![(position, position)], About::default()));
                    shared.noted.notify_one();
                }
            }
            if lost { Moved::Soon } else { Moved::Settled { positions, absorbed: book.absorbed } }
        });
        shared.note(moved);
    }

    /// Makes sure that a durable mark covers `positions` before they are attempted. Blocks on the disk when a new mark
    /// is needed, or one is being written, which [`Lane::needs_mark`] tells.
    ///
    /// # Errors
    /// The mark is not durable: the positions must not be attempted.
    pub fn mark(&self, positions: &[Position]) -> Result<(), JournalError> {
        let now = self.journal.0.clock.now().boottime_ms;
        let (epoch, boot) = (self.journal.epoch(), self.journal.0.clock.boot());
        let _alone = locked(&self.marking);
        let unwritten = self.book(|book| {
            for &position in positions {
                if book.lacks_mark(position, epoch, now) {
                    book.mark(position, epoch, boot, now);
                }
            }
            book.has_unwritten_mark()
        });
        if unwritten {
            // A mark that an earlier call could not write is still unwritten, and goes with this one.
            self.journal.0.keep_state(Home::DiskOrBoot)?;
            self.book(LaneLedger::marks_written);
        }
        self.book(|book| positions.iter().for_each(|position| book.attempted(*position)));
        Ok(())
    }

    /// Whether attempting `positions` needs a new mark first. When it does not, they are noted as attempted.
    pub fn needs_mark(&self, positions: &[Position]) -> bool {
        let now = self.journal.0.clock.now().boottime_ms;
        let epoch = self.journal.epoch();
        self.book(|book| {
            let needed = positions.iter().any(|position| book.needs_mark(*position, epoch, now));
            if !needed {
                positions.iter().for_each(|position| book.attempted(*position));
            }
            needed
        })
    }

    /// Whether what is known of attempts is not on the disk: then it is lost with this boot, and whatever is sent says
    /// that it may be a duplicate.
    pub fn is_on_a_read_only_disk(&self) -> bool {
        self.journal.0.beside.load(Relaxed)
    }

    /// Puts a record into quarantine durably, then settles and announces it. `Ok(false)`: the quarantine is full, nothing changed.
    /// A gap record is not announced: the queue that refused it would refuse the next one, too. Blocks on the disk.
    pub fn quarantine(
        &self,
        record: &Record,
        position: Position,
        code: &str,
        text: &str,
    ) -> Result<bool, JournalError> {
        let cause = Cause { code, text, place: Some((self.id, position)), whole: None };
        let shared = &self.journal.0;
        let kept = shared.quarantine.keep(record, cause).map_err(|source| JournalError::io(&shared.path, source))?;
        if kept {
            let told = gap_record::announced_by(record);
            if let Some(PendingGap { reason, ranges, count, .. }) = &told {
                let (lane, reason) = (self.book(|book| book.name.clone()), reason.outcome());
                tracing::error!(
                    queue = lane,
                    reason,
                    ?ranges,
                    count,
                    "the queue refused a gap record for good: its consumer does not learn of these positions"
                );
            }
            let mut about = About::default();
            about.record(record);
            self.book(|book| {
                if book.settle(position, Outcome::Quarantined) && told.is_none() {
                    book.holes.note(PendingGap::new(Reason::Quarantined, vec![(position, position)], about));
                }
            });
            shared.noted.notify_one();
            shared.note(Moved::Soon);
        }
        Ok(kept)
    }

    /// Reads one record again, whose number is known; `None` when it cannot be read back any more. Blocks on the disk.
    ///
    /// # Errors
    /// The generation cannot be read now, or this run wrote the record and it cannot be found now.
    pub fn reread(&self, number: Number) -> Result<Option<Arc<Record>>, JournalError> {
        if let Some(record) = self.journal.0.recall(number) {
            return Ok(Some(record));
        }
        // The index of the generation is kept for the next call: a held-up window is read again record by record.
        let mut again = locked(&self.again);
        let record = self.journal.0.log.read(&mut again, number)?;
        // What went with its generation has an outcome, and no lane looks for it any more; what was set aside has none to
        // find.
        let is_there = again.current().is_some_and(|reading| reading.covers(number) && !reading.is_aside());
        if record.is_none() && is_there && number >= self.journal.0.began {
            return Err(lost_sight_of(number, &mut again));
        }
        Ok(record)
    }

    /// `attempted`: positions up to here may have been attempted in this epoch too.
    fn maybe_sent(&self, position: Position, record_epoch: Epoch, attempted: Position) -> MaybeSent {
        let before = self.journal.epoch() + u64::from(position <= attempted);
        match self.book(|book| book.maybe_sent(position, record_epoch, before)) {
            None => MaybeSent::No,
            Some(mark) if mark.boot == self.journal.0.clock.boot() => MaybeSent::Since(mark.since_ms),
            Some(_) => MaybeSent::Unknown,
        }
    }
}

impl Reader {
    /// Reads up to `max` further records of the lane, and no more than about `max_bytes` of payload. Empty: all that is
    /// durable was read. What was read when a generation refuses is given, and the refusal comes with the next call.
    ///
    /// # Errors
    /// A generation cannot be read now; the next call tries again.
    pub fn read(&mut self, max: usize, max_bytes: usize) -> Result<Vec<ReadRecord>, JournalError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        self.resume();
        let durable = *self.lane.journal.0.durable.borrow();
        while self.number <= durable && found.len() < max && bytes < max_bytes {
            let record = match self.fetch(durable) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                // What was read before is handed over first: we are past it, and would never come back to it.
                Err(_) if !found.is_empty() => return Ok(found),
                Err(error) => return Err(error),
            };
            if let Some(read) = self.take(record) {
                bytes += read.record.draft.message.payload.len();
                found.push(read);
            }
        }
        if self.number > durable {
            self.miss_the_end();
            self.reading.rest();
            locked(&self.lane.again).rest();
        }
        Ok(found)
    }

    /// The same of records that are still in memory, without the disk. `None`: the next one is not, or one is missing before it,
    /// and [`Reader::read`] is to be asked.
    pub fn read_from_memory(&mut self, max: usize, max_bytes: usize) -> Option<Vec<ReadRecord>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        self.resume();
        let durable = *self.lane.journal.0.durable.borrow();
        while self.number <= durable && found.len() < max && bytes < max_bytes {
            let Some(record) = self.lane.journal.0.recall(self.number) else { break };
            if record.position(self.lane.id).is_some_and(|position| position > self.expected) {
                break;
            }
            if let Some(read) = self.take(record) {
                bytes += read.record.draft.message.payload.len();
                found.push(read);
            }
        }
        let at_end = self.number > durable && self.expected >= self.lane.book(|book| book.found);
        (at_end || !found.is_empty()).then_some(found)
    }

    /// Goes past the record at `self.number`; gives it if it is the lane's, and waits for an outcome.
    fn take(&mut self, record: Arc<Record>) -> Option<ReadRecord> {
        let number = self.number;
        self.number = self.number.next();
        let position = record.position(self.lane.id)?;
        // Found again in a salvaged generation, or settled below the cursor; or nothing of ours: what is durable was
        // appended, and the books know it.
        if position < self.expected || position >= self.lane.book(|book| book.next) {
            return None;
        }
        let received = trusted_ms(&record.draft.received);
        if position > self.expected {
            self.lose(position, received);
        }
        self.received = received.or(self.received);
        self.expected = position.next();
        let settled = self.lane.book(|book| {
            book.saw(position, number);
            book.is_settled(position)
        });
        let maybe_sent = self.lane.maybe_sent(position, record.epoch, self.attempted);
        (!settled).then_some(ReadRecord { position, record, maybe_sent })
    }

    /// What belongs before `position` cannot be read back.
    fn lose(&mut self, position: Position, received: Option<i64>) {
        let mut about = About::default();
        about.received(self.received);
        about.received(received);
        self.lane.journal.0.book_damage(self.lane.id, self.expected, position, about);
    }

    /// All that an earlier run left was read: what is missing at its end will not come any more.
    fn miss_the_end(&mut self) {
        let end = self.lane.book(|book| book.found);
        if self.expected < end {
            self.lose(end, None);
            self.expected = end;
        }
    }

    /// Eviction may have moved the cursor beyond this reader's place.
    fn resume(&mut self) {
        let (number, cursor) = self.lane.book(|book| (book.read_from, book.cursor));
        if number > self.number {
            self.number = number;
        }
        self.expected = self.expected.max(cursor);
    }

    /// The record at `self.number`; `None`: there is none, and `self.number` has moved on.
    fn fetch(&mut self, durable: Number) -> Result<Option<Arc<Record>>, JournalError> {
        if let Some(record) = self.lane.journal.0.recall(self.number) {
            return Ok(Some(record));
        }
        let log = &self.lane.journal.0.log;
        let record = log.read(&mut self.reading, self.number)?;
        let Some(reading) = self.reading.current() else {
            self.number = log.firsts().first().copied().unwrap_or(durable.next()).max(self.number.next());
            return Ok(None);
        };
        if record.is_some() {
            return Ok(record);
        }
        // What this run wrote and saw durable is there: not finding it is a fault of the look. Unless the medium has
        // refused for long enough to be believed.
        if self.number >= self.lane.journal.0.began && !reading.is_aside() {
            return Err(lost_sight_of(self.number, &mut self.reading));
        }
        self.number = self.lane.journal.0.next_above(reading, self.number)?;
        Ok(None)
    }
}

/// This run wrote it and cannot find it in `reading`.
fn lost_sight_of(number: Number, reading: &mut Readings) -> JournalError {
    if let Some(reading) = reading.drop_current() {
        reading.look_anew();
    }
    JournalError::Generation(format!(
        "record {number} was durable in this run and cannot be read back now; it is looked for again, and given up only at the next start"
    ))
}
