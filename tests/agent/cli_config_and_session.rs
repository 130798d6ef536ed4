//! Further commands as processes: configurations shown and compared, the broker's session ended, a page for the LAN, pipes
//! that close early.

use crate::support::{
    CLIENT_ID, LONG, PROGRAM, Publisher, QUEUE, arrived, ask, config, drained, fleet, mosquitto, online, stub,
    tidegate, until_told,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use testkit::agent::AgentProcess;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_shows_all_and_compares_with_the_running_agent() {
    let (broker, stub) = (mosquitto().await, stub());
    let agent = online(config(broker.addr(), &stub)).await;
    let (shown, error, code) = tidegate(&agent, &["config", "show"]).await;
    assert_eq!(code, 0, "{error}");
    assert!(
        shown.contains("keep_alive = \"30 s\"  # default") && shown.contains("id = \"hq-tower-roof\"\n"),
        "{shown}"
    );
    let other = agent.folder().join("shown.toml");
    std::fs::write(&other, &shown).unwrap();
    let (same, _, code) = tidegate(&agent, &["config", "diff", other.to_str().unwrap()]).await;
    assert_eq!((&*same, code), ("no difference\n", 0), "what is shown is the same configuration");
    let (same, error, code) = tidegate(&agent, &["config", "diff", "--running"]).await;
    assert_eq!((&*same, code), ("no difference\n", 0), "{error}");
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    std::fs::write(agent.config_path(), text.replace("[mqtt]", "[mqtt]\nkeep_alive = \"1 min\"")).unwrap();
    let (differs, _, _) = tidegate(&agent, &["config", "diff", "--running"]).await;
    assert_eq!(differs, "- mqtt.keep_alive = \"30 s\"\n+ mqtt.keep_alive = \"1 min\"\n");
    let (set, _, _) = tidegate(&agent, &["config", "diff"]).await;
    assert!(set.contains("keep_alive = \"1 min\"") && !set.contains("max_in_flight"), "{set}");
    std::fs::write(agent.config_path(), text.replace("[mqtt]", "[mqtt]\nkeep_alive = 5")).unwrap();
    let (_, error, code) = tidegate(&agent, &["config", "show"]).await;
    assert!(code == 3 && error.contains("mqtt.keep_alive"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_is_ended_only_when_no_agent_needs_it() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let (_, error, code) = tidegate(&agent, &["forget-session"]).await;
    assert!(code == 1 && error.contains("stop it first"), "{error}");
    agent.term(LONG).await.unwrap();
    let mut publisher = Publisher::new(broker.addr());
    publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", "{\"deduplicationId\":\"kept\"}").await;
    let (said, error, code) = tidegate(&agent, &["forget-session"]).await;
    assert!(code == 0 && said.contains(CLIENT_ID), "{said}{error}");
    agent.restart().await.unwrap();
    let status = agent.wait_status("online", LONG, |s| s["intake"]["state"] == "online").await.unwrap();
    assert_eq!((&status["intake"]["session_kept"], &status["intake"]["received"]), (&false.into(), &0.into()));
    drop(broker);
    agent.term(LONG).await.unwrap();
    let (_, error, code) = tidegate(&agent, &["forget-session"]).await;
    assert!(code == 1 && error.contains("is not ended"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_agents_session_is_kept_whatever_the_file_says() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    let journal = agent.journal_path().display().to_string();
    let listen = format!("listen = \"{}\"", agent.status_addr());
    let (moved, silent) = (text.replace(&journal, &format!("{journal}-anew")), text.replace(&listen, "listen = \"\""));
    let apart = moved.replace(&listen, "listen = \"127.0.0.1:1\"");
    assert!(moved != text && silent != text && apart != moved, "{text}");
    let refused = async |agent: &AgentProcess, file: &str| {
        std::fs::write(agent.config_path(), file).unwrap();
        let (said, error, code) = tidegate(agent, &["forget-session"]).await;
        assert!(code == 1 && error.contains(&journal) && error.contains("stop it first"), "{said}{error}");
    };
    refused(&agent, &moved).await;
    refused(&agent, &apart).await;
    // Another client's session may go.
    let (said, error, code) = tidegate(&agent, &["forget-session", "--client-id", "former"]).await;
    assert_eq!(code, 0, "{said}{error}");
    // Without a page and a socket.
    std::fs::write(agent.config_path(), &silent).unwrap();
    agent.term(LONG).await.unwrap();
    agent.spawn().unwrap();
    let control = agent.journal_path().join("control");
    let begun = std::time::Instant::now();
    while !control.exists() {
        assert!(begun.elapsed() < LONG, "no socket");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    std::fs::remove_file(control).unwrap();
    refused(&agent, &silent).await;
    let (_, error, code) = tidegate(&agent, &["acknowledge"]).await;
    assert!(code == 1 && error.contains("the agent runs and has no control socket"), "{error}");
    let (_, error, code) = tidegate(&agent, &["acknowledge", "--note", &"x".repeat(100_000)]).await;
    assert!(code == 2 && error.contains("at most 200 are kept"), "{error:.200}");
    let (_, error, code) = tidegate(&agent, &["explain", "--topic", "a/#/b"]).await;
    assert!(code == 2 && error.contains("must be alone in the last level"), "{error}");
    agent.term(LONG).await.unwrap();
    let (said, error, code) = tidegate(&agent, &["forget-session"]).await;
    assert_eq!(code, 0, "{said}{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_lan_the_page_opens_only_with_the_token() {
    let (broker, stub) = (mosquitto().await, stub());
    let agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let token = "a-token-of-some-length";
    let file = agent.folder().join("token");
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    let lan = text.replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:");
    std::fs::write(agent.config_path(), &lan).unwrap();
    let (_, error, code) = tidegate(&agent, &["config", "show"]).await;
    assert!(code == 3 && error.contains("status.token_file beside it"), "{error}");
    let open = |more: &str| lan.replace("[status]", &format!("[status]\ntoken_file = \"{}\"\n{more}", file.display()));
    std::fs::write(agent.config_path(), open("")).unwrap();
    let mut agent = agent;
    agent.spawn().unwrap();
    // Without the file no client gets in, and `status` on this machine says why.
    async fn closed(agent: &AgentProcess) -> String {
        tidegate(agent, &["status"]).await.0
    }
    let begun = std::time::Instant::now();
    while !closed(&agent).await.contains("the status page stays closed") {
        assert!(begun.elapsed() < LONG, "{}", closed(&agent).await);
        tokio::task::yield_now().await;
    }
    until_told(&agent, "page_closed").await;
    assert!(TcpStream::connect(agent.status_addr()).is_err());
    std::fs::write(&file, format!("{token}\n")).unwrap();
    std::fs::write(agent.config_path(), open("show_payloads = true")).unwrap();
    agent.retry().unwrap();
    let at = agent.status_addr();
    while TcpStream::connect(at).is_err() {
        assert!(begun.elapsed() < LONG, "{}", closed(&agent).await);
        tokio::task::yield_now().await;
    }
    for path in ["/", "/status.json", "/metrics", "/livez", "/readyz", "/page.css", "/page.js"] {
        let (head, body) = ask(at, &format!("GET {path} HTTP/1.1\r\nHost: 192.0.2.7"));
        assert!(head.starts_with("http/1.1 401") && head.contains("www-authenticate: basic"), "{path}: {head}");
        assert!(!body.contains("hq-tower"), "{body}");
    }
    let basic = STANDARD.encode(format!("me:{token}"));
    for (given, status) in [
        (format!("Bearer {token}"), "200"),
        (format!("Basic {basic}"), "200"),
        (format!("Bearer {token}x"), "401"),
        ("Basic bWU6".to_owned(), "401"),
    ] {
        let (head, _) = ask(at, &format!("GET /livez HTTP/1.1\r\nHost: gateway.lan\r\nAuthorization: {given}"));
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{given}: {head}");
    }
    let mut fleet = fleet(broker.addr(), 2, None);
    fleet.publish(5).await.unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 5).await.unwrap();
    let (_, page) = ask(at, &format!("GET / HTTP/1.1\r\nHost: gateway.lan\r\nAuthorization: Bearer {token}"));
    assert!(page.contains("<code>{&quot;"), "beginnings of payloads are shown: {page}");
    // The command asks by the control socket, or with the token.
    let (json, error, code) = tidegate(&agent, &["status", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(code == 0 && json["health"] == "fine", "{error}");
    std::fs::remove_file(agent.journal_path().join("control")).unwrap();
    let (said, error, code) = tidegate(&agent, &["status"]).await;
    assert!(code == 0 && said.contains("fine"), "{said}{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_that_closes_early_ends_a_command_quietly() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(300).await.unwrap();
    drained(&mut agent, 300).await;
    arrived(&stub, &mut agent, &fleet.published()).await;
    for words in [
        vec!["journal", "list", "--all", "--limit", "5000"],
        vec!["config", "show"],
        vec!["journal", "export", "--all"],
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(&words).arg("--config").arg(agent.config_path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The reader has gone before the first word.
        drop(child.stdout.take());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !error.contains("panic"), "{words:?}: {error}");
    }
}
