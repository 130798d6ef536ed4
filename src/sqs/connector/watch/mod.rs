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
mod tests;
