//! Opening a journal on whatever is there.
//!
//! The order matters. The lock first: nobody else moves. Then the format: a newer one is left untouched. Then the state,
//! the generations, and the tail of the newest one, from which the next number and every lane's next position follow.
//! Only when the new epoch is durable may anything be appended. Generations of earlier opens are never appended to: a
//! small newest one is carried over into a fresh database, a large one is simply closed.

pub(crate) mod announced;
pub(crate) mod format;
pub(crate) mod lanes;
pub(crate) mod offline;
pub(crate) mod report;
pub(crate) mod tail;
pub(crate) mod taken_back;

use crate::clock::{BootId, Clock};
use crate::journal::checkpoint::lane_state::LaneState;
use crate::journal::checkpoint::machine::{Machine, MachineMatch, draw_id};
use crate::journal::checkpoint::state::{Found, Home, StateFile};
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
use crate::journal::ledger::books::AttemptMark;
use crate::journal::log::{Log, aside};
use crate::journal::quarantine::Quarantine;
use crate::journal::random::draw;
use crate::journal::recovery::format::check_format;
use crate::journal::recovery::report::OpenReport;
use crate::journal::recovery::tail::{Counted, journal_of, read_tail};
use crate::journal::writer::anew::{carry_over, made_sure};
use crate::journal::writer::{Tail, Writer};
use crate::record::{Epoch, Number, OpenAcks, Position, Record, Run};
use crate::sync::locked;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// Epochs skipped when the state is lost: more opens than can have happened since the newest one that is still known.
const EPOCH_LEAP: u64 = 1_000;
/// And so many more by lot: a state that is lost twice, with no record in between, must not lead to the same one.
const EPOCH_LOT: u64 = 1_000_000;
/// A newest generation with at most so many bytes of envelopes is carried over instead of closed.
const CARRY_BYTES: u64 = 256 * 1024;

/// An open journal that nobody writes to yet.
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

    fn open_once(options: &JournalOptions, clock: &Clock) -> Result<Opened, JournalError> {
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
        let old = match found {
            Found::State { state, lost } => {
                report.slot_lost = lost;
                Some(*state)
            }
            Found::Nothing | Found::Damaged => None,
        };
        let log = Log::open(path)?;
        report.state_lost = old.is_none() && !log.firsts().is_empty();
        let known = old.as_ref().map(|state| state.high);
        let high = known.unwrap_or_default();
        let (tail, newest) = read_tail(&log, known, known.and(state_file.disk_high()).unwrap_or_default())?;
        report.missing = (high - tail.newest.last.max(tail.newest.first.before())).max(tail.missing);

        report.in_doubt = tail.in_doubt;

        let last = tail.newest.last.max(high);
        let mut machine = Machine::look(&options.machine, path);
        let (mut open_acks, mut ids_given) = (None, 0);
        let (id, epoch, mut books) = match old {
            Some(state) => {
                if let Some(last_good_s) = state.last_good_s {
                    clock.learn(last_good_s, i64::MAX);
                }
                let place = machine.compare(&state.machine);
                report.copied = place == MachineMatch::Another;
                report.machine_unknown = place == MachineMatch::Unknown;
                report.new_id = report.copied;
                report.former = report.copied.then_some(state.journal);
                if !report.copied {
                    machine = machine.noting(&state.machine);
                }
                (open_acks, ids_given) = (state.open_acks, state.lane_ids);
                // The slot that is lost may have been the first one of another open.
                let epoch = (state.epoch + u64::from(report.slot_lost)).max(tail.epoch);
                let books = state.lanes.into_iter().map(LaneState::into_book).collect::<Result<Vec<_>, _>>();
                let books = books.map_err(|reason| JournalError::Generation(reason.to_owned()))?;
                (if report.copied { draw_id() } else { state.journal }, epoch.next(), books)
            }
            None if report.state_lost => {
                // The newest one may have been begun a moment ago, and hold nothing yet.
                let known = tail.journal.map_or_else(|| journal_of(&log), |id| Ok(Some(id)))?;
                report.new_id = known.is_none();
                (known.unwrap_or_else(draw_id), tail.epoch + (EPOCH_LEAP + draw() % EPOCH_LOT), Vec::new())
            }
            None => (draw_id(), Epoch(1), Vec::new()),
        };
        let end = newest.last().map_or(Number::MAX, |(_, end)| *end);
        announced::forget_announced(&log, high, end, &mut books)?;
        if report.state_lost || report.slot_lost {
            lanes::recover(&log, &tail.lanes, &mut books)?;
        }
        if log.firsts().is_empty() {
            // Nothing is missing that no lane waits for: the last generation may go with the last record.
            let waiting = books.iter().filter(|book| book.waiting() > 0).map(|book| book.read_from).min();
            report.missing = waiting.map_or(0, |from| high.next() - from);
        }
        for book in &mut books {
            book.next = book.next.max(tail.next.get(&book.id).copied().unwrap_or(Position::FIRST));
            book.found = book.next;
            let appended = book.next.before();
            // A mark runs ahead. What is appended from here on is of a later epoch, and surely was not sent yet.
            book.marks.iter_mut().for_each(|mark| mark.upto = mark.upto.min(appended));
            if (report.state_lost || report.slot_lost) && appended > Position(0) {
                // Marks may be missing.
                book.presume(AttemptMark {
                    upto: appended,
                    epoch: epoch.before(),
                    boot: BootId::default(),
                    since_ms: 0,
                });
            }
        }
        let folder = path.join("quarantine");
        let quarantine = aside::patiently(path, &folder, || Quarantine::open(&folder)).map_err(io)?;
        let ids = lanes::Ids::known(ids_given, &log, &tail.lanes, &books);
        lanes::forget(&mut books, options, &quarantine);
        let lane_ids = lanes::add(&mut books, options, &ids, last.next())?;
        for book in books.iter_mut() {
            book.holes.set_silent(options.silent.contains(&book.name));
            book.absorbed = options.absorbing.contains(&book.name);
        }
        // Before the state says that all of it is durable.
        let sure = match newest.last().filter(|_| tail.unproven || log.is_distrusted(tail.newest.first)) {
            Some((closed, _)) => made_sure(&log, &tail.newest, closed, epoch, &books, options)?,
            None => None,
        };
        let stranded = books.iter().filter(|book| !options.lanes.contains(&book.name) && book.waiting() > 0);
        report.stranded = stranded.map(|book| book.name.clone()).collect();

        let reserve = Reserve::new(path, options.reserve_bytes);
        let journal = Journal(Arc::new(Shared {
            run: Run { journal: id, epoch, random: draw() },
            machine,
            open_acks: Mutex::new(open_acks.clone()),
            path: path.clone(),
            clock: clock.clone(),
            bounds: options.bounds,
            reserve,
            evicted: Mutex::default(),
            generation_bytes: options.generation_bytes,
            quiet: options.quiet,
            log,
            durable_need: AtomicU64::new(0),
            lane_ids,
            books: Mutex::new(books),
            state: Mutex::new(state_file),
            durable: watch::Sender::new(last),
            began: last.next(),
            recent: Mutex::new(Recent::default()),
            keeper: Checkpointer::default(),
            quarantine,
            requeues: Mutex::default(),
            noted: tokio::sync::Notify::new(),
            settled: tokio::sync::Notify::new(),
            health: Mutex::new(WriterHealth::Fine),
            beside: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            _lock: lock,
            closing: watch::Sender::new(()),
        }));
        // Epoch and run are durable from here on; only now may a number be given.
        journal.0.keep_state(Home::DiskOrBoot)?;
        if report.slot_lost || report.state_lost {
            // Both halves are sound again before anything hangs on one of them, and neither has an older epoch.
            journal.0.write_slot(Home::DiskOrBoot)?;
        }
        while locked(&journal.0.state).is_young() {
            // Whoever finds a half blank from here on knows that it came back empty.
            journal.0.write_slot(Home::DiskOrBoot)?;
        }
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
        let tail = Tail { next: last.next(), active, bytes: tail.bytes };
        Ok(Opened { journal, report, tail, newest, open_acks })
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
