//! The gate of a lane: whether a batch may fly now, and when next. Pure: time and randomness are given.
//!
//! States and their exits:
//!
//! - **Open**: flights up to the allowance. A fault closes it: to *waiting*, with the fault's cause.
//! - **Waiting**: nothing flies until a time. Then *probing*. A wake (new credentials, a reload, the link is back, the
//!   clock has become right) ends the wait at once.
//! - **Probing** (half-open): one real batch flies; there is no permitted ping. Its success opens the gate, its failure
//!   closes it again, for longer.
//!
//! No count ever ends in anything but another wait. Faults that come back while the gate is closed already (several
//! batches were in flight) do not lengthen the wait.

use crate::drain::backoff::Backoff;
use crate::sqs::{Fault, FaultClass};
use std::time::Duration;
use tokio::time::Instant;

const LINK_FIRST: Duration = Duration::from_millis(500);
const LINK_MAX: Duration = Duration::from_secs(5 * 60);
/// While a record that may have been accepted is young enough for the queue to absorb its resend, attempts are at most
/// this far apart.
const URGENT_MAX: Duration = Duration::from_secs(30);
const CONFIGURATION_FIRST: Duration = Duration::from_secs(60);
const CONFIGURATION_MAX: Duration = Duration::from_secs(15 * 60);
const CLOCK_WAIT: Duration = Duration::from_secs(30);
/// Accepted batches after which a reduced allowance grows by one flight.
const RECOVER_AFTER: u32 = 20;

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
    /// Nothing flies before `until`.
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

/// Whether a batch may fly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// Now.
    Now,
    /// When a flight has come back.
    AfterFlight,
    /// Not before this time.
    At(Instant),
}

/// The gate of one lane.
#[derive(Debug)]
pub struct Gate {
    state: GateState,
    flights_max: usize,
    allowed: usize,
    recovered: u32,
    link: Backoff,
    configuration: Backoff,
    /// Signature faults in a row.
    signatures: u32,
}

impl Gate {
    /// An open gate for at most `flights_max` flights.
    pub fn new(flights_max: usize) -> Gate {
        Gate {
            state: GateState::Open,
            flights_max,
            allowed: flights_max,
            recovered: 0,
            link: Backoff::new(LINK_FIRST, LINK_MAX),
            configuration: Backoff::new(CONFIGURATION_FIRST, CONFIGURATION_MAX),
            signatures: 0,
        }
    }

    /// What it is at.
    pub fn state(&self) -> &GateState {
        &self.state
    }

    /// Flights allowed at the moment when open.
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// Whether a batch may fly, with `in_flight` in the air.
    pub fn permit(&mut self, now: Instant, in_flight: usize) -> Permit {
        if let GateState::Waiting { until, cause } = &self.state {
            if now < *until {
                return Permit::At(*until);
            }
            self.state = GateState::Probing { cause: cause.clone() };
        }
        let most = if self.state == GateState::Open { self.allowed } else { 1 };
        if in_flight < most { Permit::Now } else { Permit::AfterFlight }
    }

    /// The service answered about entries: whatever it said of them, the way is open. Returns whether it was closed.
    pub fn answered(&mut self) -> bool {
        self.link.reset();
        self.configuration.reset();
        self.signatures = 0;
        if self.allowed < self.flights_max {
            self.recovered += 1;
            if self.recovered >= RECOVER_AFTER {
                self.recovered = 0;
                self.allowed += 1;
            }
        }
        std::mem::replace(&mut self.state, GateState::Open) != GateState::Open
    }

    /// A call failed. `urgent`: a record in history is still young enough for its resend to be absorbed. Returns whether
    /// the cause is a new one, worth a line in the log.
    pub fn failed(&mut self, fault: &Fault, now: Instant, random: u32, urgent: bool) -> bool {
        if let GateState::Waiting { .. } = self.state {
            return false;
        }
        let cap = if urgent { URGENT_MAX } else { Duration::MAX };
        let wait = match fault.class {
            FaultClass::OnceMore if self.signatures == 0 => {
                // The SDK has just learnt the clock's skew from this very answer.
                self.signatures = 1;
                Duration::ZERO
            }
            FaultClass::OnceMore | FaultClass::WaitForConfiguration => {
                let ceiling = self.configuration.after_failure(random, Duration::MAX);
                // Half jitter: a probe each minute, rising, but not all gateways at once.
                CONFIGURATION_FIRST / 2 + ceiling / 2
            }
            FaultClass::WaitForClock => CLOCK_WAIT,
            FaultClass::SlowDown => {
                self.allowed = (self.allowed / 2).max(1);
                self.recovered = 0;
                self.link.after_failure(random, cap)
            }
            // The batch is made smaller by the drain; the way is open.
            FaultClass::Shrink | FaultClass::Quarantine => self.link.after_failure(random, LINK_FIRST),
            // The first time a smaller batch is tried soon; what is still called malformed is not hammered.
            FaultClass::Bug | FaultClass::Link | FaultClass::Unknown => self.link.after_failure(random, cap),
        };
        let wait = wait.max(fault.retry_after.unwrap_or(Duration::ZERO));
        let cause = Cause {
            class: fault.class,
            code: fault.code.clone(),
            text: fault.text.clone(),
            remedy: fault.remedy.clone(),
        };
        let known = matches!(&self.state, GateState::Probing { cause: old } if old.class == cause.class && old.code == cause.code);
        self.state = GateState::Waiting { until: now + wait, cause };
        !known
    }

    /// The link may be back: a gate that waits for it tries at once, and begins anew with short waits. Returns whether it waited.
    pub fn link_returned(&mut self, now: Instant) -> bool {
        match &self.state {
            GateState::Waiting { cause, .. } if matches!(cause.class, FaultClass::Link | FaultClass::Unknown) => {
                self.link.reset();
                self.wake(now);
                true
            }
            _ => false,
        }
    }

    /// A person says that the cause is mended, whatever it is: the next batch is tried at once, and what comes of it
    /// begins anew with short waits.
    pub fn retry_now(&mut self, now: Instant) {
        self.link.reset();
        self.configuration.reset();
        self.wake(now);
    }

    /// Something that may mend the cause has changed: the next batch is tried at once.
    pub fn wake(&mut self, now: Instant) {
        if let GateState::Waiting { until, .. } = &mut self.state {
            *until = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(class: FaultClass) -> Fault {
        Fault { class, code: None, text: "no".into(), remedy: String::new(), never_sent: true, retry_after: None }
    }

    const CLASSES: [FaultClass; 9] = [
        FaultClass::Link,
        FaultClass::SlowDown,
        FaultClass::OnceMore,
        FaultClass::WaitForClock,
        FaultClass::WaitForConfiguration,
        FaultClass::Shrink,
        FaultClass::Quarantine,
        FaultClass::Bug,
        FaultClass::Unknown,
    ];

    proptest! {
        #[test]
        fn every_series_of_faults_ends_in_another_try_and_one_answer_opens(
            series in prop::collection::vec((0usize..9, any::<u32>(), any::<bool>()), 1..60),
        ) {
            let mut gate = Gate::new(4);
            let mut now = Instant::now();
            for (class, random, urgent) in series {
                gate.failed(&fault(CLASSES[class]), now, random, urgent);
                let GateState::Waiting { until, .. } = gate.state().clone() else { panic!("closed after a fault") };
                prop_assert!(until <= now + CONFIGURATION_MAX, "bounded");
                let configured = matches!(CLASSES[class], FaultClass::OnceMore | FaultClass::WaitForConfiguration);
                prop_assert!(configured || !urgent || until <= now + URGENT_MAX);
                if until > now {
                    prop_assert_eq!(gate.permit(now, 0), Permit::At(until));
                }
                now = until;
                prop_assert_eq!(gate.permit(now, 0), Permit::Now);
                prop_assert_eq!(gate.permit(now, 1), Permit::AfterFlight, "half-open: one batch");
            }
            gate.answered();
            prop_assert_eq!(gate.permit(now, 0), Permit::Now);
            for _ in 0..4 * RECOVER_AFTER { gate.answered(); }
            prop_assert_eq!(gate.permit(now, 3), Permit::Now, "the allowance recovers");
        }
    }

    #[test]
    fn a_signature_fault_is_tried_once_more_at_once_and_then_waits() {
        let mut gate = Gate::new(4);
        let now = Instant::now();
        gate.failed(&fault(FaultClass::OnceMore), now, u32::MAX, false);
        assert_eq!(gate.permit(now, 0), Permit::Now);
        gate.failed(&fault(FaultClass::OnceMore), now, u32::MAX, false);
        assert!(matches!(gate.permit(now, 0), Permit::At(at) if at >= now + CONFIGURATION_FIRST / 2));
        gate.wake(now);
        assert_eq!(gate.permit(now, 0), Permit::Now);
    }

    #[test]
    fn a_persons_retry_ends_every_wait_and_begins_anew_with_short_ones() {
        for class in CLASSES {
            let mut gate = Gate::new(4);
            let now = Instant::now();
            for _ in 0..12 {
                gate.failed(&fault(class), now, u32::MAX, false);
                gate.retry_now(now);
                assert_eq!(gate.permit(now, 0), Permit::Now, "{class:?}");
            }
            gate.failed(&fault(class), now, u32::MAX, false);
            let first = CONFIGURATION_FIRST.max(CLOCK_WAIT).max(LINK_FIRST);
            assert!(matches!(gate.permit(now, 0), Permit::At(at) if at <= now + first), "{class:?}");
        }
    }

    #[test]
    fn the_links_return_cuts_the_wait_for_it_short_and_no_other() {
        for class in CLASSES {
            let mut gate = Gate::new(4);
            let mut now = Instant::now();
            for _ in 0..12 {
                gate.failed(&fault(class), now, u32::MAX, false);
                let GateState::Waiting { until, .. } = gate.state() else { panic!("closed") };
                now = (*until).max(now);
                gate.permit(now, 0);
            }
            gate.failed(&fault(class), now, u32::MAX, false);
            let GateState::Waiting { until, .. } = gate.state().clone() else { panic!("closed") };
            let waits_for_link = matches!(class, FaultClass::Link | FaultClass::Unknown);
            assert_eq!(gate.link_returned(now), waits_for_link, "{class:?}");
            assert_eq!(gate.permit(now, 0) == Permit::Now, waits_for_link || until == now, "{class:?}");
            if waits_for_link {
                gate.failed(&fault(class), now, u32::MAX, false);
                assert_eq!(gate.permit(now, 0), Permit::At(now + LINK_FIRST), "{class:?}: short waits again");
            }
        }
    }

    #[test]
    fn throttling_halves_the_flights() {
        let mut gate = Gate::new(8);
        let mut now = Instant::now();
        for expected in [4, 2, 1, 1] {
            gate.failed(&fault(FaultClass::SlowDown), now, 0, false);
            now += LINK_MAX;
            gate.permit(now, 0);
            assert_eq!(gate.allowed(), expected);
        }
    }
}
