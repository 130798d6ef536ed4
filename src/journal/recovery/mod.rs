//! Opening a journal on whatever is there.
//!
//! The order matters. The lock first: no other process changes anything then. Then the format: a newer one is left untouched. Then the state,
//! the generations, and the tail of the newest one, from which the next number and every lane's next position follow.
//! Only when the new epoch is durable may anything be appended. Generations of earlier opens are never appended to: a
//! small newest one is carried over into a fresh database, a large one is simply closed.

pub(crate) mod announced;
pub(crate) mod format;
pub(crate) mod lanes;
pub(crate) mod offline;
mod owner;
pub(crate) mod report;
pub(crate) mod tail;
pub(crate) mod taken_back;

use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::journal::checkpoint::machine::Machine;
use crate::journal::checkpoint::state::{Found, Home, State, StateFile};
use crate::journal::disk::beside::is_read_only;
use crate::journal::disk::folder::Trusted;
use crate::journal::disk::reserve::Reserve;
use crate::journal::disk::{files, folder, volume};
use crate::journal::error::JournalError;
use crate::journal::handle::append::{Append, Ticket};
use crate::journal::handle::health::WriterHealth;
use crate::journal::handle::keeper::Checkpointer;
use crate::journal::handle::options::JournalOptions;
use crate::journal::handle::{Journal, Recent, Shared};
use crate::journal::ledger::books::LaneLedger;
use crate::journal::limits::COMMIT_MS;
use crate::journal::log::{Log, aside};
use crate::journal::quarantine::Quarantine;
use crate::journal::random::draw;
use crate::journal::recovery::format::check_format;
use crate::journal::recovery::owner::Owner;
use crate::journal::recovery::report::OpenReport;
use crate::journal::recovery::tail::{Counted, read_tail};
use crate::journal::writer::anew::{carry_over, made_sure};
use crate::journal::writer::{Tail, Writer};
use crate::record::{Number, OpenAcks, Record, Run};
use crate::sync::locked;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// A newest generation with at most so many bytes of envelopes is carried over instead of closed.
const CARRY_BYTES: u64 = 256 * 1024;

/// An open journal without a running writer.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What was found.
    pub report: OpenReport,
    tail: Tail,
    /// The newest generations as they were, oldest first.
    newest: Vec<Counted>,
    /// What the state file said of open acks.
    open_acks: Option<OpenAcks>,
}

impl Opened {
    /// Shows every sound record of the journal's tail, oldest first: at least the last 2,000 of those still on disk.
    /// Reads them one by one, so that a start costs no memory.
    pub fn each_of_tail(&mut self, show: &mut dyn FnMut(&Record)) {
        for (closed, end) in std::mem::take(&mut self.newest) {
            // For the key index alone: what cannot be read now waits for its reader, and a redelivery of it is recorded again.
            for read in closed.records(Number(0), end) {
                match read {
                    Ok((record, _)) => show(&record),
                    Err(error) => {
                        tracing::warn!(%error, end = end.0, "records before this number cannot be read now: redeliveries of them are not recognised");
                        break;
                    }
                }
            }
        }
    }

    /// Hashes of the deliveries of messages that were not journaled and whose heads are in quarantine, oldest first.
    pub fn heads(&self) -> Vec<u64> {
        self.journal.0.quarantine.deliveries()
    }

    /// What the state file said of acks that were open, if it said anything; each record of the tail may say more.
    pub fn open_acks(&self) -> Option<&OpenAcks> {
        self.open_acks.as_ref()
    }

    /// The writer; to be run on a thread of its own. `stop` ends its waiting on a disk that refuses.
    pub fn writer<T: Ticket>(
        self,
        linger: Duration,
        inbox: UnboundedReceiver<Append<T>>,
        committed: UnboundedSender<Vec<T>>,
        stop: Arc<AtomicBool>,
    ) -> Writer<T> {
        Writer::new(self.journal, self.tail, linger, inbox, committed, stop)
    }
}

impl Journal {
    /// Opens the journal, or makes it.
    ///
    /// # Errors
    /// [`JournalError::Locked`] and [`JournalError::Newer`] are final; anything else is the disk's doing and may be tried
    /// again.
    pub fn open(options: &JournalOptions, clock: &Clock) -> Result<Opened, JournalError> {
        if let Err(error) = no_range_sync::check() {
            tracing::warn!(error, "commits wait longer than they must: please report this with the log");
        }
        match Journal::open_once(options, clock) {
            Err(error) if error.is_full() && Reserve::new(&options.path, options.reserve_bytes).give_up() => {
                tracing::warn!(%error, "disk full: the journal's reserve is given up, so that it can be opened");
                Journal::open_once(options, clock)
            }
            opened => opened,
        }
    }

    /// The steps of an opening, each of which needs what the ones before it found.
    fn open_once(options: &JournalOptions, clock: &Clock) -> Result<Opened, JournalError> {
        let (ground, mut report) = Ground::take(options, clock)?;
        let Ground { lock, state_file, state, log } = ground;
        let known = state.as_ref().map(|state| state.high);
        let high = known.unwrap_or_default();
        let (tail, newest) = read_tail(&log, known, known.and(state_file.disk_high()).unwrap_or_default())?;
        report.missing = (high - tail.newest.last.max(tail.newest.first.before())).max(tail.missing);
        report.in_doubt = tail.in_doubt;
        let spent = log.spent();
        let last = tail.newest.last.max(high).max(spent.high());

        let machine = Machine::look(&options.machine, &options.path);
        let mut owner = Owner::known(state, machine, &tail, &log, clock, &mut report)?;
        log.know(owner.ids());
        let end = newest.last().map_or(Number::MAX, |(_, end)| *end);
        announced::forget_announced(&log, high, end, &mut owner.books)?;
        if report.marks_may_be_missing() {
            lanes::recover(&log, &tail.lanes, &mut owner.books)?;
        }
        if report.state_lost {
            owner.note_loss(last.next());
        }
        spent.settle_in(&mut owner.books);
        if log.firsts().is_empty() {
            // Nothing is missing that no lane waits for: the last generation may go with the last record.
            let waiting = owner.books.iter().filter(|book| book.waiting() > 0).map(|book| book.read_from).min();
            report.missing = waiting.map_or(0, |from| high.next() - from);
        }
        owner.go_on_behind(&tail, &report);
        let quarantine = open_quarantine(&options.path)?;
        let lane_ids = owner.configure(options, &log, &tail, &quarantine, last.next())?;

        // Before the state says that all of it is durable.
        let sure = match newest.last().filter(|_| tail.unproven || log.is_distrusted(tail.newest.first)) {
            Some((closed, _)) => made_sure(&log, &tail.newest, closed, owner.epoch, &owner.books, options)?,
            None => None,
        };
        let stranded = |book: &&LaneLedger| !options.lanes.contains(&book.name) && book.waiting() > 0;
        report.stranded = owner.books.iter().filter(stranded).map(|book| book.name.clone()).collect();
        let open_acks = owner.open_acks.clone();
        let parts = Parts { lock, state_file, log, owner, quarantine, lane_ids, last };
        let journal = parts.assemble(options, clock);
        journal.keep_epoch(&report)?;
        if let Err(error) = journal.0.reserve.make(options.bounds.min_free) {
            tracing::warn!(%error, "the journal's reserve for a full disk cannot be made now");
        }
        let small = sure.is_none() && (1..=CARRY_BYTES).contains(&tail.bytes);
        let active = match newest.last().filter(|_| small) {
            // The generation starts where it did, so its lanes do, too.
            Some((closed, _)) => carry_over(&journal, tail.newest.first, closed, last).unwrap_or_else(|error| {
                // On a full disk, most likely: what is there can still be drained, and that makes room.
                tracing::warn!(%error, "small newest generation not carried over, it is closed as it is");
                None
            }),
            None => sure,
        };
        let active = active.filter(|_| {
            // The newest ones are lost: it ends before what went out of turn behind it, and is not gone on in.
            let ends = spent.is_behind(tail.newest.first);
            if ends {
                journal.0.log.end(last.next());
            }
            !ends
        });
        let tail = Tail { next: last.next(), active, bytes: tail.bytes };
        Ok(Opened { journal, report, tail, newest, open_acks })
    }

    /// Makes epoch and run durable; only then may a number be given.
    fn keep_epoch(&self, report: &OpenReport) -> Result<(), JournalError> {
        self.0.keep_state(Home::DiskOrBoot)?;
        if report.marks_may_be_missing() {
            // Both halves are sound again before anything hangs on one of them, and neither has an older epoch.
            self.0.write_slot(Home::DiskOrBoot)?;
        }
        while locked(&self.0.state).is_young() {
            // A later start that finds a half blank then knows that it came back empty.
            self.0.write_slot(Home::DiskOrBoot)?;
        }
        Ok(())
    }
}

/// What an opening begins with: the lock, and what the folder holds.
struct Ground {
    lock: File,
    state_file: StateFile,
    /// What the state file says; `None`: nothing, or nothing sound.
    state: Option<State>,
    log: Log,
}

impl Ground {
    fn take(options: &JournalOptions, clock: &Clock) -> Result<(Ground, OpenReport), JournalError> {
        let path = &options.path;
        let io = |source| JournalError::io(path, source);
        if let Some(why) = folder::planted(path, &Trusted::with(None)).map_err(io)? {
            return Err(JournalError::Planted(why));
        }
        files::create_dir(path).map_err(io)?;
        let lock = take_lock(path, options.runtime.is_some())?;
        let mut report = OpenReport { made: check_format(path)?, in_ram: volume::in_ram(path), ..Default::default() };
        let runtime = options.runtime.as_deref().map(|folder| (folder, clock.boot()));
        let (state_file, found) = StateFile::open(&path.join("state"), runtime)?;
        let state = match found {
            Found::State { state, lost } => {
                report.slot_lost = lost;
                Some(*state)
            }
            Found::Nothing | Found::Damaged => None,
        };
        let log = Log::open(path)?;
        report.state_lost = state.is_none() && !log.firsts().is_empty();
        Ok((Ground { lock, state_file, state, log }, report))
    }
}

fn open_quarantine(path: &Path) -> Result<Quarantine, JournalError> {
    let folder = path.join("quarantine");
    let opened = aside::patiently(path, &folder, || Quarantine::open(&folder));
    opened.map_err(|source| JournalError::io(path, source))
}

/// What a journal is assembled from, once everything is known.
struct Parts {
    lock: File,
    state_file: StateFile,
    log: Log,
    owner: Owner,
    quarantine: Quarantine,
    /// Lane ids given so far.
    lane_ids: u32,
    /// The last number that was given.
    last: Number,
}

impl Parts {
    fn assemble(self, options: &JournalOptions, clock: &Clock) -> Journal {
        let Parts { lock, state_file, log, owner, quarantine, lane_ids, last } = self;
        Journal(Arc::new(Shared {
            run: Run { journal: owner.id, epoch: owner.epoch, random: draw() },
            machine: owner.machine,
            open_acks: Mutex::new(owner.open_acks),
            path: options.path.clone(),
            clock: clock.clone(),
            bounds: options.bounds,
            reserve: Reserve::new(&options.path, options.reserve_bytes),
            evicted: Mutex::default(),
            generation_bytes: options.generation_bytes,
            quiet: options.quiet,
            log,
            durable_need: AtomicU64::new(0),
            lane_ids,
            former: owner.former,
            loss: owner.loss,
            books: Mutex::new(owner.books),
            state: Mutex::new(state_file),
            durable: watch::Sender::new(last),
            began: last.next(),
            recent: Mutex::new(Recent::default()),
            keeper: Checkpointer::default(),
            quarantine,
            requeues: Mutex::default(),
            withdrawn: tokio::sync::watch::Sender::new(0),
            own: Mutex::default(),
            noted: tokio::sync::Notify::new(),
            settled: tokio::sync::Notify::new(),
            health: Mutex::new(WriterHealth::Fine),
            beside: AtomicBool::new(false),
            commits: Mutex::new(Histogram::new(COMMIT_MS)),
            panics: AtomicU64::new(0),
            lock,
            closing: watch::Sender::new(()),
        }))
    }
}

fn take_lock(path: &Path, may_only_read: bool) -> Result<File, JournalError> {
    let lock_path = path.join("lock");
    let open = || match files::writing().create(true).truncate(false).open(&lock_path) {
        // A lock asks nothing of the disk.
        Err(error) if is_read_only(&error) && may_only_read => File::open(&lock_path).map_err(|_| error),
        file => file,
    };
    let file = aside::patiently(path, &lock_path, open).map_err(|source| JournalError::io(&lock_path, source))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Locked(path.to_owned())),
        Err(error) => Err(JournalError::io(&lock_path, error.into())),
    }
}
