//! The progress of an attempt: which end it comes to, on links of all rates.

use super::*;
use proptest::prelude::*;

const SEGMENT: u32 = 1448;

fn told(acked: u64, of: u64, received: u64, retransmit_after: Duration) -> Progress {
    let left = of.saturating_sub(acked);
    let unacked_segments = u32::try_from(left.div_ceil(u64::from(SEGMENT))).unwrap();
    Progress {
        acked,
        received,
        sent: 0,
        segments: [0; 2],
        unsent: 0,
        unacked_segments,
        segment: SEGMENT,
        retransmit_after,
        tries_in: retransmit_after,
        least_round_trip: None,
    }
}

fn attempt() -> Attempt {
    let patience = Duration::from_secs(20);
    Attempt { patience, limit: Duration::from_secs(52), looks: true, leaves_by_ms: None, arrives_by_ms: None }
}

/// Carries `bytes` at `rate` bytes per second in whole segments; gives what ended it, and when.
fn carried(attempt: Attempt, bytes: u64, rate: f64, stops_at: u64) -> (Option<Ended>, Duration) {
    let start = Instant::now();
    let segment = u64::from(SEGMENT);
    let round_trip = Duration::from_millis(700) + Duration::from_secs_f64(f64::from(SEGMENT) / rate);
    let mut watch = Watch::new(attempt, start, told(0, bytes, 0, round_trip), false);
    let mut after = Duration::ZERO;
    loop {
        after += LOOK;
        let sent = (rate * (after.as_secs_f64() - 0.7).max(0.0)) as u64;
        let acked = if sent >= bytes { bytes } else { sent / segment * segment }.min(stops_at);
        let ended = watch.look(start + after, after.as_millis() as u64, told(acked, bytes, 0, round_trip), false);
        if ended.is_some() || acked == bytes {
            return (ended, after);
        }
    }
}

proptest! {
    /// However slow a link is down to 2.4 kbit/s, what it carries is not ended.
    #[test]
    fn what_moves_is_never_ended(bytes in 1u64..300_000, rate in 300f64..1e7) {
        let (ended, took) = carried(attempt(), bytes, rate, u64::MAX);
        prop_assert_eq!(ended, None, "after {:?}", took);
    }

    /// A stalled flight is ended, within three segments and round trips of this link.
    #[test]
    fn what_does_not_move_is_ended(bytes in 10_000u64..300_000, rate in 300f64..1e7, share in 0f64..0.9) {
        let stops = (bytes as f64 * share) as u64 / u64::from(SEGMENT) * u64::from(SEGMENT);
        let (ended, took) = carried(attempt(), bytes, rate, stops);
        let stalled = matches!(ended, Some(Ended::Stalled { .. }));
        prop_assert!(stalled, "{:?}", ended);
        let (moving, segment) = (stops as f64 / rate, f64::from(SEGMENT) / rate);
        prop_assert!(took.as_secs_f64() <= moving + 22.0 + 6.0 * (segment + 0.7), "{:?}", took);
    }
}

#[test]
fn an_answer_in_drips_ends_except_over_slow_links() {
    let answered = |bytes_per_s: u64| {
        let start = Instant::now();
        let mut watch = Watch::new(attempt(), start, told(5000, 5000, 0, Duration::from_millis(700)), false);
        (1..300u64).find(|s| {
            let now = start + Duration::from_secs(*s);
            watch.look(now, s * 1000, told(5000, 5000, s * bytes_per_s, Duration::from_millis(700)), false).is_some()
        })
    };
    assert_eq!(answered(300), None, "2.4 kbit/s");
    assert!(matches!(answered(2), Some(52..=55)), "{:?}", answered(2));
    assert_eq!(
        answered(0),
        Some(53),
        "what the slowest link that needs no thought takes for the batch, behind a proxy"
    );
}

/// Today's dead connection of the pool: three seconds, not the twenty of an attempt.
#[test]
fn kept_connections_get_three_seconds_and_new_ones_their_patience() {
    let ended_while = |kept: bool, retransmit_ms: u64, acked: u64, away: bool| {
        let (start, after) = (Instant::now(), Duration::from_millis(retransmit_ms));
        let mut watch = Watch::new(attempt(), start, told(0, 5000, 0, after), kept);
        (1..400u32).find_map(|look| {
            let now = start + LOOK * look;
            watch.look(now, 0, told(acked, 5000, 0, after), away).map(|ended| (ended, now - start))
        })
    };
    let ended = |kept, retransmit_ms, acked| ended_while(kept, retransmit_ms, acked, false);
    assert_eq!(ended(true, 300, 0), Some((Ended::Dead, Duration::from_millis(3_250))));
    assert_eq!(ended(true, 4_000, 0), Some((Ended::Dead, Duration::from_millis(12_250))), "a slow link");
    assert!(matches!(ended(false, 300, 0), Some((Ended::Stalled { .. }, after)) if after > Duration::from_secs(20)));
    assert!(matches!(ended(true, 300, 1448), Some((Ended::Stalled { .. }, _))), "it has given a sign");
    let while_away = ended_while(true, 300, 0, true);
    assert_eq!(while_away, Some((Ended::Dead, Duration::from_millis(6_250))), "it may not be its fault");
}

#[test]
fn a_request_that_cannot_arrive_in_time_ends_early() {
    let by = Attempt { arrives_by_ms: Some(60_000), ..attempt() };
    let (ended, took) = carried(by, 100_000, 1_250.0, u64::MAX);
    assert_eq!((ended, took.as_secs()), (Some(Ended::TooSlow), 60));
    assert_eq!(carried(by, 50_000, 1_250.0, u64::MAX).0, None);
}
