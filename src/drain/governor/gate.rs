//! The gate: whether anything flies, and when next. Pure.
//!
//! States and their exits:
//!
//! - **Open**: flights up to the allowance. A fault closes it: to *waiting*, with the fault's cause.
//! - **Waiting**: nothing flies until a time. The next launch is the *probe*. A wake (new credentials, a reload, the link is
//!   back, the clock has become right) ends the wait at once; during a probe it ends the wait after the probe. The link's return ends
//!   the first wait after an open gate, too.
//! - **Probing** (half-open): one real batch flies; there is no permitted ping. Its success opens the gate, its failure
//!   closes it again, for longer.
//!
//! No count ever ends in anything but another wait.

use crate::drain::backoff::Backoff;
use crate::sqs::{Fault, FaultClass};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const LINK_FIRST: Duration = Duration::from_millis(500);
pub(super) const LINK_MAX: Duration = Duration::from_secs(5 * 60);
/// While a record that may have been accepted is young enough for the queue to absorb its resend, attempts are at most
/// this far apart.
pub(super) const URGENT_MAX: Duration = Duration::from_secs(30);
pub(super) const CONFIGURATION_FIRST: Duration = Duration::from_secs(60);
pub(super) const CONFIGURATION_MAX: Duration = Duration::from_secs(15 * 60);
pub(super) const CLOCK_WAIT: Duration = Duration::from_secs(30);

/// Why a lane is closed, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// What to do about it, as a class.
    pub class: FaultClass,
    /// The service's code.
    pub code: Option<String>,
    /// What happened.
    pub text: String,
    /// What a person can do; empty when nothing is to be done.
    pub remedy: String,
}

/// What the gate is at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GateState {
    /// Batches fly.
    Open,
    /// Nothing flies before `until`; then one batch probes.
    Waiting {
        /// When the next batch is tried.
        until: Instant,
        /// Why.
        cause: Cause,
    },
    /// One batch is tried.
    Probing {
        /// Why the gate was closed.
        cause: Cause,
    },
}

/// Whether the link's return mends it.
fn is_of_link(cause: &Cause) -> bool {
    matches!(cause.class, FaultClass::Link | FaultClass::Unknown)
}

/// The gate of one lane.
#[derive(Debug)]
pub(super) struct Gate {
    state: GateState,
    link: Backoff,
    configuration: Backoff,
    /// Signature faults in a row.
    signatures: u32,
    /// A wake came while something was in the air: should it fail, the next one goes at once.
    woken: bool,
    /// The present probe went because a connection came about.
    by_connection: bool,
    /// A connection that comes about shows that the link is back. A batch that fails behind one ends that, until a connection is
    /// refused.
    connection_counts: bool,
}

impl Gate {
    pub(super) fn new() -> Gate {
        Gate {
            state: GateState::Open,
            link: Backoff::new(LINK_FIRST, LINK_MAX),
            configuration: Backoff::new(CONFIGURATION_FIRST, CONFIGURATION_MAX),
            signatures: 0,
            woken: false,
            by_connection: false,
            connection_counts: true,
        }
    }

    pub(super) fn state(&self) -> &GateState {
        &self.state
    }

    /// A flight goes. Returns whether it is a probe.
    pub(super) fn launched(&mut self) -> bool {
        let GateState::Waiting { cause, .. } = &self.state else { return false };
        self.state = GateState::Probing { cause: cause.clone() };
        self.woken = false;
        true
    }

    /// The service answered a flight of this state. Returns whether the gate was closed.
    pub(super) fn answered(&mut self) -> bool {
        self.link.reset();
        self.configuration.reset();
        self.signatures = 0;
        (self.by_connection, self.connection_counts, self.woken) = (false, true, false);
        std::mem::replace(&mut self.state, GateState::Open) != GateState::Open
    }

    /// A flight of this state came back and says nothing of the way: the next one probes, if this one was to.
    pub(super) fn learnt_nothing(&mut self, now: Instant) {
        if let GateState::Probing { cause, .. } = &self.state {
            self.state = GateState::Waiting { until: now, cause: cause.clone() };
        }
    }

    /// A flight of this state failed. `urgent`: a record in the window is still young enough for its resend to be absorbed.
    /// Returns whether the cause is a new one, worth a line in the log.
    pub(super) fn failed(&mut self, fault: &Fault, now: Instant, random: u32, urgent: bool) -> bool {
        if std::mem::take(&mut self.by_connection) {
            self.connection_counts = false;
        }
        let cap = if urgent { URGENT_MAX } else { Duration::MAX };
        // The flight was ended because the link is back. Once: what fails behind it tells that it is not.
        let is_back = fault.tells_of_the_link() && self.link.failures() == 0;
        let wait = match fault.class {
            FaultClass::OnceMore if self.signatures == 0 => {
                // The SDK has just learnt the clock's skew from this very answer.
                self.signatures = 1;
                Duration::ZERO
            }
            FaultClass::OnceMore | FaultClass::WaitForConfiguration => {
                // Half of the ceiling at least, and half by lot: a probe each minute, rising, but not all gateways at once.
                let ceiling = self.configuration.after_failure(u32::MAX, Duration::MAX);
                ceiling / 2 + (ceiling / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
            }
            FaultClass::WaitForClock => CLOCK_WAIT,
            // The batch is made smaller; the way is open.
            FaultClass::Shrink | FaultClass::Quarantine => self.link.after_failure(random, LINK_FIRST),
            // A malformed batch is tried smaller soon; what is still called malformed is not hammered.
            FaultClass::SlowDown | FaultClass::Bug | FaultClass::Link | FaultClass::Unknown => {
                self.link.after_failure(random, cap)
            }
        };
        let wait = wait.max(fault.retry_after.unwrap_or(Duration::ZERO));
        let cause = Cause {
            class: fault.class,
            code: fault.code.clone(),
            text: fault.text.clone(),
            remedy: fault.remedy.clone(),
        };
        let same = |old: &Cause| old.class == cause.class && old.code == cause.code;
        let known = matches!(&self.state, GateState::Probing { cause: old, .. } if same(old));
        // Under an open gate, what woke it was the link's return.
        let woken = std::mem::take(&mut self.woken) && (self.state != GateState::Open || is_of_link(&cause));
        let wait = if woken || is_back { fault.retry_after.unwrap_or(Duration::ZERO) } else { wait };
        self.state = GateState::Waiting { until: now + wait, cause };
        !known
    }

    /// A flight of an earlier state failed: the wait that the service asks for still counts.
    pub(super) fn asked_to_wait(&mut self, fault: &Fault, now: Instant) {
        if let (GateState::Waiting { until, .. }, Some(wait)) = (&mut self.state, fault.retry_after) {
            *until = (*until).max(now + wait);
        }
    }

    /// The link may be back: a gate that waits for it tries at once, and begins anew with short waits. Returns whether it waited.
    pub(super) fn link_returned(&mut self, now: Instant) -> bool {
        match &self.state {
            GateState::Open => {
                // What flies may have gone the old way: should it fail, the next one goes at once.
                self.woken = true;
                false
            }
            GateState::Waiting { cause, .. } | GateState::Probing { cause, .. } if !is_of_link(cause) => false,
            GateState::Waiting { .. } | GateState::Probing { .. } => {
                self.link.reset();
                self.wake(now);
                true
            }
        }
    }

    /// Whether it waits for the link, so that it is worth looking for it.
    pub(super) fn waits_for_link(&self) -> bool {
        matches!(&self.state, GateState::Waiting { cause, .. } if is_of_link(cause))
    }

    /// A connection came about, or did not. Returns whether a batch is tried for it.
    pub(super) fn reached(&mut self, now: Instant, yes: bool) -> bool {
        if !yes {
            self.connection_counts = true;
        }
        let tries = yes && self.connection_counts && self.waits_for_link();
        if tries {
            self.by_connection = true;
            self.wake(now);
        }
        tries
    }

    /// A person says that the cause is mended, whatever it is: the next batch is tried at once, and what comes of it
    /// begins anew with short waits.
    pub(super) fn retry_now(&mut self, now: Instant) {
        self.link.reset();
        self.configuration.reset();
        self.wake(now);
    }

    /// Something that may mend the cause has changed: the next batch is tried at once.
    pub(super) fn wake(&mut self, now: Instant) {
        match &mut self.state {
            GateState::Waiting { until, .. } => *until = now,
            GateState::Probing { .. } => self.woken = true,
            GateState::Open => {}
        }
    }
}
