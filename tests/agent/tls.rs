//! TLS to the broker: a private CA, a client certificate, user and password; and the status names a wrong CA in words.

use crate::support::{
    Authority, LONG, PROGRAM, QUEUE, arrived, assert_clean, config, lane, online, seed, stub, until_found,
    until_online, until_remarked,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::broker::{Mosquitto, MosquittoOptions, TlsListener};
use testkit::checker::Rules;
use testkit::fake_sqs::SqsStub;
use testkit::fleet::{Fleet, FleetOptions};

const USER: (&str, &str) = ("tidegate", "p\u{e4}ss wort");

/// A certificate authority, a broker's certificate and a client's, as files.
struct Papers {
    folder: TempDir,
}

impl Papers {
    fn issue() -> Papers {
        let papers = Papers { folder: tempfile::tempdir().unwrap() };
        let ca = Authority::new();
        papers.write("ca.pem", &ca.pem());
        for (name, host) in [("broker", "127.0.0.1"), ("client", "gateway")] {
            let (certificate, key) = ca.issue(host);
            papers.write(&format!("{name}.pem"), &certificate.pem());
            papers.write(&format!("{name}-key.pem"), &key.serialize_pem());
        }
        papers.write("password", USER.1);
        papers
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn broker(&self) -> Mosquitto {
        let tls = TlsListener {
            ca_file: self.path("ca.pem"),
            cert_file: self.path("broker.pem"),
            key_file: self.path("broker-key.pem"),
            require_certificate: true,
        };
        let users = vec![(USER.0.to_owned(), USER.1.to_owned())];
        Mosquitto::start(&MosquittoOptions { tls: Some(tls), users, ..MosquittoOptions::default() }).await.unwrap()
    }

    /// From that broker over TLS to the stub's FIFO queue.
    fn configuration(&self, broker: &Mosquitto, stub: &SqsStub) -> AgentConfig {
        let mut configuration = config(broker.addr(), stub);
        configuration.broker_url = format!("mqtts://{}", broker.tls_addr().expect("a TLS listener"));
        configuration.mqtt_extra = self.settings(&self.path("ca.pem"));
        configuration
    }

    /// Further lines of `[mqtt]`, trusting `ca`.
    fn settings(&self, ca: &Path) -> String {
        let at = |name: &str| self.path(name).display().to_string();
        format!(
            "username = \"{}\"\npassword_file = \"{}\"\nca_file = \"{}\"\nclient_cert_file = \"{}\"\nclient_key_file = \"{}\"",
            USER.0,
            at("password"),
            ca.display(),
            at("client.pem"),
            at("client-key.pem")
        )
    }
}

fn sensors(broker: &Mosquitto) -> Fleet {
    let credentials = Some((USER.0.to_owned(), USER.1.to_owned()));
    Fleet::new(FleetOptions { credentials, seed: seed(), ..FleetOptions::new(broker.addr(), 20) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_ca_client_certificate_and_password_lead_to_delivery() {
    let (papers, stub) = (Papers::issue(), stub());
    let broker = papers.broker().await;
    let configuration = papers.configuration(&broker, &stub);
    let mut agent = online(configuration).await;
    let mut fleet = sensors(&broker);
    fleet.publish(300).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// The build to prove: another one than that of the tests, such as a cross-built one behind an emulator, by
/// `TIDEGATE_PROGRAM` (`scripts/try-arm.sh`).
fn program() -> PathBuf {
    std::env::var_os("TIDEGATE_PROGRAM").map_or_else(|| PROGRAM.into(), PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_thousand_messages_survive_kill_outage_and_upgrade() {
    let (papers, mut stub) = (Papers::issue(), stub());
    let broker = papers.broker().await;
    let configuration = papers.configuration(&broker, &stub);
    let mut agent = AgentProcess::start(program(), configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut fleet = sensors(&broker);
    fleet.publish(300).await.unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 100).await.unwrap();
    agent.kill().await.unwrap();
    // The broker holds these.
    fleet.publish(200).await.unwrap();
    stub.close().await;
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    fleet.publish(200).await.unwrap();
    agent.wait_status("an outage's backlog", LONG, |s| lane(s, "waiting") >= 200).await.unwrap();
    // What one build wrote, the other continues with, and back.
    agent.term(LONG).await.unwrap();
    agent.set_program(PROGRAM);
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    let before = lane(&agent.status().await.unwrap(), "appended");
    fleet.publish(100).await.unwrap();
    agent.wait_status("the other build's", LONG, |s| lane(s, "appended") >= before + 100).await.unwrap();
    agent.term(LONG).await.unwrap();
    agent.set_program(program());
    agent.restart().await.unwrap();
    stub.open().unwrap();
    agent.retry().unwrap();
    until_online(&mut agent).await;
    fleet.publish(200).await.unwrap();
    let published = fleet.published();
    assert_eq!(published.confirmed(), 1000);
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_ca_is_said_and_loses_no_message() {
    let (papers, stub) = (Papers::issue(), stub());
    let (broker, stranger) = (papers.broker().await, Papers::issue());
    let configuration = papers.configuration(&broker, &stub);
    let mut agent = online(configuration.clone()).await;
    assert!(agent.term(LONG).await.unwrap().success());

    let mut wrong = configuration.clone();
    wrong.mqtt_extra = papers.settings(&stranger.path("ca.pem"));
    agent.rewrite(wrong).unwrap();
    agent.spawn().unwrap();
    let remark = until_remarked(&mut agent, &["broker", "mqtts://", "TLS with", "mqtt.ca_file"]).await;
    println!("{remark}");
    until_found(&mut agent, "broker_certificate", "act").await;
    let mut fleet = sensors(&broker);
    fleet.publish(100).await.unwrap();
    assert_eq!(stub.counters(QUEUE).received, 0);

    agent.term(LONG).await.unwrap();
    agent.rewrite(configuration).unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
}

/// Settings that can never work are a configuration error, before anything is opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_ca_file_is_a_configuration_error() {
    let (papers, stub) = (Papers::issue(), stub());
    let mut configuration = config(([127, 0, 0, 1], 1).into(), &stub);
    configuration.broker_url = "mqtts://127.0.0.1:1".into();
    configuration.mqtt_extra = papers.settings(&papers.path("nowhere.pem"));
    let mut agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
    agent.spawn().unwrap();
    let status = agent.wait_exit(LONG).await.unwrap();
    println!("{}", agent.log());
    assert_eq!(status.code(), Some(3), "{}", agent.log());
    assert!(agent.log().contains("nowhere.pem"), "{}", agent.log());
    assert!(!agent.journal_path().exists(), "nothing was touched");
}
