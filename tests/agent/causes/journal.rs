//! Disks that are slow, or give a part back no more.

use crate::support::disk::BadDisk;
use crate::support::{
    LONG, PROGRAM, Publisher, assert_books, config, drained, lane, mosquitto, online, stub, until_found, until_online,
};
use testkit::agent::AgentProcess;

/// Each sync takes seconds: first the journal takes long to open, then more comes than may wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_awaited_at_the_start_and_later() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["plain/#".into()]);
    configuration.mqtt_extra = "max_payload_bytes = \"16 KiB\"\nmax_unacked_bytes = \"64 KiB\"".into();
    let disk = BadDisk::under(&mut configuration);
    disk.slow(4_000);
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_found(&mut agent, "agent_starting", "waiting").await;
    disk.mend();
    until_online(&mut agent).await;
    // As often as half of it is durable there is more.
    disk.slow(6_000);
    let mut publisher = Publisher::new(broker.addr());
    for n in 0..200 {
        publisher.publish("plain/a", format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(8_000))).await;
    }
    until_found(&mut agent, "journal_behind", "waiting").await;
    disk.mend();
    drained(&mut agent, 200).await;
}

/// The medium refuses the oldest part for two minutes: it is set aside, and what it held counts as damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_part_that_stays_unreadable_is_set_aside() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["plain/#".into()]);
    configuration.environment.push(("TIDEGATE_RIG_GENERATION".into(), "50000".into()));
    let mut agent = online(configuration.clone()).await;
    stub.close().await;
    let mut publisher = Publisher::new(broker.addr());
    // What is committed at once lies in one part.
    for n in 1..=5 {
        for _ in 0..10 {
            publisher.publish("plain/a", format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(8_000))).await;
        }
        agent.wait_status("journaled", LONG, |s| lane(s, "waiting") == 10 * n).await.unwrap();
    }
    let status = agent.status().await.unwrap();
    assert!(status["journal"]["generations"].as_u64() >= Some(2), "{status:#}");
    assert!(agent.term(LONG).await.unwrap().success());
    let folders = std::fs::read_dir(agent.journal_path().join("log")).unwrap();
    let oldest = folders.map(|entry| entry.unwrap().path()).min().expect("a part");
    // A link that leads to itself is refused as a broken file system's own.
    std::fs::remove_file(oldest.join("db")).unwrap();
    std::os::unix::fs::symlink("db", oldest.join("db")).unwrap();
    agent.spawn().unwrap();
    stub.open().unwrap();
    until_found(&mut agent, "queue_cannot_read", "act").await;
    // Two minutes, for a test.
    assert!(agent.term(LONG).await.unwrap().success());
    configuration.environment.push(("TIDEGATE_RIG_PATIENCE".into(), "1".into()));
    agent.rewrite(configuration).unwrap();
    agent.spawn().unwrap();
    until_found(&mut agent, "journal_set_aside", "act").await;
    let status = drained(&mut agent, 50).await;
    assert_books(&status);
    assert!(lane(&status, "damaged") > 0, "{status:#}");
}
