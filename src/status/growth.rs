//! How fast the journal would fill if nothing left it: what comes, over the last hours. Pure.
//!
//! A journal that drains does not grow, and yet its room is time: the outage that it can stand. So what comes is measured, not
//! what the disk holds.

use std::collections::VecDeque;

/// Seconds between two samples, and how many are kept: six hours.
const STEP_S: u64 = 600;
const SAMPLES: usize = 36;
/// Seconds below which a rate says nothing.
const LEAST_S: u64 = 60;

/// Bytes that came so far, at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sample {
    pub(super) at_s: u64,
    pub(super) bytes: u64,
}

/// What came over the last hours.
#[derive(Debug, Default)]
pub(super) struct Growth(VecDeque<Sample>);

impl Growth {
    /// Takes in a sample; in a step there is one, the first.
    pub(super) fn note(&mut self, sample: Sample) {
        let last = self.0.back().copied();
        if last.is_some_and(|last| last.bytes > sample.bytes) {
            // Counted from the start anew.
            self.0.clear();
        } else if last.is_some_and(|last| last.at_s / STEP_S == sample.at_s / STEP_S) {
            return;
        }
        self.0.push_back(sample);
        if self.0.len() > SAMPLES {
            self.0.pop_front();
        }
    }

    /// Bytes per second up to `now`; `None`: not known yet.
    pub(super) fn bytes_per_s(&self, now: Sample) -> Option<f64> {
        let first = self.0.front()?;
        let (seconds, bytes) = (now.at_s.saturating_sub(first.at_s), now.bytes.checked_sub(first.bytes)?);
        (seconds >= LEAST_S).then(|| bytes as f64 / seconds as f64)
    }
}

/// Seconds until `room` bytes are full at this rate; `None`: never, as far as can be told.
pub(super) fn holds_on_s(room: u64, bytes_per_s: f64) -> Option<u64> {
    // Beyond ten years it does not matter.
    const MOST_S: f64 = 10.0 * 365.0 * 86_400.0;
    let seconds = room as f64 / bytes_per_s;
    (bytes_per_s > 0.0 && seconds < MOST_S).then_some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, bytes_per_s: u64) -> (Growth, Sample) {
        let mut growth = Growth::default();
        let sample = |at_s| Sample { at_s: 100 + at_s, bytes: at_s * bytes_per_s };
        (0..=seconds).step_by(10).for_each(|at_s| growth.note(sample(at_s)));
        (growth, sample(seconds))
    }

    #[test]
    fn a_steady_stream_fills_the_room_at_the_predicted_time() {
        for seconds in [60, 3600, 86_400] {
            let (growth, now) = after(seconds, 50);
            let rate = growth.bytes_per_s(now).expect("known");
            assert!((rate - 50.0).abs() < 0.001, "{rate} after {seconds} s");
            assert_eq!(holds_on_s(50 * 86_400, rate), Some(86_400));
            assert!(growth.0.len() <= SAMPLES);
        }
    }

    #[test]
    fn a_stream_that_stopped_hours_ago_counts_no_more() {
        let (mut growth, last) = after(3600, 50);
        (0..12 * 3600).step_by(600).for_each(|at_s| growth.note(Sample { at_s: last.at_s + at_s, ..last }));
        let now = Sample { at_s: last.at_s + 12 * 3600, ..last };
        assert_eq!(growth.bytes_per_s(now), Some(0.0));
        assert_eq!(holds_on_s(1, 0.0), None);
    }

    #[test]
    fn too_few_samples_give_no_rate_and_new_counts_restart() {
        assert_eq!(Growth::default().bytes_per_s(Sample { at_s: 5000, bytes: 9 }), None);
        let (growth, now) = after(50, 7);
        assert_eq!(growth.bytes_per_s(now), None);
        let (mut growth, now) = after(3600, 50);
        growth.note(Sample { at_s: now.at_s + 1, bytes: 10 });
        assert_eq!(growth.bytes_per_s(Sample { at_s: now.at_s + 101, bytes: 210 }), Some(2.0));
    }
}
