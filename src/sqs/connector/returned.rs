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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// A flight, and the time.
    struct World {
        standing: Standing,
        progress: Progress,
        now: Instant,
    }

    impl World {
        fn new(usual: Duration) -> World {
            let (now, tries_in) = (Instant::now(), usual);
            let retransmit_after = usual;
            let progress = Progress {
                acked: 1,
                received: 1,
                sent: 0,
                segments: [0; 2],
                unsent: 0,
                unacked_segments: 9,
                segment: 1448,
                retransmit_after,
                tries_in,
                least_round_trip: None,
            };
            World { standing: Standing::new(now, progress), progress, now }
        }

        /// Moves for so long, at each look.
        fn flies(mut self, time: Duration) -> World {
            for _ in 0..time.div_duration_f64(LOOK) as u32 {
                self.progress.acked += 1448;
                assert_eq!(self.after(LOOK), Next::Wait);
            }
            self
        }

        fn after(&mut self, time: Duration) -> Next {
            self.now += time;
            self.progress.tries_in = self.progress.tries_in.saturating_sub(time);
            self.standing.look(self.now, self.progress)
        }

        /// Does not move until something is to be done; gives what, and after how long.
        fn stands(&mut self) -> (Next, Duration) {
            let start = self.now;
            (0..4000)
                .map(|_| self.after(LOOK))
                .find(|next| *next != Next::Wait)
                .map_or((Next::Wait, Duration::MAX), |next| (next, self.now - start))
        }

        fn looked(&mut self, took: Duration, made: bool) {
            self.now += took;
            self.progress.tries_in = self.progress.tries_in.saturating_sub(took);
            self.standing.looked(self.now, made.then_some(Made { took, round_trip: 300 * MS }));
        }

        /// An outage, as connections show it that fail and one that does not.
        fn cut_off(mut self, time: Duration) -> World {
            let start = self.now;
            while self.now - start < time {
                let (next, _) = self.stands();
                assert!(matches!(next, Next::Connect(_)), "{next:?}");
                self.looked(SLOW_CONNECTS, false);
            }
            let (next, _) = self.stands();
            assert!(matches!(next, Next::Connect(_)), "{next:?}");
            self.looked(100 * MS, true);
            self
        }
    }

    proptest! {
        /// However slow service and link are: where connections come about, nothing is ended.
        #[test]
        fn a_flight_whose_link_is_there_is_never_ended(
            usual_ms in 200u64..20_000,
            steps in prop::collection::vec((0u64..40_000, any::<bool>(), any::<bool>()), 1..40),
        ) {
            let mut world = World::new(usual_ms as u32 * MS);
            for (ms, moves, complete) in steps {
                world.progress.acked += u64::from(moves);
                world.progress.unacked_segments = if complete { 0 } else { 9 };
                match world.after(ms as u32 * MS) {
                    Next::Connect(_) => world.looked(100 * MS, true),
                    next => prop_assert_eq!(next, Next::Wait),
                }
            }
        }
    }

    /// After 5 s TCP tries again 6 s later: the flight has cost 1 s.
    #[test]
    fn a_flight_cheaper_than_waiting_ends_at_the_links_return() {
        let mut world = World::new(300 * MS).flies(1000 * MS);
        world.progress.tries_in = 15_000 * MS;
        let mut world = world.cut_off(5000 * MS);
        assert_eq!(world.stands(), (Next::End, LOOK));
    }

    #[test]
    fn a_flight_that_cost_more_than_waiting_goes_on() {
        let mut world = World::new(300 * MS).flies(20_000 * MS).cut_off(5000 * MS);
        world.progress.tries_in = 6000 * MS;
        for _ in 0..23 {
            assert_ne!(world.after(LOOK), Next::End);
        }
        // TCP has tried, and that was lost, too.
        world.progress.tries_in = 25_000 * MS;
        assert_ne!(world.after(LOOK), Next::End, "the try may be on its way");
        assert_ne!(world.after(LOOK), Next::End, "the try may be on its way");
        assert_eq!(world.after(LOOK), Next::End);
    }

    /// TCP takes what an outage has delayed for a slow link, and what was lost in it for on its way: seen with 5 s up, 5 s down.
    #[test]
    fn one_segment_after_an_outage_makes_no_slow_link() {
        let mut world = World::new(300 * MS).flies(1000 * MS).cut_off(5000 * MS);
        (world.progress.tries_in, world.progress.retransmit_after) = (9000 * MS, 9000 * MS);
        world.progress.acked += 1448;
        assert_eq!(world.after(LOOK), Next::Wait);
        let (next, after) = world.stands();
        assert!(matches!(next, Next::Connect(_)) && after <= STILL + LOOK, "{next:?} after {after:?}");
        world.looked(100 * MS, true);
        assert_eq!(world.stands(), (Next::End, LOOK));
    }

    #[test]
    fn a_connection_that_asked_twice_shows_the_links_return() {
        let mut world = World::new(300 * MS).flies(1000 * MS);
        world.progress.tries_in = 6000 * MS;
        assert!(matches!(world.stands().0, Next::Connect(_)));
        world.looked(1100 * MS, true);
        assert_eq!(world.stands(), (Next::End, LOOK));
    }

    #[test]
    fn an_answer_outstanding_at_the_links_return_gets_flight_time() {
        let mut world = World::new(300 * MS).flies(3000 * MS);
        world.progress.unacked_segments = 0;
        let mut world = world.cut_off(5000 * MS);
        assert!(matches!(world.stands(), (Next::Connect(_), _)));
        world.looked(100 * MS, true);
        let (next, after) = world.stands();
        assert!(next == Next::End && after <= ANSWERS, "{next:?} after {after:?}");
        // What is acknowledged after the outage has got through: from then on it is the service that takes its time.
        let mut world = World::new(300 * MS).flies(3000 * MS).cut_off(5000 * MS);
        world.progress.acked += 1448;
        world.progress.unacked_segments = 0;
        assert_eq!(world.after(LOOK), Next::Wait);
        for _ in 0..20 {
            assert!(matches!(world.stands().0, Next::Connect(_)));
            world.looked(100 * MS, true);
        }
    }

    #[test]
    fn a_slow_service_is_connected_to_less_and_less() {
        let mut world = World::new(300 * MS).flies(1000 * MS);
        let pauses: Vec<u64> = (0..6)
            .map(|_| {
                let (next, after) = world.stands();
                assert_eq!(next, Next::Connect(600 * MS));
                world.looked(Duration::ZERO, true);
                after.as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16]);
    }
}
