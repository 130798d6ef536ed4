//! SIGTERM is an ordered stop: exit code 0 within the grace period, nothing lost, nothing done twice.

use crate::support::{
    Flow, LONG, QUEUE, arrived, assert_clean, assert_understood, config, drained, fleet, mosquitto, online, plain,
    stub, tail, until_online,
};
use std::time::{Duration, Instant};
use testkit::checker::Rules;
use testkit::fake_sqs::{Fault, When};

/// Flights may take 10 s more and the intake waits 5 s for its acks; the rest is the machine's.
const GRACE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_mid_stream_flushes_acks_without_repeats() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
    for stop in 1..=3 {
        flow.more(200).await;
        let started = Instant::now();
        let status = agent.term(GRACE).await.unwrap();
        println!("stop {stop}: {status} after {:.2?}", started.elapsed());
        assert_eq!(status.code(), Some(0), "{}", agent.log());
        let log = plain(&agent.log());
        let ended = log.lines().rev().find(|line| line.contains("intake stopped")).unwrap_or_default();
        assert!(ended.ends_with("unacked=0"), "{}", tail(&log));
        flow.more(100).await;
        agent.spawn().unwrap();
        until_online(&mut agent).await;
        // A message that was journaled and came again would be counted: its ack had not left.
        let status = agent.status().await.unwrap();
        assert_eq!((&status["intake"]["repeats"], &status["intake"]["session_kept"]), (&0.into(), &true.into()));
    }
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let status = drained(&mut agent, published.confirmed() as u64).await;
    assert_eq!(status["intake"]["repeats"], 0, "the broker's session held nothing that was journaled");
    let counters = stub.counters(QUEUE);
    assert_eq!((counters.absorbed, counters.received), (0, published.confirmed() as u64), "accepted records stay sent");
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_refusing_queue_stop_is_quick_and_loses_nothing() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(500).await.unwrap();
    let journaled = |s: &serde_json::Value| s["journal"]["durable"].as_u64() >= Some(500);
    agent.wait_status("journaled", LONG, journaled).await.unwrap();
    let started = Instant::now();
    assert_eq!(agent.term(GRACE).await.unwrap().code(), Some(0), "{}", agent.log());
    println!("stopped after {:.2?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(10), "nothing to wait for");
    stub.open().unwrap();
    agent.spawn().unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(stub.counters(QUEUE).absorbed, 0, "what never left is not a resend");
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_silent_queue_a_stop_resends_its_flights_later() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(100).await.unwrap();
    drained(&mut agent, 100).await;
    stub.faults().push(Fault::Hang, When::Always);
    fleet.publish(400).await.unwrap();
    let flying = |s: &serde_json::Value| s["queues"][0]["drain"]["in_flight"].as_u64() >= Some(1);
    agent.wait_status("flights", LONG, flying).await.unwrap();
    let started = Instant::now();
    assert_eq!(agent.term(GRACE).await.unwrap().code(), Some(0), "{}", agent.log());
    println!("stopped after {:.2?}", started.elapsed());
    assert!(plain(&agent.log()).contains("flights abandoned at stop; their records go again"));
    stub.faults().clear();
    agent.spawn().unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!((delivered.len(), verdict.duplicated_marked), (500, 0));
    assert_understood(&stub);
}
