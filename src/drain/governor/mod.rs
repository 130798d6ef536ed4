//! The governor of a lane: which batch may fly now, how large, and when next. Pure: time and randomness are given.
//!
//! A question changes nothing ([`Governor::permit`]); a launch and a landing do. Each flight is known by its [`LaunchId`], and
//! counts for the state that let it go:
//!
//! - While the gate is open, an answer keeps it open, and a failure closes it ([`gate`]).
//! - After it has closed, one flight probes, whatever still flies: a flight that stalls since the link went may stall
//!   for long after it is back. The probe's outcome alone opens the gate, or closes it for longer.
//! - A flight that an earlier state let go is *stale*. Its success settles its records and opens nothing. Its failure slows down, and
//!   what the service asked to wait is waited; it closes nothing, blames nothing and makes no batch smaller: the batch after it may
//!   be smaller already, and the key mended.
//!
//! How many flights share the link, and how many bytes, follows from what it has carried ([`pace`]): a batch takes
//! twenty seconds of a slow link at most, and the next one goes shortly before the link would be idle.

mod gate;
pub mod pace;
#[cfg(test)]
mod tests;

pub use gate::{Cause, GateState};

use crate::sqs::limits::{BATCH_ENTRIES, LEAST_MESSAGE_BYTES};
use crate::sqs::{Fault, FaultClass};
use gate::Gate;
use pace::{Pace, Room};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Accepted calls after which batches are filled again, once a request of ours was called malformed.
const SINGLES: u32 = 100;
/// Accepted calls after which a smaller batch grows again: what refused the larger one may be gone.
const SHRUNK: u32 = 20;
/// Accepted calls after which a reduced allowance grows by one flight.
const RECOVER_AFTER: u32 = 20;

/// A flight. Later ones are higher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LaunchId(u64);

/// Whether a batch may fly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// Now, with at most so many entries and bytes; a larger record travels alone.
    Now {
        /// Most entries.
        entries: usize,
        /// Most bytes.
        bytes: usize,
    },
    /// When a flight has come back.
    AfterFlight,
    /// Not before this time.
    At(Instant),
}

/// What came of a flight.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The service answered about entries: whatever it said of them, the way is open.
    Answered,
    /// It says nothing of the way: nothing was sent.
    Silent,
    /// All of it is on its way into quarantine, and what comes of that is [`Governor::told`]: until then a probe stays one.
    Pending,
    /// The call failed, or what it brought is the lane's trouble.
    Failed {
        /// Why.
        fault: &'a Fault,
        /// One record was sent.
        single: bool,
        /// Some of it was accepted, so that waits begin anew.
        answered: bool,
    },
}

/// What a landing has changed, for the log.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Change {
    /// The gate was closed and is open.
    pub opened: bool,
    /// The gate is closed for a cause that it was not closed for before.
    pub closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    bytes: usize,
    /// The pace's share of the link until then.
    share: pace::Share,
    /// The link went while it flew: it stalls, or has stalled, and tells nothing of the rate.
    stuck: bool,
}

/// The governor of one lane.
#[derive(Debug)]
pub struct Governor {
    gate: Gate,
    pace: Pace,
    flying: BTreeMap<LaunchId, Flight>,
    next: LaunchId,
    /// Flights from this one on went under the present state.
    since: LaunchId,
    flights_max: usize,
    allowed: usize,
    /// Answers since the allowance grew last.
    recovered: u32,
    bytes_max: usize,
    /// Most bytes of a batch now.
    bytes: usize,
    /// Answers to go before a batch that was made smaller grows by a step.
    shrunk_left: u32,
    /// Answers to go before more than one entry is sent again; not 0 after a request was called malformed.
    singles_left: u32,
}

impl Governor {
    /// Open, for at most `flights_max` flights of at most `bytes_max` bytes each.
    pub fn new(flights_max: usize, bytes_max: usize) -> Governor {
        Governor {
            gate: Gate::new(),
            pace: Pace::default(),
            flying: BTreeMap::new(),
            next: LaunchId(0),
            since: LaunchId(0),
            flights_max,
            allowed: flights_max,
            recovered: 0,
            bytes_max,
            bytes: bytes_max,
            shrunk_left: 0,
            singles_left: 0,
        }
    }

    /// What the gate is at.
    pub fn state(&self) -> &GateState {
        self.gate.state()
    }

    /// Flights allowed at the moment when open.
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// Flights in the air.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// What the link carries, in bytes per second, as far as it was seen.
    pub fn rate(&self) -> Option<f64> {
        self.pace.rate()
    }

    /// Whether a batch may fly, and how large.
    pub fn permit(&self, now: Instant) -> Permit {
        let is_full = match self.gate.state() {
            GateState::Waiting { until, .. } if now < *until => return Permit::At(*until),
            GateState::Open => self.flying.len() >= self.allowed,
            // What an earlier state let go may stand still for long: the probe does not wait for it.
            GateState::Waiting { .. } => false,
            GateState::Probing { .. } => true,
        };
        if is_full {
            return Permit::AfterFlight;
        }
        let aloft: Vec<(usize, pace::Share)> = self.moving().map(|flight| (flight.bytes, flight.share)).collect();
        match self.pace.room(now, &aloft, self.bytes) {
            Room::Bytes(bytes) => Permit::Now { entries: if self.singles_left > 0 { 1 } else { BATCH_ENTRIES }, bytes },
            Room::AfterFlight => Permit::AfterFlight,
            Room::At(at) => Permit::At(at),
        }
    }

    /// A batch of so many bytes flies, as it was permitted.
    pub fn launched(&mut self, now: Instant, bytes: usize) -> LaunchId {
        let id = self.next;
        self.next = LaunchId(id.0 + 1);
        if self.gate.launched() {
            self.since = id;
        }
        let share = self.pace.launched(now, self.moving().count());
        self.flying.insert(id, Flight { bytes, share, stuck: false });
        id
    }

    /// A flight has come back. `urgent`: a record in the window is young enough for its resend to be absorbed.
    pub fn landed(&mut self, id: LaunchId, outcome: Outcome<'_>, now: Instant, random: u32, urgent: bool) -> Change {
        let Some(flight) = self.flying.remove(&id) else { return Change::default() };
        let answered = matches!(outcome, Outcome::Answered);
        if !flight.stuck {
            self.pace.landed(now, self.moving().count() + 1, flight.share, flight.bytes, answered);
        }
        if answered {
            self.pace.answered(now);
        }
        if let Outcome::Failed { fault, single, .. } = outcome
            && self.is_current(id)
        {
            if fault.class == FaultClass::Link {
                self.pace.went();
                if !fault.is_stalled() {
                    self.flying.values_mut().for_each(|flight| flight.stuck = true);
                }
            }
            self.slow_down(fault, flight, single);
        }
        self.told(id, outcome, now, random, urgent)
    }

    fn moving(&self) -> impl Iterator<Item = &Flight> {
        self.flying.values().filter(|flight| !flight.stuck)
    }

    /// What is known of a flight later than its landing: of records that are on their way into quarantine, say.
    pub fn told(&mut self, id: LaunchId, outcome: Outcome<'_>, now: Instant, random: u32, urgent: bool) -> Change {
        if !self.is_current(id) {
            if let Outcome::Failed { fault, .. } = outcome {
                if fault.class == FaultClass::SlowDown {
                    self.halve_flights();
                }
                self.gate.asked_to_wait(fault, now);
            }
            return Change::default();
        }
        let mut change = Change::default();
        match outcome {
            Outcome::Answered => {
                change.opened = self.answered();
                if change.opened {
                    self.since = self.next;
                }
            }
            Outcome::Failed { fault, answered, .. } => {
                if answered {
                    self.answered();
                }
                change.closed = self.gate.failed(fault, now, random, urgent);
                self.since = self.next;
            }
            Outcome::Silent => self.gate.learnt_nothing(now),
            Outcome::Pending => {}
        }
        change
    }

    /// The way is open. Returns whether the gate was closed.
    fn answered(&mut self) -> bool {
        self.recover();
        self.gate.answered()
    }

    /// Whether the present state has let this flight go: while open all that went since, while probing the probe alone.
    fn is_current(&self, id: LaunchId) -> bool {
        id >= self.since
    }

    /// The link may be back. Returns whether the gate waited for it.
    pub fn link_returned(&mut self, now: Instant) -> bool {
        let waited = self.gate.link_returned(now);
        if waited {
            // Another link may carry more, or less.
            self.pace.forget();
        }
        waited
    }

    /// Whether the gate waits for the link, so that it is worth looking for it.
    pub fn waits_for_link(&self) -> bool {
        self.gate.waits_for_link()
    }

    /// A connection to the endpoint came about, or did not. Returns whether a batch is tried for it.
    pub fn reached(&mut self, now: Instant, yes: bool) -> bool {
        self.gate.reached(now, yes)
    }

    /// A person says that the cause is mended, whatever it is.
    pub fn retry_now(&mut self, now: Instant) {
        self.gate.retry_now(now);
    }

    /// Something that may mend the cause has changed: the next batch is tried at once.
    pub fn wake(&mut self, now: Instant) {
        self.gate.wake(now);
    }

    fn recover(&mut self) {
        self.singles_left = self.singles_left.saturating_sub(1);
        if self.shrunk_left > 0 {
            self.shrunk_left -= 1;
            if self.shrunk_left == 0 {
                self.bytes = (self.bytes * 2).min(self.bytes_max);
                self.shrunk_left = if self.bytes < self.bytes_max { SHRUNK } else { 0 };
            }
        }
        if self.allowed < self.flights_max {
            self.recovered += 1;
            if self.recovered >= RECOVER_AFTER {
                self.recovered = 0;
                self.allowed += 1;
            }
        }
    }

    fn slow_down(&mut self, fault: &Fault, flight: Flight, single: bool) {
        match fault.class {
            FaultClass::SlowDown => self.halve_flights(),
            FaultClass::Link if fault.is_stalled() => {
                self.pace.forget();
                if self.allowed > 1 { self.halve_flights() } else { self.shrink(flight) }
            }
            FaultClass::Shrink if !single => self.shrink(flight),
            FaultClass::Bug if !single => self.singles_left = SINGLES,
            _ => {}
        }
    }

    fn halve_flights(&mut self) {
        self.allowed = (self.allowed / 2).max(1);
        self.recovered = 0;
    }

    /// Half of what flew: the bound alone may be far above it.
    fn shrink(&mut self, flight: Flight) {
        self.bytes = (self.bytes.min(flight.bytes) / 2).max(LEAST_MESSAGE_BYTES.min(self.bytes_max));
        self.shrunk_left = SHRUNK;
    }
}
