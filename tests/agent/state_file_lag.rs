//! What a kill at one message per second repeats: what the state file lacked. A FIFO queue absorbs it when the agent is
//! soon back; where it may not, the records say that they may be repeats. A Standard queue gets what lacked for a second,
//! and every repeat says so.

use crate::support::{AUDIT, LONG, PROGRAM, QUEUE, assert_clean, drained, fleet, mosquitto, stub, until_online};
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::checker::Rules;
use testkit::clock_control::ClockControl;

/// After so many deliveries Mosquitto is known to count its packet ids up; until then each closed ack is written at once.
const KNOWN: usize = 2_200;
/// After so long everything is written.
const QUIET: Duration = Duration::from_secs(31);
/// Less than after which something is written for its age alone: 30 s, and a minute for a mark, which takes all along.
const SECONDS: usize = 15;
/// SQS remembers ids for less.
const OUTAGE: Duration = Duration::from_secs(6 * 60);

/// Killed after a while at one message per second, and started again, after an outage where there is one; gives how many
/// records the queue got again, how many of these it absorbed, and how many said that they may be duplicates.
async fn killed(queue: &str, outage: Option<Duration>) -> (u64, u64, usize) {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = AgentConfig::new(broker.addr(), QueueTarget::on_stub("main", &stub, queue));
    configuration.environment.push(clock.environment());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(KNOWN).await.unwrap();
    drained(&mut agent, KNOWN as u64).await;
    // Part of the input: a pause in which all of that is written, and a quiet sensor.
    tokio::time::sleep(QUIET).await;
    for _ in 0..SECONDS {
        fleet.publish(1).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    fleet.publish(1).await.unwrap();
    let all = (KNOWN + SECONDS + 1) as u64;
    drained(&mut agent, all).await;
    let before = stub.counters(queue).received;
    agent.kill().await.unwrap();
    if let Some(outage) = outage {
        stub.advance(outage);
        let ms = outage.as_millis() as i64;
        clock.move_to(ms, ms, 0).unwrap();
    }
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    fleet.publish(1).await.unwrap();
    stub.wait_for(queue, LONG, |counters| counters.received > before).await.unwrap();
    drained(&mut agent, all + 1).await;
    let rules = if queue == QUEUE { Rules::FIFO } else { Rules::STANDARD };
    let verdict = assert_clean(&fleet.published(), &stub.accepted(queue), rules, &agent);
    let counters = stub.counters(queue);
    (counters.received - before - 1, counters.absorbed, verdict.duplicated_marked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_repeats_only_what_the_state_file_lacked() {
    let (soon, late, standard) = tokio::join!(killed(QUEUE, None), killed(QUEUE, Some(OUTAGE)), killed(AUDIT, None));
    println!("killed after {SECONDS} s at one message per second; sent again, absorbed, delivered twice and marked:");
    println!("FIFO queue, back at once: {soon:?}");
    println!("FIFO queue, back after six minutes: {late:?}");
    println!("Standard queue, back at once: {standard:?}");
    let (again, absorbed, marked) = soon;
    assert!(again > 3 && again <= 1 + SECONDS as u64, "it lags by 30 s: {again}");
    assert_eq!((absorbed, marked), (again, 0));
    let (again, absorbed, marked) = late;
    assert_eq!((absorbed, marked as u64), (0, again));
    let (again, _, marked) = standard;
    assert!(again <= 3, "it lags by a second: {again}");
    assert_eq!(marked as u64, again);
}
