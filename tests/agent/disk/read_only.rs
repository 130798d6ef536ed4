//! The disk turns read-only, at a start or in mid-stream: what is on it is drained, marked, and a restart in the same boot
//! does not send it again. New messages stay with the broker until the disk can be written.

use crate::support::disk::{BadDisk, small_disk};
use crate::support::{
    Flow, LONG, PROGRAM, QUEUE, arrived, assert_books, assert_understood, config, fleet, lane, mosquitto, online, stub,
    tail, until_found, until_remarked,
};
use rustix::io::Errno;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::checker::{Rules, judge};
use tokio::time::Instant;

/// Longer than the state's keeper pauses.
const STILL: Duration = Duration::from_secs(2);

/// A folder that lives as long as the boot, as systemd makes one.
fn with_runtime_folder(configuration: &mut AgentConfig) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    configuration.environment.push(("RUNTIME_DIRECTORY".into(), folder.path().to_string_lossy().into_owned()));
    folder
}

/// Waits until nothing is written there any more: what was settled is noted within a second.
async fn until_still(folder: &Path) {
    let until = Instant::now() + LONG;
    let age = |entry: fs::DirEntry| entry.metadata().and_then(|about| about.modified()).unwrap().elapsed();
    let still = || fs::read_dir(folder).unwrap().all(|entry| age(entry.unwrap()).is_ok_and(|age| age > STILL));
    while !still() {
        assert!(Instant::now() < until, "it is written for ever");
        tokio::time::sleep(STILL / 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_disk_is_drained_once_over_restarts() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    let runtime = with_runtime_folder(&mut configuration);
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 64).await else { return };
    agent.spawn().unwrap();
    crate::support::until_online(&mut agent).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(2000).await.unwrap();
    agent.wait_status("a backlog", LONG, |s| lane(s, "waiting") == 2000).await.unwrap();
    agent.term(LONG).await.unwrap();

    disk.read_only(true).await.unwrap();
    stub.open().unwrap();
    agent.spawn().unwrap();
    println!("{}", until_remarked(&mut agent, &["read-only", "drained", "stay with the broker"]).await);
    let some = |s: &Value| s["journal"].is_object() && lane(s, "accepted") > 300;
    agent.wait_status("some of it sent", LONG, some).await.unwrap();
    agent.term(LONG).await.unwrap();
    let before = stub.accepted(QUEUE).len();
    assert!(before < 2000, "stopped in the middle");
    agent.spawn().unwrap();
    // New messages are not taken, and what was there still leaves.
    fleet.publish(300).await.unwrap();
    let all = |s: &Value| s["journal"]["read_only"] == true && lane(s, "waiting") == 0;
    let status = agent.wait_status("all of it sent", LONG, all).await.unwrap();
    until_found(&mut agent, "journal_read_only", "act").await;
    assert_eq!((lane(&status, "accepted"), lane(&status, "appended")), (2000, 2000), "{status:#}");
    assert_books(&status);
    let delivered = stub.accepted(QUEUE);
    let counters = stub.counters(QUEUE);
    println!("{counters:?} for 2000 records, {before} of them before the restart");
    // A stop waits for its flights, so not even one is sent twice.
    assert_eq!((delivered.len(), counters.received, counters.absorbed), (2000, 2000, 0), "{}", tail(&agent.log()));
    let says_so = |body: &str| body.contains("\"possibleduplicate\":true");
    let marked = delivered.iter().filter(|delivered| says_so(&delivered.body)).count();
    assert_eq!(marked, 2000);
    until_still(runtime.path()).await;
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    agent.wait_status("nothing left", LONG, all).await.unwrap();
    assert_eq!(stub.counters(QUEUE).received, 2000, "a kill sends nothing again that was noted");

    disk.read_only(false).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = judge(&published, &delivered, Rules::FIFO);
    println!("{verdict}");
    assert!(verdict.is_clean() && delivered.len() == 2300, "{verdict:?}\n{}", tail(&agent.log()));
    let status = agent.wait_status("as before", LONG, |s| s["journal"]["read_only"] == false).await.unwrap();
    assert_eq!(lane(&status, "appended"), 2300);
    assert_eq!(fs::read_dir(runtime.path()).unwrap().count(), 0, "the disk has it again");
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_turning_read_only_is_drained_and_resumes() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    let _runtime = with_runtime_folder(&mut configuration);
    let disk = BadDisk::under(&mut configuration);
    let mut agent = online(configuration).await;
    stub.close().await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(300.0)));
    flow.more(1500).await;
    disk.refuse_writes(Errno::ROFS);
    until_remarked(&mut agent, &["journal cannot be written", "Read-only file system"]).await;
    let appended = lane(&agent.status().await.unwrap(), "appended");
    assert!(appended > 1000, "{appended}");
    stub.open().unwrap();
    let drained = |s: &Value| lane(s, "waiting") == 0 && s["journal"]["read_only"] == true;
    let status = agent.wait_status("what came before is drained", LONG, drained).await.unwrap();
    assert_eq!((lane(&status, "accepted"), lane(&status, "appended")), (appended, appended));
    assert_eq!(stub.accepted(QUEUE).len() as u64, appended);
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    until_remarked(&mut agent, &["the journal's disk is read-only"]).await;
    disk.mend();
    flow.more(200).await;
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = judge(&published, &delivered, Rules::FIFO);
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict:?}\n{}", tail(&agent.log()));
    assert_understood(&stub);
}
