//! What a journal sees of the world beside its folder: the time, which boot it is, and how much room is left on the disk.
//!
//! Time goes by the records: one is received each minute, so a bound of age is a bound of numbers, and what a record says of its
//! time follows from its number alone.

use crate::session::Bounds;
use std::sync::LazyLock;
use std::time::Instant;
use testkit::random::Random;
use tidegate::clock::{Clock, Moment, Trust};
use tidegate::failpoints;

const MINUTE_MS: u64 = 60_000;
/// After every build of the agent, so that the clock can be believed.
const BEGAN_WALL_MS: i64 = 2_000_000_000_000;
const BEGAN_BOOT_MS: u64 = 86_400_000;
/// One in so many records was received with a clock that is not to be believed.
const UNTRUSTED: u64 = 7;
/// More than any floor.
const ROOM: u64 = 1 << 40;

/// The world that a journal is opened in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// The record that would be received now.
    pub(crate) minute: u64,
    /// Which boot it is.
    pub(crate) boot: u8,
    /// Bytes free on the disk.
    free: u64,
    /// The queue that comes and goes is configured.
    pub(crate) comes: bool,
}

impl World {
    /// One in which records up to `last` were received; often some time ago, where age is a bound, and often with too little
    /// room where that is one.
    pub(crate) fn draw(random: &mut Random, bounds: Bounds, last: u64, boot: u8) -> World {
        let later = if random.chance(0.5) { random.below(bounds.max_age_minutes.unwrap_or(0) + 1) } else { 0 };
        let free = if bounds.min_free > 0 && random.chance(0.5) { random.below(bounds.min_free) } else { ROOM };
        World { minute: last + later, boot, free, comes: random.chance(0.5) }
    }

    /// Has the agent's code see it.
    pub(crate) fn show(self) {
        // Asked before anything is moved.
        static REAL: LazyLock<(Moment, Instant)> = LazyLock::new(|| (Clock::new(None).now(), Instant::now()));
        let (real, since) = *REAL;
        let passed = since.elapsed().as_millis() as i64;
        let now = received(self.minute);
        let boottime_ms = now.boottime_ms as i64 - real.boottime_ms as i64 - passed;
        failpoints::move_clocks(now.wall_ms - real.wall_ms - passed, boottime_ms, self.boot);
        failpoints::pretend_free(Some(self.free));
    }

    /// Record `n` is received.
    pub(crate) fn goes_on(&mut self, n: u64) {
        self.minute = self.minute.max(n);
        self.show();
    }
}

/// When record `n` was received.
pub(crate) fn received(n: u64) -> Moment {
    Moment {
        wall_ms: BEGAN_WALL_MS + (n * MINUTE_MS) as i64,
        boottime_ms: BEGAN_BOOT_MS + n * MINUTE_MS,
        trust: if n.is_multiple_of(UNTRUSTED) { Trust::Wrong } else { Trust::Confirmed },
    }
}

/// So many minutes.
pub(crate) fn minutes(count: u64) -> std::time::Duration {
    std::time::Duration::from_millis(count * MINUTE_MS)
}
