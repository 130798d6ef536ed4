//! One open journal with its writer, driven from outside as the agent drives it.

use crate::draft::{draft, is_faithful, n_of, told_by};
use crate::marks::{LANES, Mark, PANIC, Seen, Witness};
use crate::world::{self, World};
use crate::{chain, coming};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate::clock::Clock;
use tidegate::config::OnFull;
use tidegate::journal::{
    self, Append, Item, Journal, JournalOptions, Lane, MaybeSent, OpenReport, ReadRecord, Reader, Unjournaled,
};
use tidegate::record::LaneId;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// Readings in a row that may fail before a reader gives up.
const REFUSALS: u32 = 10;
/// A writer that has not answered by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime of one thread")
});

/// What a run's journal is opened with.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Bounds {
    pub(crate) generation_bytes: u64,
    /// 2^30: none.
    pub(crate) max_bytes: u64,
    pub(crate) max_age_minutes: Option<u64>,
    /// 0: none.
    pub(crate) min_free: u64,
}

impl Bounds {
    /// Whether records may be evicted.
    pub(crate) fn can_evict(&self) -> bool {
        !self.keys().is_empty()
    }

    /// The bounds at which records may be evicted, as the configuration spells them.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        let bytes = (self.max_bytes < 1 << 30).then_some("journal.max_bytes");
        let age = self.max_age_minutes.map(|_| "journal.max_age");
        let free = (self.min_free > 0).then_some("journal.min_free");
        [bytes, age, free].into_iter().flatten().collect()
    }
}

/// An open journal.
pub(crate) struct Session {
    pub(crate) journal: Journal,
    pub(crate) report: OpenReport,
    /// It did not open at the first attempt.
    pub(crate) again: bool,
    seed: u64,
    pub(crate) world: World,
    inbox: Option<UnboundedSender<Append<u64>>>,
    committed: UnboundedReceiver<Vec<u64>>,
    waiting: usize,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

/// A record read back.
pub(crate) struct Read {
    pub(crate) seen: Seen,
    pub(crate) maybe_sent: bool,
    pub(crate) faithful: bool,
}

impl Session {
    /// Opens whatever is there; an error says what a person would have been told, or how it panicked.
    pub(crate) fn open(
        folder: &Path,
        seed: u64,
        bounds: Bounds,
        world: World,
        witness: &Witness,
    ) -> Result<Session, String> {
        world.show();
        witness.mark(Mark::Opening);
        let options = JournalOptions {
            path: folder.to_owned(),
            bounds: journal::Bounds {
                max_bytes: bounds.max_bytes,
                max_age: bounds.max_age_minutes.map(world::minutes),
                min_free: bounds.min_free,
                on_full: OnFull::DropOldest,
            },
            // Nothing but blocks: a cut may keep or lose it, and neither says anything of the records.
            reserve_bytes: 0,
            generation_bytes: bounds.generation_bytes,
            quiet: Duration::from_millis(1),
            lanes: LANES.into_iter().chain(world.comes.then_some(coming::NAME)).map(str::to_owned).collect(),
            silent: Vec::new(),
            // One of each kind of queue.
            absorbing: vec![LANES[0].into()],
            machine: "/".into(),
            runtime: None,
        };
        // The agent tries again, too, unless the error says that this is of no use.
        let mut attempts = 0;
        let opened = witness.insist(|| {
            attempts += 1;
            guarded(|| {
                let mut opened = Journal::open(&options, &Clock::new(None)).map_err(|error| error.to_string())?;
                // As the agent does, for its key index.
                opened.each_of_tail(&mut |_| {});
                Ok(opened)
            })
        })?;
        let (journal, report) = (opened.journal.clone(), opened.report.clone());
        let (id, World { minute, boot, .. }) = (journal.id().to_string(), world);
        witness.mark(Mark::Opened { epoch: journal.epoch().0, id, boot, minute });
        // From here on `keep` writes the state when something moved, and returns: when, is for the run to say.
        journal.stop_keeping();
        let (inbox, receiver) = unbounded_channel();
        let (sender, committed) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let writer = opened.writer(Duration::ZERO, receiver, sender, stop.clone());
        let writer = Some(std::thread::spawn(move || writer.run()));
        let session = Session {
            journal,
            report,
            again: attempts > 1,
            seed,
            world,
            inbox: Some(inbox),
            committed,
            waiting: 0,
            stop,
            writer,
        };
        chain::keep(&session.lanes());
        Ok(session)
    }

    pub(crate) fn lanes(&self) -> [Lane; 2] {
        LANES.map(|name| self.journal.lane(name).expect("opened with this lane"))
    }

    pub(crate) fn lane_ids(&self) -> [LaneId; 2] {
        self.lanes().map(|lane| lane.id())
    }

    /// Hands a message to the writer of which only the head is to be kept.
    pub(crate) fn submit_head(&mut self, n: u64, witness: &Witness) {
        let draft = Box::new(draft(self.seed, n, self.lane_ids()));
        witness.mark(Mark::Head { n });
        self.waiting += 1;
        let bytes = draft.message.payload.len() as u64 + 1;
        let item = Item::Head { draft, why: Unjournaled::Oversize, bytes, delivery: n };
        let _ = self.inbox.as_ref().expect("open until closed").send(Append { item, ticket: n });
    }

    /// Hands records to the writer.
    pub(crate) fn submit(&mut self, numbers: impl IntoIterator<Item = u64>, witness: &Witness) {
        let lanes = self.lane_ids();
        let comes = self.journal.lane_id(coming::NAME).filter(|_| self.world.comes);
        for n in numbers {
            self.world.goes_on(n);
            let mut draft = Box::new(draft(self.seed, n, lanes));
            witness.mark(Mark::Submitted { n });
            if let Some(lane) = comes.filter(|_| coming::takes(n)) {
                draft.lanes.push(lane);
                witness.mark(Mark::SubmittedToComing { n });
            }
            let item = Item::Record(draft);
            self.waiting += 1;
            // A writer that is gone shows when its tickets do not come.
            let _ = self.inbox.as_ref().expect("open until closed").send(Append { item, ticket: n });
        }
    }

    /// Waits for tickets until at most `left` are missing.
    pub(crate) fn await_tickets(&mut self, left: usize, witness: &Witness) -> Result<(), String> {
        while self.waiting > left {
            let tickets = RUNTIME.block_on(async { tokio::time::timeout(PATIENCE, self.committed.recv()).await });
            let tickets = tickets.ok().flatten().ok_or_else(|| {
                format!("{} tickets never came; the writer says {:?}", self.waiting, self.journal.stats().writer)
            })?;
            self.waiting -= tickets.len();
            tickets.into_iter().for_each(|n| witness.mark(Mark::Acked { n }));
        }
        Ok(())
    }

    /// Reads on to the end of what is durable.
    pub(crate) fn read_all(&self, reader: &mut Reader, witness: &Witness) -> Result<Vec<Read>, String> {
        let lanes = self.lane_ids();
        guarded(|| {
            let mut all = Vec::new();
            loop {
                let insists = || witness.insist(|| reader.read(64, 1 << 20).map_err(|error| error.to_string()));
                let some = again_and_again(insists)?;
                if some.is_empty() {
                    return Ok(all);
                }
                all.extend(some.iter().map(|read| self.told(read, lanes)));
            }
        })
    }

    fn told(&self, read: &ReadRecord, lanes: [LaneId; 2]) -> Read {
        Read {
            seen: seen(read),
            maybe_sent: read.maybe_sent != MaybeSent::No,
            faithful: is_faithful(self.seed, &read.record, lanes),
        }
    }

    /// Ends the writer and waits until the journal is closed, as a reload does while a read is under way; `keep`: with a last
    /// state write, as in an orderly stop.
    pub(crate) fn close(mut self, keep: bool) -> Result<(), String> {
        self.inbox = None;
        let writer = self.writer.take().expect("closed once");
        writer.join().map_err(|panic| format!("the writer panicked: {}", text_of(&*panic)))?;
        if keep {
            self.journal.keep();
        }
        // Of each commit the journal looks whether its frames are where nothing was before; not where that sabotage has
        // it see others.
        match self.journal.stats().not_appended {
            _ if tidegate::failpoints::is_armed(tidegate::failpoints::Failpoint::FrameInFrame) => {}
            0 => {}
            some => return Err(format!("{some} commits were not just appended")),
        }
        let (mut closing, mut reader) = (self.journal.closing(), self.lanes()[0].reader());
        let ending = Arc::new(AtomicBool::new(false));
        let ends = ending.clone();
        let read = std::thread::spawn(move || {
            let _ = reader.read(64, 1 << 20);
            // As one does that the disk holds up.
            std::thread::sleep(Duration::from_millis(1));
            ends.store(true, Relaxed);
        });
        drop(self);
        let closed = RUNTIME.block_on(async { tokio::time::timeout(PATIENCE, closing.wait()).await });
        let in_time = ending.load(Relaxed);
        read.join().map_err(|panic| format!("a read panicked: {}", text_of(&*panic)))?;
        closed.map_err(|_| "the journal is not closed")?;
        if in_time { Ok(()) } else { Err("the journal counts as closed, and a read is under way".into()) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.inbox = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

pub(crate) fn seen(read: &ReadRecord) -> Seen {
    let record = &read.record;
    let n = n_of(record);
    Seen {
        position: read.position.0,
        number: record.number.0,
        epoch: record.epoch.0,
        n,
        requeued: record.requeued,
        told: if n.is_none() { told_by(record) } else { None },
    }
}

/// Reads, and reads again where that fails: what was going to be read may be evicted at that moment, and the agent reads on, too.
pub(crate) fn again_and_again<T, E>(mut read: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut refused = 0;
    loop {
        match read() {
            Err(_) if refused < REFUSALS => refused += 1,
            done => return done,
        }
    }
}

/// Waits until something more may be durable, or a moment has passed.
pub(crate) fn until_durable(durable: &mut watch::Receiver<tidegate::record::Number>, moment: Duration) {
    RUNTIME.block_on(async {
        let _ = tokio::time::timeout(moment, durable.changed()).await;
    });
}

fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(format!("{PANIC}{}", text_of(&*panic))))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
