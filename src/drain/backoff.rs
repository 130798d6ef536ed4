//! Back-off: how long to wait after the n-th failure in a row. Pure; the randomness is given.

use std::time::Duration;

/// Full jitter: after each failure, a wait drawn evenly from zero to a ceiling that doubles from `first` up to `max`.
/// A fleet that lost one link comes back spread out, not at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// A fresh back-off.
    pub fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { first, max, failures: 0 }
    }

    /// Notes a failure and returns the wait after it. `random` is drawn evenly from 0..=u32::MAX; `cap` bounds this wait
    /// further. Never shorter than a tenth of the first ceiling, so that a refusing peer is not hammered.
    pub fn after_failure(&mut self, random: u32, cap: Duration) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(20)).min(self.max).min(cap);
        self.failures = self.failures.saturating_add(1);
        let part = f64::from(random) / f64::from(u32::MAX);
        ceiling.mul_f64(part).max(self.first / 10)
    }

    /// Notes a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_stay_within_their_bounds_and_grow(randoms in prop::collection::vec(any::<u32>(), 1..40), cap in 1u64..400) {
            let (first, max) = (Duration::from_millis(500), Duration::from_secs(300));
            let mut backoff = Backoff::new(first, max);
            let mut ceiling = first;
            for random in randoms {
                let wait = backoff.after_failure(random, Duration::from_secs(cap));
                prop_assert!(wait <= ceiling.min(max).min(Duration::from_secs(cap)));
                prop_assert!(wait >= first / 10);
                ceiling *= 2;
            }
            backoff.reset();
            prop_assert!(backoff.after_failure(u32::MAX, max) <= first);
        }
    }
}
