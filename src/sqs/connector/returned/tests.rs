//! A link that is back: seen on sockets that stood still, and on no others.

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
