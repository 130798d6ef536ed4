//! Accounted for: per lane, appended = accepted + waiting + evicted + quarantined + damaged, through kills, evictions and
//! restarts; and what is gone is announced to the consumer.

use crate::support::disk::BadDisk;
use crate::support::{
    Flow, LONG, QUEUE, adopt, arrived, assert_books, assert_clean, assert_understood, config, drained, fleet, lane,
    mosquitto, online, stub, tail,
};
use serde_json::Value;
use testkit::checker::{Reading, Rules, Verdict, judge};
use testkit::fake_sqs::{Fault, When};

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
async fn evicted_records_are_announced_and_the_rest_arrives_in_order() {
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

/// Killed after records were evicted, and their generation deleted, before the gap record is on the disk: slow syncs make
/// that moment long. Gives what was evicted, and the judgement on what arrived in the end.
async fn killed_between_eviction_and_gap_record(sabotage: Option<&str>) -> (usize, Verdict) {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "max_bytes = \"16 MiB\"".into();
    configuration.environment.extend(sabotage.map(|name| ("TIDEGATE_SABOTAGE".into(), name.into())));
    let disk = BadDisk::under(&mut configuration);
    let mut agent = online(configuration).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 100, None);
    let mut status = Value::Null;
    // Up to a thousand messages before the bound.
    while status["journal"]["bytes"].as_u64() < Some(13 << 20) {
        fleet.publish(500).await.unwrap();
        let sent = fleet.published().confirmed() as u64;
        status = agent.wait_status("journaled", LONG, |s| lane(s, "appended") >= sent).await.unwrap();
    }
    let oldest = agent.journal_path().join("log");
    let head = || std::fs::read_dir(&oldest).unwrap().map(|entry| entry.unwrap().file_name()).min();
    let before = head();
    disk.slow(500);
    let mut flow = Flow::start(fleet);
    let gone = |s: &Value| lane(s, "evicted") > 0 && head() != before;
    let status = agent.wait_status("an eviction", LONG, gone).await.unwrap();
    agent.kill().await.unwrap();
    disk.mend();
    println!("evicted {}, to be announced {}", lane(&status, "evicted"), status["journal"]["lanes"][0]["unannounced"]);
    agent.spawn().unwrap();
    crate::support::until_online(&mut agent).await;
    flow.more(100).await;
    let published = flow.end().await.published();
    stub.open().unwrap();
    let status = drained(&mut agent, published.confirmed() as u64).await;
    let verdict = judge(&published, &stub.accepted(QUEUE), Rules::FIFO);
    let evicted = lane(&status, "evicted") as usize;
    println!("{verdict}; evicted {evicted}, announced {}, holes {}", verdict.announced, verdict.holes);
    (evicted, verdict)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_before_the_gap_record_loses_no_announcement() {
    let (evicted, verdict) = killed_between_eviction_and_gap_record(None).await;
    assert_eq!(verdict.holes, 0, "{verdict:?}");
    // What was on its way when it was evicted may have arrived nevertheless.
    assert!(verdict.lost > 0 && verdict.lost <= evicted && verdict.announced >= verdict.lost, "{verdict:?}");
    assert_eq!(
        (verdict.duplicated, verdict.out_of_order, verdict.clashes, verdict.strangers),
        (0, 0, 0, 0),
        "{verdict:?}"
    );
}

/// The control: holes that the state file forgets are never told, and the checker sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_that_are_forgotten_on_purpose_are_caught() {
    let (evicted, verdict) = killed_between_eviction_and_gap_record(Some("forget-holes")).await;
    assert!(evicted > 0 && verdict.holes > 0, "{verdict:?}");
    assert!(verdict.announced < evicted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_record_is_announced_and_its_group_goes_on() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let hopeless = Fault::FailEntry { index: 0, code: "InvalidMessageContents", sender_fault: true };
    stub.faults().push(hopeless, When::Next(1));
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(200).await.unwrap();
    let status = drained(&mut agent, 201).await;
    assert_eq!((lane(&status, "quarantined"), lane(&status, "appended")), (1, 201), "and one gap record");
    let published = fleet.published();
    let verdict = judge(&published, &stub.accepted(QUEUE), Rules::FIFO);
    println!("{verdict}; announced {}, holes {}", verdict.announced, verdict.holes);
    assert_eq!((verdict.lost, verdict.announced, verdict.holes, verdict.out_of_order), (1, 1, 0, 0), "{verdict:?}");
    assert_understood(&stub);
}

/// A queue of plain payloads gets no gap records unless its configuration asks for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_queue_gets_gap_records_only_on_request() {
    for (asked, told) in [("", 0), ("\ngap_records = true", 1)] {
        let (stub, broker) = (stub(), mosquitto().await);
        let mut configuration = config(broker.addr(), &stub);
        configuration.queues[0].extra = format!("body = \"raw\"{asked}");
        let mut agent = online(configuration).await;
        let hopeless = Fault::FailEntry { index: 0, code: "InvalidMessageContents", sender_fault: true };
        stub.faults().push(hopeless, When::Next(1));
        let mut fleet = fleet(broker.addr(), 20, None);
        fleet.publish(100).await.unwrap();
        let status = drained(&mut agent, 100 + told).await;
        assert_eq!((lane(&status, "quarantined"), lane(&status, "appended")), (1, 100 + told), "{asked}");
        let delivered = stub.accepted(QUEUE);
        let gaps = delivered.iter().filter_map(|message| Reading::of(message).ok()).filter(Reading::is_gap);
        assert_eq!(gaps.count() as u64, told, "{asked}");
        assert_understood(&stub);
    }
}
