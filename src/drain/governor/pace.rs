//! What the link carries, and how much of it may be in the air. Pure.
//!
//! Flights share the link, so a flight's own time says little. What is counted is its *share*: the time for which it would have had
//! the link alone, a second for one flight, half a second for each of two. Bytes by share is the link's rate.
//!
//! What is aloft when the link goes is lost, so on one that comes and goes little is: a batch takes a fifth of the time for which it
//! stayed up before, or has stayed up since, and one more flies beside it at most.

use crate::sqs::limits::LEAST_MESSAGE_BYTES;
use std::time::Duration;
use tokio::time::Instant;

/// A batch takes this long on the link at most, where it is slow: 25 KB at 10 kbit/s. Longer ones risk more at once (how long AWS waits
/// for a body that arrives slowly is not documented), shorter ones cost more in headers, of 0.8 KB each.
const BATCH: Duration = Duration::from_secs(20);
/// The next batch goes when no more than this is left of those in the air, so that the link carries on while an answer comes back.
const AHEAD: Duration = Duration::from_secs(3);
/// A connection beside the one that is in use costs so many bytes, its handshake included. Where the link takes longer for them than
/// the next batch would go ahead, the connection comes too late for it, and its tries crowd out what is under way.
const CONNECTION_BYTES: f64 = 1_500.0;
/// Of the time for which the link has lately stayed up, a batch takes a fifth at most: what is aloft when the link goes, goes again.
const FIFTH: u32 = 5;
/// A batch takes so long at least, however short the link stays up: shorter ones are headers for the most part.
const SHORTEST_BATCH: Duration = Duration::from_millis(500);
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
    /// The first and the last answer since the link came back.
    up: Option<(Instant, Instant)>,
    /// Between the first and the last answer before it went.
    stayed_up: Option<Duration>,
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
        let longest = self.longest();
        let carried = rate * longest.as_secs_f64();
        let batch = (carried as usize).max(LEAST_MESSAGE_BYTES).min(bound);
        let ahead = rate * AHEAD.min(longest / 2).as_secs_f64();
        // One beside the one that flies, at most, where connections cost more than that, or all that is aloft may be lost at any time.
        let most = match rate * AHEAD.as_secs_f64() < CONNECTION_BYTES {
            true => 1,
            false if longest < AHEAD && carried < bound as f64 => 2,
            false => usize::MAX,
        };
        if aloft.len() >= most {
            return Room::AfterFlight;
        }
        let share = self.share_at(now, aloft.len());
        let left = |(bytes, since): &(usize, Share)| *bytes as f64 - rate * share.saturating_sub(*since).as_secs_f64();
        let left: f64 = aloft.iter().map(|flight| left(flight).max(0.0)).sum();
        if left + batch as f64 <= carried {
            return Room::Bytes(batch);
        }
        let early = left - ahead;
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

    /// Something came over the link.
    pub fn answered(&mut self, now: Instant) {
        self.up = Some((self.up.map_or(now, |(since, _)| since), now));
    }

    /// The link went.
    pub fn went(&mut self) {
        self.stayed_up = self.up.take().map(|(since, last)| last - since).or(self.stayed_up);
    }

    /// For how long a batch may take the link.
    fn longest(&self) -> Duration {
        let Some(stayed) = self.stayed_up else { return BATCH };
        let stays = self.up.map_or(Duration::ZERO, |(since, last)| last - since);
        (stayed.max(stays) / FIFTH).clamp(SHORTEST_BATCH, BATCH)
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
    fn a_fast_link_is_unbounded_and_unknown_ones_start_small() {
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
    fn a_slow_link_gets_its_next_batch_before_idling() {
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

    /// 2.4 kbit/s: a second connection's handshake took longer than what it was to bridge, and its tries were half of all packets.
    #[test]
    fn a_link_slower_than_a_handshake_carries_single_flights() {
        for (bytes_per_s, alone) in [(300, true), (1_250, false)] {
            let (mut pace, start) = (Pace::default(), Instant::now());
            let share = pace.launched(start, 0);
            let now = start + Duration::from_secs(10);
            pace.landed(now, 1, share, 10 * bytes_per_s, true);
            let first = (bytes_per_s * 20, pace.launched(now, 0));
            let now = now + Duration::from_secs(18);
            assert_eq!(pace.room(now, &[first], 65_536) == Room::AfterFlight, alone, "{bytes_per_s}");
        }
    }

    /// What a link of 256 kbit/s has carried whole when it goes: all that is aloft then goes again.
    fn carried_whole(seconds_up: u64) -> f64 {
        const RATE: f64 = 32_000.0;
        let (mut pace, mut now, mut whole) = (Pace::default(), Instant::now(), 0.0);
        for period in 0..20 {
            let (mut aloft, end) = (Vec::<(usize, Share, f64)>::new(), now + Duration::from_secs(seconds_up));
            while now < end {
                let flights: Vec<(usize, Share)> = aloft.iter().map(|(bytes, share, _)| (*bytes, *share)).collect();
                if aloft.len() < 4
                    && let Room::Bytes(bytes) = pace.room(now, &flights, 65_536)
                {
                    let share = pace.launched(now, aloft.len());
                    aloft.push((bytes, share, bytes as f64));
                }
                now += Duration::from_millis(20);
                let each = RATE * 0.02 / aloft.len() as f64;
                aloft.iter_mut().for_each(|(_, _, left)| *left -= each);
                while let Some(at) = aloft.iter().position(|(_, _, left)| *left <= 0.0) {
                    let (bytes, share, _) = aloft.remove(at);
                    pace.landed(now, aloft.len() + 1, share, bytes, true);
                    pace.answered(now);
                    whole += if period > 0 { bytes as f64 } else { 0.0 };
                }
            }
            while let Some((bytes, share, _)) = aloft.pop() {
                pace.landed(now, aloft.len() + 1, share, bytes, false);
            }
            pace.went();
            now += Duration::from_secs(5);
        }
        whole / (RATE * (19 * seconds_up) as f64)
    }

    #[test]
    fn an_unsteady_link_gets_no_batch_longer_than_its_uptime() {
        for (up, least) in [(5, 0.7), (10, 0.7), (120, 0.9)] {
            assert!(carried_whole(up) >= least, "{up} s: {}", carried_whole(up));
        }
    }

    #[test]
    fn steady_links_regain_long_batches_and_fast_ones_keep_them() {
        let longest_of = |bytes_per_s: usize, seconds_up: u64| {
            let (mut pace, start) = (Pace::default(), Instant::now());
            pace.answered(start);
            pace.answered(start + Duration::from_secs(4));
            pace.went();
            let share = pace.launched(start, 0);
            let now = start + Duration::from_secs(10);
            pace.landed(now, 1, share, 10 * bytes_per_s, true);
            pace.answered(now);
            pace.answered(now + Duration::from_secs(seconds_up));
            let Room::Bytes(bytes) = pace.room(now, &[], 65_536) else { panic!("idle") };
            bytes
        };
        assert_eq!([0, 4, 8, 16, 160, 1000].map(|up| longest_of(2_000, up)), [1600, 1600, 3200, 6400, 40_000, 40_000]);
        assert_eq!(longest_of(2_500_000, 0), 65_536);
    }
}
