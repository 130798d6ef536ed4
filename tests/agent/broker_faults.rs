//! The broker restarts, is killed, is not up yet, or sends again: nothing is lost and the order holds.

use crate::support::{
    Flow, LONG, PROGRAM, Publisher, QUEUE, arrived, arrived_once, assert_clean, assert_understood, config, drained,
    fleet, mosquitto, online, stub, until_online, until_remarked,
};
use std::collections::HashMap;
use testkit::agent::AgentProcess;
use testkit::broker::{EmbeddedBroker, EmbeddedOptions, Mosquitto, MosquittoOptions};
use testkit::checker::{Reading, Rules};
use testkit::port::HeldPort;
use testkit::proxy::CuttingProxy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_restarted_in_mid_stream_costs_nothing() {
    let (stub, mut broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
    for _ in 0..3 {
        flow.more(200).await;
        broker.stop().await.unwrap();
        until_remarked(&mut agent, &["broker", "mqtt://"]).await;
        broker.restart().await.unwrap();
    }
    flow.more(200).await;
    let published = flow.end().await.published();
    arrived_once(&stub, &mut agent, &published).await;
    assert_understood(&stub);
}

/// Each kill puts the broker back to its last save: it sends again what was acknowledged after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redeliveries_of_a_killed_broker_are_all_recognised() {
    // Saved when told alone: what it saves by itself in between would bring less again.
    let options = MosquittoOptions { autosave_after_changes: Some(1_000_000), ..MosquittoOptions::default() };
    let (stub, mut broker) = (stub(), Mosquitto::start(&options).await.unwrap());
    let mut agent = online(config(broker.addr(), &stub)).await;
    assert!(agent.term(LONG).await.unwrap().success());
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(4000).await.unwrap();
    broker.save().await.unwrap();
    agent.spawn().unwrap();
    let mut taken = 0;
    for _ in 0..2 {
        taken += 400;
        let some = |s: &serde_json::Value| s["journal"]["durable"].as_u64() >= Some(taken);
        agent.wait_status("some of it taken", LONG, some).await.unwrap();
        broker.kill().await.unwrap();
        broker.restart().await.unwrap();
    }
    let published = fleet.published();
    arrived_once(&stub, &mut agent, &published).await;
    assert_eq!(published.confirmed(), 4000);
    let status = drained(&mut agent, 4000).await;
    println!("repeats recognised: {}", status["intake"]["repeats"]);
    assert!(status["intake"]["repeats"].as_u64() >= Some(taken), "{status:#}");
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_may_be_up_before_its_broker() {
    let stub = stub();
    let port = HeldPort::take().unwrap();
    let mut agent = AgentProcess::start(PROGRAM, config(port.addr(), &stub)).await.unwrap();
    let remark = until_remarked(&mut agent, &["nothing listens at mqtt://", "start the broker"]).await;
    println!("{remark}");
    let options = EmbeddedOptions { port: port.addr().port(), ..EmbeddedOptions::default() };
    let broker = EmbeddedBroker::start(options).await.unwrap();
    until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(200).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// Cuts between broker and agent: unacknowledged messages come again with DUP. Records with a key are recognised
/// whatever happens; what has none may come twice only if it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redeliveries_after_cuts_are_recognised_by_key_or_marked() {
    const PLAIN: usize = 600;
    let (stub, broker) = (stub(), mosquitto().await);
    let proxy = CuttingProxy::start(broker.addr()).unwrap();
    let mut configuration = config(proxy.addr(), &stub);
    configuration.extra = "[[routes]]\nprofile = \"generic\"\ntopics = [\"plain/#\"]\nqueue = \"main\"\n".into();
    let mut agent = online(configuration).await;
    let flow = Flow::start(fleet(broker.addr(), 20, Some(200.0)));
    let mut publisher = Publisher::new(broker.addr());
    for n in 0..PLAIN {
        publisher.publish(&format!("plain/{}", n % 7), format!("{{\"n\":{n}}}")).await;
        if n % 100 == 50 {
            // Acks may be on the wire, in the proxy, or not yet sent.
            proxy.cut();
        }
    }
    let mut published = flow.end().await.published();
    let confirmed = published.confirmed();
    let whole = |s: &serde_json::Value| {
        let routes = s["intake"]["routes"].as_array().map(|routes| routes[1]["messages"].as_u64());
        routes.flatten() >= Some(PLAIN as u64)
    };
    agent.wait_status("all of both routes", LONG, whole).await.unwrap();
    drained(&mut agent, (confirmed + PLAIN) as u64).await;
    let delivered = stub.accepted(QUEUE);
    // The checker knows records by the ids that a message brings; these brought none.
    let plain = crate::support::adopt(&mut published, &delivered, "plain/");
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let mut latest: HashMap<&str, i64> = HashMap::new();
    let mut seen = vec![0; PLAIN];
    for event in &plain {
        let n = event["data"]["n"].as_i64().unwrap();
        seen[n as usize] += 1;
        let topic = event["mqtttopic"].as_str().unwrap();
        let before = latest.entry(topic).or_insert(-1);
        if seen[n as usize] == 1 {
            assert!(*before < n, "{topic}: {n} after {before}");
            *before = n;
        } else {
            assert_eq!(event["possibleduplicate"], true, "{event:#}");
        }
    }
    assert!(seen.iter().all(|count| *count >= 1), "lost: {:?}", seen.iter().position(|count| *count == 0));
    let readings = delivered.iter().map(|message| Reading::of(message).unwrap());
    let marked = readings.filter(|reading| reading.possible_duplicate).count();
    println!("without a key: {} for {PLAIN}; marked {marked}", plain.len());
    assert_understood(&stub);
}
