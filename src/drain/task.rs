//! The task of one lane: reads ahead, lets batches fly while the gate permits, and books what comes back.

use crate::clock::Clock;
use crate::config::Ordering;
use crate::drain::batcher::{BatchLimits, Batcher, WINDOW};
use crate::drain::duplicate::SendHistory;
use crate::drain::governor::{Governor, LaunchId, Permit};
use crate::drain::left_behind::LookBack;
use crate::drain::send::{self, BatchItem, BatchOutcome, Bounds, DrainContext};
use crate::drain::size_limit::SizeLimit;
use crate::drain::status::{DrainShared, DrainState};
use crate::drain::suspicion::{Suspects, Suspicion};
use crate::failpoints::{self, Failpoint};
use crate::journal::{ChainReader, JournalError, Lane, ReadRecord, Reader};
use crate::profile::order_key;
use crate::record::{Number, Position, Record};
use crate::sqs::BatchSender;
use crate::sqs::entry::RenderOptions;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a drain is told.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// The queue's name in the configuration, which its lane has, too.
    pub queue: String,
    /// What the messages are rendered by.
    pub rendering: RenderOptions,
    /// How a group's records share batches; meaningless on a Standard queue.
    pub ordering: Ordering,
    /// Most batches in flight; at least 1.
    pub max_in_flight: usize,
    /// Most bytes in a batch, as SQS counts them; a larger record travels alone.
    pub batch_bytes: usize,
    /// While the link is away, whether the sender is asked every few seconds if it is back.
    pub link_probe: bool,
    /// How long flights may go on after a stop; then they are abandoned, and their records are maybe sent.
    pub grace: Duration,
    /// Changes whenever the link may have come back.
    pub link: watch::Receiver<u64>,
    /// Changes when whatever waits is to be tried at once.
    pub retry: watch::Receiver<u64>,
}

/// A record in the window.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) number: Number,
    pub(super) record: Option<Arc<Record>>,
    pub(super) received_ms: u64,
    pub(super) history: SendHistory,
    /// Refusals in a row.
    pub(super) refusals: u32,
    /// Flights in a row that failed with it without a word of the service, [`RETURNS`](super::suspects) times.
    pub(super) failures: u32,
    pub(super) suspicion: Option<Box<Suspicion>>,
}

impl Held {
    /// Whether nothing is known of it but what the journal knows, too.
    pub(super) fn is_untried(&self) -> bool {
        self.history == SendHistory::None && self.refusals == 0 && self.failures == 0
    }
}

/// What the task waits for beside time, the journal and the stop.
pub(super) enum Event {
    Sent(LaunchId, BatchOutcome),
    Read(Reader, Result<Vec<ReadRecord>, JournalError>),
    /// Of groups that had left records behind. No reader: it went down with a panic.
    ReadBack(Option<Reader>, Result<Vec<ReadRecord>, JournalError>),
    Quarantined {
        id: LaunchId,
        position: Position,
        kept: Result<bool, JournalError>,
    },
    /// For the chain. No reader: it went down with a panic.
    Chain(Option<ChainReader>, Result<(), JournalError>),
    /// Whether a connection came about; `None`: this sender cannot tell.
    Reached(Option<bool>),
    /// The failpoint of this name: a record comes back behind others of its group.
    Overtaken(Position, Arc<Record>),
}

/// The drain of one lane. Made by [`Drain::new`], run by [`Drain::run`].
pub struct Drain<S> {
    pub(super) context: Arc<DrainContext<S>>,
    pub(super) shared: Arc<DrainShared>,
    pub(super) governor: Governor,
    pub(super) batcher: Batcher,
    pub(super) size_limit: SizeLimit,
    pub(super) held: HashMap<Position, Held>,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Put into quarantine in a row, or on the way there, without one accepted in between.
    pub(super) quarantined_in_row: u32,
    /// Records on their way into quarantine, by the flight that told of them.
    pub(super) setting_aside: HashMap<LaunchId, u32>,
    pub(super) suspects: Suspects,
    pub(super) suspected: BTreeSet<Position>,
    /// The flight of suspects that is in the air.
    pub(super) trying: Option<LaunchId>,
    pub(super) reader: Option<Reader>,
    /// Position from which on nothing was read for the first time yet.
    pub(super) read_upto: Position,
    /// Positions up to here may have been attempted in this epoch by a drain that ended.
    pub(super) attempted_before: Position,
    pub(super) back: LookBack,
    /// What brings the chain on, while it does not.
    pub(super) chain: Option<ChainReader>,
    /// A person has put something that waited into quarantine.
    pub(super) withdrawn: bool,
    /// Records in the window at most.
    pub(super) window: usize,
    pub(super) options: DrainOptions,
    pub(super) kept_bytes: usize,
    /// Read up to the durable high water; more comes when that changes.
    pub(super) at_end: bool,
    pub(super) read_after: Option<Instant>,
    pub(super) cannot_read: Option<String>,
    /// The next look whether the cause of parking is mended; not put off by what happens meanwhile.
    pub(super) look_at: Option<Instant>,
    /// The next look for the link, while it is away.
    pub(super) reach_at: Option<Instant>,
    /// A look is under way.
    pub(super) reaching: bool,
}

impl<S: BatchSender> Drain<S> {
    /// A drain for `lane`, which shows itself in `shared`.
    pub fn new(lane: Lane, sender: Arc<S>, options: DrainOptions, clock: &Clock, shared: Arc<DrainShared>) -> Drain<S> {
        // A Standard queue keeps no order; its groups are only for fairness.
        let ordering = if options.rendering.fifo { options.ordering } else { Ordering::Packed };
        let context =
            DrainContext { lane: lane.clone(), sender, clock: clock.clone(), rendering: options.rendering.clone() };
        let reader = lane.reader();
        lane.keep_chain(send::chain_settings(&context));
        Drain {
            chain: Some(lane.chain_reader()),
            context: Arc::new(context),
            shared,
            governor: Governor::new(options.max_in_flight, options.batch_bytes),
            batcher: Batcher::new(ordering),
            size_limit: SizeLimit::default(),
            held: HashMap::new(),
            events: FuturesUnordered::new(),
            quarantined_in_row: 0,
            setting_aside: HashMap::new(),
            suspects: Suspects::default(),
            suspected: BTreeSet::new(),
            trying: None,
            read_upto: reader.place().position,
            attempted_before: reader.attempted(),
            reader: Some(reader),
            back: LookBack::default(),
            withdrawn: false,
            window: failpoints::window().unwrap_or(WINDOW),
            options,
            kept_bytes: 0,
            at_end: false,
            read_after: None,
            cannot_read: None,
            look_at: None,
            reach_at: None,
            reaching: false,
        }
    }

    /// Drains until told to stop, then waits for its flights within the grace period.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut durable = self.context.lane.durable();
        let mut withdrawn = self.context.lane.withdrawn();
        let (mut link, mut watched) = (self.options.link.clone(), true);
        link.mark_unchanged();
        let (mut retry, mut asked) = (self.options.retry.clone(), true);
        retry.mark_unchanged();
        while !*stop.borrow_and_update() {
            self.forget_evicted();
            self.look_back();
            self.follow_with_chain();
            self.read_ahead();
            self.look_whether_mended();
            self.look_for_link();
            let until = self.start_sends();
            self.show();
            tokio::select! {
                Some(event) = self.events.next(), if !self.events.is_empty() => self.take(event),
                // The writer is gone: nothing new will come, what is there is drained.
                changed = durable.changed(), if self.at_end => {
                    self.at_end = false;
                    if changed.is_err() { break }
                }
                Ok(()) = withdrawn.changed() => self.withdrawn = true,
                () = sleep_until(until) => {}
                // Where the kernel does not report routes, waits run out.
                changed = link.changed(), if watched => match changed {
                    Ok(()) => self.link_returned(),
                    Err(_) => watched = false,
                },
                changed = retry.changed(), if asked => match changed {
                    Ok(()) => self.retry_now(),
                    Err(_) => asked = false,
                },
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        self.land_all().await;
        self.shared.lock().state = DrainState::Stopped;
    }

    async fn land_all(&mut self) {
        let grace = Instant::now() + self.options.grace;
        while self.governor.in_flight() > 0 {
            match tokio::time::timeout_at(grace, self.events.next()).await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        queue = self.options.queue,
                        flights = self.governor.in_flight(),
                        "flights abandoned at stop; their records go again"
                    );
                    break;
                }
            }
        }
    }

    /// Lets batches fly while there are some and the gate permits. Returns when to look again.
    fn start_sends(&mut self) -> Option<Instant> {
        self.try_others(Instant::now());
        loop {
            let now = Instant::now();
            let limits = match self.governor.permit(now) {
                Permit::Now { entries, bytes } => BatchLimits { entries, bytes },
                // Whatever else becomes due, nothing can be done about it before a flight has landed.
                Permit::AfterFlight => return None,
                Permit::At(until) => {
                    let reach_at = self.reach_at.filter(|_| !self.reaching);
                    return [self.look_at, reach_at].into_iter().flatten().chain([until]).min();
                }
            };
            let (batch, of_suspects) = self.next_batch(limits, now);
            if batch.is_empty() {
                let read_after = self.read_after.filter(|after| *after > now);
                return self.batcher.next_release().into_iter().chain(read_after).min();
            }
            let items: Vec<BatchItem> = batch.iter().map(|position| self.item(*position)).collect();
            let mark = !failpoints::is_armed(Failpoint::NoMark) && self.context.lane.needs_mark(&batch);
            let bounds = Bounds { batch: limits.bytes, message: self.size_limit.bytes(now) };
            let id = self.governor.launched(now, self.batcher.bytes_of(&batch));
            self.trying = self.trying.or(of_suspects.then_some(id));
            let flight = send::send_batch(self.context.clone(), items, mark, bounds);
            self.events.push(flight.map(move |sent| Event::Sent(id, sent)).boxed());
        }
    }

    fn item(&self, position: Position) -> BatchItem {
        let held = &self.held[&position];
        BatchItem { position, number: held.number, record: held.record.clone(), history: held.history, digest: None }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Sent(id, batch) => self.take_outcome(id, batch),
            Event::Read(reader, read) => {
                match read {
                    Ok(records) => self.take_in(&reader, records),
                    Err(error) => self.could_not_read(&error),
                }
                self.reader = Some(reader);
            }
            Event::ReadBack(reader, read) => self.take_back(reader, read),
            Event::Chain(reader, read) => self.took_for_chain(reader, read),
            Event::Quarantined { id, position, kept } => self.quarantined(id, position, kept),
            Event::Reached(answer) => self.reached(answer),
            Event::Overtaken(position, record) => {
                let bytes = send::estimate(&record);
                self.batcher.push(position, &order_key(&record), bytes, true);
            }
        }
    }

    pub(super) fn lane_name(&self) -> &str {
        &self.options.queue
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
