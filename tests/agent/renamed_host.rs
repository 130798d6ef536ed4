//! The names in use stay with the journal: a host that is called otherwise after a restart costs nothing, and what is
//! changed on purpose says how the session of before is ended.

use crate::support::{
    CLIENT_ID, LONG, PROGRAM, Publisher, config, drained, mosquitto, stub, tidegate, until_logged, until_online,
};
use crate::upgrade::released;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::agent::AgentProcess;

/// Messages that come while the agent is away.
const AWAY: u64 = 5;

/// Whether a process here can be given another host name; if not, that is printed.
fn can_rename() -> bool {
    let tried = Command::new("unshare").args(["--uts", "hostname", "tidegate-test"]).output();
    let can = tried.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        println!("SKIPPED: a host name of its own cannot be had here, run as root: {tried:?}");
    }
    can
}

/// The agent on a host of that name.
fn on_host(agent: &AgentProcess, name: &str) -> PathBuf {
    program_on_host(agent, Path::new(PROGRAM), name)
}

/// The same for another build of it.
fn program_on_host(agent: &AgentProcess, program: &Path, name: &str) -> PathBuf {
    let (script, program) = (agent.folder().join(format!("on-{name}")), program.display());
    let text =
        format!("#!/bin/sh\nexec unshare --uts sh -c 'hostname {name}; exec \"$0\" \"$@\"' '{program}' \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    script
}

/// Rewrites the agent's file.
fn edit(agent: &AgentProcess, from: &str, to: &str) {
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    assert!(text.contains(from), "{from} in\n{text}");
    std::fs::write(agent.config_path(), text.replace(from, to)).unwrap();
}

/// An agent whose file gives no name.
fn nameless(broker: SocketAddr, stub: &testkit::fake_sqs::SqsStub) -> AgentProcess {
    let agent = AgentProcess::prepare(PROGRAM, config(broker, stub)).unwrap();
    edit(&agent, "id = \"hq-tower-roof\"\n", "");
    agent
}

async fn start(agent: &mut AgentProcess) {
    agent.spawn().unwrap();
    agent.wait_ready(LONG).await.unwrap();
    until_online(agent).await;
}

async fn publish(broker: SocketAddr, away: &str) {
    let mut publisher = Publisher::new(broker);
    for n in 0..AWAY {
        let payload = format!("{{\"deduplicationId\":\"{away}-{n}\"}}");
        publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", payload).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_host_keeps_its_session_and_its_messages() {
    if !can_rename() {
        return;
    }
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = nameless(broker.addr(), &stub);
    agent.set_program(on_host(&agent, "localhost"));
    start(&mut agent).await;
    assert!(agent.term(LONG).await.unwrap().success());
    publish(broker.addr(), "first").await;
    agent.set_program(on_host(&agent, "gateway-17"));
    start(&mut agent).await;
    let status = drained(&mut agent, AWAY).await;
    assert_eq!(status["intake"]["received"], AWAY, "{AWAY} of {AWAY}");
    assert_eq!(
        (&status["gateway"], &status["intake"]["client_id"]),
        (&"localhost".into(), &"tidegate-localhost".into())
    );
    until_logged(&mut agent, "the host is called otherwise").await;
    // A reload keeps them, too, and so does every command.
    edit(&agent, "[mqtt]\n", "[mqtt]\nkeep_alive = \"1 min\"\n");
    agent.retry().unwrap();
    agent.wait_status("the second run", LONG, |s| s["journal"]["epoch"] == 3).await.unwrap();
    until_online(&mut agent).await;
    assert_eq!(agent.status().await.unwrap()["intake"]["client_id"], "tidegate-localhost");
    let (shown, _, _) = tidegate(&agent, &["config", "show"]).await;
    assert!(shown.contains("client_id = \"tidegate-localhost\"  # kept with the journal"), "{shown}");
}

/// 0.1.0, its own build, leaves the filters of its session, and no names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_id_that_an_older_release_used_goes_on() {
    if !can_rename() {
        return;
    }
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = nameless(broker.addr(), &stub);
    // 0.1.0 knows no health records, and refuses the key.
    edit(&agent, "health_records = false\n", "");
    agent.set_program(program_on_host(&agent, &released(), "localhost"));
    start(&mut agent).await;
    assert!(agent.term(LONG).await.unwrap().success());
    publish(broker.addr(), "first").await;
    assert!(!agent.journal_path().join("intake/names").exists());
    agent.set_program(on_host(&agent, "gateway-17"));
    start(&mut agent).await;
    let status = drained(&mut agent, AWAY).await;
    let intake = &status["intake"];
    assert_eq!((&intake["received"], &status["gateway"]), (&AWAY.into(), &"localhost".into()));
    assert_eq!((&intake["session_kept"], &intake["client_id"]), (&true.into(), &"tidegate-localhost".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_rename_the_logged_command_ends_the_old_session() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = AgentProcess::start(PROGRAM, config(broker.addr(), &stub)).await.unwrap();
    until_online(&mut agent).await;
    // Another gateway id alone leaves the session as it is.
    edit(&agent, "id = \"hq-tower-roof\"", "id = \"annex\"");
    agent.retry().unwrap();
    agent.wait_status("the new name", LONG, |s| s["gateway"] == "annex").await.unwrap();
    until_online(&mut agent).await;
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["client_id"], &status["intake"]["session_kept"]), (&CLIENT_ID.into(), &true.into()));
    edit(&agent, "[mqtt]\n", "[mqtt]\nclient_id = \"annex\"\n");
    agent.retry().unwrap();
    agent.wait_status("the new id", LONG, |s| s["intake"]["client_id"] == "annex").await.unwrap();
    until_online(&mut agent).await;
    let command = format!("tidegate forget-session --client-id {CLIENT_ID} --config {}", agent.config_path().display());
    until_logged(&mut agent, &command).await;
    publish(broker.addr(), "kept").await;
    let status = drained(&mut agent, AWAY).await;
    assert_eq!(status["intake"]["received"], AWAY, "the old session is not ours any more");
    // Word for word, beside the running agent.
    let words: Vec<&str> = command.split(' ').skip(1).take(3).collect();
    let (said, error, code) = tidegate(&agent, &words).await;
    assert!(code == 0 && said.contains(CLIENT_ID), "{said}{error}");
    let (_, error, code) = tidegate(&agent, &["forget-session", "--client-id", "annex"]).await;
    assert!(code == 1 && error.contains("stop it first"), "{error}");
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["state"], &status["intake"]["connections"]), (&"online".into(), &1.into()));
    // Given no more, it stays.
    edit(&agent, "client_id = \"annex\"\n", "");
    assert!(agent.term(LONG).await.unwrap().success());
    start(&mut agent).await;
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["client_id"], &status["intake"]["session_kept"]), (&"annex".into(), &true.into()));
}
