//! The agent dies twenty times in mid-stream: nothing is lost, nothing is reordered, and no record that has a key of
//! its own reaches the consumer twice.
//!
//! SIGKILL loses what a process has not written, as a power cut does; what the page cache would lose beside is the
//! journal's own tests' part.

use crate::support::{
    Flow, LONG, PROGRAM, QUEUE, arrived, arrived_once, assert_books, assert_clean, assert_understood, config, drained,
    fleet, lane, mosquitto, online, plain, seed, stub, tail,
};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::agent::AgentProcess;
use testkit::broker::{EmbeddedBroker, EmbeddedOptions};
use testkit::checker::Rules;
use testkit::fake_sqs::SqsStub;
use testkit::random::Random;
use tokio::time::sleep;

const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_behind_mosquitto_lose_repeat_and_reorder_nothing() {
    let broker = mosquitto().await;
    twenty_kills(broker.addr()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_behind_the_embedded_broker_lose_repeat_and_reorder_nothing() {
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    twenty_kills(broker.addr()).await;
}

/// More has come than a start looks through; what was durable must be acknowledged by then, or it is recorded again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_in_a_flood_redeliveries_are_recognised() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    assert!(agent.term(LONG).await.unwrap().success());
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(20_000).await.unwrap();
    agent.spawn().unwrap();
    let many = |s: &serde_json::Value| s["journal"]["durable"].as_u64() >= Some(12_000);
    agent.wait_status("many taken", LONG, many).await.unwrap();
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    let published = fleet.published();
    arrived_once(&stub, &mut agent, &published).await;
    assert_eq!(published.confirmed(), 20_000);
    let status = drained(&mut agent, 20_000).await;
    println!("repeats recognised: {}", status["intake"]["repeats"]);
    assert_eq!(lane(&status, "appended"), 20_000, "each once: {status:#}");
    assert_understood(&stub);
}

async fn twenty_kills(broker: SocketAddr) {
    let stub = stub();
    // Flights are in the air for long enough that kills find some.
    stub.set_latency(Duration::from_millis(20));
    let mut random = Random::seeded(seed());
    let mut agent = AgentProcess::prepare(PROGRAM, config(broker, &stub)).unwrap();
    agent.spawn().unwrap();
    // The broker keeps nothing for a session that it has never seen.
    crate::support::until_online(&mut agent).await;
    let flow = Flow::start(fleet(broker, 60, Some(250.0)));
    for kill in 1..=KILLS {
        // Sometimes while it opens, otherwise while it drains.
        if random.chance(0.2) {
            sleep(Duration::from_millis(random.below(150))).await;
        } else {
            progress(&stub, &mut agent, 1 + random.below(200)).await;
            assert_books(&agent.status().await.unwrap());
            sleep(Duration::from_millis(random.below(20))).await;
        }
        agent.kill().await.unwrap();
        agent.spawn().unwrap_or_else(|error| panic!("kill {kill}: {error}"));
    }
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let counters = stub.counters(QUEUE);
    let cut_off = plain(&agent.log()).matches("the last commit was cut off").count();
    println!("{verdict}; raw sends {}, absorbed {}, commits cut off {cut_off}", counters.received, counters.absorbed);
    let said = (&verdict, tail(&agent.log()).to_owned());
    assert_eq!((delivered.len(), verdict.announced), (published.confirmed(), 0), "nothing but the records: {said:?}");
    assert_eq!(verdict.duplicated_marked, 0, "no record twice");
    let status = drained(&mut agent, published.confirmed() as u64).await;
    let lane = &status["queues"][0]["lane"];
    assert_eq!((&lane["accepted"], &lane["appended"]), (&published.confirmed().into(), &published.confirmed().into()));
    // A kill while the first open makes the journal may leave no epoch behind; every later one counts.
    assert!(status["journal"]["epoch"].as_u64() >= Some(KILLS as u64 / 2), "{status:#}");
    assert_understood(&stub);
}

/// Waits until the queue has accepted `count` more.
async fn progress(stub: &SqsStub, agent: &mut AgentProcess, count: u64) {
    let target = stub.counters(QUEUE).accepted + count;
    let done = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= target).await;
    done.unwrap_or_else(|late| panic!("{late}\n{}", agent.log()));
}
