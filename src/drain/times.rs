//! How long calls and deliveries take, counted since the start.

use crate::histogram::Histogram;
use std::time::Duration;

/// Milliseconds. A region nearby answers in some 20 ms, a new connection takes four ways; behind them a mobile link, a satellite, and what
/// an attempt on a slow uplink may take.
const CALL_MS: &[u64] = &[25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000];
/// Milliseconds. Up to a second it is call and commit; then an outage: five minutes are what a FIFO queue absorbs a resend in, an
/// hour is when the alert on the lag comes, a day is a weekend's first.
const DELIVERY_MS: &[u64] =
    &[10, 25, 50, 100, 250, 500, 1000, 5000, 60_000, 300_000, 3_600_000, 21_600_000, 86_400_000];

/// How long calls and deliveries take.
#[derive(Clone, Debug)]
pub struct DrainTimes {
    /// Calls to SQS, from the request to its answer or failure.
    pub call: Histogram,
    /// Records from their receipt to their acceptance. Only those of this boot: no clock tells it of others.
    pub delivery: Histogram,
}

impl Default for DrainTimes {
    fn default() -> DrainTimes {
        DrainTimes { call: Histogram::new(CALL_MS), delivery: Histogram::new(DELIVERY_MS) }
    }
}

impl DrainTimes {
    /// A record was accepted that was received at `received_ms` of the boot's clock; 0: in another boot.
    pub(super) fn delivered(&mut self, received_ms: u64, now_ms: u64) {
        if received_ms > 0 {
            self.delivery.observe(Duration::from_millis(now_ms.saturating_sub(received_ms)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_boot_is_not_timed() {
        let mut times = DrainTimes::default();
        times.delivered(0, 90_000);
        assert_eq!(times.delivery.count(), 0);
        times.delivered(30_000, 90_000);
        assert_eq!((times.delivery.count(), times.delivery.sum_s()), (1, 60.0));
    }
}
