//! Age as a bound, over restarts, reboots and clocks that lie.

use crate::support::{
    LONG, QUEUE, assert_books, assert_understood, config, drained, fleet, lane, mosquitto, online, stub, until_online,
    until_remarked,
};
use testkit::checker::{Rules, judge};
use testkit::clock_control::ClockControl;

/// Hours in ms, for the moved clock.
const HOURS: i64 = 3_600_000;

/// 300 records wait while the clock is moved as `moved` says (wall, time since boot, number of the boot) and the agent
/// started again; one message wakes it. Gives how many were evicted for their age.
async fn after(moved: (i64, i64, u8)) -> u64 {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "max_age = \"1 h\"".into();
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(300).await.unwrap();
    agent.wait_status("journaled", LONG, |s| lane(s, "waiting") == 300).await.unwrap();
    agent.kill().await.unwrap();
    clock.move_to(moved.0, moved.1, moved.2).unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    fleet.publish(1).await.unwrap();
    let status = agent.wait_status("woken", LONG, |s| lane(s, "appended") > 300).await.unwrap();
    assert_books(&status);
    let evicted = lane(&status, "evicted");
    if evicted > 0 {
        println!("{}", until_remarked(&mut agent, &["evicted at journal.max_age"]).await);
    }
    stub.open().unwrap();
    let published = fleet.published();
    let status = drained(&mut agent, 301).await;
    let verdict = judge(&published, &stub.accepted(QUEUE), Rules::FIFO);
    println!("moved by {moved:?}: evicted {evicted}; {verdict}, announced {}", verdict.announced);
    assert_eq!((verdict.lost as u64, verdict.announced as u64, verdict.holes), (evicted, evicted, 0), "{verdict:?}");
    assert_eq!(lane(&status, "evicted"), evicted);
    assert_understood(&stub);
    evicted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_boot_age_evicts_whatever_the_wall_clock_says() {
    assert_eq!(after((0, 2 * HOURS, 0)).await, 300);
    assert_eq!(after((-20 * 365 * 24 * HOURS, 2 * HOURS, 0)).await, 300, "a clock that went back by 20 years");
    assert_eq!(after((10 * 365 * 24 * HOURS, 0, 0)).await, 0, "a clock that jumped ahead by 10 years ages nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_reboot_only_a_trusted_wall_clock_tells_age() {
    assert_eq!(after((2 * HOURS, 0, 1)).await, 300);
    assert_eq!(after((0, 0, 1)).await, 0, "a quick reboot");
    assert_eq!(after((-50 * 365 * 24 * HOURS, 0, 1)).await, 0, "1976: nobody knows how old they are, so they stay");
}
