//! The broker's edge: takes messages, hands them to the journal, and acknowledges them once they are durable.
//!
//! What it promises:
//!
//! - A QoS 1 message is acknowledged only after its ticket came back from the journal, in the order of receipt, and only
//!   on the connection on which it came. An ack of an older connection is dropped: packet ids are used again, so it could
//!   acknowledge a message that we never kept. The broker sends the message again, and [`dedup`] recognises it.
//! - A journal that is slow, full or failing stops the acks, and the polling for a moment at most ([`connection`]). RAM
//!   is bounded nevertheless: at `max_unacked_bytes` the connection is given up until half of it is durable.
//! - What the client library had read before a connection died is journaled, and never acknowledged.
//! - It always comes back: no error of the broker or the link ends it. Only [`Intake::run`]'s stop does, or the end of
//!   the journal.
//!
//! How: one task owns the client library's event loop and decides about acks ([`connection`]). Each connection has its
//! own event loop, so that no queued ack, event or packet id can reach the next one. Its `poll` is pinned and never
//! cancelled while the connection is wanted; beside it the task waits for time, commits and the stop.
//!
//! What the journal must hold to: tickets come back in the order of the appends, each exactly once; an append that cannot
//! be written is kept and tried again, and holds back every later ticket. A journal that dropped one and continued would
//! make [`dedup`] take its redelivery for a repeat.
#![allow(clippy::disallowed_types, reason = "the one folder that speaks to the broker")]

mod acks;
mod arrivals;
mod backoff;
mod cache;
mod connection;
pub mod dedup;
mod failure;
mod guest;
mod losses;
pub mod names;
mod options;
mod outage;
mod packet_limit;
pub mod probe;
mod receive;
mod session;
mod silence;
mod snapshot;
mod status;
mod subscriptions;
mod tap;
mod thrown_out;
mod tls_failure;
mod unrouted;

#[cfg(feature = "internals")]
pub(crate) use cache::read_all as read_cache;
pub use cache::recall;
pub use options::{BrokerOptions, IntakeError, check};
pub use packet_limit::{HEAD_BYTES, TAKEN_BYTES};
pub use snapshot::{FilterStatus, IntakeState, IntakeStatus, LastMessage, Qos0Message, RouteStatus};
pub use status::IntakeShared;
pub use tap::{Heard, Listener};

use crate::clock::{Clock, Moment};
use crate::journal::{Append, Ticket};
use crate::record::{Identity, JournalId, LaneId, Message, Number, OpenAcks};
use backoff::{Backoff, Pace, Timing};
use cache::SessionCache;
use cache::schedule::Saver;
use connection::End;
use dedup::Deduplicator;
use failure::Cause;
pub use losses::Losses;
use outage::Outage;
pub use outage::OutageKind;
use packet_limit::Limit;
use receive::Unacked;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use subscriptions::Subscriptions;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Reads a message's identity, and names the profile that read it. Must not fail or block: it runs between two polls.
pub type Identify = Arc<dyn Fn(&Message, Moment) -> (Identity, &'static str) + Send + Sync>;

/// Takes whose acks are open: to disk with the next commit, or within a second where the flag is set.
pub type NoteOpenAcks = Arc<dyn Fn(OpenAcks, bool) + Send + Sync>;

/// The journal's last durable number: everything up to it has reached stable storage.
pub type Durable = Arc<dyn Fn() -> Number + Send + Sync>;

/// Topic filters, how their messages are read, and where they go.
#[derive(Clone)]
pub struct Route {
    /// Topic filters. A message goes to the first route that takes it.
    pub filters: Vec<String>,
    /// Whether it takes what earlier routes leave, so that it may well be silent.
    pub fallback: bool,
    /// Name of the profile that reads the messages.
    pub profile: String,
    /// The profile's reader of identities.
    pub identify: Identify,
    /// The lanes; never empty, no lane twice.
    pub lanes: Vec<LaneId>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { filters, profile, lanes, .. } = self;
        f.debug_struct("Route").field("filters", filters).field("profile", profile).field("lanes", lanes).finish()
    }
}

/// What the intake needs to run: broker, limits, routes, the journal's ends and the clock.
pub struct IntakeOptions {
    /// The broker.
    pub broker: BrokerOptions,
    /// Largest payload that is journaled, 1 to [`TAKEN_BYTES`]; of a larger message the head goes into quarantine.
    pub max_payload_bytes: u64,
    /// Most payload bytes received and not yet acknowledged, whatever window the broker keeps.
    pub max_unacked_bytes: u64,
    /// A filter of a resumed session under which nothing came for so long is subscribed again, once per connection; 0: never.
    pub resubscribe_after: Duration,
    /// In the order of the configuration.
    pub routes: Vec<Route>,
    /// The journal that the records go to.
    pub journal: JournalId,
    /// Its last durable number.
    pub durable: Durable,
    /// Keeps whose acks are open.
    pub note_open_acks: NoteOpenAcks,
    /// The clock that the whole process shares.
    pub clock: Clock,
    /// Folder for small files, made when missing.
    pub memory: PathBuf,
    /// Changes when whatever waits is to be tried at once.
    pub retry: watch::Receiver<u64>,
    /// Whether the journal was made a moment ago, rather than opened.
    pub journal_made: bool,
    /// Whether beginnings of payloads are kept for people.
    pub show_payloads: bool,
}

/// The claim to an ack: travels with an append and comes back once it is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingAck {
    /// The connection on which the message came.
    pub connection: u64,
    /// Packet id of the delivery; 0 at QoS 0, which is not acknowledged.
    pub packet_id: u16,
    /// Quality of service of the delivery.
    pub qos: u8,
    /// What the message counts for against `max_unacked_bytes`.
    pub bytes: u64,
    /// Names the record for [`dedup`]; 0: none.
    pub place: u64,
    /// The number that the journal gave to the record; 0 until it has.
    pub number: Number,
}

impl Ticket for PendingAck {
    fn numbered(&mut self, number: Number) {
        self.number = number;
    }
}

/// The task. Made by [`Intake::new`], run by [`Intake::run`].
pub struct Intake {
    options: IntakeOptions,
    appends: mpsc::UnboundedSender<Append<PendingAck>>,
    tickets: mpsc::UnboundedReceiver<Vec<PendingAck>>,
    shared: Arc<IntakeShared>,
    recogniser: Deduplicator,
    memory: SessionCache,
    saver: Saver,
    began: Instant,
    /// When the losses were kept last.
    losses_kept: Option<Instant>,
    subscriptions: Subscriptions,
    unacked: Unacked,
    timing: Timing,
    backoff: Backoff,
    limit: Limit,
    /// Packet ids that an older QoS 2 session of the broker may still want to release.
    releases: BTreeSet<u16>,
    /// CONNACKs so far: the number of the present connection.
    connections: u64,
    counts: receive::Counts,
    /// The next connection is a second visit: see [`arrivals`].
    second_visit: bool,
}

/// What ends a pause.
#[derive(Clone, Copy, Debug)]
enum Until {
    At(Instant),
    /// Half of `max_unacked_bytes` is durable.
    Drained,
}

impl Intake {
    /// Checks the options and reads what the last run left in `options.memory` (blocks for one small read).
    ///
    /// `recogniser` comes from [`recall`], seeded with the journal's tail. Appends go out on `appends`, which is bounded
    /// in effect by `max_unacked_bytes`; their tickets come back on `tickets`, in order.
    pub fn new(
        options: IntakeOptions,
        mut recogniser: Deduplicator,
        appends: mpsc::UnboundedSender<Append<PendingAck>>,
        tickets: mpsc::UnboundedReceiver<Vec<PendingAck>>,
    ) -> Result<(Intake, Arc<IntakeShared>), IntakeError> {
        let (broker, filters) = (&options.broker, options.routes.iter().flat_map(|route| &route.filters));
        options::check(broker, options.max_payload_bytes, filters)?;
        recogniser.seeded((options.durable)());
        let (clock, url) = (options.clock.clone(), broker.url.clone());
        let shared = Arc::new(IntakeShared::new(clock, url, &options.routes, options.show_payloads));
        let (url, client_id) = (broker.url.clone(), broker.client_id.clone());
        shared.count(|status| {
            status.client_id.clone_from(&client_id);
            status.password_file.clone_from(&broker.password_file);
        });
        let mut memory = SessionCache::new(options.memory.clone(), options.journal, url, client_id);
        shared.count(|status| status.losses = memory.losses());
        if options.journal_made {
            shared.begin();
        }
        let wanted = options.routes.iter().flat_map(|route| route.filters.iter().cloned()).collect();
        recogniser.replays_go_on(memory.take_replays());
        let counts = receive::Counts::new(memory.count_refused());
        let intake = Intake {
            subscriptions: Subscriptions::new(wanted, memory.filters(), memory.asked()),
            shared: shared.clone(),
            options,
            appends,
            tickets,
            recogniser,
            memory,
            saver: Saver::default(),
            began: Instant::now(),
            losses_kept: None,
            unacked: Unacked::default(),
            timing: Timing::DEFAULT,
            backoff: Backoff::default(),
            limit: Limit::Normal,
            releases: BTreeSet::new(),
            connections: 0,
            counts,
            second_visit: false,
        };
        Ok((intake, shared))
    }

    /// Takes messages until `stop` turns true or its sender is gone.
    ///
    /// Then: it takes no new QoS 1 message (the broker keeps it), waits for what was received, at most 5 s, sends the
    /// acks, and closes the connection once they have left.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let until = match self.connection(&mut stop).await {
                End::Stopped => break,
                End::JournalGone => {
                    tracing::error!("the journal takes no more records; intake stops, the broker keeps what comes");
                    break;
                }
                end => self.wait_after(end),
            };
            if !self.pause(until, &mut stop).await {
                break;
            }
        }
        self.finish().await;
    }

    /// What a connection's end means for the next one.
    fn wait_after(&mut self, end: End) -> Until {
        // One that fails is none: the outage may leave another backlog.
        self.second_visit = matches!(end, End::SecondVisit);
        let outage = match end {
            End::Failed(Cause::Outage(outage)) => {
                self.shared.ended(outage.kind);
                outage
            }
            End::Failed(Cause::Raise(bytes)) => {
                self.limit = Limit::Raised;
                // What the broker was sending us because we subscribed it does not send a second time by itself.
                self.subscriptions.forget_fresh();
                Outage::quick(format!("a message of {bytes} bytes is over the limit; taking it to the quarantine"), "")
                    .of(OutageKind::Ours)
            }
            End::Failed(Cause::Release(packet_id)) => {
                let why = format!("the broker continues with packet {packet_id} of an older session's QoS 2 handshake");
                match self.releases.insert(packet_id) {
                    true => Outage::quick(why, ""),
                    false => {
                        Outage::slow(why, "end this client's session in the broker, which drops what it holds for us")
                            .of(OutageKind::Qos2Session)
                    }
                }
            }
            End::Full => {
                let most = self.options.max_unacked_bytes;
                let why = format!("messages wait for the journal, and mqtt.max_unacked_bytes ({most}) is reached");
                let remedy = "see the journal's state: it is slow, full or failing";
                self.enter(Outage::quick(why, remedy).of(OutageKind::Behind));
                return Until::Drained;
            }
            End::Lower => {
                self.limit = Limit::Normal;
                return Until::At(Instant::now());
            }
            End::SecondVisit | End::Stopped | End::JournalGone => return Until::At(Instant::now()),
        };
        let wait = self.backoff.next(outage.pace, &self.timing, random());
        self.enter(outage);
        Until::At(Instant::now() + wait)
    }

    /// Shows and logs an outage, once per change.
    fn enter(&self, mut outage: Outage) {
        if outage.remedy.is_empty() && self.backoff.failures() >= 3 {
            "see the broker's log; another client may use the same client id".clone_into(&mut outage.remedy);
        }
        let person = outage.pace == Pace::Slow;
        let Outage { why, remedy, .. } = outage.clone();
        let why = &*crate::visible::line(&why);
        if self.shared.enter(outage.into()) {
            match person {
                true => tracing::error!(why, remedy, "not connected to the broker"),
                false => tracing::warn!(why, remedy, "not connected to the broker"),
            }
        }
    }

    /// Waits without a connection; false if told to stop. Tickets that come back now are not acknowledged.
    async fn pause(&mut self, until: Until, stop: &mut watch::Receiver<bool>) -> bool {
        let (mut retry, mut asked) = (self.options.retry.clone(), true);
        retry.mark_unchanged();
        loop {
            let half = self.options.max_unacked_bytes / 2;
            let at = match until {
                Until::At(at) if at <= Instant::now() => return !*stop.borrow(),
                Until::At(at) => Some(at),
                Until::Drained if self.unacked.bytes <= half => return !*stop.borrow(),
                Until::Drained => None,
            };
            let wake = [at, self.save_due()].into_iter().flatten().min();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return false,
                tickets = self.tickets.recv() => match tickets {
                    Some(tickets) => self.committed(&tickets),
                    None => return false,
                },
                outcome = self.memory.changed() => self.remembered(outcome),
                changed = retry.changed(), if asked && at.is_some() => match changed {
                    Ok(()) => {
                        self.backoff = Backoff::default();
                        return true;
                    }
                    Err(_) => asked = false,
                },
                () = wait(wake) => self.save_if_due(),
            }
        }
    }

    async fn finish(&mut self) {
        self.save_now();
        // Closed for good: the state is written once more after this.
        (self.options.note_open_acks)(self.recogniser.open_acks_now(), true);
        self.memory.keep_replays(&self.recogniser.replays());
        self.keep_losses();
        match timeout(self.timing.stop, self.memory.settled()).await {
            Ok(outcome) => self.remembered(outcome),
            Err(_) => tracing::warn!("intake's small files were not kept in time; nothing is lost by it"),
        }
        self.shared.enter(IntakeState::Stopped);
        tracing::info!(unacked = self.unacked.messages, "intake stopped");
    }
}

/// Sleeps until `at`, or for ever.
async fn wait(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Uniform; without the kernel's generator the jitter is merely missing.
fn random() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
