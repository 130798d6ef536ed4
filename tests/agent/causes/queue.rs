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

/// A file that was edited by hand, say: what the agent has read of it before is in force, and a start would have nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_file_gone_bad_is_told_before_restart() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(5).await.unwrap();
    agent.wait_status("sent", LONG, |s| lane(s, "accepted") == 5).await.unwrap();
    let file = agent.folder().join("credentials-main.csv");
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "Access key ID\nno secret here\n").unwrap();
    // Nothing is sent meanwhile: it is looked at without that.
    let found = until_found(&mut agent, "queue_key_file", "act").await;
    assert!(found["what"].as_str().is_some_and(|what| what.contains("credentials-main.csv")), "{found}");
    fleet.publish(5).await.unwrap();
    agent.wait_status("sent with the former key", LONG, |s| lane(s, "accepted") == 10).await.unwrap();
    until_found(&mut agent, "queue_key_file", "act").await;
    std::fs::write(&file, good).unwrap();
    agent.wait_status("mended", LONG, |s| s["health"] == "fine").await.unwrap();
    fleet.publish(5).await.unwrap();
    agent.wait_status("sent", LONG, |s| lane(s, "accepted") == 15).await.unwrap();
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
