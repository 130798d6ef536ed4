//! What is wrong when the agent starts: its configuration, its journal.

use crate::support::disk::small_disk;
use crate::support::{
    LONG, PROGRAM, arrived, assert_clean, config, drained, fleet, mosquitto, online, plain, stub, until_found,
    until_online, until_remarked,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use testkit::agent::AgentProcess;
use testkit::checker::Rules;

/// Nothing listens there; the test ends before that matters.
const NOWHERE: std::net::SocketAddr = std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

async fn refused_start(agent: &mut AgentProcess) -> (Option<i32>, String) {
    agent.spawn().unwrap();
    let status = agent.wait_exit(LONG).await.unwrap();
    let said = plain(&agent.log());
    println!("{said}");
    (status.code(), said)
}

#[tokio::test]
async fn unknown_configuration_keys_are_listed_with_place_and_suggestion() {
    let stub = stub();
    let mut configuration = config(NOWHERE, &stub);
    configuration.mqtt_extra = "keepalive = \"30 s\"".into();
    configuration.journal_extra = "max_byte = \"1 GiB\"".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let text = fs::read_to_string(agent.config_path()).unwrap();
    let place = |key: &str| text.lines().position(|line| line.starts_with(key)).map(|index| index + 1).unwrap();
    let (code, said) = refused_start(&mut agent).await;
    assert_eq!(code, Some(3));
    for (key, meant) in [("keepalive", "keep_alive"), ("max_byte", "max_bytes")] {
        let at = format!("{}:{}:1: ", agent.config_path().display(), place(key));
        assert!(said.contains(&at) && said.contains(meant), "{key}: {said}");
    }
    assert!(!agent.journal_path().exists(), "nothing was touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_on_one_journal_ends_alone() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut first = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(50).await.unwrap();

    let mut second = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let text = fs::read_to_string(second.config_path()).unwrap();
    let path = |agent: &AgentProcess| agent.journal_path().display().to_string();
    fs::write(second.config_path(), text.replace(&path(&second), &path(&first))).unwrap();
    let (code, said) = refused_start(&mut second).await;
    assert_eq!(code, Some(4));
    let text = format!("journal {} is held by another process", path(&first));
    assert!(said.contains(&text) && said.contains("journal.path of its own"), "{said}");

    fleet.publish(50).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut first, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &first);
    let status = first.status().await.unwrap();
    assert_eq!(status["intake"]["connections"], 1, "the second one never took the session away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_journal_format_ends_the_start_and_stays_untouched() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(50).await.unwrap();
    let journaled = |s: &serde_json::Value| s["journal"]["durable"].as_u64() >= Some(50);
    agent.wait_status("journaled", LONG, journaled).await.unwrap();
    assert!(agent.term(LONG).await.unwrap().success());

    let format = agent.journal_path().join("format");
    let ours = fs::read_to_string(&format).unwrap();
    let newer = "tidegate journal, format 3";
    fs::write(&format, format!("{newer}, crc {:08x}\n", crc32c::crc32c(newer.as_bytes()))).unwrap();
    let before = contents(&agent.journal_path());
    let (code, said) = refused_start(&mut agent).await;
    assert_eq!(code, Some(5));
    assert!(said.contains("written by a newer tidegate") && said.contains("format 3"), "{said}");
    assert!(said.contains("install that version again") && said.contains("journal.path"), "{said}");
    assert_eq!(contents(&agent.journal_path()), before, "nothing was changed");

    fs::write(&format, ours).unwrap();
    stub.open().unwrap();
    agent.spawn().unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// Tests may run as root, whom no permission stops: a file is where the folder should be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_journal_folder_is_said_and_tried_again() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(50).await.unwrap();
    drained(&mut agent, 50).await;
    assert!(agent.term(LONG).await.unwrap().success());

    let (path, aside) = (agent.journal_path(), agent.folder().join("aside"));
    fs::rename(&path, &aside).unwrap();
    fs::write(&path, "not a folder").unwrap();
    agent.spawn().unwrap();
    let remark = until_remarked(&mut agent, &["journal", &path.display().to_string()]).await;
    println!("{remark}");
    until_found(&mut agent, "journal_not_open", "act").await;
    let status = agent.status().await.unwrap();
    assert_eq!((&status["health"], &status["journal"]), (&"act".into(), &serde_json::Value::Null));
    assert!(plain(&agent.log()).contains("check that the folder exists, belongs to the agent's user and has space"));
    // Nothing is acknowledged meanwhile: the broker keeps it.
    fleet.publish(50).await.unwrap();

    fs::remove_file(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    until_online(&mut agent).await;
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// On a full disk nothing is acknowledged, on a read-only one nothing is opened; either way the broker keeps what comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_and_read_only_disks_hold_back_and_lose_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let Some(disk) = small_disk(&agent.journal_path(), 16).await else { return };
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    until_remarked(&mut agent, &["lies in RAM", "journal.path"]).await;
    until_found(&mut agent, "journal_in_ram", "act").await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(50).await.unwrap();
    drained(&mut agent, 50).await;

    // The first time it gives up its reserve, and takes what comes in the place of that; the second time there is none.
    disk.fill(0).unwrap();
    fleet.publish(50).await.unwrap();
    agent.wait_status("no reserve", LONG, |s| s["journal"]["reserve"] == false).await.unwrap();
    disk.fill(0).unwrap();
    fleet.publish(400).await.unwrap();
    let remark = until_remarked(&mut agent, &["journal cannot be written"]).await;
    println!("{remark}");
    until_found(&mut agent, "journal_unwritable", "act").await;
    let status = agent.status().await.unwrap();
    assert!(status["intake"]["unacked_messages"].as_u64() > Some(0), "{status:#}");
    disk.clear().unwrap();
    drained(&mut agent, 500).await;

    assert!(agent.term(LONG).await.unwrap().success());
    disk.read_only(true).await.unwrap();
    agent.spawn().unwrap();
    let remark = until_remarked(&mut agent, &["journal", "Read-only file system"]).await;
    println!("{remark}");
    fleet.publish(50).await.unwrap();
    disk.read_only(false).await.unwrap();
    until_online(&mut agent).await;
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    agent.kill().await.unwrap();
}

/// Every file below a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    all
}
