//! A flight that stalls while the link is away: whether the link is back, and TCP does not know it yet.
//!
//! TCP tries again at intervals that double, from what an acknowledgement takes on this link: after an outage of five seconds it may look
//! after ten. No sign of the kernel's tells of a router's uplink. So a stalled flight is accompanied by connections to
//! the same peer that are given up as soon as they come about. One that does after others did not shows that the link
//! was away and is back. When the flight is ended then is pure ([`Standing`]): it waits no longer for TCP than it has
//! cost so far, so that going on never costs more than twice what the better choice would have.

use crate::sqs::connector::wire::WireControl;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tcp_progress::Progress;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at the flight.
const LOOK: Duration = Duration::from_millis(250);
/// A flight that moves less often has stalled, but on a slow link.
const STILL: Duration = Duration::from_secs(1);
/// Between two connections to a peer that takes them: not the link is away, it is the service that takes its time. It doubles.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
/// A link that is there takes a connection in this time, but a slow one.
const CONNECTS: Duration = Duration::from_millis(500);
const SLOW_CONNECTS: Duration = Duration::from_secs(3);
/// An answer over a link that is back comes within this time, but over a slow one.
const MOVES: Duration = Duration::from_millis(500);
/// An answer is waited for no longer than this, but for what its flight has cost: an outage of a minute would hold up the lane.
const ANSWERS: Duration = Duration::from_secs(5);
/// TCP asks for a connection again after this long.
const SYN_AGAIN: Duration = Duration::from_secs(1);
/// A flight that has moved so often, one time shortly after the other, has outlived an outage.
const STEADY: u32 = 4;

/// Waits until the link of a connection was away and is back, and the connection has not outlived it.
/// `away`: whether it seems to be away now.
pub(super) async fn without(connection: impl Fn() -> Option<WireControl>, away: &AtomicBool) {
    let (mut standing, mut rest): (Option<Standing>, Duration) = (None, LOOK);
    loop {
        sleep(rest).await;
        rest = LOOK;
        let Some(control) = connection() else { continue };
        let (Ok(progress), Some(peer)) = (control.progress(), control.peer()) else { continue };
        let now = Instant::now();
        let standing = standing.get_or_insert_with(|| Standing::new(now, progress));
        match standing.look(now, progress) {
            Next::Wait => {}
            Next::End => return,
            Next::Connect(patience) => {
                // Until it is known.
                away.store(true, Relaxed);
                let looked = timeout(patience, TcpStream::connect(peer)).await;
                let made = looked.ok().and_then(Result::ok).map(|stream| {
                    let round_trip = tcp_progress::progress(&stream).map_or(patience, |made| made.retransmit_after);
                    Made { took: now.elapsed(), round_trip }
                });
                rest = if made.is_some() { Duration::ZERO } else { LOOK.saturating_sub(now.elapsed()) };
                standing.looked(Instant::now(), made);
            }
        }
        away.store(standing.missed > 0 && standing.back.is_none(), Relaxed);
    }
}

/// What to do about a flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Wait,
    /// Look whether the peer takes a connection within this time.
    Connect(Duration),
    /// The link was away and is back, and the flight is better begun anew.
    End,
}

/// A connection that came about.
#[derive(Clone, Copy, Debug)]
struct Made {
    took: Duration,
    /// What the kernel reckons an acknowledgement takes on it.
    round_trip: Duration,
}

/// A flight, as far as it moves. Pure.
#[derive(Clone, Copy, Debug)]
struct Standing {
    acked: u64,
    received: u64,
    moved: Instant,
    /// For how long it has moved: what beginning anew would cost.
    cost: Duration,
    /// What an acknowledgement takes while the link is there: an outage that TCP has measured along is none of it.
    usual: Duration,
    /// Connections that failed, or had to wait for the link, while the flight stood still.
    missed: u32,
    /// Since when the link is known to be back.
    back: Option<Instant>,
    /// Times it moved, one shortly after the other, since it stood still.
    steps: u32,
    tries_in: Duration,
    /// When TCP tried last.
    tried: Instant,
    next_connect: Instant,
    pause: Duration,
}

impl Standing {
    fn new(now: Instant, progress: Progress) -> Standing {
        Standing {
            acked: progress.acked,
            received: progress.received,
            moved: now,
            cost: Duration::ZERO,
            usual: progress.retransmit_after,
            missed: 0,
            back: None,
            steps: 0,
            tries_in: progress.tries_in,
            tried: now,
            next_connect: now,
            pause: PAUSE,
        }
    }

    /// What to do now.
    fn look(&mut self, now: Instant, progress: Progress) -> Next {
        if progress.tries_in > self.tries_in {
            self.tried = now;
        }
        self.tries_in = progress.tries_in;
        if (progress.acked, progress.received) != (self.acked, self.received) {
            self.moves(now, progress);
            return Next::Wait;
        }
        if now.saturating_duration_since(self.moved) < self.still() {
            return Next::Wait;
        }
        match self.back {
            Some(back) if !self.waits(now, back, progress) => Next::End,
            _ if now < self.next_connect => Next::Wait,
            _ => {
                let patience = progress.least_round_trip.map_or(self.usual * 2, |least| least * 4);
                Next::Connect(patience.clamp(CONNECTS, SLOW_CONNECTS))
            }
        }
    }

    /// Without moving for so long it has stalled.
    fn still(&self) -> Duration {
        STILL.max(self.usual)
    }

    /// Whether to wait for the flight, now that the link is back: no longer than it has cost.
    fn waits(&self, now: Instant, back: Instant, progress: Progress) -> bool {
        let waited = now.saturating_duration_since(back);
        if progress.is_complete() {
            // The peer's TCP has to try: within as long again as it was away, since it waits twice as long each time. Or the service
            // takes its time, and one connection was lost on the way.
            let was_away = back.saturating_duration_since(self.moved).min(ANSWERS);
            return self.missed < 2 || waited < self.cost.max(self.usual).max(MOVES).max(was_away);
        }
        let tries = self.tried >= back && now.saturating_duration_since(self.tried) < self.usual.max(MOVES);
        (tries || progress.tries_in <= self.cost) && waited < self.cost + self.usual
    }

    fn moves(&mut self, now: Instant, progress: Progress) {
        let after = now.saturating_duration_since(self.moved);
        self.steps = if after < self.still() { self.steps + 1 } else { 0 };
        if self.missed == 0 {
            self.cost += after;
            self.usual = progress.retransmit_after;
        }
        // A segment that gets through after an outage is not yet the flight: TCP may take the others for on their way.
        if progress.is_complete() || self.steps >= STEADY {
            self.missed = 0;
        }
        (self.acked, self.received, self.moved) = (progress.acked, progress.received, now);
        (self.back, self.next_connect, self.pause) = (None, now, PAUSE);
    }

    /// A connection to the peer came about, or did not.
    fn looked(&mut self, now: Instant, made: Option<Made>) {
        let Some(Made { took, round_trip }) = made else {
            (self.missed, self.back) = (self.missed.saturating_add(1), None);
            // Over a slow link it was late, perhaps: the next one does not come on top of it.
            self.next_connect = now + self.usual.saturating_sub(SLOW_CONNECTS);
            return;
        };
        // One that took longer than its way takes came about when the link was back.
        self.missed += u32::from(took >= SYN_AGAIN && took > round_trip);
        self.back = self.back.or((self.missed > 0).then_some(now));
        self.next_connect = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests;
