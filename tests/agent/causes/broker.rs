//! Brokers that refuse, take half, or drop.

use super::scripted::{Manner, ScriptedBroker};
use crate::support::{LONG, PROGRAM, config, fleet, online, stub, until_found};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use testkit::agent::AgentProcess;
use testkit::broker::{Mosquitto, MosquittoOptions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_a_broker_are_told_apart() {
    let stub = stub();
    let broker = ScriptedBroker::start(Manner::Says(b"\x20\x02\x00\x01")).await;
    let mut agent = AgentProcess::start(PROGRAM, config(broker.addr(), &stub)).await.unwrap();
    until_found(&mut agent, "broker_refuses_version", "act").await;
    // Each retry is a connection at once.
    broker.behave(Manner::Says(b"\x20\x02\x00\x02"));
    agent.retry().unwrap();
    until_found(&mut agent, "broker_refuses_client_id", "act").await;
    broker.behave(Manner::Says(&[b'<'; 4096]));
    agent.retry().unwrap();
    until_found(&mut agent, "broker_not_mqtt", "act").await;
    broker.behave(Manner::Releases);
    agent.retry().unwrap();
    until_found(&mut agent, "broker_qos2_session", "act").await;
    broker.behave(Manner::GrantsLittle);
    agent.retry().unwrap();
    until_found(&mut agent, "filter_qos0", "act").await;
}

/// Who may open a socket is a matter of its mode; root may open any, unless that power is taken from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_socket_without_permission_requires_action() {
    let stub = stub();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("broker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    let mut configuration = config("127.0.0.1:1".parse().unwrap(), &stub);
    configuration.broker_url = format!("unix://{}", socket.display());
    let mut program = std::path::PathBuf::from(PROGRAM);
    if rustix::process::geteuid().is_root() {
        program = folder.path().join("without-power");
        let text = format!("#!/bin/sh\nexec setpriv --bounding-set -dac_override '{PROGRAM}' \"$@\"\n");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut agent = AgentProcess::start(program, configuration).await.unwrap();
    until_found(&mut agent, "broker_not_permitted", "act").await;
}

/// Mosquitto keeps so many messages for a client that is away, and drops what comes beyond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_dropped_while_the_agent_was_away_require_action() {
    let stub = stub();
    let (max_queued_messages, extra) = (10, "sys_interval 1".to_owned());
    let options = MosquittoOptions { max_queued_messages, max_inflight: 5, extra, ..MosquittoOptions::default() };
    let broker = Mosquitto::start(&options).await.unwrap();
    let mut agent = online(config(broker.addr(), &stub)).await;
    let counted = |s: &Value| s["intake"]["broker_dropped"].is_u64();
    agent.wait_status("the broker's count", LONG, counted).await.unwrap();
    assert!(agent.term(LONG).await.unwrap().success());
    fleet(broker.addr(), 5, None).publish(50).await.unwrap();
    agent.spawn().unwrap();
    let found = until_found(&mut agent, "messages_dropped", "act").await;
    assert!(found["count"].as_u64() >= Some(10), "{found}");
}
