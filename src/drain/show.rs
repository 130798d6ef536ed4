//! Puts into the status what a lane's drain is at.

use crate::drain::status::DrainState;
use crate::drain::task::Drain;
use crate::sqs::BatchSender;
use tokio::time::Instant;

impl<S: BatchSender> Drain<S> {
    /// Looks at everything that people are shown.
    pub(super) fn show(&self) {
        let now = Instant::now();
        let mut status = self.shared.lock();
        status.in_flight = self.governor.in_flight();
        status.flights_allowed = self.governor.allowed();
        status.uplink_bit_s = self.governor.rate().map(|bytes| (bytes * 8.0) as u64);
        status.window = self.batcher.len();
        (status.suspects, status.suspects_total) = self.named_suspects();
        status.limit_bytes = self.size_limit.bytes(now);
        status.oldest_ms = self.batcher.lowest().and_then(|lowest| self.held.get(&lowest)).map(|held| held.received_ms);
        status.state = if let Some(closed) = DrainState::of(self.governor.state(), now) {
            closed
        } else if let Some(why) = &self.cannot_read {
            DrainState::CannotRead { why: why.clone() }
        } else if (self.batcher.is_full(self.window) || self.reaches_too_far())
            && self.batcher.ready_groups() == 0
            && self.governor.in_flight() == 0
        {
            DrainState::WindowFull { group: self.batcher.lowest_group().unwrap_or_default().to_owned() }
        } else if self.batcher.is_empty() && self.at_end && self.back.left.is_empty() {
            DrainState::Idle
        } else {
            DrainState::Draining
        };
    }
}
