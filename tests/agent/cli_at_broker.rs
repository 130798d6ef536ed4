//! Commands at the broker: they ask a running agent, and where none runs they take nothing that waits for it, whatever the
//! broker makes of client ids.

use crate::support::{
    LONG, PROGRAM, Publisher, arrived, assert_clean, config, drained, mosquitto, online, said, seed, stub, tidegate,
    until_online,
};
use std::net::SocketAddr;
use std::process::Command;
use testkit::agent::AgentProcess;
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::checker::Rules;
use testkit::fleet::{Fleet, FleetOptions};
use testkit::port::HeldPort;

const WAITING: usize = 5;

/// What `init` says and asks, about a separate file.
fn init(file: &std::path::Path, broker: &str, more: &[&str]) -> (String, String, i32) {
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    let mut command = Command::new(PROGRAM);
    command.args(["init", "--yes", "--listen", "2", "--queue", queue, "--broker", broker, "--config"]).arg(file);
    said(command.args(more).output().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_guest_touches_waiting_messages_where_usernames_are_client_ids() {
    let stub = stub();
    let users = ["gw", "sensors"].map(|user| (user.to_owned(), "right".to_owned())).to_vec();
    // The setting is a listener's: the agent's, beside the one of the sensors.
    let port = HeldPort::take().unwrap();
    let at = port.addr();
    let extra = format!("listener {} {}\nuse_username_as_clientid true\n", at.port(), at.ip());
    let broker = Mosquitto::start(&MosquittoOptions { users, extra, ..MosquittoOptions::default() }).await.unwrap();
    let mut configuration = config(at, &stub);
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "right\n").unwrap();
    configuration.mqtt_extra = format!("username = \"gw\"\npassword_file = \"{}\"", password.path().display());
    let mut agent = online(configuration).await;
    // While it runs, it is asked, and not thrown out.
    let (walked, _, _) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert!(walked.contains("by the running agent: connected"), "{walked}");
    assert_eq!(agent.status().await.unwrap()["intake"]["connections"], 1);
    assert!(agent.term(LONG).await.unwrap().success());
    let credentials = Some(("sensors".to_owned(), "right".to_owned()));
    let mut fleet = Fleet::new(FleetOptions { credentials, seed: seed(), ..FleetOptions::new(broker.addr(), 5) });
    fleet.publish(WAITING).await.unwrap();
    let (walked, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert!(code == 7 && walked.contains("use_username_as_clientid") && walked.contains("start the agent"), "{walked}");
    let (_, error, code) = tidegate(&agent, &["explain", "--wait", "1"]).await;
    assert!(code == 1 && error.contains("use_username_as_clientid"), "{error}");
    let at = format!("mqtt://{at}");
    let more = ["--username", "gw", "--password-file", password.path().to_str().unwrap()];
    let (_, error, _) = init(&agent.folder().join("proposed.toml"), &at, &more);
    assert!(error.contains("use_username_as_clientid"), "{error}");
    // Any other client id would be the agent's as well.
    let (_, error, code) = tidegate(&agent, &["forget-session", "--client-id", "former"]).await;
    assert!(code == 1 && error.contains("is not ended"), "{error}");
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(delivered.len(), WAITING, "{WAITING} of {WAITING}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_asks_the_running_agent_whose_file_it_replaces() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let (file, at) = (agent.config_path(), format!("mqtt://localhost:{}", broker.addr().port()));
    let proposed = tokio::task::spawn_blocking(move || init(&file, &at, &["--force"]));
    let mut publisher = Publisher::new(broker.addr());
    let publish = async {
        for n in 0.. {
            let payload = format!("{{\"deduplicationId\":\"{n}\"}}");
            publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", payload).await;
            publisher.publish("building/4/temperature", "21.5").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let (told, error, code) = tokio::select! { said = proposed => said.unwrap(), () = publish => unreachable!() };
    assert!(code == 0 && told.contains("only what its routes subscribe to is seen"), "{told}{error}");
    assert!(told.contains("chirpstack-v4: ") && !told.contains("plain: "), "{told}");
    let status = drained(&mut agent, 1).await;
    assert_eq!(status["intake"]["connections"], 1, "nobody threw it out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_leaves_no_session_behind() {
    let (broker, stub) = (mosquitto().await, stub());
    let agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let (_, error, _) = tidegate(&agent, &["explain", "--wait", "1"]).await;
    assert!(error.contains("nothing came"), "{error}");
    let (walked, _, _) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert!(walked.contains("connected to mqtt://"), "{walked}");
    assert_eq!(sessions_away(broker.addr()).await, "0");
}

/// A Mosquitto as Debian has it, and what it costs: with an agent that is asked, and as a guest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lossy_mosquitto_settings_are_found_with_the_remedy() {
    let options =
        MosquittoOptions { max_queued_messages: 1000, autosave_after_changes: None, ..MosquittoOptions::default() };
    let (broker, stub) = (Mosquitto::start(&options).await.unwrap(), stub());
    let mut agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let (as_guest, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert_eq!(code, 7, "{as_guest}");
    assert!(as_guest.contains("broker's version") && as_guest.contains("Mosquitto 2."), "{as_guest}");
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let (by_agent, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert_eq!(code, 7, "{by_agent}");
    assert!(by_agent.contains("it holds application/+/device/+/event/+ with QoS 1"), "the agent's session: {by_agent}");
    for walked in [as_guest, by_agent] {
        assert!(walked.contains("✗ broker's max_queued_messages"), "{walked}");
        assert!(walked.contains("the broker keeps 1000 messages for an agent"), "{walked}");
        assert!(walked.contains("✗ broker's persistence"), "{walked}");
        let next = "set \"persistence true\" in ";
        assert!(walked.contains(next) && walked.contains("/mosquitto.conf, then: sudo systemctl restart"), "{walked}");
    }
    // As docs/broker.md wants it, the walk is content with it.
    let broker = mosquitto().await;
    let agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let (walked, _, _) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert!(walked.contains("✓ broker's settings"), "{walked}");
}

/// Mosquitto's count of sessions whose clients are away, two of its rounds from now.
async fn sessions_away(broker: SocketAddr) -> String {
    const COUNT: &str = "$SYS/broker/clients/disconnected";
    const ROUND: &str = "$SYS/broker/uptime";
    let options = rumqttc::MqttOptions::new("counter", broker.ip().to_string(), broker.port());
    let (client, mut events) = rumqttc::AsyncClient::new(options, 8);
    for topic in [COUNT, ROUND] {
        client.subscribe(topic, rumqttc::QoS::AtMostOnce).await.unwrap();
    }
    let (mut rounds, mut count) = (0, String::new());
    let counted = async {
        while rounds < 4 {
            if let rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) = events.poll().await.unwrap() {
                match &*publish.topic {
                    COUNT => count = String::from_utf8(publish.payload.to_vec()).unwrap(),
                    _ => rounds += 1,
                }
            }
        }
    };
    tokio::time::timeout(LONG, counted).await.expect("the broker counts");
    count
}
