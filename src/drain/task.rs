//! The task of one lane: reads ahead, lets batches fly while the gate permits, and books what comes back.

use crate::clock::Clock;
use crate::config::{Ordering, QueueConfig, RecordsConfig};
use crate::drain::batcher::{BatchLimits, Batcher};
use crate::drain::duplicate::SendHistory;
use crate::drain::governor::{Governor, LaunchId, Permit};
use crate::drain::send::{self, BatchItem, BatchOutcome, Bounds, DrainContext};
use crate::drain::size_limit::SizeLimit;
use crate::drain::status::{DrainShared, DrainState};
use crate::failpoints::{self, Failpoint};
use crate::journal::{JournalError, Lane, ReadRecord, Reader};
use crate::profile::order_key;
use crate::record::{Number, Position, Record};
use crate::sqs::BatchSender;
use crate::sqs::limits::BATCH_ENTRIES;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Records read in one go, off the runtime's threads.
const READ_RECORDS: usize = 256;
const READ_BYTES: usize = 512 * 1024;
/// Bytes of records kept in memory for the window; the rest is read again when its turn comes.
const KEEP_BYTES: usize = 1024 * 1024;
/// Between attempts to read a journal that refuses.
const READ_RETRY: Duration = Duration::from_secs(2);

/// What a drain is told.
#[derive(Clone, Debug)]
pub struct DrainOptions {
    /// The queue.
    pub queue: QueueConfig,
    /// How records are rendered.
    pub records: RecordsConfig,
    /// The gateway's label.
    pub gateway_id: String,
    /// First part of the CloudEvents source.
    pub site: String,
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
}

/// What the task waits for beside time, the journal and the stop.
pub(super) enum Event {
    Sent(LaunchId, BatchOutcome),
    Read(Reader, Result<Vec<ReadRecord>, JournalError>),
    Quarantined {
        id: LaunchId,
        position: Position,
        kept: Result<bool, JournalError>,
    },
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
    reader: Option<Reader>,
    pub(super) options: DrainOptions,
    kept_bytes: usize,
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
        let queue = &options.queue;
        // A Standard queue keeps no order; its groups are only for fairness.
        let ordering = if queue.url.fifo { queue.ordering } else { Ordering::Packed };
        let context = DrainContext {
            lane: lane.clone(),
            sender,
            clock: clock.clone(),
            format: queue.body,
            fifo: queue.url.fifo,
            records: options.records.clone(),
            gateway_id: options.gateway_id.clone(),
            site: options.site.clone(),
            attempt_timeout: queue.attempt_timeout,
            rectype: queue.rectype.clone(),
        };
        Drain {
            context: Arc::new(context),
            shared,
            governor: Governor::new(queue.max_in_flight, queue.batch_bytes),
            batcher: Batcher::new(ordering),
            size_limit: SizeLimit::default(),
            held: HashMap::new(),
            events: FuturesUnordered::new(),
            quarantined_in_row: 0,
            setting_aside: HashMap::new(),
            reader: Some(lane.reader()),
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
        let (mut link, mut watched) = (self.options.link.clone(), true);
        link.mark_unchanged();
        let (mut retry, mut asked) = (self.options.retry.clone(), true);
        retry.mark_unchanged();
        while !*stop.borrow_and_update() {
            for evicted in self.batcher.forget_below(self.context.lane.cursor()) {
                self.forget(evicted);
            }
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
                        queue = self.options.queue.name,
                        flights = self.governor.in_flight(),
                        "flights abandoned at stop; their records go again"
                    );
                    break;
                }
            }
        }
    }

    /// Reads when the window has too few groups to fill the flights: what is still in memory at once, and the rest off the
    /// runtime's threads.
    fn read_ahead(&mut self) {
        while self.wants_more() {
            let Some(mut reader) = self.reader.take() else { return };
            let Some(records) = reader.read_from_memory(READ_RECORDS, READ_BYTES) else {
                return self.read_from_disk(reader);
            };
            self.reader = Some(reader);
            self.take_in(records);
        }
    }

    fn wants_more(&self) -> bool {
        let wanted = self.governor.allowed() * BATCH_ENTRIES;
        let has_enough = self.at_end || self.batcher.is_full() || self.batcher.ready_groups() >= wanted;
        !has_enough && self.read_after.is_none_or(|after| Instant::now() >= after)
    }

    fn read_from_disk(&mut self, mut reader: Reader) {
        let read = tokio::task::spawn_blocking(move || {
            let read = reader.read(READ_RECORDS, READ_BYTES);
            (reader, read)
        });
        let lane = self.context.lane.clone();
        let read = read.map(move |joined| match joined {
            Ok((reader, read)) => Event::Read(reader, read),
            // The reader went down with a panic; a new one starts at the cursor, and settled positions are passed over.
            Err(error) => Event::Read(lane.reader(), Err(JournalError::reading(&error.to_string()))),
        });
        self.events.push(read.boxed());
    }

    /// Lets batches fly while there are some and the gate permits. Returns when to look again.
    fn start_sends(&mut self) -> Option<Instant> {
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
            let batch = self.batcher.next(limits, now);
            if batch.is_empty() {
                let read_after = self.read_after.filter(|after| *after > now);
                return self.batcher.next_release().into_iter().chain(read_after).min();
            }
            let items: Vec<BatchItem> = batch.iter().map(|position| self.item(*position)).collect();
            let mark = !failpoints::is_armed(Failpoint::NoMark) && self.context.lane.needs_mark(&batch);
            let bounds = Bounds { batch: limits.bytes, message: self.size_limit.bytes(now) };
            let id = self.governor.launched(now, self.batcher.bytes_of(&batch));
            let flight = send::send_batch(self.context.clone(), items, mark, bounds);
            self.events.push(flight.map(move |sent| Event::Sent(id, sent)).boxed());
        }
    }

    fn item(&self, position: Position) -> BatchItem {
        let held = &self.held[&position];
        BatchItem { position, number: held.number, record: held.record.clone(), history: held.history }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Sent(id, batch) => self.take_outcome(id, batch),
            Event::Read(reader, read) => {
                self.reader = Some(reader);
                match read {
                    Ok(records) => self.take_in(records),
                    Err(error) => {
                        if self.cannot_read.is_none() {
                            tracing::warn!(queue = self.options.queue.name, %error, "journal cannot be read now");
                        }
                        self.cannot_read = Some(error.to_string());
                        self.read_after = Some(Instant::now() + READ_RETRY);
                    }
                }
            }
            Event::Quarantined { id, position, kept } => self.quarantined(id, position, kept),
            Event::Reached(answer) => self.reached(answer),
            Event::Overtaken(position, record) => {
                let bytes = send::estimate(&record);
                self.batcher.push(position, &order_key(&record), bytes, true);
            }
        }
    }

    fn take_in(&mut self, records: Vec<ReadRecord>) {
        self.cannot_read = None;
        self.read_after = None;
        self.at_end = records.is_empty();
        let (boot, now) = (self.context.clock.boot(), self.context.clock.now().boottime_ms);
        for read in records {
            if self.held.contains_key(&read.position) {
                // Read twice: a reader was made anew at the cursor.
                continue;
            }
            let history = SendHistory::from_marks(read.maybe_sent);
            let bytes = send::estimate(&read.record);
            let keep = self.kept_bytes + bytes <= KEEP_BYTES;
            self.kept_bytes += if keep { bytes } else { 0 };
            let record = &read.record;
            // A record of another boot is at least as old as this one.
            let received_ms = if record.boot == boot { record.draft.received.boottime_ms } else { 0 };
            self.batcher.push(read.position, &order_key(record), bytes, history != SendHistory::None);
            let held = Held {
                number: record.number,
                received_ms: received_ms.min(now),
                history,
                refusals: 0,
                record: keep.then(|| read.record.clone()),
            };
            self.held.insert(read.position, held);
        }
    }

    /// A position is settled: it leaves the window.
    pub(super) fn release(&mut self, position: Position) {
        self.batcher.done(position);
        self.forget(position);
    }

    fn forget(&mut self, position: Position) {
        if let Some(record) = self.held.remove(&position).and_then(|held| held.record) {
            self.kept_bytes = self.kept_bytes.saturating_sub(send::estimate(&record));
        }
    }

    pub(super) fn lane_name(&self) -> &str {
        &self.options.queue.name
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
