//! The governor: series of faults, landings out of their turn, slow links.

mod link;

use super::gate::{CLOCK_WAIT, CONFIGURATION_FIRST, CONFIGURATION_MAX, LINK_FIRST, LINK_MAX, URGENT_MAX};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn fault(class: FaultClass) -> Fault {
    Fault { class, code: None, text: "no".into(), remedy: String::new(), never_sent: true, retry_after: None }
}

const CLASSES: [FaultClass; 9] = [
    FaultClass::Link,
    FaultClass::SlowDown,
    FaultClass::OnceMore,
    FaultClass::WaitForClock,
    FaultClass::WaitForConfiguration,
    FaultClass::Shrink,
    FaultClass::Quarantine,
    FaultClass::Bug,
    FaultClass::Unknown,
];
const BATCH: usize = 64 * 1024;

/// A governor of a link that is known to be fast, and the time.
struct World {
    governor: Governor,
    now: Instant,
}

impl World {
    fn fast(flights: usize) -> World {
        let mut world = World { governor: Governor::new(flights, BATCH), now: Instant::now() };
        let id = world.launch();
        world.now += Duration::from_millis(50);
        world.answered(id);
        world
    }

    fn permit(&self) -> Permit {
        self.governor.permit(self.now)
    }

    fn is_permitted(&self) -> bool {
        matches!(self.permit(), Permit::Now { .. })
    }

    fn launch(&mut self) -> LaunchId {
        let Permit::Now { bytes, .. } = self.permit() else { panic!("not permitted: {:?}", self.permit()) };
        self.governor.launched(self.now, bytes)
    }

    fn answered(&mut self, id: LaunchId) -> Change {
        self.governor.landed(id, Outcome::Answered, self.now, 0, false)
    }

    fn failed(&mut self, id: LaunchId, fault: &Fault) -> Change {
        self.failed_with(id, fault, u32::MAX, false)
    }

    fn failed_with(&mut self, id: LaunchId, fault: &Fault, random: u32, urgent: bool) -> Change {
        let outcome = Outcome::Failed { fault, single: false, answered: false };
        self.governor.landed(id, outcome, self.now, random, urgent)
    }

    fn until(&self) -> Instant {
        match self.governor.state() {
            GateState::Waiting { until, .. } => *until,
            state => panic!("closed after a fault: {state:?}"),
        }
    }

    /// Waits, probes, and fails.
    fn fail_again(&mut self, fault: &Fault) -> Change {
        if let GateState::Waiting { until, .. } = self.governor.state() {
            self.now = self.now.max(*until);
        }
        let id = self.launch();
        self.failed(id, fault)
    }
}

proptest! {
    #[test]
    fn every_fault_series_ends_in_retry_and_one_answer_opens(
        series in prop::collection::vec((0usize..9, any::<u32>(), any::<bool>()), 1..60),
    ) {
        let mut world = World::fast(4);
        for (class, random, urgent) in series {
            let id = world.launch();
            world.failed_with(id, &fault(CLASSES[class]), random, urgent);
            let until = world.until();
            prop_assert!(until <= world.now + CONFIGURATION_MAX, "bounded");
            let configured = matches!(CLASSES[class], FaultClass::OnceMore | FaultClass::WaitForConfiguration);
            prop_assert!(configured || !urgent || until <= world.now + URGENT_MAX);
            if until > world.now {
                prop_assert_eq!(world.permit(), Permit::At(until));
            }
            world.now = until;
        }
        let probe = world.launch();
        prop_assert_eq!(world.permit(), Permit::AfterFlight, "half-open: one batch");
        prop_assert!(world.answered(probe).opened);
        for _ in 0..4 * RECOVER_AFTER {
            let id = world.launch();
            world.now += Duration::from_millis(50);
            world.answered(id);
        }
        for _ in 0..4 {
            world.launch();
        }
        prop_assert_eq!(world.permit(), Permit::AfterFlight, "the allowance has recovered, and is kept");
    }

    /// Flights land in any order, with anything: while the gate is closed, nothing but its own probe moves it.
    #[test]
    fn stale_landings_open_nothing_blame_nothing_and_shrink_nothing(
        first in 0usize..9,
        others in prop::collection::vec((prop::option::of(0usize..9), any::<bool>()), 3),
    ) {
        let mut world = World::fast(4);
        let ids: Vec<LaunchId> = (0..4).map(|_| world.launch()).collect();
        world.failed(ids[0], &fault(CLASSES[first]));
        let (bytes, singles) = (world.governor.bytes, world.governor.singles_left);
        let mut probe = None;
        for (&id, (what, wait)) in ids[1..].iter().zip(others) {
            if wait && probe.is_none() {
                world.now = world.until();
            }
            let before = world.governor.state().clone();
            let change = match what {
                None => world.answered(id),
                Some(class) => world.failed(id, &fault(CLASSES[class])),
            };
            prop_assert_eq!(change, Change::default());
            prop_assert_eq!(world.governor.state(), &before, "moved by a flight that an earlier state let go");
            if probe.is_none() && world.is_permitted() {
                probe = Some(world.launch());
            }
        }
        prop_assert_eq!((world.governor.bytes, world.governor.singles_left), (bytes, singles));
        let probe = probe.unwrap_or_else(|| {
            world.now = world.until();
            world.launch()
        });
        prop_assert!(world.answered(probe).opened, "its own probe opens it");
    }

    #[test]
    fn a_question_changes_nothing(class in 0usize..9, times in 1usize..5) {
        let mut world = World::fast(4);
        let id = world.launch();
        world.failed(id, &fault(CLASSES[class]));
        world.now = world.until();
        let before = world.governor.state().clone();
        for _ in 0..times {
            world.permit();
        }
        prop_assert_eq!(world.governor.state(), &before);
    }
}

proptest! {
    /// Whatever flights weigh and however long they take, there is an answer, and an idle lane may always send.
    #[test]
    fn any_flights_leave_a_way_on(
        flights in prop::collection::vec((0usize..300_000, 0u64..100_000_000, any::<bool>(), 0u64..100_000), 1..40),
    ) {
        let mut world = World { governor: Governor::new(4, BATCH), now: Instant::now() };
        let mut aloft = Vec::new();
        for (bytes, took_us, answered, pause_ms) in flights {
            while world.is_permitted() {
                aloft.push(world.governor.launched(world.now, bytes));
            }
            if aloft.is_empty() {
                let Permit::At(until) = world.permit() else { panic!("no way on: {:?}", world.permit()) };
                world.now = until;
                continue;
            }
            world.now += Duration::from_micros(took_us);
            let id = aloft.remove(0);
            match answered {
                true => world.answered(id),
                false => world.failed(id, &fault(FaultClass::Link)),
            };
            world.now += Duration::from_millis(pause_ms);
            world.permit();
        }
        for id in aloft {
            world.answered(id);
        }
        if let Permit::At(until) = world.permit() {
            prop_assert!(until <= world.now + LINK_MAX);
            world.now = until;
        }
        prop_assert!(world.is_permitted());
    }
}

#[test]
fn an_old_success_does_not_shorten_a_throttling_wait() {
    let mut world = World::fast(4);
    let (throttled, old) = (world.launch(), world.launch());
    let slow = Fault { retry_after: Some(Duration::from_secs(60)), ..fault(FaultClass::SlowDown) };
    world.failed_with(throttled, &slow, 0, false);
    let until = world.now + Duration::from_secs(60);
    world.now += Duration::from_millis(52);
    world.answered(old);
    assert_eq!(world.permit(), Permit::At(until));
}

#[test]
fn a_stale_throttle_sets_the_wait_the_service_requests() {
    let mut world = World::fast(4);
    let (link, throttled) = (world.launch(), world.launch());
    world.failed(link, &fault(FaultClass::Link));
    let slow = Fault { retry_after: Some(Duration::from_secs(60)), ..fault(FaultClass::SlowDown) };
    world.failed(throttled, &slow);
    assert_eq!(world.until(), world.now + Duration::from_secs(60));
    assert_eq!(world.governor.allowed(), 2, "and slows down");
}

#[test]
fn four_flights_with_one_wrong_clock_are_one_signature_fault() {
    let mut world = World::fast(4);
    let ids: Vec<LaunchId> = (0..4).map(|_| world.launch()).collect();
    for id in ids {
        world.failed(id, &fault(FaultClass::OnceMore));
    }
    assert_eq!(world.until(), world.now, "tried once more at once: the SDK has learnt the skew");
    let probe = world.launch();
    world.failed(probe, &fault(FaultClass::OnceMore));
    assert!(world.until() >= world.now + CONFIGURATION_FIRST / 2, "and then it is the key");
}

#[test]
fn four_stale_shrinks_are_one() {
    let mut world = World::fast(4);
    let ids: Vec<LaunchId> = (0..4).map(|_| world.launch()).collect();
    for id in ids {
        world.failed(id, &fault(FaultClass::Shrink));
    }
    assert_eq!(world.governor.bytes, BATCH / 2);
}

#[test]
fn a_parked_queue_is_probed_as_rarely_as_announced() {
    let mut world = World::fast(4);
    for _ in 0..12 {
        world.fail_again(&fault(FaultClass::WaitForConfiguration));
    }
    assert_eq!(world.until(), world.now + CONFIGURATION_MAX, "with the highest lot");
    world.now = world.until();
    let id = world.launch();
    world.failed_with(id, &fault(FaultClass::WaitForConfiguration), 0, false);
    assert_eq!(world.until(), world.now + CONFIGURATION_MAX / 2, "with the lowest");
}

#[test]
fn a_persons_retry_ends_every_wait_and_shortens_the_next() {
    for class in CLASSES {
        let mut world = World::fast(4);
        for _ in 0..12 {
            world.fail_again(&fault(class));
            world.governor.retry_now(world.now);
            assert!(world.is_permitted(), "{class:?}");
        }
        world.fail_again(&fault(class));
        let first = CONFIGURATION_FIRST.max(CLOCK_WAIT).max(LINK_FIRST);
        assert!(world.until() <= world.now + first, "{class:?}");
    }
}

/// A probe that is refused for good probes until the quarantine has answered, so that the next one finds the wait grown.
#[test]
fn a_probe_on_its_way_into_quarantine_stays_one() {
    let full = fault(FaultClass::WaitForConfiguration);
    for (told, opens) in
        [(Outcome::Answered, true), (Outcome::Failed { fault: &full, single: false, answered: false }, false)]
    {
        let mut world = World::fast(4);
        world.fail_again(&full);
        world.now = world.until();
        let probe = world.launch();
        world.governor.landed(probe, Outcome::Pending, world.now, u32::MAX, false);
        assert_eq!(world.permit(), Permit::AfterFlight, "nothing flies meanwhile");
        let change = world.governor.told(probe, told, world.now, u32::MAX, false);
        assert_eq!((change.opened, change.closed), (opens, false), "and what is known already is not said again");
        assert_eq!(world.is_permitted(), opens);
        assert!(opens || world.until() > world.now + CONFIGURATION_FIRST, "the wait has grown");
    }
    let mut world = World::fast(4);
    world.fail_again(&full);
    world.now = world.until();
    let probe = world.launch();
    world.governor.landed(probe, Outcome::Pending, world.now, 0, false);
    world.governor.told(probe, Outcome::Silent, world.now, 0, false);
    assert!(world.is_permitted(), "the disk refused: the next one probes");
}

#[test]
fn throttling_halves_the_flights() {
    let mut world = World::fast(8);
    for expected in [4, 2, 1, 1] {
        let id = world.launch();
        world.failed_with(id, &fault(FaultClass::SlowDown), 0, false);
        world.now += LINK_MAX;
        assert_eq!(world.governor.allowed(), expected);
    }
}
