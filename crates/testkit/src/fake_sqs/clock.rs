//! The stub's two clocks.
//!
//! *Queue time* ages deduplication ids and visibility timeouts. A test moves it forward as if time had passed for all
//! sides, so the service's own clock stays in step with the client's. *Service time* is what the `Date` header says and
//! what signatures are judged by; a test skews it to play a gateway whose clock is wrong.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both clocks, as offsets from the system's.
#[derive(Debug, Default)]
pub(crate) struct StubClock {
    advanced_ms: AtomicI64,
    skewed_ms: AtomicI64,
}

impl StubClock {
    /// Milliseconds since 1970 in queue time.
    pub(crate) fn queue_ms(&self) -> u64 {
        (system_ms() + self.advanced_ms.load(Relaxed)).max(0) as u64
    }

    /// Service time, skewed as the test says.
    pub(crate) fn service(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis((system_ms() + self.skewed_ms.load(Relaxed)).max(0) as u64)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.advanced_ms.fetch_add(by.as_millis() as i64, Relaxed);
    }

    pub(crate) fn skew(&self, seconds: i64) {
        self.skewed_ms.store(seconds * 1000, Relaxed);
    }
}

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
