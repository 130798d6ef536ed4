//! The open journal, as all its users hold it: one value, cheap to clone, with everything that is shared behind it.

pub(crate) mod ahead;
pub(crate) mod append;
pub(crate) mod asking;
pub(crate) mod closing;
pub(crate) mod health;
pub(crate) mod keeper;
pub(crate) mod options;
pub(crate) mod own;
pub(crate) mod requests;

use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::journal::checkpoint::machine::Machine;
use crate::journal::checkpoint::state::StateFile;
use crate::journal::checkpoint::state_loss::StateLoss;
use crate::journal::disk::reserve::Reserve;
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::journal::ledger::cadence::Moved;
use crate::journal::ledger::gaps::{About, PendingGap, Reason};
use crate::journal::ledger::retention::Bounds;
use crate::journal::limits::RECENT_BYTES;
use crate::journal::log::{Log, aside};
use crate::journal::quarantine::Quarantine;
use crate::record::{Epoch, JournalId, LaneId, Number, OpenAcks, Position, Record, Run};
use crate::sync::locked;
use health::WriterHealth;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// An open journal; cheap to clone. The lock is held until the last clone is gone.
#[derive(Clone, Debug)]
pub struct Journal(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) run: Run,
    pub(crate) machine: Machine,
    /// What intake says of the acks that are open; goes to disk with each commit and each state.
    pub(crate) open_acks: Mutex<Option<OpenAcks>>,
    pub(crate) path: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) bounds: Bounds,
    pub(crate) reserve: Reserve,
    pub(crate) generation_bytes: u64,
    pub(crate) quiet: Duration,
    pub(crate) log: Log,
    /// Lowest number that a lane needs by the state on disk, whichever of its slots a start finds.
    pub(crate) durable_need: AtomicU64,
    /// The lowest lane id that was never given.
    pub(crate) lane_ids: u32,
    /// Ids that the journal had before.
    pub(crate) former: Vec<JournalId>,
    /// The last loss of a state, in this opening or an earlier one.
    pub(crate) loss: Option<StateLoss>,
    pub(crate) books: Mutex<Vec<LaneLedger>>,
    pub(crate) state: Mutex<StateFile>,
    /// Highest durable number; lanes wait on it.
    pub(crate) durable: watch::Sender<Number>,
    /// The first number of this run.
    pub(crate) began: Number,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) keeper: keeper::Checkpointer,
    pub(crate) quarantine: Quarantine,
    /// What goes back from quarantine into the log with the next commits.
    pub(crate) requeues: Mutex<requests::Requeues>,
    /// A person has put something that waited into quarantine; lanes look what that was.
    pub(crate) withdrawn: watch::Sender<u64>,
    /// At which bound something was evicted last, and when, in ms since boot.
    pub(crate) evicted: Mutex<Option<(&'static str, u64)>>,
    /// What tidegate has to say itself.
    pub(crate) own: Mutex<own::Own>,
    /// Something is to be announced, and the writer need not wait for a message to do it.
    pub(crate) noted: tokio::sync::Notify,
    /// A position was settled: a writer that waits at a bound looks whether a generation can go.
    pub(crate) settled: tokio::sync::Notify,
    pub(crate) health: Mutex<WriterHealth>,
    /// The newest state is not on the disk, which is read-only, but beside it.
    pub(crate) beside: AtomicBool,
    /// How long commits took in this run.
    pub(crate) commits: Mutex<Histogram>,
    /// How often the writer panicked in this run.
    pub(crate) panics: AtomicU64,
    pub(crate) lock: std::fs::File,
    /// The last field, so that it goes after the lock: a caller that waits for it finds the journal unlocked.
    pub(crate) closing: watch::Sender<()>,
}

/// Dense run of the newest records.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    pub(crate) records: VecDeque<Arc<Record>>,
    pub(crate) bytes: usize,
}

impl Journal {
    /// The journal's id, drawn when it was made.
    pub fn id(&self) -> JournalId {
        self.0.run.journal
    }

    /// This open of it: id, epoch and random bits.
    pub fn run(&self) -> Run {
        self.0.run
    }

    /// Takes what intake knows of open acks: it goes to disk with the next commit and the next state, and with `soon` within
    /// a second even where nothing else moves.
    pub fn note_open_acks(&self, acks: OpenAcks, soon: bool) {
        *locked(&self.0.open_acks) = Some(acks);
        if soon {
            self.0.note(Moved::Soon);
        }
    }

    /// Count of opens, this one included.
    pub fn epoch(&self) -> Epoch {
        self.0.run.epoch
    }

    /// The journal's folder, `journal.path`.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The file of what can never be sent; it may be moved away at any time.
    #[cfg(test)]
    pub(crate) fn quarantine_file(&self) -> PathBuf {
        self.0.quarantine.file()
    }

    /// Returns the last durable number whenever it is called.
    pub fn durable_number(&self) -> Arc<dyn Fn() -> Number + Send + Sync> {
        let durable = self.0.durable.subscribe();
        Arc::new(move || *durable.borrow())
    }

    /// Changes with the last durable number.
    pub fn durable_watch(&self) -> watch::Receiver<Number> {
        self.0.durable.subscribe()
    }

    /// Ids of configured queues' lanes, for routing.
    pub fn lane_id(&self, name: &str) -> Option<LaneId> {
        locked(&self.0.books).iter().find(|book| book.name == name).map(|book| book.id)
    }
}

impl Shared {
    /// Books the unsettled positions in `from..to` of a lane as unreadable, and notes the hole.
    pub(crate) fn book_damage(&self, lane: LaneId, from: Position, to: Position, about: About) {
        let mut books = locked(&self.books);
        let Some(book) = books.iter_mut().find(|book| book.id == lane) else { return };
        let ranges = book.settle_between(from, to, Outcome::Damaged);
        let hole = PendingGap::new(Reason::Damaged, ranges.clone(), about);
        let (name, count) = (book.name.clone(), hole.count);
        book.holes.note(hole);
        drop(books);
        aside::note_lost(&self.path, lane, &ranges);
        if count > 0 {
            tracing::error!(
                queue = name,
                from = from.0,
                to = to.before().0,
                count,
                "records lost: they cannot be read back"
            );
            self.noted.notify_one();
        }
        self.note(Moved::Soon);
    }

    pub(crate) fn remember(&self, records: impl Iterator<Item = Arc<Record>>) {
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

    /// Forgets the newest records: a reader that still needs one of them reads it from the disk.
    pub(crate) fn forget(&self) {
        *locked(&self.recent) = Recent::default();
    }

    pub(crate) fn recall(&self, number: Number) -> Option<Arc<Record>> {
        let recent = locked(&self.recent);
        let first = recent.records.front()?.number;
        let index = usize::try_from(number.0.checked_sub(first.0)?).ok()?;
        recent.records.get(index).cloned()
    }
}

fn weight(record: &Record) -> usize {
    record.draft.message.payload.len() + record.draft.message.topic.len() + 512
}
