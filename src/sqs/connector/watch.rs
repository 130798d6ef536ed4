//! When an attempt has waited long enough. The decision is pure ([`Watch`]); [`Attempt::supervise`] asks the kernel and carries it out.
//!
//! An attempt ends by no progress, not by its time: on a slow link a batch takes a minute, and ending it earlier sends the same bytes
//! again and again. Progress is what the peer's kernel has acknowledged, a segment at least; what a send buffer took is none. Patience
//! is three times what a segment takes on this link, lost ones included, and the configured time at least, in which a service has to
//! answer.
//!
//! What comes back counts, too, but only as fast as a slow link brings it: an answer in drips ends.
//!
//! An attempt that ends takes its connection along, by a reset: an abandoned socket would go on sending what it holds, in the way of
//! the next attempt, and might be accepted after the queue has forgotten the first one.

use crate::clock::boottime_ms;
use crate::sqs::connector::ended::Ended;
use crate::sqs::connector::fault::NetError;
use crate::sqs::connector::link::LinkChanges;
use crate::sqs::connector::returned;
use crate::sqs::connector::wire::WireControl;
use http::Extensions;
use hyper_util::client::legacy::connect::CaptureConnection;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tcp_progress::Progress;
use tokio::time::Instant;

/// Between two looks at the kernel's counts.
const LOOK: Duration = Duration::from_millis(250);
/// An answer that comes slower than this counts as none, in bytes per second: a third of 2.4 kbit/s.
const ANSWER_BYTES_PER_S: f64 = 100.0;

/// A connection of an earlier attempt carries something within this time, but on a slow link: NATs and peers forget idle ones.
const KEPT: Duration = Duration::from_secs(3);

/// What an attempt is told. Among the extensions of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sqs) struct Attempt {
    /// Without progress it waits for so long at least.
    pub(in crate::sqs) patience: Duration,
    /// Its whole time where the kernel does not tell of progress.
    pub(in crate::sqs) limit: Duration,
    /// Whether it may make connections beside its own, to look whether the link is back.
    pub(in crate::sqs) looks: bool,
    /// The time since boot, in ms, after which it must not leave.
    pub(in crate::sqs) leaves_by_ms: Option<u64>,
    /// The time since boot, in ms, by which all of it must have arrived.
    pub(in crate::sqs) arrives_by_ms: Option<u64>,
}

impl Attempt {
    /// Waits for the answer for as long as there is progress, and no change of the gateway's network has ended the connection.
    ///
    /// # Errors
    /// There was none; the connection is abandoned.
    pub(super) async fn supervise<T>(
        self,
        answer: impl Future<Output = T>,
        connection: &CaptureConnection,
        changes: &LinkChanges,
    ) -> Result<T, NetError> {
        let away = AtomicBool::new(false);
        let ended = tokio::select! {
            biased;
            answer = answer => return Ok(answer),
            () = changes.break_of(|| control_of(connection)) => Ended::LinkChanged,
            () = returned::without(|| control_of(connection), &away), if self.looks => Ended::LinkReturned,
            ended = self.watch(connection, &away) => ended,
        };
        if let Some(control) = control_of(connection) {
            control.abandon();
        }
        Err(NetError::ended(ended))
    }

    /// Looks at the connection until the attempt is to be ended.
    async fn watch(self, connection: &CaptureConnection, away: &AtomicBool) -> Ended {
        let start = Instant::now();
        let mut watch: Option<Watch> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(control) = control_of(connection) else {
                // Not connected yet: that has a limit of its own.
                continue;
            };
            let now = Instant::now();
            let ended = match control.progress() {
                Ok(progress) => {
                    // The pool may have dialled anew: then the counts begin again.
                    if watch.is_none_or(|watch| progress.acked < watch.acked) {
                        watch = Some(Watch::new(self, now, progress, control.is_older_than(start)));
                    }
                    watch.as_mut().and_then(|watch| watch.look(now, boottime_ms(), progress, away.load(Relaxed)))
                }
                Err(_) => (now - start > self.limit).then_some(Ended::Unanswered(self.limit)),
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
    }
}

/// The connection that an attempt is on, once there is one.
pub(super) fn control_of(connection: &CaptureConnection) -> Option<WireControl> {
    let mut extras = Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extras);
    extras.remove::<WireControl>()
}

/// The progress of one attempt. Pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    attempt: Attempt,
    began: Instant,
    /// Bytes that were acknowledged before it began.
    before: u64,
    /// What counted as progress last, and when.
    acked: u64,
    received: u64,
    moved: Instant,
    /// An earlier attempt made the connection.
    kept: bool,
}

impl Watch {
    pub(super) fn new(attempt: Attempt, now: Instant, progress: Progress, kept: bool) -> Watch {
        let Progress { acked, received, .. } = progress;
        Watch { attempt, began: now, before: acked, acked, received, moved: now, kept }
    }

    /// Looks at the counts; `Some`: the attempt is to be ended. `away`: the link seems to be away, which may not be the connection's fault.
    pub(super) fn look(&mut self, now: Instant, now_ms: u64, progress: Progress, away: bool) -> Option<Ended> {
        let step = u64::from(progress.segment.max(1));
        if progress.acked >= self.acked + step || progress.is_complete() && progress.acked > self.acked {
            (self.acked, self.moved) = (progress.acked, now);
        }
        let came = progress.received.saturating_sub(self.received);
        if came > 0 {
            self.received = progress.received;
            self.moved = (self.moved + Duration::from_secs_f64(came as f64 / ANSWER_BYTES_PER_S)).min(now);
        }
        if !progress.is_complete() && self.attempt.arrives_by_ms.is_some_and(|last| now_ms > last) {
            return Some(Ended::TooSlow);
        }
        let waited = now.saturating_duration_since(self.moved);
        if self.kept
            && self.moved == self.began
            && !progress.is_complete()
            && waited > self.patience_with_kept(progress, away)
        {
            return Some(Ended::Dead);
        }
        if waited <= self.patience(progress) {
            return None;
        }
        if !progress.is_complete() {
            return Some(Ended::Stalled { waited });
        }
        // A proxy, or a satellite's modem, acknowledges at once what it has yet to carry.
        let all = now.saturating_duration_since(self.began);
        (all > self.attempt.limit).then_some(Ended::Unanswered(all))
    }

    /// What a connection that was idle has for its first sign of life; a new one has just given it. Twice as long while its peer takes
    /// no new one either: then the link is away, and may come back with the connection. Or one of the server's addresses is, and another
    /// one is not.
    fn patience_with_kept(&self, progress: Progress, away: bool) -> Duration {
        let kept = if away { KEPT * 2 } else { KEPT };
        kept.max(progress.retransmit_after * 3).min(self.patience(progress))
    }

    /// Three times what a segment takes on this link, and after which TCP sends one again: so a segment can be lost twice in a row. And
    /// what is configured at least.
    fn patience(&self, progress: Progress) -> Duration {
        // Up to the last progress: counted on, patience would grow while it waits.
        let acked = self.acked.saturating_sub(self.before) as f64;
        let moving = self.moved.saturating_duration_since(self.began).as_secs_f64();
        let segment = if acked > 0.0 { f64::from(progress.segment) * moving / acked } else { 0.0 };
        let of_link = (Duration::from_secs_f64(segment.min(60.0)) + progress.retransmit_after) * 3;
        self.attempt.patience.max(of_link)
    }
}

#[cfg(test)]
mod tests {
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
                watch
                    .look(now, s * 1000, told(5000, 5000, s * bytes_per_s, Duration::from_millis(700)), false)
                    .is_some()
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
        assert!(
            matches!(ended(false, 300, 0), Some((Ended::Stalled { .. }, after)) if after > Duration::from_secs(20))
        );
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
}
