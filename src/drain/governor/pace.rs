//! What the link carries, and how much of it may be in the air. Pure.
//!
//! Flights share the link, so a flight's own time says little. What is counted is its *share*: the time for which it would have had
//! the link alone, a second for one flight, half a second for each of two. Bytes by share is the link's rate.

use crate::sqs::limits::LEAST_MESSAGE_BYTES;
use std::time::Duration;
use tokio::time::Instant;

/// What the link carries in this time may be in the air. A batch of 64 KiB takes 52 s at 10 kbit/s: more at once and each would take
/// minutes, less and what surrounds the records on the wire would cost more than a tenth. How long AWS waits for a body that
/// arrives slowly is not documented.
const IN_THE_AIR: Duration = Duration::from_secs(60);
/// The first batch, while the rate is not known: 54 s at 2.4 kbit/s.
const FIRST_BYTES: usize = 16 * 1024;

/// Time that a flight would have had the link alone.
pub type Share = Duration;

/// The pace of one lane.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pace {
    rate: Option<f64>,
    /// Share of a flight that would always have been in the air, and when it was counted last.
    share: Share,
    counted: Option<Instant>,
}

impl Pace {
    /// Bytes per second, as far as flights have told.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Bytes that one more flight may have beside `flights` with `aloft` bytes; `None`: it is to wait for one of them.
    pub fn room(&self, aloft: usize, flights: usize, bound: usize) -> Option<usize> {
        let Some(rate) = self.rate else {
            return (flights == 0).then_some(bound.min(FIRST_BYTES));
        };
        let budget = (rate * IN_THE_AIR.as_secs_f64()) as usize;
        let left = budget.saturating_sub(aloft);
        if flights == 0 {
            return Some(bound.min(left.max(LEAST_MESSAGE_BYTES)));
        }
        (left >= bound).then_some(bound)
    }

    /// A flight goes beside `flights` others. Gives the share so far, to be given back with [`Pace::landed`].
    pub fn launched(&mut self, now: Instant, flights: usize) -> Share {
        self.count(now, flights);
        self.share
    }

    /// One of `flights` has landed with so many bytes.
    pub fn landed(&mut self, now: Instant, flights: usize, launched: Share, bytes: usize, arrived: bool) {
        self.count(now, flights);
        let alone = self.share.saturating_sub(launched);
        if arrived && !alone.is_zero() {
            let rate = bytes as f64 / alone.as_secs_f64();
            self.rate = Some(self.rate.map_or(rate, |old| (old + rate) / 2.0));
        }
    }

    /// Nothing is known of the link any more.
    pub fn forget(&mut self) {
        self.rate = None;
    }

    fn count(&mut self, now: Instant, flights: usize) {
        if let Some(counted) = self.counted.replace(now)
            && flights > 0
        {
            self.share += now.saturating_duration_since(counted) / flights as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Flights that share a link of any rate, any number of them: the rate that is found is the link's.
        #[test]
        fn the_rate_of_a_shared_link_is_found(rate in 300u32..1_000_000, flights in 1usize..8, kib in 4usize..64) {
            let (mut pace, mut now) = (Pace::default(), Instant::now());
            let bytes = kib * 1024;
            for _ in 0..6 {
                let shares: Vec<Share> = (0..flights).map(|before| pace.launched(now, before)).collect();
                now += Duration::from_secs_f64((flights * bytes) as f64 / f64::from(rate));
                for (landed, share) in shares.into_iter().enumerate() {
                    pace.landed(now, flights - landed, share, bytes, true);
                }
            }
            let found = pace.rate().unwrap();
            prop_assert!((found / f64::from(rate) - 1.0).abs() < 0.02, "{found} for {rate}");
            let room = pace.room(0, 0, 1 << 20).unwrap() as f64;
            prop_assert!(room <= f64::max(found * 60.0, LEAST_MESSAGE_BYTES as f64));
        }
    }

    #[test]
    fn a_fast_link_bounds_nothing_and_one_that_is_not_known_is_tried_with_little() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!((pace.room(0, 0, 65_536), pace.room(16_384, 1, 65_536)), (Some(16_384), None));
        let share = pace.launched(now, 0);
        pace.landed(now + Duration::from_millis(120), 1, share, 16_384, true);
        assert_eq!(pace.room(7 * 65_536, 7, 65_536), Some(65_536));
        pace.forget();
        assert_eq!(pace.room(65_536, 1, 65_536), None);
    }
}
