//! What the link carries, and how much of it may be in the air. Pure.
//!
//! Flights share the link, so a flight's own time says little. What is counted is its *share*: the time for which it would have had
//! the link alone, a second for one flight, half a second for each of two. Bytes by share is the link's rate.

use crate::sqs::limits::LEAST_MESSAGE_BYTES;
use std::time::Duration;
use tokio::time::Instant;

/// A batch takes this long on the link at most, where it is slow: 25 KB at 10 kbit/s. Longer ones risk more at once (how long AWS waits
/// for a body that arrives slowly is not documented), shorter ones cost more in headers, of 0.8 KB each.
const BATCH: Duration = Duration::from_secs(20);
/// The next batch goes when no more than this is left of those in the air, so that the link carries on while an answer comes back.
const AHEAD: Duration = Duration::from_secs(3);
/// Bounds of what is computed: no link is faster than that a batch takes this, nor slower than a byte per second.
const SHORTEST: Duration = Duration::from_micros(100);
const SLOWEST: f64 = 1.0;
/// The first batch, while the rate is not known: 54 s at 2.4 kbit/s.
const FIRST_BYTES: usize = 16 * 1024;

/// Time that a flight would have had the link alone.
pub type Share = Duration;

/// Whether one more flight may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Now, with at most so many bytes.
    Bytes(usize),
    /// When a flight has come back.
    AfterFlight,
    /// Then, as far as can be told.
    At(Instant),
}

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

    /// Bytes that one more flight may have now beside `aloft`, each with its bytes and the share when it went.
    pub fn room(&self, now: Instant, aloft: &[(usize, Share)], bound: usize) -> Room {
        let Some(rate) = self.rate else {
            return if aloft.is_empty() { Room::Bytes(bound.min(FIRST_BYTES)) } else { Room::AfterFlight };
        };
        let batch = ((rate * BATCH.as_secs_f64()) as usize).max(LEAST_MESSAGE_BYTES).min(bound);
        let share = self.share_at(now, aloft.len());
        let left = |(bytes, since): &(usize, Share)| *bytes as f64 - rate * share.saturating_sub(*since).as_secs_f64();
        let left: f64 = aloft.iter().map(|flight| left(flight).max(0.0)).sum();
        if left + batch as f64 <= rate * BATCH.as_secs_f64() {
            return Room::Bytes(batch);
        }
        let early = left - rate * AHEAD.as_secs_f64();
        if early <= 0.0 {
            return Room::Bytes(batch);
        }
        Room::At(now + Duration::try_from_secs_f64(early / rate).unwrap_or(BATCH).min(BATCH))
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
        if arrived && bytes > 0 {
            let rate = bytes as f64 / alone.max(SHORTEST).as_secs_f64();
            self.rate = Some(self.rate.map_or(rate, |old| (old + rate) / 2.0).max(SLOWEST));
        }
    }

    /// Nothing is known of the link any more.
    pub fn forget(&mut self) {
        self.rate = None;
    }

    fn count(&mut self, now: Instant, flights: usize) {
        self.share = self.share_at(now, flights);
        self.counted = Some(now);
    }

    fn share_at(&self, now: Instant, flights: usize) -> Share {
        match self.counted {
            Some(counted) if flights > 0 => self.share + now.saturating_duration_since(counted) / flights as u32,
            _ => self.share,
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
            let Room::Bytes(room) = pace.room(now, &[], 1 << 20) else { panic!("an idle link has room") };
            prop_assert!(room as f64 <= f64::max(found * BATCH.as_secs_f64(), LEAST_MESSAGE_BYTES as f64));
        }
    }

    #[test]
    fn a_fast_link_bounds_nothing_and_one_that_is_not_known_is_tried_with_little() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.room(now, &[], 65_536), Room::Bytes(16_384));
        assert_eq!(pace.room(now, &[(16_384, Share::ZERO)], 65_536), Room::AfterFlight);
        let share = pace.launched(now, 0);
        let now = now + Duration::from_millis(120);
        pace.landed(now, 1, share, 16_384, true);
        let aloft: Vec<(usize, Share)> = (0..7).map(|before| (65_536, pace.launched(now, before))).collect();
        assert_eq!(pace.room(now, &aloft, 65_536), Room::Bytes(65_536));
        pace.forget();
        assert_eq!(pace.room(now, &aloft, 65_536), Room::AfterFlight);
    }

    #[test]
    fn a_slow_link_gets_its_next_batch_shortly_before_it_is_idle() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let share = pace.launched(start, 0);
        let now = start + Duration::from_secs(10);
        pace.landed(now, 1, share, 12_500, true);
        let Room::Bytes(bytes) = pace.room(now, &[], 65_536) else { panic!("idle") };
        assert_eq!(bytes, 25_000, "20 s at 10 kbit/s");
        let first = (bytes, pace.launched(now, 0));
        assert_eq!(pace.room(now, &[first], 65_536), Room::At(now + Duration::from_secs(17)));
        let now = now + Duration::from_secs(17);
        assert_eq!(pace.room(now, &[first], 65_536), Room::Bytes(25_000));
        let second = (25_000, pace.launched(now, 1));
        assert!(matches!(pace.room(now, &[first, second], 65_536), Room::At(_)));
    }
}
