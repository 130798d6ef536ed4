//! One route, two queues: each gets everything, and one that is dead holds up nothing but itself.

use crate::support::{
    AUDIT, Flow, LONG, QUEUE, assert_books, assert_clean, assert_understood, config, drained, fleet, mosquitto, online,
    stub, until_remarked,
};
use std::net::SocketAddr;
use testkit::agent::{AgentConfig, QueueTarget};
use testkit::checker::Rules;
use testkit::fake_sqs::{Fault, SqsStub, When};

fn both(broker: SocketAddr, stub: &SqsStub) -> AgentConfig {
    let mut both = config(broker, stub);
    both.queues.push(QueueTarget::on_stub("audit", stub, AUDIT));
    both
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_queue_delays_only_itself_and_loses_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let configuration = both(broker.addr(), &stub);
    let mut agent = online(configuration.clone()).await;
    stub.faults().push_on(AUDIT, Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
    flow.more(1000).await;
    let remark = until_remarked(&mut agent, &["queue audit:", "AccessDenied", "tidegate policy"]).await;
    println!("{remark}");
    // The live queue continues meanwhile.
    let before = stub.counters(QUEUE).accepted;
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= before + 300).await.unwrap();
    assert_eq!(stub.counters(AUDIT).accepted, 0);
    let status = agent.status().await.unwrap();
    assert_books(&status);
    assert_eq!(status["queues"][1]["lane"]["accepted"], 0, "{status:#}");
    stub.faults().clear();
    agent.rewrite(configuration).unwrap();
    let published = flow.end().await.published();
    drained(&mut agent, published.confirmed() as u64).await;
    assert_clean(&published, &stub.accepted(QUEUE), Rules::FIFO, &agent);
    assert_clean(&published, &stub.accepted(AUDIT), Rules::STANDARD, &agent);
    assert_eq!(stub.counters(AUDIT).accepted, published.confirmed() as u64, "a refusal leaves no doubt");
    assert!(stub.unexpected().is_empty(), "{:?}", stub.unexpected());
}

/// A Standard queue absorbs nothing: whatever goes again must say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_standard_queue_resends_are_marked() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(both(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    for round in 1..=3 {
        flow.more(150).await;
        stub.faults().push_on(AUDIT, Fault::AcceptThenDrop, When::Next(2));
        let doubts = move |s: &serde_json::Value| s["queues"][1]["drain"]["ambiguous"].as_u64() >= Some(1);
        agent.wait_status("a doubt", LONG, doubts).await.unwrap_or_else(|late| panic!("round {round}: {late}"));
        agent.restart().await.unwrap();
    }
    let published = flow.end().await.published();
    drained(&mut agent, published.confirmed() as u64).await;
    assert_clean(&published, &stub.accepted(QUEUE), Rules::FIFO, &agent);
    let verdict = assert_clean(&published, &stub.accepted(AUDIT), Rules::STANDARD, &agent);
    println!("{verdict}; marked {}", verdict.duplicated_marked);
    assert!(verdict.duplicated_marked > 0, "the faults left doubts");
    assert_understood(&stub);
}
