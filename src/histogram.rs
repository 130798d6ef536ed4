//! How long something takes, counted by fixed bounds: what Prometheus calls a histogram.
//!
//! A histogram of sixty lines instead of a crate's: those bring registries, atomics and an encoder of their own, and what is
//! counted here is already under the lock of the stage that counts it.

use std::time::Duration;

/// Most bounds of one histogram: each is a series for every gateway and queue.
const BOUNDS_MAX: usize = 13;

/// Durations, counted by bounds; a counter like any other: since the start.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds_ms: &'static [u64],
    /// How many lie within each bound and beyond the one before it; the last: beyond all of them.
    counts: [u64; BOUNDS_MAX + 1],
    sum: Duration,
}

impl Histogram {
    /// An empty one. `bounds_ms`: rising, in milliseconds, at most 13.
    pub const fn new(bounds_ms: &'static [u64]) -> Histogram {
        assert!(bounds_ms.len() <= BOUNDS_MAX);
        Histogram { bounds_ms, counts: [0; BOUNDS_MAX + 1], sum: Duration::ZERO }
    }

    /// Counts one; what lies on a bound lies within it.
    pub fn observe(&mut self, took: Duration) {
        let within = |bound: &&u64| Duration::from_millis(**bound) >= took;
        let index = self.bounds_ms.iter().position(|bound| within(&bound)).unwrap_or(self.bounds_ms.len());
        self.counts[index] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// The bounds in seconds, each with how many lie within it: the count never falls from one to the next.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut within = 0;
        self.bounds_ms.iter().zip(self.counts).map(move |(bound_ms, count)| {
            within += count;
            (*bound_ms as f64 / 1000.0, within)
        })
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All together, in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_hold_what_lies_on_their_bound() {
        let mut histogram = Histogram::new(&[10, 100, 1000]);
        for ms in [0, 10, 11, 100, 5000] {
            histogram.observe(Duration::from_millis(ms));
        }
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(0.01, 2), (0.1, 4), (1.0, 4)]);
        assert_eq!((histogram.count(), histogram.sum_s()), (5, 5.121));
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.count(), 6, "no sum is too large");
    }
}
