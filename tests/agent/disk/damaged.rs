//! What is on the disk is damaged while the agent is away. Every kind of file and damage is tried beside the journal
//! (`src/journal/tests/damage.rs`); here, that an operator and a consumer hear of it.

use crate::support::{
    LONG, QUEUE, assert_books, assert_understood, config, drained, fleet, lane, mosquitto, online, stub, tail,
    until_found, until_logged, until_online,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::checker::{Rules, judge};

/// Generations of a journal, oldest first.
fn generations(journal: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(journal.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_generations_are_read_around_counted_and_announced() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 50, None);
    let mut count = 0;
    while count < 4 {
        fleet.publish(2000).await.unwrap();
        let sent = fleet.published().confirmed() as u64;
        let status = agent.wait_status("journaled", LONG, |s| lane(s, "appended") >= sent).await.unwrap();
        count = status["journal"]["generations"].as_u64().unwrap();
    }
    agent.term(LONG).await.unwrap();
    let folders = generations(&agent.journal_path());
    // The head: single bits. One in between: gone as a whole. The newest: its end is torn off.
    let head = folders[0].join("db");
    let mut bytes = fs::read(&head).unwrap();
    let step = bytes.len() / 60;
    (1..60).for_each(|part| bytes[part * step + part] ^= 4);
    fs::write(&head, bytes).unwrap();
    fs::remove_dir_all(&folders[1]).unwrap();
    let newest = folders.last().unwrap().join("db");
    let file = fs::OpenOptions::new().write(true).open(newest).unwrap();
    file.set_len(file.metadata().unwrap().len() * 2 / 3).unwrap();

    agent.spawn().unwrap();
    until_online(&mut agent).await;
    stub.open().unwrap();
    fleet.publish(100).await.unwrap();
    until_logged(&mut agent, "records lost: they cannot be read back").await;
    let published = fleet.published();
    let told = |s: &Value| {
        let lanes = s["journal"]["lanes"].as_array();
        lanes.is_some_and(|lanes| lanes.iter().all(|lane| lane["unannounced"] == 0 && lane["waiting"] == 0))
    };
    drained(&mut agent, published.confirmed() as u64).await;
    let status = agent.wait_status("told", LONG, told).await.unwrap();
    assert_books(&status);
    let (delivered, damaged) = (stub.accepted(QUEUE), lane(&status, "damaged") as usize);
    let verdict = judge(&published, &delivered, Rules::FIFO);
    println!("{verdict}; damaged {damaged}, announced {}, holes {}", verdict.announced, verdict.holes);
    assert!(damaged > 0);
    until_found(&mut agent, "records_damaged", "act").await;
    assert_eq!((verdict.lost, verdict.announced, verdict.holes), (damaged, damaged, 0), "{verdict:?}");
    assert_eq!(
        (verdict.out_of_order, verdict.duplicated, verdict.clashes, verdict.strangers),
        (0, 0, 0, 0),
        "{verdict:?}"
    );
    assert_understood(&stub);
}

/// A state file that is gone in both slots: everything on disk goes again and says so; the ids keep the queue from
/// taking it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_state_file_repeats_marked_and_loses_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(500).await.unwrap();
    drained(&mut agent, 500).await;
    agent.term(LONG).await.unwrap();
    fs::write(agent.journal_path().join("state"), vec![0x5a; 8192]).unwrap();
    agent.spawn().unwrap();
    until_logged(&mut agent, "state file is damaged").await;
    until_online(&mut agent).await;
    fleet.publish(300).await.unwrap();
    let published = fleet.published();
    let status = drained(&mut agent, published.confirmed() as u64).await;
    let verdict = judge(&published, &stub.accepted(QUEUE), Rules::FIFO);
    println!("{verdict}; marked {}, epoch {}", verdict.duplicated_marked, status["journal"]["epoch"]);
    assert!(verdict.is_clean(), "{verdict:?}\n{}", tail(&agent.log()));
    assert!(status["journal"]["epoch"].as_u64() > Some(1000));
    assert_understood(&stub);
}

/// The intake's caches and the small files, lost or filled with something else while the agent is away: a repeat, a
/// subscription at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_or_damaged_small_files_cost_no_record() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 50, None);
    fleet.publish(200).await.unwrap();
    drained(&mut agent, 200).await;
    let mut tried = Vec::new();
    for how in ["removed", "zeroed", "replaced"] {
        agent.term(LONG).await.unwrap();
        let journal = agent.journal_path();
        let intake = fs::read_dir(journal.join("intake")).unwrap().map(|entry| entry.unwrap().path());
        let others = ["format", "lock", "reserve", "quarantine/kept"].map(|name| journal.join(name));
        for path in intake.chain(others).filter(|path| path.is_file()) {
            tried.push(format!("{} {how}", path.strip_prefix(&journal).unwrap().display()));
            let length = fs::metadata(&path).unwrap().len() as usize;
            match how {
                "removed" => fs::remove_file(&path).unwrap(),
                "zeroed" => fs::write(&path, vec![0; length]).unwrap(),
                _ => fs::write(&path, "something else ".repeat(1000)).unwrap(),
            }
        }
        agent.spawn().unwrap();
        until_online(&mut agent).await;
        fleet.publish(200).await.unwrap();
        drained(&mut agent, fleet.published().confirmed() as u64).await;
    }
    println!("{tried:?}");
    let published = fleet.published();
    let verdict = judge(&published, &stub.accepted(QUEUE), Rules::FIFO);
    assert!(verdict.is_clean() && verdict.announced == 0, "{verdict:?}\n{}", tail(&agent.log()));
    let status = agent.status().await.unwrap();
    assert_eq!(status["journal"]["reserve"], true, "{status:#}");
    assert_understood(&stub);
}
