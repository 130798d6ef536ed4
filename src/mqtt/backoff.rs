//! How long to wait before the next attempt to connect.
//!
//! Short at first: what is published while the broker has no session of ours is gone. Rising, with jitter, because
//! several clients of one broker come back at once. After a refusal that only a person can mend it starts slowly.

use std::time::Duration;

/// How urgent the next attempt is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// The broker or the link may be back any moment.
    Quick,
    /// A person has to act.
    Slow,
}

/// Every duration that intake waits for; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// First and longest wait at [`Pace::Quick`].
    pub(super) quick: (Duration, Duration),
    /// First and longest wait at [`Pace::Slow`].
    pub(super) slow: (Duration, Duration),
    /// A connection that lived for so long was a good one: the next wait is the first again.
    pub(super) steady: Duration,
    /// Limit for an attempt to connect, TLS and CONNACK included, and for a flush.
    pub(super) connect: Duration,
    /// A refused filter is asked for again after this.
    pub(super) refused_again: Duration,
    /// A raised packet limit is lowered after this when the large message does not come.
    pub(super) raised: Duration,
    /// After a goodbye: longest wait for the broker to close the connection. Closing first would reset it and could take
    /// acks away, so a broker under load is given time.
    pub(super) part: Duration,
    /// Closed acks are noted at most so long after they closed.
    pub(super) note_acks: Duration,
    /// Once filters are exchanged, equal deliveries are put down to it for so long: the broker may have queued both.
    pub(super) exchanged: Duration,
    /// Much waits for the journal: longest wait for a commit before more is read.
    pub(super) patience: Duration,
    /// At a stop: longest wait for commits and acks.
    pub(super) stop: Duration,
    /// At a stop: longest wait for the disconnect to leave.
    pub(super) leave: Duration,
    /// What was seen is saved at most so often.
    pub(super) save: Duration,
    /// While a route is silent the broker is asked so often how much it has received.
    pub(super) traffic: Duration,
    /// Rises of the broker's own loss are logged at most so often.
    pub(super) loss_log: Duration,
}

impl Timing {
    /// What the agent runs with.
    pub(super) const DEFAULT: Timing = Timing {
        quick: (Duration::from_millis(100), Duration::from_secs(30)),
        slow: (Duration::from_secs(5), Duration::from_secs(300)),
        steady: Duration::from_secs(10),
        connect: Duration::from_secs(15),
        refused_again: Duration::from_secs(300),
        raised: Duration::from_secs(60),
        part: Duration::from_secs(10),
        note_acks: Duration::from_millis(300),
        exchanged: Duration::from_secs(10),
        patience: Duration::from_millis(250),
        stop: Duration::from_secs(5),
        leave: Duration::from_secs(1),
        save: Duration::from_secs(600),
        traffic: Duration::from_secs(300),
        loss_log: Duration::from_secs(60),
    };
}

/// Longest shift of the first wait, so that it never overflows.
const MOST_FAILURES: u32 = 16;

/// After a CONNACK the broker is known to be there: no longer than the first wait times 2 to this.
const AFTER_CONNACK: u32 = 4;

/// Attempts that failed in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt; `random` is uniform. At least half of the rung's wait, at most all of it.
    pub(super) fn next(&mut self, pace: Pace, timing: &Timing, random: u64) -> Duration {
        let (first, longest) = match pace {
            Pace::Quick => timing.quick,
            Pace::Slow => timing.slow,
        };
        let rung = first.saturating_mul(1 << self.failures).min(longest);
        self.failures = (self.failures + 1).min(MOST_FAILURES);
        let half = rung / 2;
        half + half.mul_f64(random as f64 / u64::MAX as f64)
    }

    /// A connection ended. `connected`: there was a CONNACK; `lived`: how long the connection lasted.
    pub(super) fn ended(&mut self, connected: bool, lived: Duration, timing: &Timing) {
        if connected && lived >= timing.steady {
            self.failures = 0;
        } else if connected {
            self.failures = self.failures.min(AFTER_CONNACK);
        }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_rise_to_the_bound_and_never_beyond(failures in 0u32..100, random: u64, slow: bool) {
            let pace = if slow { Pace::Slow } else { Pace::Quick };
            let (first, longest) = if slow { Timing::DEFAULT.slow } else { Timing::DEFAULT.quick };
            let mut backoff = Backoff::default();
            for _ in 0..failures {
                backoff.next(pace, &Timing::DEFAULT, random);
            }
            let wait = backoff.next(pace, &Timing::DEFAULT, random);
            let rung = first.saturating_mul(1 << failures.min(MOST_FAILURES)).min(longest);
            prop_assert!(wait >= rung / 2 && wait <= rung, "{wait:?} of {rung:?}");
        }
    }

    #[test]
    fn the_first_attempt_after_a_good_connection_comes_at_once() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.next(Pace::Quick, &Timing::DEFAULT, 0);
        }
        backoff.ended(true, Duration::from_secs(3600), &Timing::DEFAULT);
        assert!(backoff.next(Pace::Quick, &Timing::DEFAULT, u64::MAX) <= Duration::from_millis(100));
    }

    #[test]
    fn a_connection_that_dies_early_does_not_reset_the_wait() {
        let mut backoff = Backoff::default();
        for _ in 0..4 {
            backoff.next(Pace::Quick, &Timing::DEFAULT, 0);
            backoff.ended(true, Duration::from_millis(3), &Timing::DEFAULT);
        }
        assert!(backoff.next(Pace::Quick, &Timing::DEFAULT, 0) >= Duration::from_millis(800));
        backoff.ended(false, Duration::ZERO, &Timing::DEFAULT);
        assert!(backoff.next(Pace::Quick, &Timing::DEFAULT, 0) >= Duration::from_millis(1600));
    }
}
