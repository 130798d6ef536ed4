//! The queue or the link to it fails: records wait, in order, and nothing reaches the queue twice within its window.

use crate::support::{
    Flow, LONG, QUEUE, arrived, arrived_once, assert_books, assert_clean, assert_understood, config, fleet, lane,
    mosquitto, online, seed, stub, tail, until_found, until_remarked,
};
use std::path::Path;
use std::time::Duration;
use testkit::agent::{AgentConfig, QueueTarget};
use testkit::checker::Rules;
use testkit::consumer::Consumer;
use testkit::fake_sqs::{Fault, QueueOptions, SqsStub, When};
use testkit::ministack::Ministack;
use testkit::proxy::in_front_of;
use testkit::random::Random;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_the_journal_drains_in_order() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
    flow.more(300).await;
    stub.close().await;
    flow.more(1200).await;
    let status = agent.wait_status("a backlog", LONG, |s| lane(s, "waiting") >= 1000).await.unwrap();
    assert_books(&status);
    let remark = until_remarked(&mut agent, &["queue main:", "next attempt in"]).await;
    println!("{remark}");
    until_found(&mut agent, "queue_offline", "waiting").await;
    stub.open().unwrap();
    flow.more(300).await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(stub.counters(QUEUE).accepted, published.confirmed() as u64);
    assert_understood(&stub);
}

/// No route changes on this machine when the router's own uplink comes back: the next attempt is far away, and the link's return is
/// noticed nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_returns_unseen_is_used_within_ten_seconds() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    stub.close().await;
    fleet.publish(5).await.unwrap();
    let far = |s: &serde_json::Value| s["queues"][0]["drain"]["next_s"].as_u64() >= Some(15);
    agent.wait_status("a long wait", LONG, far).await.unwrap();
    stub.open().unwrap();
    let back = stub.wait_for(QUEUE, Duration::from_secs(10), |counters| counters.accepted == 5).await;
    back.unwrap_or_else(|late| panic!("{late}\n{}", tail(&agent.log())));
    let status = agent.status().await.unwrap();
    assert!(status["queues"][0]["drain"]["link_probes"].as_u64() > Some(1), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_arrive_make_no_duplicates_within_the_window() {
    let (stub, broker) = (stub(), mosquitto().await);
    let (proxy, endpoint) = in_front_of(&stub.endpoint()).unwrap();
    let target = QueueTarget { endpoint: Some(endpoint), ..QueueTarget::on_stub("main", &stub, QUEUE) };
    let mut agent = online(AgentConfig::new(broker.addr(), target)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
    for cut in 1..=5 {
        flow.more(100).await;
        proxy.drop_answers(2);
        agent.wait_status("two cut answers", LONG, |_| proxy.answers_dropped() == 2 * cut).await.unwrap();
    }
    let published = flow.end().await.published();
    arrived_once(&stub, &mut agent, &published).await;
    assert!(stub.counters(QUEUE).absorbed >= 10, "each cut answer was of a batch that had been accepted");
    assert_understood(&stub);
}

/// The same against a queue that is not ours: its deduplication, not our reading of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_emulators_window_absorbs_the_resends_too() {
    let ministack = Ministack::start(Path::new(env!("CARGO_MANIFEST_DIR"))).await.unwrap();
    let url = ministack.create_queue(QUEUE, &QueueOptions::fifo()).await.unwrap();
    let (proxy, endpoint) = in_front_of(&ministack.endpoint()).unwrap();
    let broker = mosquitto().await;
    let target = QueueTarget {
        name: "main".into(),
        url: format!("https://sqs.{}.amazonaws.com/000000000000/{QUEUE}", ministack.region()),
        endpoint: Some(endpoint),
        key: ministack.agent_key().clone(),
        extra: String::new(),
    };
    let mut agent = online(AgentConfig::new(broker.addr(), target)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 30, Some(200.0)));
    for cut in 1..=4 {
        flow.more(60).await;
        proxy.drop_answers(1);
        agent.wait_status("a cut answer", LONG, |_| proxy.answers_dropped() == cut).await.unwrap();
    }
    let published = flow.end().await.published();
    crate::support::drained(&mut agent, published.confirmed() as u64).await;
    let mut consumer = Consumer::new(&ministack.endpoint(), ministack.region(), &ministack.admin_key(), &url);
    consumer.read_until(published.confirmed(), LONG).await.unwrap();
    consumer.read_all().await.unwrap();
    let verdict = assert_clean(&published, consumer.delivered(), Rules::FIFO, &agent);
    assert_eq!((consumer.delivered().len(), verdict.duplicated_marked), (published.confirmed(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_its_group_overtakes_a_failed_entry() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    // Enough groups waiting that every batch is full: an entry 9 exists.
    let mut fleet = fleet(broker.addr(), 200, None);
    fleet.publish(3000).await.unwrap();
    for index in 0..10 {
        for (code, sender_fault) in [("InternalError", false), ("ServiceUnavailable", true)] {
            stub.faults().push(Fault::FailEntry { index, code, sender_fault }, When::Next(2));
        }
        stub.faults().push(Fault::MissingEntry(index), When::Next(1));
        stub.faults().push(Fault::RepeatedEntry(index), When::Next(1));
    }
    stub.open().unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let fired = stub.faults().fired();
    assert_eq!((fired["fail entry"], fired["missing entry"], fired["repeated entry"]), (40, 10, 10));
    assert_eq!(agent.status().await.unwrap()["queues"][0]["drain"]["inversions"], 0);
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_and_server_faults_only_cost_time() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    let faults = [
        Fault::Throttle { code: "RequestThrottled", retry_after_ms: None },
        Fault::Throttle { code: "ThrottlingException", retry_after_ms: Some(300) },
        Fault::ServerError { status: 500, body: true },
        Fault::ServerError { status: 503, body: false },
    ];
    for fault in faults {
        let name = fault.name();
        let before = stub.faults().fired_of(name);
        stub.faults().push(fault, When::Next(2));
        until_fired(&stub, &mut flow, name, before + 2).await;
    }
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let counters = stub.counters(QUEUE);
    assert_eq!((counters.accepted, counters.refused), (published.confirmed() as u64, 0));
    assert_understood(&stub);
}

/// Every fault of the plan that leaves a doubt or tells a lie, by chance, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_faults_loses_nothing_and_reorders_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut random = Random::seeded(seed());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    flow.more(100).await;
    stub.faults().seed(random.bits());
    let index = random.below(3) as usize;
    for fault in [
        Fault::AcceptThenDrop,
        Fault::AcceptThenEmpty,
        Fault::Truncated,
        Fault::MissingEntry(index),
        Fault::RepeatedEntry(index),
        Fault::WrongMd5(index),
        Fault::FailEntry { index, code: "InternalError", sender_fault: false },
        Fault::DropRequest,
        Fault::EmptyOk,
        Fault::Html { status: 200 },
        Fault::Html { status: 502 },
        Fault::Slow(Duration::from_millis(200)),
    ] {
        // Walked in order: each fires on a share of what those before it let pass.
        stub.faults().push(fault, When::Chance(0.04));
    }
    let storm = timeout(Duration::from_secs(20), async {
        while stub.faults().fired().len() < 8 {
            flow.more(50).await;
        }
    });
    storm.await.unwrap_or_else(|_| panic!("{:?}", stub.faults().fired()));
    stub.faults().clear();
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!((delivered.len(), verdict.duplicated_marked), (published.confirmed(), 0), "absorbed, all of them");
    println!("{:?}", stub.faults().fired());
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_parks_the_lane_until_new_credentials() {
    let (stub, broker) = (stub(), mosquitto().await);
    let configuration = config(broker.addr(), &stub);
    let mut agent = online(configuration.clone()).await;
    let mut flow = Flow::start(fleet(broker.addr(), 20, Some(200.0)));
    flow.more(100).await;
    stub.faults().push(Fault::Refuse { code: "ExpiredToken", status: 403 }, When::Always);
    let remark = until_remarked(&mut agent, &["queue main:", "expired", "renew"]).await;
    println!("{remark}");
    until_found(&mut agent, "queue_parked", "act").await;
    let status = agent.wait_status("a backlog", LONG, |s| lane(s, "waiting") >= 100).await.unwrap();
    assert_eq!(
        (status["queues"][0]["drain"]["state"].as_str(), status["health"].as_str()),
        (Some("parked"), Some("act"))
    );
    stub.faults().clear();
    agent.rewrite(configuration).unwrap();
    let mended = |s: &serde_json::Value| s["queues"][0]["drain"]["state"] != "parked";
    agent.wait_status("new credentials tried at once", Duration::from_secs(20), mended).await.unwrap();
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
}

/// Its first look is 30 to 60 s after the refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_waiting_for_a_person_spares_the_service() {
    let (stub, broker) = (stub(), mosquitto().await);
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 1, None);
    fleet.publish(1).await.unwrap();
    let parked = |s: &serde_json::Value| s["queues"][0]["drain"]["state"] == "parked";
    agent.wait_status("parked", LONG, parked).await.unwrap();
    // That nothing happens cannot be awaited.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(stub.faults().fired_of("refuse"), 1, "{}", tail(&agent.log()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sighup_a_parked_lane_tries_at_once() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 20, Some(200.0)));
    flow.more(100).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let parked = |s: &serde_json::Value| s["queues"][0]["drain"]["state"] == "parked";
    agent.wait_status("parked", LONG, parked).await.unwrap();
    // An administrator mends the policy: nothing that the agent could see by itself before its next probe, 33 to 60 s away.
    stub.faults().clear();
    let since = std::time::Instant::now();
    agent.retry().unwrap();
    let draining = |s: &serde_json::Value| !parked(s) && lane(s, "waiting") == 0;
    let published = flow.end().await.published();
    agent.wait_status("tried at once", Duration::from_secs(20), draining).await.unwrap();
    println!("drained {:?} after SIGHUP", since.elapsed());
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

async fn until_fired(stub: &SqsStub, flow: &mut Flow, name: &str, times: u64) {
    let fired = async {
        while stub.faults().fired_of(name) < times {
            flow.more(10).await;
        }
    };
    timeout(LONG, fired).await.unwrap_or_else(|_| panic!("{name}: {:?}", stub.faults().fired()));
}
