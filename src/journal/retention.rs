//! Retention: what happens at the journal's bound. Pure.
//!
//! Only whole generations come back as disk space, so that is what is evicted: the oldest one that some lane still
//! needs, until the rest fits. The active generation is never evicted; when it alone breaks the bound it is closed first.

use crate::config::OnFull;

/// What to do before a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Retention {
    /// The commit fits.
    Fits,
    /// Evict the oldest generation and ask again.
    EvictOldest,
    /// Close the active generation, so that there is one to evict.
    Rotate,
    /// Stop acknowledging until lanes have trimmed.
    Stop,
}

/// sled's floor: bytes on disk per byte appended (measured 2.0, planned 2.1).
pub(super) const DISK_PER_BYTE_TENTHS: u64 = 21;

/// Decides for a commit of `bytes`, with `used` bytes on disk in `generations` generations.
pub(super) fn decide(used: u64, bytes: u64, max: u64, generations: usize, on_full: OnFull) -> Retention {
    if used.saturating_add(bytes.saturating_mul(DISK_PER_BYTE_TENTHS) / 10) <= max {
        return Retention::Fits;
    }
    match (on_full, generations) {
        (OnFull::Stop, _) => Retention::Stop,
        (OnFull::DropOldest, 0 | 1) => Retention::Rotate,
        (OnFull::DropOldest, _) => Retention::EvictOldest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_bound_the_oldest_goes_or_acks_stop_and_nothing_new_is_refused() {
        assert_eq!(decide(78, 10, 100, 3, OnFull::DropOldest), Retention::Fits);
        assert_eq!(decide(80, 10, 100, 3, OnFull::DropOldest), Retention::EvictOldest);
        assert_eq!(decide(80, 10, 100, 1, OnFull::DropOldest), Retention::Rotate);
        assert_eq!(decide(80, 10, 100, 3, OnFull::Stop), Retention::Stop);
    }
}
