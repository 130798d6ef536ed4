//! Disks that are slow, or give a part back no more.

use crate::support::disk::BadDisk;
use crate::support::{
    LONG, PROGRAM, Publisher, QUEUE, assert_books, config, drained, fleet, lane, mosquitto, online, stub, tidegate,
    until_fine, until_found, until_online,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::fake_sqs::SqsStub;

/// A reading of 8 KB.
fn reading(n: u64) -> String {
    format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(8_000))
}

/// An agent whose journal begins a new part every 50 KB.
fn small_parts(broker: SocketAddr, stub: &SqsStub) -> AgentConfig {
    let mut configuration = config(broker, stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["plain/#".into()]);
    configuration.environment.push(("TIDEGATE_RIG_GENERATION".into(), "50000".into()));
    configuration
}

/// 50 readings that wait in several parts: what is committed at once lies in one.
async fn several_parts(agent: &mut AgentProcess, broker: SocketAddr) {
    let mut publisher = Publisher::new(broker);
    for n in 1..=5 {
        for _ in 0..10 {
            publisher.publish("plain/a", reading(n)).await;
        }
        agent.wait_status("journaled", LONG, |s| lane(s, "waiting") == 10 * n).await.unwrap();
    }
}

fn oldest_part(agent: &AgentProcess) -> PathBuf {
    let folders = std::fs::read_dir(agent.journal_path().join("log")).unwrap();
    folders.map(|entry| entry.unwrap().path()).min().expect("a part")
}

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
        publisher.publish("plain/a", reading(n)).await;
    }
    until_found(&mut agent, "journal_behind", "waiting").await;
    disk.mend();
    drained(&mut agent, 200).await;
}

/// The medium refuses the oldest part for two minutes: it is set aside, and what it held counts as damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_part_that_stays_unreadable_is_set_aside() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = small_parts(broker.addr(), &stub);
    let mut agent = online(configuration.clone()).await;
    stub.close().await;
    several_parts(&mut agent, broker.addr()).await;
    let status = agent.status().await.unwrap();
    assert!(status["journal"]["generations"].as_u64() >= Some(2), "{status:#}");
    assert!(agent.term(LONG).await.unwrap().success());
    let oldest = oldest_part(&agent);
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

/// The disk of the journal was not mounted, or a person moved its folder: the agent begins anew, and the broker, which kept the
/// session, is the one witness of what waits elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_not_there_any_more_is_missed() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(10).await.unwrap();
    agent.wait_status("10 wait", LONG, |s| lane(s, "waiting") == 10).await.unwrap();
    agent.kill().await.unwrap();
    let (journal, aside) = (agent.journal_path(), agent.folder().join("journal.old"));
    std::fs::rename(&journal, &aside).unwrap();
    stub.open().unwrap();
    agent.spawn().unwrap();
    let found = until_found(&mut agent, "journal_missing", "act").await;
    assert!(found["command"].as_str().is_some_and(|command| command.contains("findmnt")), "{found}");
    // Until a person says that there is none.
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    until_found(&mut agent, "journal_missing", "act").await;
    let (said, error, code) = tidegate(&agent, &["acknowledge", "journal_missing"]).await;
    assert_eq!(code, 0, "{said}{error}");
    agent.wait_status("acknowledged", LONG, |s| s["health"] == "fine").await.unwrap();
    // Or puts it back.
    assert!(agent.term(LONG).await.unwrap().success());
    std::fs::remove_dir_all(&journal).unwrap();
    std::fs::rename(&aside, &journal).unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    drained(&mut agent, 10).await;
    assert_eq!(agent.status().await.unwrap()["health"], "fine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_moved_under_a_running_agent_is_told() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let (journal, moved) = (agent.journal_path(), agent.folder().join("moved"));
    std::fs::rename(&journal, &moved).unwrap();
    let found = until_found(&mut agent, "journal_moved", "act").await;
    assert!(found["what"].as_str().is_some_and(|what| what.contains("moved, replaced or unmounted")), "{found}");
    std::fs::rename(&moved, &journal).unwrap();
    agent.wait_status("put back", LONG, |s| s["health"] == "fine").await.unwrap();
    fleet(broker.addr(), 5, None).publish(10).await.unwrap();
    drained(&mut agent, 10).await;
}

/// Without its state, and with the oldest part gone, the journal cannot tell what the queue has: a person learns it, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_requires_action_until_acknowledged() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(small_parts(broker.addr(), &stub)).await;
    stub.close().await;
    several_parts(&mut agent, broker.addr()).await;
    assert!(agent.term(LONG).await.unwrap().success());
    let oldest = oldest_part(&agent);
    std::fs::remove_dir_all(oldest).unwrap();
    std::fs::remove_file(agent.journal_path().join("state")).unwrap();
    agent.spawn().unwrap();
    stub.open().unwrap();
    let found = until_found(&mut agent, "journal_state_lost", "act").await;
    let status = drained(&mut agent, 50).await;
    let presumed = status["journal"]["state_loss"]["presumed"].as_u64().unwrap();
    let sent = stub.accepted(QUEUE).len() as u64;
    assert!(presumed > 0 && presumed + sent == 50, "{presumed} presumed, {sent} sent");
    assert!(found["what"].as_str().unwrap().contains(&format!("{presumed} records are not on disk")), "{found}");
    assert!(agent.term(LONG).await.unwrap().success());
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    until_found(&mut agent, "journal_state_lost", "act").await;
    let (said, error, code) = tidegate(&agent, &["acknowledge", "--who", "ada"]).await;
    assert!(code == 0 && said.starts_with("acknowledged journal_state_lost"), "{said}{error}");
    until_fine(&mut agent).await;
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    until_fine(&mut agent).await;
}

/// A journal is copied over another one, whose records wait: they are kept, and a person learns it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_another_journal_are_kept_and_told() {
    let (mut stub, brokers) = (stub(), [mosquitto().await, mosquitto().await]);
    let [one, other] = [&brokers[0], &brokers[1]].map(|broker| small_parts(broker.addr(), &stub));
    let mut agent = online(one).await;
    let mut publisher = Publisher::new(brokers[0].addr());
    for n in 1..=40 {
        publisher.publish("plain/a", reading(n)).await;
        drained(&mut agent, n).await;
    }
    assert!(agent.term(LONG).await.unwrap().success());
    stub.close().await;
    let mut second = online(other).await;
    Publisher::new(brokers[1].addr()).publish("plain/a", reading(1)).await;
    second.wait_status("it waits", LONG, |s| lane(s, "waiting") == 1).await.unwrap();
    assert!(second.term(LONG).await.unwrap().success());
    stub.open().unwrap();
    testkit::folder::copy(&second.journal_path().join("log"), &agent.journal_path().join("log")).unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    for n in 41..=60 {
        publisher.publish("plain/a", reading(n)).await;
        drained(&mut agent, n).await;
    }
    let found = until_found(&mut agent, "journal_foreign", "act").await;
    assert_eq!(found["count"], 1, "{found}");
    let status = drained(&mut agent, 60).await;
    assert_eq!((lane(&status, "damaged"), lane(&status, "accepted")), (0, 60));
    let aside: Vec<_> = std::fs::read_dir(agent.journal_path().join("aside")).unwrap().flatten().collect();
    assert!(aside.iter().any(|entry| entry.path().join("db").exists()), "{aside:?}");
}
