//! The controls: each promise of the drain broken on purpose, in the agent itself, and seen by the checker.
//!
//! A checker that has never caught anything proves nothing. Each test runs the same scenario twice: sound, the verdict must
//! be clean; sabotaged, it must not be.

use crate::support::{
    AUDIT, Flow, LONG, PROGRAM, QUEUE, config, drained, fleet, mosquitto, stub, tail, until_online, until_remarked,
};
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::checker::{Rules, Verdict, judge};
use testkit::fake_sqs::{Fault, When};

async fn start(mut configuration: AgentConfig, sabotage: Option<&str>) -> AgentProcess {
    if let Some(sabotage) = sabotage {
        configuration.environment.push(("TIDEGATE_SABOTAGE".into(), sabotage.into()));
    }
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    agent
}

fn assert_sound(verdict: &Verdict, agent: &AgentProcess) {
    assert!(verdict.is_clean(), "{verdict:?}\n{}", tail(&agent.log()));
}

/// A backlog with several records per device; some entries and calls are refused for the moment.
async fn refusals(sabotage: Option<&str>) -> (Verdict, AgentProcess) {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = start(config(broker.addr(), &stub), sabotage).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 30, None);
    fleet.publish(600).await.unwrap();
    for index in 0..3 {
        let fault = Fault::FailEntry { index, code: "InternalError", sender_fault: false };
        stub.faults().push(fault, When::Next(4));
        stub.faults().push(Fault::ServerError { status: 500, body: true }, When::Next(1));
    }
    stub.open().unwrap();
    let published = fleet.published();
    drained(&mut agent, published.confirmed() as u64).await;
    assert_eq!(stub.faults().fired_of("fail entry"), 12);
    (judge(&published, &stub.accepted(QUEUE), Rules::FIFO), agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_record_behind_its_group_is_out_of_order() {
    let (verdict, agent) = refusals(None).await;
    assert_sound(&verdict, &agent);
    let (verdict, _) = refusals(Some("overtake")).await;
    println!("{verdict}");
    assert!(verdict.out_of_order > 0, "{verdict:?}");
    assert_eq!((verdict.lost, verdict.duplicated), (0, 0), "it breaks its own promise and no other: {verdict:?}");
}

/// A Standard queue absorbs nothing, so a kill between acceptance and the next state write is enough.
async fn kills(sabotage: Option<&str>) -> (Verdict, AgentProcess) {
    let (stub, broker) = (stub(), mosquitto().await);
    let target = QueueTarget::on_stub("main", &stub, AUDIT);
    let mut agent = start(AgentConfig::new(broker.addr(), target), sabotage).await;
    let mut flow = Flow::start(fleet(broker.addr(), 30, Some(200.0)));
    for _ in 0..3 {
        flow.more(100).await;
        stub.faults().push_on(AUDIT, Fault::AcceptThenDrop, When::Next(1));
        let before = stub.faults().fired_of("accept then drop");
        agent
            .wait_status("a lost answer", LONG, |_| stub.faults().fired_of("accept then drop") > before)
            .await
            .unwrap();
        agent.restart().await.unwrap();
    }
    let published = flow.end().await.published();
    drained(&mut agent, published.confirmed() as u64).await;
    (judge(&published, &stub.accepted(AUDIT), Rules::STANDARD), agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_without_a_mark_is_a_silent_duplicate() {
    let (verdict, agent) = kills(None).await;
    assert_sound(&verdict, &agent);
    assert!(verdict.duplicated_marked > 0, "the scenario leaves doubts: {verdict:?}");
    let (verdict, _) = kills(Some("no-mark")).await;
    println!("{verdict}");
    assert!(verdict.duplicated > 0, "{verdict:?}");
}

/// The token expires while records are in flight, and is renewed.
async fn parking(sabotage: Option<&str>) -> (Verdict, AgentProcess) {
    let (stub, broker) = (stub(), mosquitto().await);
    let configuration = config(broker.addr(), &stub);
    let mut agent = start(configuration.clone(), sabotage).await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(50).await.unwrap();
    stub.faults().push(Fault::Refuse { code: "ExpiredToken", status: 403 }, When::Always);
    fleet.publish(50).await.unwrap();
    until_remarked(&mut agent, &["queue main:", "expired"]).await;
    stub.faults().clear();
    let mut again = agent.config().clone();
    again.queues = configuration.queues;
    agent.rewrite(again).unwrap();
    let published = fleet.published();
    drained(&mut agent, published.confirmed() as u64).await;
    (judge(&published, &stub.accepted(QUEUE), Rules::FIFO), agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_lane_forgetting_its_flights_is_loss() {
    let (verdict, agent) = parking(None).await;
    assert_sound(&verdict, &agent);
    let (verdict, _) = parking(Some("forget-parked")).await;
    println!("{verdict}");
    assert!(verdict.lost > 0 && verdict.holes > 0, "{verdict:?}");
}
