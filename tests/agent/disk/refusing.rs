//! The disk refuses: read-only, or with errors, at the start or in mid-stream.

use crate::support::disk::{BadDisk, small_disk};
use crate::support::{
    Flow, LONG, PROGRAM, arrived, assert_clean, assert_understood, config, fleet, lane, mosquitto, online, stub,
    until_logged, until_online, until_remarked,
};
use rustix::io::Errno;
use serde_json::Value;
use testkit::agent::AgentProcess;
use testkit::checker::Rules;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_read_only_disk_it_starts_and_opens_later() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 64).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(200).await.unwrap();
    agent.term(LONG).await.unwrap();
    disk.read_only(true).await.unwrap();
    agent.spawn().unwrap();
    agent.wait_ready(LONG).await.unwrap();
    let remark = until_remarked(&mut agent, &["Read-only file system"]).await;
    println!("{remark}");
    fleet.publish(200).await.unwrap();
    disk.read_only(false).await.unwrap();
    until_online(&mut agent).await;
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_understood(&stub);
}

/// What a card does that gives up: every write, sync and rename fails from one moment to the next.
async fn writes_are_refused_in_mid_stream(error: Errno, said: &str) {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    let disk = BadDisk::under(&mut configuration);
    let mut agent = online(configuration).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    for round in 0..2 {
        flow.more(300).await;
        disk.refuse_writes(error);
        let remark = until_remarked(&mut agent, &["journal cannot be written", said]).await;
        println!("{remark}");
        let before = agent.status().await.unwrap();
        flow.more(300).await;
        let held = |s: &Value| s["intake"]["unacked_messages"].as_u64() > Some(0);
        let status = agent.wait_status("messages in hand", LONG, held).await.unwrap();
        let appended = [&before, &status].map(|status| lane(status, "appended"));
        assert_eq!(appended[0], appended[1], "round {round}: nothing is written, so nothing is acknowledged");
        if round == 1 {
            // A kill in that state, too; the broker holds what was not acknowledged.
            agent.kill().await.unwrap();
            agent.spawn().unwrap();
            agent.wait_ready(LONG).await.unwrap();
            until_remarked(&mut agent, &[said]).await;
        }
        disk.mend();
        until_online(&mut agent).await;
        agent.wait_status("writing again", LONG, |s| s["journal"]["writer"]["state"] == "fine").await.unwrap();
    }
    flow.more(200).await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(verdict.announced, 0, "{verdict}");
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_costs_no_record() {
    writes_are_refused_in_mid_stream(Errno::ROFS, "Read-only file system").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_with_write_errors_costs_no_record() {
    writes_are_refused_in_mid_stream(Errno::IO, "Input/output error").await;
}

/// What cannot be read now waits; it is not given up for damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_errors_delay_the_queue_and_lose_no_record() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    let disk = BadDisk::under(&mut configuration);
    let mut agent = online(configuration).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    let mut generations = 0;
    while generations < 3 {
        fleet.publish(2000).await.unwrap();
        let sent = fleet.published().confirmed() as u64;
        let status = agent.wait_status("journaled", LONG, |s| lane(s, "appended") >= sent).await.unwrap();
        generations = status["journal"]["generations"].as_u64().unwrap();
    }
    disk.refuse_reads(Errno::IO);
    stub.open().unwrap();
    let remark = until_remarked(&mut agent, &["queue main:", "Input/output error"]).await;
    println!("{remark}");
    until_logged(&mut agent, "journal cannot be read now").await;
    disk.mend();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(verdict.announced, 0, "{verdict}");
    assert_understood(&stub);
}
