//! A lane as the drain uses it: read forward, mark, settle.
//!
//! A [`Reader`] walks the log by number, from the lane's cursor up to the durable high water, and yields the lane's
//! records by position, without those that are settled. Positions are contiguous, so a jump is a hole: the records in
//! it cannot be read back, and are booked as damaged and announced. A hole at the very end of what an earlier run left
//! shows when all of that was read. Point reads, not iterators: an iteration would keep every leaf it passes in memory.

use crate::journal::error::JournalError;
use crate::journal::handle::Journal;
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::journal::ledger::cadence::Moved;
use crate::journal::ledger::gaps::{About, PendingGap, Reason, sure_ms};
use crate::journal::log::entry::Readings;
use crate::record::{Epoch, LaneId, Number, Position, Record};
use crate::sync::locked;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

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
    pub(in crate::journal) journal: Journal,
    pub(in crate::journal) id: LaneId,
    /// Where records are read a second time.
    pub(crate) again: Arc<Mutex<Readings>>,
    /// Held while a mark is being written: a caller that comes meanwhile waits until it is on disk.
    pub(in crate::journal) marking: Arc<Mutex<()>>,
}

/// A place in the log, seen from a lane: where the record of this position lies, or would.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The position that comes next.
    pub position: Position,
    /// The number to read from.
    pub number: Number,
}

impl Place {
    /// The place behind this one.
    #[must_use]
    pub fn next(self) -> Place {
        Place { position: self.position.next(), number: self.number.next() }
    }
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
    /// When the last record was received, where that is sure: what is missing behind it came later.
    received: Option<i64>,
    reading: Readings,
    /// Whether it tells the books where each position lies: the one that reads for the first time does.
    tells: bool,
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
        Lane { journal, id, again: Arc::new(Mutex::new(Readings::to_and_fro())), marking: Arc::default() }
    }

    /// The lane's id in records.
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// The journal it belongs to.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(in crate::journal) fn book<R>(&self, look: impl FnOnce(&mut LaneLedger) -> R) -> R {
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
        let reading = Readings::forward();
        Reader { lane: self.clone(), number, expected, attempted, received: None, reading, tells: true }
    }

    /// A reader of what another one ([`Lane::reader`]) has read before, from `place` on. `attempted` is that one's
    /// ([`Reader::attempted`]).
    pub fn reader_again(&self, place: Place, attempted: Position) -> Reader {
        let Place { position: expected, number } = place;
        let reading = Readings::forward();
        Reader { lane: self.clone(), number, expected, attempted, received: None, reading, tells: false }
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

    /// Whether a position has an outcome.
    pub fn is_settled(&self, position: Position) -> bool {
        self.book(|book| book.is_settled(position))
    }

    /// Runs of settled positions above the cursor.
    pub fn settled_runs(&self) -> usize {
        self.book(|book| book.settled.runs_count())
    }

    /// Changes whenever a person has put something that waited into quarantine.
    pub fn withdrawn(&self) -> watch::Receiver<u64> {
        self.journal.0.withdrawn.subscribe()
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
    /// Where it reads on.
    pub fn place(&self) -> Place {
        Place { position: self.expected, number: self.number }
    }

    /// Positions up to here may have been attempted in this epoch before this reader was made.
    pub fn attempted(&self) -> Position {
        self.attempted
    }

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
            let record = match self.lane.journal.fetch(&mut self.reading, &mut self.number, durable) {
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
        let received = sure_ms(&record, self.lane.journal.0.clock.present());
        if position > self.expected {
            self.lose(position, received);
        }
        self.received = received.or(self.received);
        self.expected = position.next();
        let settled = self.lane.book(|book| {
            if self.tells {
                book.saw(position, number);
            }
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
}

impl Journal {
    /// The record at `number`; `None`: there is none, and `number` has moved on.
    pub(in crate::journal) fn fetch(
        &self,
        reading: &mut Readings,
        number: &mut Number,
        durable: Number,
    ) -> Result<Option<Arc<Record>>, JournalError> {
        if let Some(record) = self.0.recall(*number) {
            return Ok(Some(record));
        }
        let log = &self.0.log;
        let record = log.read(reading, *number)?;
        let Some(current) = reading.current() else {
            *number = log.next_first(*number).unwrap_or(durable.next());
            return Ok(None);
        };
        if record.is_some() {
            return Ok(record);
        }
        // What this run wrote and saw durable is there: not finding it is a fault of the look. Unless the medium has
        // refused for long enough to be believed.
        if *number >= self.0.began && !current.is_aside() {
            return Err(lost_sight_of(*number, reading));
        }
        *number = self.0.next_above(current, *number)?;
        Ok(None)
    }
}

/// This run wrote it and cannot find it in `reading`.
pub(crate) fn lost_sight_of(number: Number, reading: &mut Readings) -> JournalError {
    if let Some(reading) = reading.drop_current() {
        reading.look_anew();
    }
    JournalError::Generation(format!(
        "record {number} was durable in this run and cannot be read back now; it is looked for again, and given up only at the next start"
    ))
}
