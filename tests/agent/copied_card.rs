//! A card that was copied into a second gateway: neither swallows the other's readings, whatever their hardware tells.

use crate::support::{LONG, PROGRAM, Publisher, QUEUE, config, drained, mosquitto, stub, until_found, until_online};
use serde_json::Value;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::fake_sqs::SqsStub;

const READINGS: usize = 5;

/// An agent of this name that takes plain values, on a machine that tells of itself what the folder `machine` holds.
fn gateway(name: &str, broker: SocketAddr, stub: &SqsStub, machine: &Path) -> AgentConfig {
    let environment = vec![("TIDEGATE_RIG_MACHINE".to_owned(), machine.display().to_string())];
    let (profile, topics, gateway) = ("plain".into(), vec!["a/#".into()], name.into());
    AgentConfig { profile, topics, gateway, environment, ..config(broker, stub) }
}

/// A machine with this serial number on its board; `None`: nothing tells it from another.
fn machine(serial: Option<&str>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    if let Some(serial) = serial {
        std::fs::create_dir_all(root.path().join("proc/device-tree")).unwrap();
        std::fs::write(root.path().join("proc/device-tree/serial-number"), serial).unwrap();
    }
    root
}

async fn journal_id(agent: &AgentProcess) -> String {
    agent.status().await.unwrap()["journal"]["journal_id"].as_str().expect("an open journal").to_owned()
}

/// Two copies of one card, on these machines, each behind its own broker, send equal readings to one queue.
async fn two_copies(machines: [Option<&str>; 2]) -> [String; 2] {
    let stub = stub();
    let brokers = [mosquitto().await, mosquitto().await];
    let roots = machines.map(machine);
    let first = gateway("gw-image", brokers[0].addr(), &stub, roots[0].path());
    let mut image = AgentProcess::start(PROGRAM, first).await.unwrap();
    until_online(&mut image).await;
    Publisher::new(brokers[0].addr()).publish("a/x", "first").await;
    drained(&mut image, 1).await;
    assert!(image.term(LONG).await.unwrap().success());
    let second = gateway("gw-two", brokers[1].addr(), &stub, roots[1].path());
    let mut two = AgentProcess::prepare(PROGRAM, second).unwrap();
    testkit::folder::copy(&image.journal_path(), &two.journal_path()).unwrap();
    let mut one = image;
    one.rewrite(gateway("gw-one", brokers[0].addr(), &stub, roots[0].path())).unwrap();
    one.restart().await.unwrap();
    two.spawn().unwrap();
    two.wait_ready(LONG).await.unwrap();
    for (agent, broker) in [(&mut one, &brokers[0]), (&mut two, &brokers[1])] {
        until_online(agent).await;
        let mut publisher = Publisher::new(broker.addr());
        for n in 0..READINGS {
            publisher.publish("a/x", format!("{n}")).await;
        }
        drained(agent, 1 + READINGS as u64).await;
    }
    let accepted = stub.accepted(QUEUE);
    let ids: HashSet<Option<String>> = accepted.iter().map(|message| message.dedup.clone()).collect();
    assert_eq!((accepted.len(), ids.len()), (1 + 2 * READINGS, 1 + 2 * READINGS), "{ids:?}");
    let doubles = |body: &str| serde_json::from_str::<Value>(body).unwrap()["possibleduplicate"] == true;
    assert!(accepted.iter().all(|message| !doubles(&message.body)));
    [journal_id(&one).await, journal_id(&two).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indistinguishable_copies_lose_none_of_each_others_readings() {
    let [one, two] = two_copies([None, None]).await;
    assert_eq!(one, two, "no evidence keeps the id");
    let [one, two] = two_copies([Some("board-alike-1"), Some("board-alike-1")]).await;
    assert_eq!(one, two);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_on_another_board_gets_its_own_id() {
    let [one, two] = two_copies([Some("board-one-1"), Some("board-two-2")]).await;
    assert_ne!(one, two);
}

/// A boot without the network card, or without whatever else tells the machine: no copy, and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boot_without_marks_of_the_machine_is_no_copy() {
    let (stub, broker) = (stub(), mosquitto().await);
    let (known, silent) = (machine(Some("board-one-1")), machine(None));
    let mut agent = AgentProcess::start(PROGRAM, gateway("roof", broker.addr(), &stub, known.path())).await.unwrap();
    until_online(&mut agent).await;
    let id = journal_id(&agent).await;
    let mut publisher = Publisher::new(broker.addr());
    for (start, root) in [&silent, &known, &silent].into_iter().enumerate() {
        publisher.publish("a/x", format!("{start}")).await;
        agent.kill().await.unwrap();
        agent.rewrite(gateway("roof", broker.addr(), &stub, root.path())).unwrap();
        agent.restart().await.unwrap();
        until_online(&mut agent).await;
        assert_eq!(journal_id(&agent).await, id);
    }
    drained(&mut agent, 3).await;
    assert_eq!(stub.accepted(QUEUE).len(), 3);
}

/// At a broker that both can reach, the copy leaves the other one's client id alone, and a person decides. This broker is in a network
/// for documents: no host is ever reached there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_a_shared_broker_requires_action() {
    let stub = stub();
    let (one, two) = (machine(Some("board-one-1")), machine(Some("board-two-2")));
    let on = |root: &tempfile::TempDir| AgentConfig {
        broker_url: "mqtt://192.0.2.1:1883".into(),
        ..gateway("roof", "127.0.0.1:1".parse().unwrap(), &stub, root.path())
    };
    let mut agent = AgentProcess::start(PROGRAM, on(&one)).await.unwrap();
    agent.wait_status("open", LONG, |s| s["intake"].is_object()).await.unwrap();
    assert!(agent.term(LONG).await.unwrap().success());
    agent.rewrite(on(&two)).unwrap();
    agent.spawn().unwrap();
    let found = until_found(&mut agent, "journal_copied", "act").await;
    assert!(found["what"].as_str().is_some_and(|what| what.contains("tidegate-roof-")), "{found}");
}
