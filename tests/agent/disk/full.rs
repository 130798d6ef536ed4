//! Others fill the disk, and free it again.

use crate::support::disk::small_disk;
use crate::support::{
    Flow, LONG, PROGRAM, QUEUE, arrived, assert_books, assert_clean, assert_understood, config, drained, fleet, lane,
    mosquitto, stub, until_found, until_online, until_remarked,
};
use serde_json::Value;
use testkit::agent::AgentProcess;
use testkit::checker::{Rules, judge};
use testkit::fleet::Fleet;

/// Publishes so many, and waits until they are in the journal.
async fn journaled(agent: &mut AgentProcess, fleet: &mut Fleet, count: usize) -> Value {
    fleet.publish(count).await.unwrap();
    let sent = fleet.published().confirmed() as u64;
    agent.wait_status("journaled", LONG, |s| lane(s, "appended") >= sent).await.unwrap()
}

/// A backlog of which two generations can go.
async fn three_generations(agent: &mut AgentProcess, fleet: &mut Fleet) -> Value {
    loop {
        let status = journaled(agent, fleet, 1000).await;
        if status["journal"]["generations"].as_u64() >= Some(3) {
            return status;
        }
    }
}

/// Not one byte is left: the reserve goes, what waits is kept by the broker, and all of it arrives once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_a_byte_left_costs_no_record() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "min_free = 0\non_full = \"stop\"".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 40).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    until_remarked(&mut agent, &["lies in RAM"]).await;
    let status = agent.status().await.unwrap();
    assert_eq!(status["journal"]["reserve"], true, "{status:#}");
    stub.close().await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
    flow.more(500).await;
    disk.fill(0).unwrap();
    let failing = |s: &Value| s["journal"]["writer"]["state"] == "failing" && s["journal"]["reserve"] == false;
    let status = agent.wait_status("a full disk", LONG, failing).await.unwrap();
    assert_books(&status);
    println!("{}", status["remarks"]);
    // It stays so, whatever comes.
    let before = lane(&status, "appended");
    flow.more(500).await;
    let status = agent.wait_status("messages in hand", LONG, |s| s["intake"]["unacked_messages"].as_u64() > Some(0));
    let after = lane(&status.await.unwrap(), "appended");
    println!("free {} bytes, appended {before}, later {after}", disk.free_bytes().unwrap());
    disk.clear().unwrap();
    agent.wait_status("writing again", LONG, |s| s["journal"]["writer"]["state"] == "fine").await.unwrap();
    stub.open().unwrap();
    flow.more(200).await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!((verdict.announced, verdict.duplicated_marked), (0, 0), "{verdict}");
    let reserve = |s: &Value| s["journal"]["reserve"] == true;
    agent.restart().await.unwrap();
    agent.wait_status("a reserve again", LONG, reserve).await.unwrap();
    assert_understood(&stub);
}

/// A journal that is opened on a full disk drains, and by that makes room for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_it_starts_and_drains() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "min_free = 0".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 40).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(500).await.unwrap();
    agent.wait_status("a backlog", LONG, |s| lane(s, "waiting") == 500).await.unwrap();
    agent.kill().await.unwrap();
    // The reserve, too, as if it had never been made.
    std::fs::remove_file(agent.journal_path().join("reserve")).unwrap();
    disk.fill(0).unwrap();
    agent.spawn().unwrap();
    stub.open().unwrap();
    let status = drained(&mut agent, 500).await;
    assert_eq!(lane(&status, "accepted"), 500);
    until_found(&mut agent, "journal_no_reserve", "waiting").await;
    disk.clear().unwrap();
    fleet.publish(100).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_floor_stop_waits_for_space_and_resumes() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "min_free = \"8 MiB\"\non_full = \"stop\"".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 40).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    flow.more(300).await;
    disk.fill(4 << 20).unwrap();
    let remark = until_remarked(&mut agent, &["journal.min_free", "nothing new is taken"]).await;
    println!("{remark}");
    until_found(&mut agent, "journal_full", "act").await;
    flow.more(300).await;
    disk.clear().unwrap();
    flow.more(300).await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let status = drained(&mut agent, published.confirmed() as u64).await;
    assert_eq!((lane(&status, "evicted"), &status["journal"]["writer"]["state"]), (0, &"fine".into()));
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_the_floor_the_oldest_go_counted_and_announced() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "min_free = \"8 MiB\"".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 64).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    let mut status = three_generations(&mut agent, &mut fleet).await;
    // Two generations can go, and give that much back.
    disk.fill(13 << 19).unwrap();
    // What is free is asked once a second: the commits before that still fit.
    while lane(&status, "evicted") == 0 {
        fleet.publish(5).await.unwrap();
        status = agent.status().await.unwrap();
    }
    let remark = until_remarked(&mut agent, &["evicted at journal.min_free"]).await;
    println!("{remark}");
    until_found(&mut agent, "records_evicted", "act").await;
    // However much is given up, it is not enough here, and that is said.
    disk.fill(1 << 20).unwrap();
    until_remarked(&mut agent, &["are free on the journal's disk", "journal.min_free"]).await;
    until_found(&mut agent, "journal_disk_low", "act").await;
    stub.open().unwrap();
    let published = fleet.published();
    let status = drained(&mut agent, published.confirmed() as u64).await;
    let (delivered, evicted) = (stub.accepted(QUEUE), lane(&status, "evicted") as usize);
    let verdict = judge(&published, &delivered, Rules::FIFO);
    println!("{verdict}; evicted {evicted}, announced {}", verdict.announced);
    assert!(evicted > 0);
    assert_eq!((verdict.lost, verdict.announced, verdict.holes), (evicted, evicted, 0), "{verdict:?}");
    assert_eq!((verdict.duplicated, verdict.out_of_order, verdict.strangers), (0, 0, 0), "{verdict:?}");
    assert_understood(&stub);
}

/// The disk is filled by others for a while, below a floor that giving up all that waits would not reach: then nothing is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_costs_no_record_that_waits() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.journal_extra = "min_free = \"24 MiB\"".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 64).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    three_generations(&mut agent, &mut fleet).await;
    disk.fill(10 << 20).unwrap();
    until_found(&mut agent, "journal_disk_low", "act").await;
    let status = journaled(&mut agent, &mut fleet, 1000).await;
    assert_eq!(lane(&status, "evicted"), 0, "{status:#}");
    disk.clear().unwrap();
    stub.open().unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
}

/// Without bounds in the configuration: a floor that the partition cannot give would evict nearly all that comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_25_mb_partition_evicts_nothing_while_17_are_free() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 25).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    let mut status;
    // Two can be there without a bound in force; the floor takes the older one.
    loop {
        status = journaled(&mut agent, &mut fleet, 500).await;
        if status["journal"]["generations"].as_u64() > Some(1) || lane(&status, "evicted") > 0 {
            break;
        }
    }
    let (bounds, free) = (&status["journal"], disk.free_bytes().unwrap());
    println!("{} bytes in {} generations, {free} free", bounds["bytes"], bounds["generations"]);
    assert_eq!((lane(&status, "evicted"), free > 12 << 20), (0, true), "{status:#}");
    assert_eq!((bounds["max_bytes"].as_u64(), bounds["min_free"].as_u64()), (Some(18 << 20), Some(3 << 20)));
    stub.open().unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
}
