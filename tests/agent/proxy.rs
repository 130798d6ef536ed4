//! The way to the queue leads through a real HTTP proxy, tinyproxy of Debian: it works, is down, refuses the tunnel, wants a password.
//! Each of these has words of its own that name the queue's host and the proxy, and the records go on by themselves when it is mended.

use crate::slow_link::speak_tls;
use crate::support::link::has_own_network;
use crate::support::{Authority, LONG, PROGRAM, Publisher, QUEUE, config, mosquitto, stub, tail, until_online};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::agent::AgentProcess;
use testkit::skipped;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;

/// Not of loopback, which no proxy is asked for.
const QUEUE_HOST: &str = "192.0.2.10";
const PROXY_PORT: u16 = 8888;

fn tinyproxy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/tinyproxy/usr/bin/tinyproxy")
}

/// A proxy that permits tunnels to a port, for those who know the password.
async fn proxy(folder: &Path, permitted: u16, password: &str) -> Child {
    let file = folder.join("tinyproxy.conf");
    let text = format!(
        "Port {PROXY_PORT}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nAllow 127.0.0.1\nBasicAuth gateway {password}\n\
         ConnectPort {permitted}\nLogLevel Info\nLogFile \"{}\"\n",
        folder.join("tinyproxy.log").display()
    );
    std::fs::write(&file, text).unwrap();
    let child = Command::new(tinyproxy()).arg("-d").arg("-c").arg(&file).kill_on_drop(true).spawn().unwrap();
    while tokio::net::TcpStream::connect(("127.0.0.1", PROXY_PORT)).await.is_err() {
        tokio::task::yield_now().await;
    }
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_real_proxy_has_its_words_and_ends_by_itself() {
    if !tinyproxy().exists() {
        return skipped("tinyproxy is not there: scripts/peers.sh");
    }
    if !has_own_network("proxy::each_fault_of_a_real_proxy_has_its_words_and_ends_by_itself") {
        return;
    }
    let ip = std::process::Command::new("ip").args(["addr", "add", "192.0.2.10/32", "dev", "lo"]).status().unwrap();
    assert!(ip.success());
    let (broker, stub, ca) = (mosquitto().await, stub(), Authority::new());
    let listener = TcpListener::bind((QUEUE_HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (certificate, key) = ca.issue(QUEUE_HOST);
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    tokio::spawn(speak_tls(listener, TlsAcceptor::from(Arc::new(tls)), stub.addr()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["load/#".into()]);
    configuration.queues[0].endpoint = Some(format!("https://{QUEUE_HOST}:{port}"));
    configuration.queues[0].extra += &format!("\nca_file = \"{}\"", folder.path().join("ca.pem").display());
    let address = format!("http://gateway:secret@127.0.0.1:{PROXY_PORT}");
    configuration.environment.push(("HTTPS_PROXY".into(), address));

    let mut child = proxy(folder.path(), port, "secret").await;
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut publisher = Publisher::new(broker.addr());
    publisher.publish("load/device-0", "{\"n\":0}").await;
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 1).await.unwrap();
    let way = format!("{QUEUE_HOST}:{port} by way of the proxy 127.0.0.1:{PROXY_PORT}");
    let faults = [
        (None::<(u16, &str)>, "refused", "check that a server listens at 127.0.0.1:8888"),
        (Some((1, "secret")), "the proxy does not open a tunnel", "permit CONNECT"),
        // tinyproxy says 401 to a wrong password, where HTTP has 407.
        (Some((port, "another")), "the proxy does not open a tunnel", "password in HTTPS_PROXY"),
    ];
    for (n, (broken, words, remedy)) in faults.into_iter().enumerate() {
        child.kill().await.unwrap();
        if let Some((permitted, password)) = broken {
            child = proxy(folder.path(), permitted, password).await;
        }
        let faults = |s: &serde_json::Value| s["queues"][0]["drain"]["faults"]["Link"].as_u64().unwrap_or(0);
        let before = faults(&agent.status().await.unwrap());
        publisher.publish("load/device-0", format!("{{\"n\":{}}}", n + 1)).await;
        let drain = |s: &serde_json::Value| s["queues"][0]["drain"].to_string();
        let told = |s: &serde_json::Value| drain(s).contains(words) && faults(s) > before + 1;
        let status = agent.wait_status(words, LONG, told).await.unwrap();
        println!("{}", drain(&status));
        assert!(drain(&status).contains(&way) && drain(&status).contains(remedy), "{:#}", status["queues"][0]["drain"]);
        // It may have been started for this fault.
        let _ = child.kill().await;
        child = proxy(folder.path(), port, "secret").await;
        let more = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= n as u64 + 2).await;
        more.unwrap_or_else(|late| panic!("{late}\n{}", tail(&agent.log())));
    }
    assert!(!agent.log().contains("secret"), "no password in the log");
    agent.kill().await.unwrap();
}
