//! Accounted for: per lane, appended = accepted + waiting + evicted + quarantined + damaged, through kills, evictions and
//! restarts; and what is gone is announced to the consumer.

use crate::support::{
    Flow, LONG, QUEUE, adopt, arrived, assert_books, assert_clean, assert_understood, config, drained, fleet, lane,
    mosquitto, online, stub, tail,
};
use proving::checker::{Reading, Rules, judge};
use proving::stub::{Fault, When};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_at_every_look_through_kills_and_faults() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    for _ in 0..4 {
        stub.faults().push(Fault::AcceptThenDrop, When::Next(1));
        stub.faults().push(Fault::FailEntry { index: 0, code: "InternalError", sender_fault: false }, When::Next(2));
        for _ in 0..10 {
            flow.more(10).await;
            assert_books(&agent.status().await.unwrap());
        }
        let before = agent.status().await.unwrap();
        agent.restart().await.unwrap();
        let open = |s: &Value| s["journal"].is_object();
        let after = agent.wait_status("open", LONG, open).await.unwrap();
        assert_books(&after);
        assert!(lane(&after, "appended") >= lane(&before, "appended"), "what was durable is still in the books");
    }
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let status = drained(&mut agent, published.confirmed() as u64).await;
    let counts = ["appended", "accepted"].map(|name| lane(&status, name));
    assert_eq!(counts, [published.confirmed() as u64; 2], "exactly, for all the repeats");
    assert_understood(&stub);
}

/// The smallest journal, a queue that is away, and more than it can hold: the oldest go, counted and announced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evicted_records_are_counted_and_announced_and_the_rest_arrives_in_order() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "max_bytes = \"16 MiB\"".into();
    let mut agent = online(configuration).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 100, None);
    let mut status = Value::Null;
    for _ in 0..40 {
        fleet.publish(1000).await.unwrap();
        let sent = fleet.published().confirmed() as u64;
        status = agent.wait_status("journaled", LONG, |s| lane(s, "appended") >= sent).await.unwrap();
        assert_books(&status);
        if lane(&status, "evicted") > 0 {
            break;
        }
    }
    let evicted = lane(&status, "evicted");
    assert!(evicted > 0, "{status:#}");
    assert!(status["journal"]["bytes"].as_u64() <= status["journal"]["max_bytes"].as_u64(), "{status:#}");
    // What is in the books is there after a kill, too.
    agent.restart().await.unwrap();
    let after = agent.wait_status("open", LONG, |s| s["journal"].is_object()).await.unwrap();
    assert_books(&after);
    assert_eq!(lane(&after, "evicted"), evicted);

    stub.open().unwrap();
    // The gap record goes with the next commit.
    fleet.publish(10).await.unwrap();
    let mut published = fleet.published();
    let status = drained(&mut agent, published.confirmed() as u64).await;
    let delivered = stub.accepted(QUEUE);
    let gone = lane(&status, "evicted") as usize;
    let lost = judge(&published, &delivered, Rules::FIFO);
    println!("{lost}; evicted {gone}, announced {}, holes {}", lost.announced, lost.holes);
    assert_eq!((lost.lost, lost.announced, lost.holes), (gone, gone, 0), "{lost:?}\n{}", tail(&agent.log()));
    assert_eq!((lost.duplicated, lost.out_of_order, lost.clashes, lost.strangers), (0, 0, 0, 0), "{lost:?}");
    let gaps = delivered.iter().filter_map(|message| Reading::of(message).ok()).filter(Reading::is_gap).count();
    assert!(gaps >= 1);
    // The consumer's side of the same: nothing but what was announced is missing from the newest records.
    let newest = published.items.split_off(gone);
    let arrived = delivered.iter().filter_map(|message| Reading::of(message).ok()).filter(|r| !r.is_gap()).count();
    assert_eq!(arrived, newest.len(), "the oldest were given up, and no others");
    assert!(adopt(&mut published, &delivered, "$tidegate/gap").iter().all(|gap| gap["data"]["reason"] == "evicted"));
    assert_understood(&stub);
}
