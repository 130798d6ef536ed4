//! The link: its return, its absence, its slowness.

use super::*;

#[test]
fn the_links_return_ends_only_waits_for_the_link() {
    for class in CLASSES {
        let mut world = World::fast(4);
        for _ in 0..12 {
            world.fail_again(&fault(class));
        }
        let until = world.until();
        let waits_for_link = matches!(class, FaultClass::Link | FaultClass::Unknown);
        assert_eq!(world.governor.link_returned(world.now), waits_for_link, "{class:?}");
        assert_eq!(world.is_permitted(), waits_for_link || until == world.now, "{class:?}");
        if waits_for_link {
            world.fail_again(&fault(class));
            assert_eq!(world.until(), world.now + LINK_FIRST, "{class:?}: short waits again");
        }
    }
}

#[test]
fn the_links_return_during_a_probe_is_not_lost() {
    let mut world = World::fast(4);
    for _ in 0..12 {
        world.fail_again(&fault(FaultClass::Link));
    }
    world.now = world.until();
    let probe = world.launch();
    assert!(world.governor.link_returned(world.now));
    world.failed(probe, &fault(FaultClass::Link));
    assert!(world.is_permitted(), "the probe began before the link was back");
}

#[test]
fn a_flight_failing_after_the_links_return_is_retried_immediately() {
    for class in [FaultClass::Link, FaultClass::WaitForConfiguration] {
        let mut world = World::fast(4);
        let flight = world.launch();
        assert!(!world.governor.link_returned(world.now), "it waits for nothing");
        world.failed(flight, &fault(class));
        assert_eq!(world.is_permitted(), class == FaultClass::Link, "{class:?}");
        if class == FaultClass::Link {
            world.fail_again(&fault(class));
            assert!(!world.is_permitted(), "once");
        }
    }
}

/// A connection that comes about is tried with a batch; once that has failed, connections count no more until one has failed.
#[test]
fn a_connection_ends_the_wait_once_until_one_has_failed() {
    let mut world = World::fast(4);
    for _ in 0..12 {
        world.fail_again(&fault(FaultClass::Link));
    }
    assert!(world.governor.waits_for_link());
    assert!(!world.governor.reached(world.now, false) && !world.is_permitted());
    assert!(world.governor.reached(world.now, true) && world.is_permitted());
    world.fail_again(&fault(FaultClass::Link));
    let until = world.until();
    assert!(until > world.now + LINK_FIRST, "the wait has grown");
    assert!(
        !world.governor.reached(world.now, true) && !world.is_permitted(),
        "something that takes connections and no more"
    );
    assert!(!world.governor.reached(world.now, false));
    assert!(world.governor.reached(world.now, true) && world.is_permitted());
    let probe = world.launch();
    world.answered(probe);
    assert!(!world.governor.waits_for_link());
}

#[test]
fn connecting_ends_no_wait_for_a_person_or_the_service() {
    for class in [FaultClass::WaitForConfiguration, FaultClass::SlowDown, FaultClass::WaitForClock] {
        let mut world = World::fast(4);
        world.fail_again(&fault(class));
        assert!(!world.governor.reached(world.now, true) && !world.is_permitted(), "{class:?}");
    }
}

#[test]
fn stalls_halve_flights_then_bytes_and_both_recover() {
    let stalled = Fault { code: Some(crate::sqs::STALLED.into()), ..fault(FaultClass::Link) };
    let mut world = World::fast(4);
    for expected in [(2, BATCH), (1, BATCH), (1, 8 * 1024), (1, 4 * 1024)] {
        let id = world.launch();
        world.failed_with(id, &stalled, 0, false);
        world.now += LINK_MAX;
        assert_eq!((world.governor.allowed(), world.governor.bytes), expected);
    }
    for _ in 0..4 * RECOVER_AFTER {
        let id = world.launch();
        world.now += Duration::from_millis(50);
        world.answered(id);
    }
    assert_eq!((world.governor.allowed(), world.governor.bytes), (4, BATCH));
}

/// A flight that is stuck in an outage may stay so for longer than the link is back.
#[test]
fn a_probe_does_not_wait_for_flights_of_before_it() {
    let mut world = World::fast(4);
    let ids: Vec<LaunchId> = (0..4).map(|_| world.launch()).collect();
    world.failed(ids[0], &fault(FaultClass::Link));
    world.now = world.until();
    let probe = world.launch();
    assert_eq!(world.permit(), Permit::AfterFlight, "one");
    assert!(world.answered(probe).opened);
    assert_eq!(world.permit(), Permit::Now { entries: BATCH_ENTRIES, bytes: BATCH });
    world.launch();
    assert_eq!(world.permit(), Permit::AfterFlight, "those of before count for the allowance of an open gate");
}

/// 64 kbit/s: four flights of 64 KiB take half a minute. What the link has not carried of them when it goes is on its way no more.
#[test]
fn a_probe_after_an_outage_alone_tells_the_links_rate() {
    let mut world = World { governor: Governor::new(4, BATCH), now: Instant::now() };
    let first = world.governor.launched(world.now, 16_000);
    world.now += Duration::from_secs(2);
    world.answered(first);
    let ids: Vec<LaunchId> = (0..4).map(|_| world.governor.launched(world.now, BATCH)).collect();
    world.now += Duration::from_secs(6);
    world.failed(ids[0], &fault(FaultClass::Link));
    world.now = world.until();
    assert!(world.is_permitted());
    let probe = world.governor.launched(world.now, 16_000);
    world.now += Duration::from_secs(1);
    // It has outlived the outage, and half of its time the link was away.
    world.answered(ids[1]);
    assert_eq!(world.governor.rate(), Some(8_000.0));
    world.now += Duration::from_secs(1);
    world.answered(probe);
    assert_eq!(world.governor.rate(), Some(8_000.0));
}

/// 5 s up, 5 s down: short cuts neither grow waits nor make anything smaller for longer than the link is away.
#[test]
fn flights_ended_by_the_links_return_are_retried_without_cost() {
    let returned = Fault { code: Some(crate::sqs::RETURNED.into()), ..fault(FaultClass::Link) };
    let mut world = World::fast(4);
    let rate = world.governor.rate();
    for _ in 0..10 {
        let id = world.launch();
        world.now += Duration::from_secs(5);
        world.failed(id, &returned);
        assert!(world.is_permitted());
        let probe = world.launch();
        world.failed(probe, &returned);
        assert!(!world.is_permitted(), "once");
        world.now = world.until();
        let probe = world.launch();
        world.now += Duration::from_millis(50);
        world.answered(probe);
    }
    assert_eq!((world.governor.allowed(), world.governor.bytes), (4, BATCH));
    assert!(rate.is_some() && world.governor.rate().is_some());
}

/// 10 kbit/s, batches of 64 KiB asked for: each takes 20 s of the link, and the link is never idle.
#[test]
fn a_slow_link_is_never_idle_and_never_overloaded() {
    let rate = 1_250.0;
    let mut world = World { governor: Governor::new(4, BATCH), now: Instant::now() };
    let (mut aloft, mut idle, mut most) = (Vec::<(LaunchId, f64)>::new(), 0, 0);
    for _ in 0..3_000 {
        while let Permit::Now { bytes, .. } = world.permit() {
            aloft.push((world.governor.launched(world.now, bytes), bytes as f64));
        }
        most = most.max(aloft.len());
        world.now += Duration::from_millis(100);
        idle += u32::from(aloft.is_empty());
        let each = rate * 0.1 / aloft.len().max(1) as f64;
        aloft.iter_mut().for_each(|(_, left)| *left -= each);
        let landed: Vec<LaunchId> = aloft.iter().filter(|(_, left)| *left <= 0.0).map(|(id, _)| *id).collect();
        aloft.retain(|(_, left)| *left > 0.0);
        for id in landed {
            world.answered(id);
        }
    }
    assert!(idle == 0 && most <= 2, "idle {idle}, most {most}");
    assert!((world.governor.rate().unwrap() / rate - 1.0).abs() < 0.1, "{:?}", world.governor.rate());
}
