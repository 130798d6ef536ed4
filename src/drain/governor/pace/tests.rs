//! The pace: the rate that is found, and what may fly beside what flies.

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
