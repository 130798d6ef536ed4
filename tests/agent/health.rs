//! What is wrong is a finding, the same everywhere: in `status`, in its exit code, in the metrics and in `/readyz`. What was lost
//! stays one until a person acknowledges it.

use crate::support::disk::BadDisk;
use crate::support::{
    CLIENT_ID, LONG, PROGRAM, Publisher, ask, config, drained, finding, fleet, get, lane, mosquitto, online, stub,
    tidegate, until_fine, until_found, until_online, until_told,
};
use serde_json::Value;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::SqsStub;

fn readyz(agent: &AgentProcess) -> (u16, String) {
    let (head, body) = ask(agent.status_addr(), "GET /readyz HTTP/1.1\r\nHost: localhost");
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body)
}

/// A configuration with a second route.
fn with_plain_route(broker: &Mosquitto, stub: &SqsStub) -> AgentConfig {
    let extra = "[[routes]]\nprofile = \"generic\"\ntopics = [\"plain/#\"]\nqueue = \"main\"\n".into();
    AgentConfig { extra, ..config(broker.addr(), stub) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_refusing_the_password_requires_action_immediately() {
    let users = vec![("gateway".to_owned(), "right".to_owned())];
    let broker = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).await.unwrap();
    let stub = stub();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let mut configuration = config(broker.addr(), &stub);
    configuration.mqtt_extra = format!("username = \"gateway\"\npassword_file = \"{}\"", file.display());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    let found = until_found(&mut agent, "broker_password_file", "act").await;
    assert!(found["what"].as_str().is_some_and(|what| what.contains("password")), "{found}");
    std::fs::write(&file, "wrong\n").unwrap();
    agent.retry().unwrap();
    let found = until_found(&mut agent, "broker_refuses_login", "act").await;
    assert!(found["since_s"].is_u64(), "{found}");
    let (code, said) = readyz(&agent);
    assert!(code == 503 && said.contains("broker_refuses_login"), "{code} {said}");
    std::fs::write(&file, "right\n").unwrap();
    agent.retry().unwrap();
    until_online(&mut agent).await;
    until_fine(&mut agent).await;
    assert_eq!(readyz(&agent), (200, "ready\n".into()));
    // While it is connected, too: the next connection would fail.
    std::fs::write(&file, "\n").unwrap();
    let found = until_found(&mut agent, "broker_password_lost", "act").await;
    assert!(found["command"].as_str().is_some_and(|command| command.starts_with("sudo nano ")), "{found}");
    assert_eq!(readyz(&agent).0, 200, "messages come meanwhile");
    std::fs::write(&file, "right\n").unwrap();
    until_fine(&mut agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_away_for_a_minute_requires_action() {
    let (stub, mut broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    broker.stop().await.unwrap();
    until_found(&mut agent, "broker_away", "waiting").await;
    clock.move_to(61_000, 61_000, 0).unwrap();
    let found = until_found(&mut agent, "broker_away", "act").await;
    assert!(found["since_s"].as_u64() >= Some(61), "{found}");
    broker.restart().await.unwrap();
    until_online(&mut agent).await;
    until_fine(&mut agent).await;
}

/// Records that nothing lets pass are put into quarantine; the finding stays until it is acknowledged, over restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantine_requires_action_over_restarts_until_acknowledged() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(5).await.unwrap();
    agent.wait_status("5 wait", LONG, |s| lane(s, "waiting") == 5).await.unwrap();
    let (listed, ..) = tidegate(&agent, &["journal", "list", "--json"]).await;
    let numbers: Vec<String> =
        listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["number"].to_string()).collect();
    let (_, error, code) = tidegate(&agent, &["journal", "quarantine", "add", &numbers[0], &numbers[1]]).await;
    assert_eq!(code, 0, "{error}");
    stub.open().unwrap();
    let found = until_found(&mut agent, "records_quarantined", "act").await;
    assert_eq!((&found["count"], &found["about"]), (&2.into(), &"main".into()), "{found}");
    drained(&mut agent, 5).await;
    // In an orderly way: within a second of it a kill takes back what the state file does not say yet.
    assert!(agent.term(LONG).await.unwrap().success());
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    until_found(&mut agent, "records_quarantined", "act").await;

    let (said, error, code) = tidegate(&agent, &["acknowledge", "session_lost"]).await;
    assert!(code == 0 && said.is_empty() && error.contains("nothing to acknowledge"), "{said}{error}");
    let words = ["acknowledge", "--who", "ada", "--note", "two tests"];
    let (said, error, code) = tidegate(&agent, &words).await;
    assert_eq!((code, &*said), (0, "acknowledged records_quarantined (main): 2\n"), "{error}");
    let status = until_fine(&mut agent).await;
    assert_eq!((&status["acknowledged"]["who"], lane(&status, "quarantined")), (&"ada".into(), 2));
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let status = until_fine(&mut agent).await;
    assert_eq!(status["acknowledged"]["note"], "two tests", "{status:#}");

    stub.close().await;
    fleet.publish(1).await.unwrap();
    agent.wait_status("1 waits", LONG, |s| lane(s, "waiting") == 1).await.unwrap();
    let (listed, ..) = tidegate(&agent, &["journal", "list", "--json"]).await;
    let number = serde_json::from_str::<Value>(listed.lines().next().expect("a line")).expect("JSON")["number"].clone();
    tidegate(&agent, &["journal", "quarantine", "add", &number.to_string()]).await;
    stub.open().unwrap();
    let found = until_found(&mut agent, "records_quarantined", "act").await;
    assert_eq!(found["count"], 1, "since the acknowledgement: {found}");
}

/// A message over the bound, one of no route and a session that was lost: each finding stays over a kill until it is
/// acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_before_the_journal_stand_over_a_kill_until_acknowledged() {
    let stub = stub();
    let options = MosquittoOptions { autosave_after_changes: None, ..MosquittoOptions::default() };
    let mut broker = Mosquitto::start(&options).await.unwrap();
    let mut configuration = with_plain_route(&broker, &stub);
    configuration.mqtt_extra = "max_payload_bytes = \"1 KiB\"".into();
    let mut agent = online(configuration).await;
    broker.restart().await.unwrap();
    until_found(&mut agent, "session_lost", "act").await;
    let mut publisher = Publisher::new(broker.addr());
    // The new session holds the filter from its grant on; what comes before that is lost with the old one.
    while agent.status().await.unwrap()["intake"]["routes"][1]["messages"] == 0 {
        publisher.publish("plain/small", "7").await;
    }
    publisher.publish("plain/big", vec![b'x'; 2000]).await;
    until_found(&mut agent, "messages_oversize", "act").await;
    let file = agent.journal_path().join("intake/losses");
    let kept = move |_: &Value| {
        let bytes = std::fs::read(&file).unwrap_or_default();
        [b"oversize\x01".as_slice(), b"sessions_lost\x01"]
            .iter()
            .all(|wanted| bytes.windows(wanted.len()).any(|window| window == *wanted))
    };
    agent.wait_status("the losses kept, at once", LONG, kept).await.unwrap();
    agent.kill().await.unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let found = until_found(&mut agent, "session_lost", "act").await;
    assert_eq!(found["count"], 1, "{found}");
    let found = until_found(&mut agent, "messages_oversize", "act").await;
    assert_eq!(found["count"], 1, "{found}");
    let (said, error, code) = tidegate(&agent, &["acknowledge", "--json"]).await;
    let done: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{code} {said}{error}"));
    assert_eq!(done["what"].as_array().map(Vec::len), Some(2), "{done}");
    until_fine(&mut agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_silent_while_others_are_not_requires_action() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = with_plain_route(&broker, &stub);
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(20).await.unwrap();
    drained(&mut agent, 20).await;
    until_fine(&mut agent).await;
    clock.move_to(601_000, 601_000, 0).unwrap();
    let found = until_found(&mut agent, "route_silent", "act").await;
    assert_eq!(found["about"], "plain/#", "{found}");
    Publisher::new(broker.addr()).publish("plain/1", "7").await;
    let heard = |s: &Value| s["health"] == "fine";
    agent.wait_status("heard", LONG, heard).await.unwrap();
    assert!(agent.term(LONG).await.unwrap().success());
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    fleet.publish(20).await.unwrap();
    drained(&mut agent, 41).await;
    clock.move_to(1_300_000, 1_300_000, 0).unwrap();
    // It was heard before: its sensors are waited for a day.
    let status = agent.wait_status("the clock", LONG, |s| s["uptime_s"].as_u64() >= Some(600)).await.unwrap();
    assert!(finding(&status, "route_silent").is_none(), "{status:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_with_qos_0_require_action_naming_their_route() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(with_plain_route(&broker, &stub)).await;
    Publisher::new(broker.addr()).publish_qos0("plain/1", "7").await;
    let found = until_found(&mut agent, "route_qos0", "act").await;
    assert_eq!((&found["about"], &found["count"]), (&"plain/#".into(), &1.into()), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_with_one_client_id_are_to_act_on() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut one = online(config(broker.addr(), &stub)).await;
    let mut other = AgentProcess::start(PROGRAM, config(broker.addr(), &stub)).await.unwrap();
    let found = until_found(&mut one, "client_id_twice", "act").await;
    assert_eq!(found["about"], CLIENT_ID, "{found}");
    until_found(&mut other, "client_id_twice", "act").await;
}

/// A card that hangs in a sync returns no error: only time shows that nothing becomes durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_acknowledges_nothing_is_not_ready() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(clock.environment());
    let disk = BadDisk::under(&mut configuration);
    let mut agent = online(configuration).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(5).await.unwrap();
    drained(&mut agent, 5).await;
    assert_eq!(readyz(&agent).0, 200);
    disk.slow(20_000);
    fleet.publish(5).await.unwrap();
    agent.wait_status("waiting for the disk", LONG, |s| s["intake"]["stuck_s"].is_u64()).await.unwrap();
    clock.move_to(20_000, 20_000, 0).unwrap();
    let found = until_found(&mut agent, "journal_stalled", "act").await;
    assert!(found["since_s"].as_u64() >= Some(20), "{found}");
    let (code, said) = readyz(&agent);
    assert!(code == 503 && said.contains("journal_stalled"), "{code} {said}");
    disk.mend();
    drained(&mut agent, 10).await;
    until_fine(&mut agent).await;
    assert_eq!(readyz(&agent).0, 200);
}

/// The agent runs on the configuration of before; the command still finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_works_despite_a_configuration_mistake_and_says_so() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let good = std::fs::read_to_string(agent.config_path()).unwrap();
    for mistake in ["[nonsense]\nx = 1\n", "this is no TOML\n"] {
        std::fs::write(agent.config_path(), format!("{good}\n{mistake}")).unwrap();
        let (said, error, exit) = tidegate(&agent, &["status", "--exit-code"]).await;
        assert_eq!(exit, 11, "{said}{error}");
        assert!(said.contains("the configuration file has a mistake") && said.contains("online"), "{said}{error}");
        until_told(&agent, "configuration_mistake").await;
        let (_, error, exit) = tidegate(&agent, &["acknowledge"]).await;
        assert!(exit == 0 && error.contains("nothing to acknowledge"), "{error}");
        // Once the agent was told to take it, it says so itself, once.
        agent.retry().unwrap();
        until_found(&mut agent, "configuration_refused", "act").await;
        let (said, ..) = tidegate(&agent, &["status"]).await;
        assert!(!said.contains("has a mistake"), "{said}");
        std::fs::write(agent.config_path(), &good).unwrap();
        agent.retry().unwrap();
        until_fine(&mut agent).await;
    }
    assert!(agent.term(LONG).await.unwrap().success());
    std::fs::write(agent.config_path(), "nonsense").unwrap();
    let (_, error, exit) = tidegate(&agent, &["status", "--exit-code"]).await;
    assert!(exit == 3 && error.contains("in the configuration"), "{exit}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_says_how_long_it_holds_on() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    fleet(broker.addr(), 5, None).publish(100).await.unwrap();
    let status = drained(&mut agent, 100).await;
    assert_eq!(status["journal"]["holds_on_s"], Value::Null, "not known yet");
    clock.move_to(3_600_000, 3_600_000, 0).unwrap();
    let known = |s: &Value| s["journal"]["holds_on_s"].as_u64().is_some();
    let status = agent.wait_status("the rate of an hour", LONG, known).await.unwrap();
    let of = |key: &str| status["journal"][key].as_u64().expect("a number");
    let rate = status["intake"]["taken_bytes"].as_f64().expect("a number") / 3600.0;
    let room = (of("max_bytes") - of("bytes")).min(of("free_bytes") - of("min_free"));
    let (wanted, said) = (room as f64 / rate, of("holds_on_s") as f64);
    assert!((0.5..2.0).contains(&(said / wanted)), "{said} s, by hand {wanted} s: {status:#}");
    let (said, ..) = tidegate(&agent, &["status"]).await;
    assert!(said.contains("holds on for"), "{said}");
    assert!(get(&agent, "/metrics").contains("tidegate_journal_holds_on_seconds"));
}
