//! What is wrong at the broker: it is not there, refuses the account, refuses the filter, or lets nothing be read.

use crate::support::{
    LONG, PROGRAM, Publisher, arrived, assert_clean, config, fleet, online, stub, tidegate, until_found, until_logged,
    until_online, until_remarked,
};
use std::path::{Path, PathBuf};
use testkit::agent::AgentProcess;
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::checker::Rules;
use testkit::fleet::{Fleet, FleetOptions};
use testkit::port::HeldPort;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_it_runs_and_says_where_it_looked() {
    let (stub, port) = (stub(), HeldPort::take().unwrap());
    let mut agent = AgentProcess::start(PROGRAM, config(port.addr(), &stub)).await.unwrap();
    let where_it_looked = format!("nothing listens at mqtt://{}", port.addr());
    until_remarked(&mut agent, &[&where_it_looked, "start the broker, or correct mqtt.url"]).await;
    assert_eq!(agent.status().await.unwrap()["intake"]["state"], "offline");
    assert!(agent.term(LONG).await.unwrap().success(), "it stops as ordered, broker or not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_and_mended_by_its_file() {
    let stub = stub();
    let users = ["tidegate", "network-server"].map(|user| (user.to_owned(), "right".to_owned())).to_vec();
    let broker = Mosquitto::start(&MosquittoOptions { users, ..MosquittoOptions::default() }).await.unwrap();
    let mut configuration = config(broker.addr(), &stub);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    configuration.mqtt_extra = format!("username = \"tidegate\"\npassword_file = \"{}\"", password.display());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    // Mosquitto answers 'not authorised' to a wrong password as well.
    let remark = until_remarked(&mut agent, &["broker mqtt://", "mqtt.username", "mqtt.password_file"]).await;
    println!("{remark}");
    assert!(!agent.log().contains("wrong\n") && !remark.contains("right"), "no secret is shown");
    std::fs::write(&password, "right\n").unwrap();
    until_online(&mut agent).await;
    let credentials = Some(("network-server".to_owned(), "right".to_owned()));
    let options = FleetOptions { credentials, seed: crate::support::seed(), ..FleetOptions::new(broker.addr(), 10) };
    let mut fleet = Fleet::new(options);
    fleet.publish(100).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// Mosquitto's own ACL file lets any client subscribe; its dynamic security plugin refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_filter_is_said_and_stops_no_other_route() {
    let stub = stub();
    let rules = tempfile::tempdir().unwrap();
    let Some(plugin) = dynamic_security() else {
        panic!("mosquitto_dynamic_security.so belongs to Debian's package mosquitto and was not found");
    };
    let config_file = rules.path().join("dynamic-security.json");
    std::fs::write(&config_file, DYNAMIC_SECURITY).unwrap();
    let extra = format!("plugin {}\nplugin_opt_config_file {}", plugin.display(), config_file.display());
    let broker = Mosquitto::start(&MosquittoOptions { extra, ..MosquittoOptions::default() }).await.unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.extra = "[[routes]]\nprofile = \"generic\"\ntopics = [\"secret/#\"]\nqueue = \"main\"\n".into();
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    let (as_guest, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert_eq!(code, 7, "{as_guest}");
    agent.spawn().unwrap();
    until_logged(&mut agent, "the broker refused the filter; let this client read it in the broker's ACL").await;
    let (by_agent, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert_eq!(code, 7, "{by_agent}");
    for walked in [as_guest, by_agent] {
        let line = walked.lines().find(|line| line.contains("secret/#")).unwrap_or_else(|| panic!("{walked}"));
        assert!(line.contains('✗') && line.contains("refused by the broker"), "{line}");
        assert!(walked.contains("allow it in the broker's access list"), "{walked}");
    }
    let remark = until_remarked(&mut agent, &["secret/#", "refused", "ACL"]).await;
    println!("{remark}");
    until_found(&mut agent, "filter_refused", "act").await;
    let status = agent.status().await.unwrap();
    let granted = [0, 1].map(|route| status["intake"]["routes"][route]["filters"][0]["granted"].as_bool());
    assert_eq!((granted, status["health"].as_str()), ([Some(true), Some(false)], Some("act")), "{status:#}");
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(100).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// A granted filter proves no read access: the route's silence is what shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acl_without_read_access_shows_a_silent_route() {
    let stub = stub();
    let read = ["topic write application/#", "topic read application/open/#", "topic read $SYS/#"];
    let acl = read.map(str::to_owned).to_vec();
    let broker = Mosquitto::start(&MosquittoOptions { acl, ..MosquittoOptions::default() }).await.unwrap();
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(20).await.unwrap();
    let route = |s: &serde_json::Value| s["intake"]["routes"][0].clone();
    let silent = route(&agent.status().await.unwrap());
    assert_eq!((&silent["filters"][0]["granted"], &silent["messages"]), (&true.into(), &0.into()));
    assert_eq!(silent["last_message_s"], serde_json::Value::Null);
    // What comes after them and may be read tells that they never will.
    Publisher::new(broker.addr()).publish("application/open/device/02f1e2d3ffffffff/event/up", "{}").await;
    let heard = agent.wait_status("one message", LONG, |s| route(s)["messages"] != 0).await.unwrap();
    assert_eq!((&route(&heard)["messages"], &route(&heard)["last_message_s"]), (&1.into(), &0.into()));
}

/// Any client may publish and receive; only ChirpStack's topics and the broker's counts may be subscribed to.
const DYNAMIC_SECURITY: &str = r#"{
    "defaultACLAccess": {
        "publishClientSend": true, "publishClientReceive": true, "subscribe": false, "unsubscribe": true
    },
    "clients": [],
    "groups": [{ "groupname": "anybody", "roles": [{ "rolename": "sensors" }], "clients": [] }],
    "roles": [{ "rolename": "sensors", "acls": [
        { "acltype": "subscribePattern", "topic": "application/#", "priority": 0, "allow": true },
        { "acltype": "subscribePattern", "topic": "$SYS/#", "priority": 0, "allow": true }
    ] }],
    "anonymousGroup": "anybody"
}"#;

fn dynamic_security() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let below = folders.chain([Path::new("/usr/lib").to_owned(), Path::new("/usr/local/lib").to_owned()]);
    below.map(|folder| folder.join("mosquitto_dynamic_security.so")).find(|file| file.is_file())
}
