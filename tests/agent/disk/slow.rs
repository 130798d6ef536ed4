//! Each sync takes its time: the agent stays alive, and what it has not synced it does not acknowledge.

use crate::support::disk::BadDisk;
use crate::support::{
    Flow, PROGRAM, arrived, assert_clean, assert_understood, config, fleet, lane, mosquitto, online, stub, until_online,
};
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use testkit::agent::AgentProcess;
use testkit::checker::Rules;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_of_5_and_50_ms_lose_no_record() {
    for ms in [5, 50] {
        let (stub, broker) = (stub(), mosquitto().await);
        let mut configuration = config(broker.addr(), &stub);
        let disk = BadDisk::under(&mut configuration);
        disk.slow(ms);
        let mut agent = online(configuration).await;
        let mut flow = Flow::start(fleet(broker.addr(), 50, Some(400.0)));
        flow.more(800).await;
        let published = flow.end().await.published();
        let delivered = arrived(&stub, &mut agent, &published).await;
        let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
        println!("{ms} ms: {verdict}");
        assert_understood(&stub);
    }
}

/// A card that stalls for 5 s at every sync. The watchdog is fed, the status answers, the broker's connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_of_5_s_keep_watchdog_status_and_broker() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    let disk = BadDisk::under(&mut configuration);
    let socket_folder = tempfile::tempdir().unwrap();
    let path = socket_folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    // Shorter than the keep-alive of an idle connection, longer than any wait of the scheduler should be.
    configuration.environment.push(("NOTIFY_SOCKET".into(), path.to_string_lossy().into_owned()));
    configuration.environment.push(("WATCHDOG_USEC".into(), "2000000".into()));
    configuration.mqtt_extra = "keep_alive = \"5 s\"".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(100.0)));
    flow.more(200).await;
    disk.slow(5000);
    let before = agent.status().await.unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut fed, mut looks) = (0, 0);
    let stalled = Instant::now();
    // Three syncs and more, and three keep-alives.
    while stalled.elapsed() < Duration::from_secs(18) {
        let status = agent.status().await.unwrap();
        assert_eq!(status["intake"]["state"], "online", "{status:#}");
        looks += 1;
        let mut bytes = [0; 256];
        while let Ok(length) = socket.recv(&mut bytes) {
            fed += usize::from(String::from_utf8_lossy(&bytes[..length]).contains("WATCHDOG=1"));
        }
        flow.more(10).await;
    }
    let after = agent.status().await.unwrap();
    let connections = [&before, &after].map(|s| s["intake"]["connections"].clone());
    println!("in {:?}: {looks} looks, watchdog fed {fed} times, connections {connections:?}", stalled.elapsed());
    assert!(fed >= 3, "fed {fed} times");
    assert_eq!(connections[0], connections[1], "the same connection all the time");
    let held = |s: &Value| s["intake"]["unacked_messages"].as_u64() > Some(0);
    assert!(held(&after), "what is not synced is not acknowledged: {after:#}");
    disk.mend();
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let status = agent.status().await.unwrap();
    assert_eq!(lane(&status, "accepted"), published.confirmed() as u64);
    assert_understood(&stub);
}
