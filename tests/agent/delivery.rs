//! Everything published arrives, once, in order per group.

use crate::support::{LONG, PROGRAM, assert_clean, drained, fleet, mosquitto, online, tail, until_online};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{EmbeddedBroker, EmbeddedOptions};
use testkit::checker::Rules;
use testkit::consumer::Consumer;
use testkit::fake_sqs::{QueueOptions, SqsStub, StubOptions};
use testkit::ministack::Ministack;

const MESSAGES: usize = 10_000;
const DEVICES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_embedded_peers_messages_arrive_once_and_in_order() {
    let stub = SqsStub::start(StubOptions::default()).unwrap();
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    let target = QueueTarget::on_stub("main", &stub, "site.fifo");
    let mut agent = AgentProcess::start(PROGRAM, AgentConfig::new(broker.addr(), target)).await.unwrap();
    until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(1000).await.unwrap();
    stub.wait_for("site.fifo", LONG, |c| c.accepted >= 1000).await.unwrap();
    assert_clean(&fleet.published(), &stub.accepted("site.fifo"), Rules::FIFO, &agent);
    assert!(stub.unexpected().is_empty(), "{:?}", stub.unexpected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_permissions_deliver_ten_thousand_messages_once_in_order() {
    through_real_peers("site.fifo", &QueueOptions::fifo(), Rules::FIFO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_reach_a_standard_queue() {
    through_real_peers("site", &QueueOptions::standard(), Rules::STANDARD).await;
}

/// Mosquitto → agent → ministack with signatures and the two-action policy in force, read by a consumer.
async fn through_real_peers(name: &str, options: &QueueOptions, rules: Rules) {
    let ministack = Ministack::start(Path::new(env!("CARGO_MANIFEST_DIR"))).await.unwrap();
    let url = ministack.create_queue(name, options).await.unwrap();
    let broker = mosquitto().await;
    let target = QueueTarget {
        name: "main".into(),
        url: format!("https://sqs.{}.amazonaws.com/000000000000/{name}", ministack.region()),
        endpoint: Some(ministack.endpoint()),
        key: ministack.agent_key().clone(),
        extra: String::new(),
    };
    let mut agent = online(AgentConfig::new(broker.addr(), target)).await;
    let mut consumer = Consumer::new(&ministack.endpoint(), ministack.region(), &ministack.admin_key(), &url);
    let mut fleet = fleet(broker.addr(), DEVICES, None);
    let started = Instant::now();
    fleet.publish(MESSAGES).await.unwrap();
    let published = started.elapsed();
    let status = drained(&mut agent, MESSAGES as u64).await;
    println!("{MESSAGES} published in {published:.1?}, accepted after {:.1?}", started.elapsed());
    assert_eq!(status["queues"][0]["lane"]["accepted"], MESSAGES, "{status:#}\n{}", tail(&agent.log()));
    let read = consumer.read_until(MESSAGES, Duration::from_secs(150)).await;
    let read = read.map(|all| all.len());
    let rest = consumer.read_all().await.map(|all| all.len());
    let verdict = assert_clean(&fleet.published(), consumer.delivered(), rules, &agent);
    println!("{verdict}, all read after {:.1?}; read {read:?} {rest:?}", started.elapsed());
    assert_eq!(consumer.delivered().len(), MESSAGES, "nothing twice");
}
