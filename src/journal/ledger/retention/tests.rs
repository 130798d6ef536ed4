//! Which bound speaks when, and what goes at it.

use super::*;
use crate::clock::Trust;
use proptest::prelude::*;

fn bounds(on_full: OnFull) -> Bounds {
    Bounds { max_bytes: 100, max_age: Some(Duration::from_secs(60)), min_free: 50, on_full }
}

const EASY: Look = Look { used: 76, evictable: 50, incoming: 10, free: Some(74), aged: false, generations: 3 };

#[test]
fn bounds_evict_the_oldest_or_stop_acks_refusing_nothing() {
    let oldest = |look| decide(look, &bounds(OnFull::DropOldest));
    let stop = |look| decide(look, &bounds(OnFull::Stop));
    assert_eq!((oldest(EASY), stop(EASY)), (Retention::Fits, Retention::Fits));
    let bytes = Look { used: 77, ..EASY };
    assert_eq!(
        (oldest(bytes), stop(bytes)),
        (Retention::EvictOldest(Bound::MaxBytes), Retention::Stop(Bound::MaxBytes))
    );
    assert_eq!(oldest(Look { generations: 1, ..bytes }), Retention::Rotate);
    let free = Look { free: Some(73), ..EASY };
    assert_eq!((oldest(free), stop(free)), (Retention::EvictOldest(Bound::MinFree), Retention::Stop(Bound::MinFree)));
    assert_eq!(oldest(Look { generations: 1, ..free }), Retention::Fits, "what came a moment ago stays");
    let aged = Look { aged: true, ..EASY };
    assert_eq!((oldest(aged), stop(aged)), (Retention::EvictAged, Retention::Stop(Bound::MaxAge)));
    assert_eq!(oldest(Look { free: None, ..EASY }), Retention::Fits, "a file system that does not tell is no reason");
}

proptest! {
    /// A floor of 0 does not count as a floor, and a bound that is kept is never the reason for anything.
    #[test]
    fn a_bound_is_named_only_where_it_is_broken(
        (used, incoming, free) in (0u64..200, 0u64..50, prop::option::of(0u64..200)),
        (aged, generations, min_free, stop) in (any::<bool>(), 0usize..4, 0u64..100, any::<bool>()),
        evictable in 0u64..200,
    ) {
        let on_full = if stop { OnFull::Stop } else { OnFull::DropOldest };
        let evictable = evictable.min(used);
        let look = Look { used, evictable, incoming, free, aged, generations };
        let needed = incoming * DISK_PER_BYTE_TENTHS / 10;
        match decide(look, &Bounds { min_free, ..bounds(on_full) }) {
            Retention::Fits => prop_assert!(!aged && used + needed <= 100),
            Retention::EvictAged => prop_assert!(aged && !stop),
            Retention::Rotate => prop_assert!(used + needed > 100 && generations < 2 && !stop),
            Retention::EvictOldest(bound) | Retention::Stop(bound) => {
                let broken = match bound {
                    Bound::MaxAge => aged,
                    Bound::MaxBytes => used + needed > 100,
                    Bound::MinFree => min_free > 0 && free.unwrap() < min_free + needed,
                };
                prop_assert!(broken);
                let reached = stop || bound != Bound::MinFree || free.unwrap() + evictable >= min_free + needed;
                prop_assert!(reached, "in vain");
            }
        }
    }

    #[test]
    fn a_wall_clock_step_ages_no_record_of_this_boot(step in any::<i64>(), since in 0u64..1 << 40) {
        let received = Moment { wall_ms: 1_700_000_000_000, boottime_ms: 1_000, trust: Trust::Confirmed };
        let now = Moment { wall_ms: received.wall_ms.wrapping_add(step), boottime_ms: 1_000 + since, trust: Trust::Confirmed };
        let boot = BootId([1; 16]);
        prop_assert_eq!(age(received, boot, now, boot), Some(Duration::from_millis(since)));
    }
}

#[test]
fn a_floor_that_eviction_cannot_reach_evicts_nothing() {
    const MIB: u64 = 1 << 20;
    let bounds = Bounds { max_bytes: 512 * MIB, max_age: None, min_free: 32 * MIB, on_full: OnFull::DropOldest };
    let free = |free: u64, evictable: u64| {
        let used = evictable + MIB;
        let look = Look { used, evictable, incoming: 100, free: Some(free), aged: false, generations: 3 };
        decide(look, &bounds)
    };
    let evicts = Retention::EvictOldest(Bound::MinFree);
    assert_eq!(free(31 * MIB, 2 * MIB), evicts, "it helps");
    assert_eq!(free(10 * MIB, 3 * MIB), Retention::Fits, "it does not: what others wrote is not ours");
    assert_eq!(free(4 * MIB, 3 * MIB), evicts, "room for what comes, one generation after the other");
    assert_eq!(free(MIB / 2, 2 * MIB), Retention::Fits, "as long as the disk takes it");
    let stops = Bounds { on_full: OnFull::Stop, ..bounds };
    let look = Look { used: MIB, evictable: 0, incoming: 100, free: Some(10 * MIB), aged: false, generations: 1 };
    assert_eq!(decide(look, &stops), Retention::Stop(Bound::MinFree));
}

#[test]
fn across_boots_only_confirmed_times_tell_an_age() {
    let received = Moment { wall_ms: 1_700_000_000_000, boottime_ms: 9_000, trust: Trust::Confirmed };
    let now = Moment { wall_ms: received.wall_ms + 5_000, boottime_ms: 10, trust: Trust::Confirmed };
    let (then, here) = (BootId([1; 16]), BootId([2; 16]));
    assert_eq!(age(received, then, now, here), Some(Duration::from_secs(5)));
    for trust in [Trust::Wrong, Trust::Unconfirmed] {
        assert_eq!(age(Moment { trust, ..received }, then, now, here), None);
        assert_eq!(age(received, then, Moment { trust, ..now }, here), None);
    }
    let earlier = Moment { wall_ms: received.wall_ms - 5_000, ..now };
    assert_eq!(age(received, then, earlier, here), Some(Duration::ZERO), "a clock that went back makes nothing old");
}
