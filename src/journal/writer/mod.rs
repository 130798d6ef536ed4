//! The writer: takes all that waits, makes it one commit, syncs it, and gives the tickets back in order.
//!
//! It runs on its own thread, because a commit may take as long as the card pleases. The order of its steps is the
//! promise 'durable before acknowledged': number → append and sync → books → durable high water (lanes may read) →
//! tickets (intake may acknowledge). A failure anywhere before the sync returned leaves books, high water and tickets as
//! they were, and the very same records, under the same numbers, are tried again until the disk takes them; so does a
//! panic ([`crate::journal::writer::hand`]). The writer never drops anything that was received; what is unacknowledged
//! stays with the broker.

pub(crate) mod age;
pub(crate) mod anew;
pub(crate) mod eviction;
pub(crate) mod free;
pub(crate) mod give_back;
pub(crate) mod hand;
pub(crate) mod heads;
pub(crate) mod idle;
pub(crate) mod numbering;
pub(crate) mod requeue;

use crate::journal::disk::frame::FRAME_VERSION;
use crate::journal::error::JournalError;
use crate::journal::generation::active::{ActiveGeneration, GenerationError};
use crate::journal::generation::manifest::{Manifest, ManifestLane};
use crate::journal::handle::Journal;
use crate::journal::handle::append::{Append, Item, Ticket, weight};
use crate::journal::handle::health::WriterHealth;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::ledger::cadence::Moved;
use crate::journal::ledger::gap_record;
use crate::journal::ledger::retention::Bound;
use crate::journal::limits::{COMMIT_BYTES, COMMIT_RECORDS};
use crate::journal::log::framed;
use crate::journal::writer::age::Oldest;
use crate::journal::writer::hand::{Commit, Hand};
use crate::journal::writer::numbering::Numbering;
use crate::record::{Draft, Number};
use crate::sync::locked;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// A group of at least this many shows a flood: waiting a moment for the broker's next window then saves a sync.
const FLOOD: usize = 8;
const FLOOD_LINGER: Duration = Duration::from_millis(1);
/// Between attempts on a failing or full disk.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Where the writer continues.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The next record's number.
    pub(crate) next: Number,
    /// The generation to continue in; `None`: start one.
    pub(crate) active: Option<Arc<ActiveGeneration>>,
    /// What the newest generation holds, be it continued or closed: at a bound, one that holds something can be given up.
    pub(crate) bytes: u64,
}

/// The writer; made once per open, run on its own thread.
#[derive(Debug)]
pub struct Writer<T> {
    pub(crate) journal: Journal,
    pub(crate) inbox: UnboundedReceiver<Append<T>>,
    pub(crate) committed: UnboundedSender<Vec<T>>,
    linger: Duration,
    pub(crate) stop: Arc<AtomicBool>,
    /// What was taken from the inbox and is not given back yet.
    pub(crate) hand: Hand<T>,
    /// What was found at the opening is on stable storage.
    pub(crate) sure: bool,
    /// How often it has been started again since it last had nothing in hand.
    pub(crate) panics_in_row: u32,
    pub(crate) next: Number,
    pub(crate) active: Option<Arc<ActiveGeneration>>,
    /// What the newest generation holds, be it open or closed.
    pub(crate) active_bytes: u64,
    /// Written since the writer rested last: see [`crate::journal::writer::idle`].
    pub(crate) restless_bytes: u64,
    last_group: usize,
    pub(crate) free: free::Free,
    /// At the bound, the writer let go of all that lanes are past, and it did not help.
    pub(crate) deleted: bool,
    /// The search for what is too old, where age is a bound.
    pub(crate) oldest: Option<Oldest>,
    /// Nothing runs on it: the thread waits in it for two things at once.
    pub(crate) waiting: tokio::runtime::Runtime,
}

impl<T: Ticket> Writer<T> {
    pub(crate) fn new(
        journal: Journal,
        tail: Tail,
        linger: Duration,
        inbox: UnboundedReceiver<Append<T>>,
        committed: UnboundedSender<Vec<T>>,
        stop: Arc<AtomicBool>,
    ) -> Writer<T> {
        let Tail { next, active, bytes: active_bytes } = tail;
        // What is closed keeps nothing in memory.
        let restless_bytes = active.as_ref().map_or(0, |_| active_bytes);
        let waiting = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let waiting = waiting.expect("a runtime without sockets asks nothing of the system");
        let oldest = journal.0.bounds.max_age.map(Oldest::new);
        if locked(&journal.0.books).iter().any(|book| !book.holes.all().is_empty()) {
            // Left by the run before: they do not wait for a message either.
            journal.0.noted.notify_one();
        }
        Writer {
            journal,
            inbox,
            committed,
            linger,
            stop,
            hand: Hand::default(),
            sure: false,
            panics_in_row: 0,
            next,
            active,
            active_bytes,
            restless_bytes,
            last_group: 0,
            free: free::Free::default(),
            deleted: false,
            oldest,
            waiting,
        }
    }

    /// Takes what waits in the inbox behind `first`, too.
    pub(crate) fn collect(&mut self, first: Append<T>) {
        let size = |append: &Append<T>| match &append.item {
            Item::Record(draft) | Item::Head { draft, .. } => weight(draft),
            Item::Repeat => 0,
        };
        let mut bytes = size(&first);
        self.hand.take(first);
        if !self.linger.is_zero() {
            std::thread::sleep(self.linger);
        } else if self.last_group >= FLOOD && self.inbox.len() + 1 < self.last_group {
            std::thread::sleep(FLOOD_LINGER);
        }
        while self.hand.items.len() < COMMIT_RECORDS && bytes < COMMIT_BYTES {
            let Ok(next) = self.inbox.try_recv() else { break };
            bytes += size(&next);
            self.hand.take(next);
        }
        self.last_group = self.hand.items.len();
    }

    /// Commits what is in hand up to the first head, and whatever gap and health records wait; the tickets learn their numbers.
    /// `false`: told to stop before the disk took it.
    pub(crate) fn commit(&mut self) -> bool {
        if self.hand.commit.is_none() && !self.number_what_waits() {
            return false;
        }
        if self.hand.commit.is_none() {
            return true;
        }
        let began = Instant::now();
        if !self.insist(Self::write) {
            return false;
        }
        locked(&self.journal.0.commits).observe(began.elapsed());
        self.publish();
        let leaving = self.hand.commit.take().map(|commit| commit.leaving).unwrap_or_default();
        if !leaving.is_empty() {
            self.requeued(leaving);
        }
        true
    }

    /// Makes a commit of what waits, if anything does. `false`: told to stop before there was room for it.
    fn number_what_waits(&mut self) -> bool {
        let count = self.hand.for_the_log();
        let bytes: usize = self.hand.items.iter().take(count).filter_map(as_record).map(weight).sum();
        if !self.insist(Self::make_sure) || !self.insist_on_room(bytes as u64) {
            return false;
        }
        let mut announcements = self.announcements();
        // The state on disk has every hole before its gap record is committed: see `gaps`.
        if !announcements.is_empty() && !self.insist(|writer| writer.journal.0.write_state()) {
            return false;
        }
        announcements.append(&mut locked(&self.journal.0.own).drafts);
        let boot = self.journal.0.clock.boot();
        let fresh = |draft| Numbering { draft, boot, requeued: false };
        let received = self.hand.items.iter().take(count).filter_map(as_record);
        let slots = self.slots(announcements.iter().chain(received));
        if slots.is_empty() {
            self.hand.items.drain(..count);
            self.hand.done += count;
            return true;
        }
        // From here on nothing can fail: what leaves the items is in the commit.
        let mut number = self.next + announcements.len() as u64;
        let mut received = Vec::with_capacity(count);
        for item in self.hand.items.drain(..count) {
            if let Item::Record(draft) = item {
                // None is there where the sabotage gave them back early.
                if let Some(ticket) = self.hand.tickets.get_mut(self.hand.done) {
                    ticket.numbered(number);
                }
                number = number.next();
                received.push(*draft);
            }
            self.hand.done += 1;
        }
        let drafts = announcements.into_iter().chain(received).map(fresh);
        let records = self.number(drafts.zip(slots));
        let mut own = locked(&self.journal.0.own);
        records.iter().for_each(|record| own.note(record));
        drop(own);
        self.hand.commit = Some(Commit { records, leaving: Vec::new(), durable: false });
        true
    }

    /// A gap record for every hole that waits for one.
    fn announcements(&self) -> Vec<Draft> {
        let shared = &self.journal.0;
        let now = shared.clock.now();
        let mut books = locked(&shared.books);
        let drafts = books.iter_mut().flat_map(|book| {
            let (id, name) = (book.id, book.name.clone());
            let holes = book.holes.leave().iter();
            holes.map(|hole| gap_record::draft(shared.run.journal, now, (id, &name), hole)).collect::<Vec<_>>()
        });
        drafts.collect()
    }

    /// Repeats a step until it succeeds. `false`: told to stop in between.
    pub(crate) fn insist(&mut self, mut step: impl FnMut(&mut Self) -> Result<(), JournalError>) -> bool {
        self.insist_unless_stopped(|writer| step(writer).map(|()| None))
    }

    /// Makes room for a commit of `bytes`, however long that takes. `false`: told to stop in between.
    pub(crate) fn insist_on_room(&mut self, bytes: u64) -> bool {
        self.insist_unless_stopped(|writer| writer.make_room(bytes))
    }

    /// Repeats a step that may say at which bound it stopped.
    fn insist_unless_stopped(
        &mut self,
        mut step: impl FnMut(&mut Self) -> Result<Option<Bound>, JournalError>,
    ) -> bool {
        let mut pause = RETRY_FIRST;
        loop {
            let health = match step(self) {
                Ok(None) => {
                    self.set_health(WriterHealth::Fine);
                    return true;
                }
                Ok(Some(bound)) => WriterHealth::Full { bound },
                Err(error) => {
                    // sled's errors stick to an open database: whatever it was, continue with another one.
                    self.active = None;
                    if error.is_full() {
                        self.relieve();
                    }
                    WriterHealth::Failing { error: error.to_string() }
                }
            };
            let full = matches!(health, WriterHealth::Full { .. });
            self.set_health(health);
            if self.stop.load(Relaxed) {
                return false;
            }
            if full {
                self.await_room();
                pause = RETRY_FIRST;
            } else {
                // A failing disk is not hurried.
                std::thread::sleep(pause);
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }

    fn set_health(&self, now: WriterHealth) {
        let mut health = locked(&self.journal.0.health);
        if std::mem::discriminant(&*health) != std::mem::discriminant(&now) {
            match &now {
                WriterHealth::Fine => {
                    tracing::info!("journal takes records again");
                    self.restock();
                }
                WriterHealth::Full { bound } => tracing::error!(
                    bound = bound.key(),
                    remedy = bound.remedy(),
                    "journal at its bound, nothing is acknowledged"
                ),
                WriterHealth::Failing { error } => tracing::error!(
                    error,
                    "journal cannot be written, nothing is acknowledged: check disk space and the card's health"
                ),
            }
        }
        *health = now;
    }

    /// Writes the commit in hand.
    fn write(&mut self) -> Result<(), JournalError> {
        let Some(Commit { records, durable: false, .. }) = &self.hand.commit else { return Ok(()) };
        let records = records.clone();
        crate::failpoints::panic_if_told(&self.journal.0.path, "commit");
        let (frames, bytes) = framed(&records, Some(self.next.before()));
        let has_room = self.active.as_ref().is_none_or(|active| active.has_room_for(frames.len()));
        if self.active_bytes >= self.journal.0.generation_bytes || !has_room {
            self.rotate()?;
        }
        let active = self.active()?;
        if let Err(error) = active.append(frames) {
            let unsynced = matches!(error, GenerationError::Unsynced { .. });
            let error = JournalError::from(error);
            // A disk without room mostly says so before it writes; one that says it at the sync may have lost what was written.
            if unsynced || !error.is_full() {
                self.journal.0.log.distrust_newest();
            }
            return Err(error);
        }
        if let Some(commit) = &mut self.hand.commit {
            commit.durable = true;
        }
        self.active_bytes += bytes;
        self.restless_bytes += bytes;
        Ok(())
    }

    fn active(&mut self) -> Result<Arc<ActiveGeneration>, JournalError> {
        if let Some(generation) = &self.active {
            return Ok(generation.clone());
        }
        let generation = match self.written_anew()? {
            Some(generation) => generation,
            None => {
                let generation = self.journal.0.log.start(self.manifest())?;
                self.active_bytes = 0;
                generation
            }
        };
        Ok(self.active.insert(generation).clone())
    }

    fn manifest(&self) -> Manifest {
        let fact = |book: &LaneLedger| ManifestLane { id: book.id, name: book.name.clone(), next: book.next };
        let lanes = locked(&self.journal.0.books).iter().map(fact).collect();
        Manifest { format: FRAME_VERSION, first: self.next, epoch: self.journal.epoch(), lanes }
    }

    /// Closes the active generation and starts the next one; what all lanes are past goes now.
    pub(crate) fn rotate(&mut self) -> Result<(), JournalError> {
        let fresh = self.journal.0.log.start(self.manifest())?;
        self.active = Some(fresh);
        self.active_bytes = 0;
        // What the closed one held in memory is free now, in many small pieces.
        lean_heap::trim();
        self.journal.0.note(Moved::Soon);
        self.restock();
        Ok(())
    }

    /// Updates the books and the high water under one lock, so a reader that sees there that a record was appended or a
    /// hole announced can read it, too. After a panic it is done again from the beginning.
    fn publish(&mut self) {
        let Some(Commit { records, .. }) = &self.hand.commit else { return };
        let shared = &self.journal.0;
        let high = records.last().expect("a commit has records").number;
        // Before the books: no lane reads beyond the high water, and a thread that settles need not wait for it.
        shared.remember(records.iter().cloned());
        {
            let mut books = locked(&shared.books);
            for slot in records.iter().flat_map(|record| &record.slots) {
                let book = books.iter_mut().find(|book| book.id == slot.lane).expect("numbered from these books");
                book.next = slot.position.next();
            }
            books.iter_mut().for_each(|book| book.holes.announced());
            shared.durable.send_replace(high);
        }
        crate::failpoints::panic_if_told(&shared.path, "publish");
        self.next = high + 1;
        shared.note(Moved::Appended);
    }
}

fn as_record(item: &Item) -> Option<&Draft> {
    match item {
        Item::Record(draft) => Some(draft),
        Item::Repeat | Item::Head { .. } => None,
    }
}
