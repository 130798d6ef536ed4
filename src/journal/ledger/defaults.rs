//! The bounds of a journal whose configuration names none: they go by its partition. Pure.
//!
//! Fixed ones fit most gateways and cost others their readings: a floor of 32 MiB on a partition of 25 MB evicted nearly all that
//! came, with 17 MB free. A value that is configured always holds.

use crate::journal::disk::reserve::RESERVE_BYTES;
use crate::journal::disk::volume::Space;

const MIB: u64 = 1 << 20;
/// Half of this fits the smallest flash of the gateways in the field beside a network server.
const MOST_BYTES: u64 = 512 * MIB;
/// Below, two generations with their overhead do not fit; as `config` has it for a value that is set.
const LEAST_BYTES: u64 = 16 * MIB;
/// A few generations, and what an opening and an eviction take, on a disk that others fill as well.
const MOST_FREE: u64 = 32 * MIB;
/// What the state and a new generation take.
const LEAST_FREE: u64 = MIB;
/// The floor's part of what the journal may have: space that no other program uses may as well keep readings.
const FREE_PART: u64 = 8;

/// `max_bytes` and `min_free` on this partition, in bytes; `None`: it does not tell its size.
///
/// The floor goes by what there is for the journal, not by the partition: one that others have filled has little to leave
/// free. The bound goes by the partition: what others take or give back later is the floor's to notice.
pub(crate) fn bounds(space: Option<Space>) -> (u64, u64) {
    let Some(Space { total, for_us }) = space else { return (MOST_BYTES, MOST_FREE) };
    let whole = |bytes: u64| bytes / MIB * MIB;
    let min_free = whole(for_us / FREE_PART).clamp(LEAST_FREE, MOST_FREE);
    let max_bytes = whole(total.saturating_sub(min_free + RESERVE_BYTES)).clamp(LEAST_BYTES, MOST_BYTES);
    (max_bytes, min_free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnFull;
    use crate::journal::ledger::retention::{Bounds, Look, Retention, decide};
    use proptest::prelude::*;

    fn of(total: u64, for_us: u64) -> (u64, u64) {
        let (max_bytes, min_free) = bounds(Some(Space { total: total * MIB, for_us: for_us * MIB }));
        (max_bytes / MIB, min_free / MIB)
    }

    #[test]
    fn usual_disks_get_usual_bounds_and_small_ones_their_own() {
        assert_eq!((of(8192, 4096), of(65_536, 256)), ((512, 32), (512, 32)));
        assert_eq!(bounds(None), (512 * MIB, 32 * MIB), "a file system that does not tell");
        assert_eq!(of(24, 24), (17, 3));
        assert_eq!(of(200, 17), (194, 2), "a partition that others have filled");
        assert_eq!(of(8, 8), (16, 1));
        assert_eq!(of(8192, 0), (512, 1));
    }

    #[test]
    fn a_partition_of_25_mb_evicts_nothing_with_17_free() {
        let space = Space { total: 25_000_000, for_us: 25_000_000 };
        let (max_bytes, min_free) = bounds(Some(space));
        let bounds = Bounds { max_bytes, max_age: None, min_free, on_full: OnFull::DropOldest };
        let look = Look {
            used: 8_000_000,
            evictable: 5_000_000,
            incoming: 100_000,
            free: Some(17_000_000),
            aged: false,
            generations: 3,
        };
        assert_eq!(decide(look, &bounds), Retention::Fits);
    }

    proptest! {
        #[test]
        fn the_floor_leaves_the_journal_most_of_what_there_is(total in 16 * MIB..1 << 42, part in 0u64..=100) {
            let for_us = total / 100 * part;
            let (max_bytes, min_free) = bounds(Some(Space { total, for_us }));
            prop_assert!((LEAST_BYTES..=MOST_BYTES).contains(&max_bytes) && (LEAST_FREE..=MOST_FREE).contains(&min_free));
            prop_assert!(min_free <= (for_us / FREE_PART).max(LEAST_FREE));
        }
    }
}
