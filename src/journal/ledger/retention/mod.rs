//! Retention: what happens at the journal's bounds. Pure.
//!
//! Three bounds: bytes on disk, age of the oldest record that waits, and free space of the file system. At each of them the
//! oldest records go, counted and announced, or nothing is acknowledged until there is room again. Bytes come back only
//! as whole generations, so that is what bytes and free space evict: the oldest one, until the rest fits. What is settled
//! behind a record that waits goes before that ([`crate::journal::writer::give_back`]). Age evicts record by record.
//!
//! The active generation is never evicted; when it alone breaks the bound in bytes it is closed first. The floor does
//! not go that far. And it takes nothing in vain: on a disk that others have filled, giving up the whole backlog would not reach it,
//! and what they wrote may be gone a minute later. So where all that can be evicted does not reach the floor, a low one counts
//! ([`LOW_FLOOR`]), at which the oldest go one by one as others come; and where that is out of reach, too, commits are tried for as
//! long as the disk takes them.

use crate::clock::{BootId, Moment};
use crate::config::OnFull;
use crate::journal::disk::volume::Space;
use crate::journal::ledger::defaults;
use serde::Serialize;
use std::time::Duration;

/// A bound of the whole journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// `max_bytes`: bytes of all generations on disk.
    MaxBytes,
    /// Age of the oldest record that waits.
    MaxAge,
    /// Free space on the file system.
    MinFree,
}

impl Bound {
    /// Its key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Bound::MaxBytes => "journal.max_bytes",
            Bound::MaxAge => "journal.max_age",
            Bound::MinFree => "journal.min_free",
        }
    }

    /// What a person can do at it, beside mending the uplink.
    pub fn remedy(self) -> &'static str {
        match self {
            Bound::MaxBytes => "mend the uplink, or raise journal.max_bytes",
            Bound::MaxAge => "mend the uplink, or raise journal.max_age",
            Bound::MinFree => "free space on the journal's disk, mend the uplink, or lower journal.min_free",
        }
    }
}

/// The bounds as an operator gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoundsOptions {
    /// Most bytes on disk, of all generations; `None`: by the partition.
    pub max_bytes: Option<u64>,
    /// Most that a record may wait; `None`: for ever.
    pub max_age: Option<Duration>,
    /// Bytes that stay free on the file system; 0: no floor; `None`: by the partition.
    pub min_free: Option<u64>,
    /// What happens at each of them.
    pub on_full: OnFull,
}

/// The bounds in effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Most bytes on disk.
    pub max_bytes: u64,
    /// Most that a record may wait; `None`: for ever.
    pub max_age: Option<Duration>,
    /// Bytes that stay free on the file system; 0: none.
    pub min_free: u64,
    /// What happens at each of them.
    pub on_full: OnFull,
}

impl Bounds {
    /// Those that are given; what is not given goes by the partition ([`defaults::bounds`]).
    pub fn of(given: &BoundsOptions, space: Option<Space>) -> Bounds {
        let (max_bytes, min_free) = defaults::bounds(space);
        Bounds {
            max_bytes: given.max_bytes.unwrap_or(max_bytes),
            max_age: given.max_age,
            min_free: given.min_free.unwrap_or(min_free),
            on_full: given.on_full,
        }
    }
}

/// What there is before a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    /// Bytes of all generations on disk.
    pub(crate) used: u64,
    /// Of them those that can be evicted, at least: all but the newest generation's.
    pub(crate) evictable: u64,
    /// Bytes of the commit.
    pub(crate) incoming: u64,
    /// Bytes free on the file system, where it tells.
    pub(crate) free: Option<u64>,
    /// Whether the oldest record that waits is too old.
    pub(crate) aged: bool,
    /// Generations on disk, the active one included.
    pub(crate) generations: usize,
}

/// What to do before a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retention {
    /// The commit fits below every bound.
    Fits,
    /// Evict the oldest generation and ask again.
    EvictOldest(Bound),
    /// Evict what is too old and ask again.
    EvictAged,
    /// Close the active generation, so that there is one to evict.
    Rotate,
    /// Stop acknowledging until lanes have trimmed, or others have made space.
    Stop(Bound),
}

/// Bytes on disk per byte of envelope, in tenths, at most: 2.3 to 2.4 were measured on format 1 in a flood. What commits of several
/// records take is less (1.0 to 1.3); a small record that is alone in its commit takes 1.05 KB.
pub(crate) const DISK_PER_BYTE_TENTHS: u64 = 24;

/// What so many bytes of envelopes take on disk.
pub(crate) fn on_disk(bytes: u64) -> u64 {
    bytes.saturating_mul(DISK_PER_BYTE_TENTHS) / 10
}

/// The floor of free space on a disk where the configured one is out of the journal's reach: enough for a generation and what the
/// file system notes of it.
const LOW_FLOOR: u64 = 4 << 20;

/// The floor that eviction can reach, in bytes; 0: none.
fn reachable_floor(look: &Look, needed: u64, min_free: u64) -> u64 {
    let most = look.free.unwrap_or(u64::MAX).saturating_add(look.evictable);
    let floors = [min_free, min_free.min(LOW_FLOOR)];
    floors.into_iter().find(|floor| most >= floor.saturating_add(needed)).unwrap_or(0)
}

/// Decides for one commit.
pub(crate) fn decide(look: Look, bounds: &Bounds) -> Retention {
    let needed = on_disk(look.incoming);
    let over_bytes = look.used.saturating_add(needed) > bounds.max_bytes;
    let floor = match bounds.on_full {
        OnFull::Stop => bounds.min_free,
        OnFull::DropOldest => reachable_floor(&look, needed, bounds.min_free),
    };
    let under_floor = look.free.is_some_and(|free| free < floor.saturating_add(needed)) && floor > 0;
    let bound = match (look.aged, over_bytes, under_floor) {
        (true, ..) => Bound::MaxAge,
        (_, true, _) => Bound::MaxBytes,
        (.., true) => Bound::MinFree,
        _ => return Retention::Fits,
    };
    match (bounds.on_full, bound, look.generations) {
        (OnFull::Stop, ..) => Retention::Stop(bound),
        (_, Bound::MaxAge, _) => Retention::EvictAged,
        (_, Bound::MaxBytes, 0 | 1) => Retention::Rotate,
        (_, Bound::MinFree, 0 | 1) => Retention::Fits,
        _ => Retention::EvictOldest(bound),
    }
}

/// How old a record is, as far as it can be told: by the time since boot within a boot, which no step of the wall clock
/// moves; otherwise by the wall clock, if it was confirmed then and is now: one that a file had set would make a record hours
/// older than it is, and cost it. `None`: its age cannot be known.
pub(crate) fn age(received: Moment, boot: BootId, now: Moment, this_boot: BootId) -> Option<Duration> {
    if boot == this_boot {
        return Some(Duration::from_millis(now.boottime_ms.saturating_sub(received.boottime_ms)));
    }
    let ms = now.confirmed_ms()?.checked_sub(received.confirmed_ms()?)?;
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
