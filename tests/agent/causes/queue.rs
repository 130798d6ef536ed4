//! Queues that ask for less, take nothing of some, or take their time.

use crate::support::{LONG, config, fleet, lane, mosquitto, online, stub, until_found};
use std::time::Duration;
use testkit::fake_sqs::{Fault, When};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_throttles_is_waited_for() {
    let (stub, broker) = (stub(), mosquitto().await);
    stub.faults().push(Fault::Throttle { code: "RequestThrottled", retry_after_ms: Some(60_000) }, When::Always);
    let mut agent = online(config(broker.addr(), &stub)).await;
    fleet(broker.addr(), 5, None).publish(5).await.unwrap();
    until_found(&mut agent, "queue_throttled", "waiting").await;
}

/// Each call takes three seconds: ten records of some hundred bytes in that time are what a poor link carries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_behind_a_slow_uplink_is_told() {
    let (stub, broker) = (stub(), mosquitto().await);
    stub.faults().push(Fault::Slow(Duration::from_secs(3)), When::Always);
    let mut agent = online(config(broker.addr(), &stub)).await;
    fleet(broker.addr(), 50, None).publish(200).await.unwrap();
    until_found(&mut agent, "uplink_slow", "waiting").await;
}

/// One record fills this window, and it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_full_of_what_waits_names_a_group() {
    let (stub, broker) = (stub(), mosquitto().await);
    stub.faults().push(Fault::FailEntry { index: 0, code: "InternalError", sender_fault: false }, When::Always);
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(("TIDEGATE_RIG_WINDOW".into(), "1".into()));
    let mut agent = online(configuration).await;
    fleet(broker.addr(), 1, None).publish(1).await.unwrap();
    let found = until_found(&mut agent, "queue_window_full", "waiting").await;
    assert!(found["what"].as_str().is_some_and(|what| what.contains("held up by group")), "{found}");
    stub.faults().clear();
    agent.wait_status("drained", LONG, |s| lane(s, "accepted") == 1).await.unwrap();
}
