//! The gateway's own addresses or routes have changed: which connections end.
//!
//! A change may concern another interface altogether, so a connection that goes on moving is left alone. One whose address has left the
//! machine ends at once: no packet will ever reach it. Any other is in doubt ([`Doubt`]): the kernel would try it again at longer and
//! longer intervals, up to two minutes apart, and the wait for its answer lasts for twenty seconds and more.

use crate::sqs::connector::wire::WireControl;
use std::sync::Arc;
use std::time::Duration;
use tcp_progress::Progress;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two looks at a connection in doubt.
const LOOK: Duration = Duration::from_millis(100);
/// A link that is there brings an acknowledgement in this time, but for slow ones.
const GRACE: Duration = Duration::from_secs(1);

/// Counts the changes; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct LinkChanges(Arc<watch::Sender<u64>>);

impl LinkChanges {
    pub(super) fn none() -> LinkChanges {
        LinkChanges(Arc::new(watch::Sender::new(0)))
    }

    pub(super) fn tell(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    pub(super) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits for the next one from now on.
    pub(super) fn next(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.0.subscribe();
        async move {
            if changes.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Waits until a change has ended a connection. One that is being made is not there yet; that begins anew by itself.
    pub(super) fn break_of(
        &self,
        connection: impl Fn() -> Option<WireControl> + Send,
    ) -> impl Future<Output = ()> + Send {
        let mut changes = self.0.subscribe();
        async move {
            loop {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                if let Some(control) = connection()
                    && is_broken(&control).await
                {
                    return;
                }
            }
        }
    }
}

/// Waits for what becomes of a connection after a change.
async fn is_broken(control: &WireControl) -> bool {
    if control.address_is_gone() {
        return true;
    }
    let Ok(progress) = control.progress() else { return false };
    let doubt = Doubt::new(Instant::now(), progress);
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(progress) = control.progress() else { return false };
        if let Some(alive) = doubt.look(Instant::now(), progress) {
            return !alive;
        }
    }
}

/// A connection that a change may have ended. Pure.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Instant,
    acked: u64,
    received: u64,
}

impl Doubt {
    fn new(now: Instant, progress: Progress) -> Doubt {
        Doubt { since: now, acked: progress.acked, received: progress.received }
    }

    /// Whether it is alive; `None`: not known yet.
    fn look(&self, now: Instant, progress: Progress) -> Option<bool> {
        if progress.acked > self.acked || progress.received > self.received {
            return Some(true);
        }
        // Twice: the first segment after the change may be lost. An answer takes the service's time, too, so it has a third.
        let times = if progress.is_complete() { 3 } else { 2 };
        let grace = GRACE.max(progress.retransmit_after * times);
        (now.saturating_duration_since(self.since) >= grace).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(acked: u64, received: u64, unacked_segments: u32, retransmit_ms: u64) -> Progress {
        let retransmit_after = Duration::from_millis(retransmit_ms);
        Progress {
            acked,
            received,
            sent: 0,
            segments: [0; 2],
            unsent: 0,
            unacked_segments,
            segment: 1448,
            retransmit_after,
            tries_in: retransmit_after,
            least_round_trip: None,
        }
    }

    proptest! {
        /// What moves within the time that this link takes for an acknowledgement is alive; what does not ends, within that time or a second.
        #[test]
        fn what_moves_is_alive_and_what_does_not_ends(
            retransmit_ms in 200u64..8_000,
            unacked in 0u32..12,
            moves in prop::option::of((any::<bool>(), 1u64..3_000)),
            at_ms in 0u64..30_000,
        ) {
            let start = Instant::now();
            let doubt = Doubt::new(start, told(1_000, 50, unacked, retransmit_ms));
            let (acks, bytes) = moves.map_or((0, 0), |(acks, bytes)| if acks { (bytes, 0) } else { (0, bytes) });
            let found = doubt.look(start + Duration::from_millis(at_ms), told(1_000 + acks, 50 + bytes, unacked, retransmit_ms));
            let times = if unacked == 0 { 3 } else { 2 };
            let expected = match moves {
                Some(_) => Some(true),
                None if at_ms >= 1_000.max(times * retransmit_ms) => Some(false),
                None => None,
            };
            prop_assert_eq!(found, expected);
        }
    }
}
