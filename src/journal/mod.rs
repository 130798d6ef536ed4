//! The journal: one log on disk for all lanes, from the acknowledgement to the trim.
//!
//! What it promises:
//!
//! 1. A ticket comes back only after its item and all before it are on stable storage ([`commit`]); sled's flush is made
//!    to reach the device by `full-sync`, which is checked before the first database is opened.
//! 2. Nothing is read before it is durable: lanes read up to the durable high water only ([`lane`]).
//! 3. Numbers are dense and rise; `(epoch, number)` is never given twice, because the epoch is durable before the first
//!    append of an open.
//! 4. A record leaves only when every lane is past it, and the durable cursors say so before its generation goes
//!    ([`log`], [`Journal::keep`]).
//! 5. Each position of a lane gets exactly one outcome ([`books`]).
//! 6. It opens on whatever it finds. Two reasons excepted: another process holds it, or a newer tidegate wrote it.
//!
//! On disk: `format`, `lock`, `state` ([`state`]), `log/gen-…/` ([`log`], [`generation`], [`closed`]), `quarantine/`,
//! `reserve` ([`reserve`]).

mod age;
mod ahead;
mod anew;
mod append;
mod aside;
mod beside;
pub mod books;
mod closed;
mod closing;
mod commit;
mod error;
mod facts;
pub(crate) mod files;
pub mod folder;
mod format;
mod frame;
#[cfg(feature = "rig")]
pub use frame::forged;
#[cfg(feature = "rig")]
pub(crate) mod fuzz;
mod gap_record;
mod gaps;
mod generation;
mod hand;
mod heads;
mod index;
mod keeper;
mod lane;
mod lane_state;
mod lanes;
mod log;
mod named;
mod numbering;
mod open;
mod origin;
pub mod place;
mod quarantine;
pub(crate) mod refusal;
mod report;
mod requeue;
mod reserve;
mod rest;
mod retention;
mod room;
mod settled;
mod slot;
mod state;
#[cfg(test)]
mod tests;
mod value;
mod view;

pub use append::{Append, Item, Ticket, Unjournaled};
pub use closing::Closing;
pub use commit::{Writer, WriterHealth};
pub use error::JournalError;
pub use facts::{EvictionFacts, JournalFacts, LaneFacts};
pub use lane::{Lane, MaybeSent, ReadRecord, Reader};
pub use named::{NameError, Named, QuarantineId};
pub use open::{GENERATION_BYTES, JournalOptions, Opened, QUIET};
pub use quarantine::{QuarantineCounts, Quarantined};
pub use report::OpenReport;
pub use requeue::Requeued;
pub use reserve::RESERVE_BYTES;
pub use retention::{Bound, Bounds};
pub use view::{Soundness, View, ViewFacts};

use crate::clock::Clock;
use crate::record::{JournalId, LaneId, OpenAcks, Record, Run};
use books::{LaneBook, Outcome};
use gaps::{About, Hole, Reason};
use log::{Log, locked};
use origin::Machine;
use reserve::Reserve;
use state::StateFile;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Records just committed that are kept in memory for lanes that are level with them.
const RECENT_BYTES: usize = 256 * 1024;

/// An open journal; cheap to clone. The lock is held until the last clone is gone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    run: Run,
    machine: Machine,
    /// What intake says of the acks that are open; goes to disk with each commit and each state.
    open_acks: Mutex<Option<OpenAcks>>,
    path: PathBuf,
    clock: Clock,
    bounds: Bounds,
    reserve: Reserve,
    generation_bytes: u64,
    quiet: Duration,
    log: Log,
    /// Lowest number that a lane needs by the state on disk, whichever of its slots a start finds.
    durable_need: AtomicU64,
    /// The lowest lane id that was never given.
    lane_ids: u32,
    books: Mutex<Vec<LaneBook>>,
    state: Mutex<StateFile>,
    /// Highest durable number; lanes wait on it.
    durable: watch::Sender<u64>,
    /// The first number of this run.
    began: u64,
    /// What the newest generation held when this run began.
    found: Vec<ahead::Run>,
    recent: Mutex<Recent>,
    keeper: keeper::Keeper,
    quarantine: quarantine::Quarantine,
    /// What goes back from quarantine into the log with the next commits.
    requeues: Mutex<requeue::Requeues>,
    /// At which bound something was evicted last, and when, in ms since boot.
    evicted: Mutex<Option<(&'static str, u64)>>,
    /// Something is to be announced, and the writer need not wait for a message to do it.
    noted: tokio::sync::Notify,
    /// A position was settled: a writer that stands at a bound looks whether a generation can go.
    settled: tokio::sync::Notify,
    health: Mutex<WriterHealth>,
    /// The newest state is not on the disk, which is read-only, but beside it.
    beside: AtomicBool,
    /// How often the writer panicked in this run.
    panics: AtomicU64,
    _lock: std::fs::File,
    /// The last field, so that it goes after the lock: who waits for it finds the journal unlocked.
    closing: watch::Sender<()>,
}

/// Dense run of the newest records.
#[derive(Debug, Default)]
struct Recent {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
}

impl Journal {
    /// The journal's id.
    pub fn id(&self) -> JournalId {
        self.0.run.journal
    }

    /// This open of it.
    pub fn run(&self) -> Run {
        self.0.run
    }

    /// Takes what intake knows of open acks: it goes to disk with the next commit and the next state, and with `soon` within
    /// a second even where nothing else moves.
    pub fn note_open_acks(&self, acks: OpenAcks, soon: bool) {
        *locked(&self.0.open_acks) = Some(acks);
        if soon {
            self.0.dirty();
        }
    }

    /// Which open this is.
    pub fn epoch(&self) -> u64 {
        self.0.run.epoch
    }

    /// The journal's folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file of what can never be sent; it may be moved away at any time.
    #[cfg(test)]
    pub(crate) fn quarantine_file(&self) -> PathBuf {
        self.0.quarantine.file()
    }

    /// The last durable number, to be asked at any time.
    pub fn durable_number(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let durable = self.0.durable.subscribe();
        Arc::new(move || *durable.borrow())
    }

    /// Changes with the last durable number.
    pub fn durable_watch(&self) -> watch::Receiver<u64> {
        self.0.durable.subscribe()
    }

    /// The lane of a configured queue.
    pub fn lane(&self, name: &str) -> Option<Lane> {
        let id = locked(&self.0.books).iter().find(|book| book.name == name)?.id;
        Some(Lane::new(self.clone(), id))
    }

    /// Ids of configured queues' lanes, for routing.
    pub fn lane_id(&self, name: &str) -> Option<LaneId> {
        locked(&self.0.books).iter().find(|book| book.name == name).map(|book| book.id)
    }
}

impl Shared {
    /// Books the unsettled positions in `from..to` of a lane as unreadable, and notes the hole.
    fn book_damage(&self, lane: LaneId, from: u64, to: u64, about: About) {
        let mut books = locked(&self.books);
        let Some(book) = books.iter_mut().find(|book| book.id == lane) else { return };
        let ranges = book.settle_between(from, to, Outcome::Damaged);
        let hole = Hole::new(Reason::Damaged, ranges.clone(), about);
        let (name, count) = (book.name.clone(), hole.count);
        book.holes.note(hole);
        drop(books);
        aside::note_lost(&self.path, lane, &ranges);
        if count > 0 {
            tracing::error!(lane = name, from, to = to - 1, count, "records lost: they cannot be read back");
            self.noted.notify_one();
        }
        self.dirty();
    }

    fn remember(&self, records: impl Iterator<Item = Arc<Record>>) {
        let mut recent = locked(&self.recent);
        for record in records {
            recent.bytes += weight(&record);
            recent.records.push_back(record);
        }
        while recent.bytes > RECENT_BYTES {
            let Some(gone) = recent.records.pop_front() else { break };
            recent.bytes -= weight(&gone);
        }
    }

    /// Whoever still needs one of the newest records reads it from the disk.
    fn forget(&self) {
        *locked(&self.recent) = Recent::default();
    }

    fn recall(&self, number: u64) -> Option<Arc<Record>> {
        let recent = locked(&self.recent);
        let first = recent.records.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        recent.records.get(index).cloned()
    }
}

fn weight(record: &Record) -> usize {
    record.draft.message.payload.len() + record.draft.message.topic.len() + 512
}
