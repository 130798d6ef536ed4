//! The README's quick start is a recording: each command of its transcript is run here, and says what the transcript shows.
//!
//! Between a real Mosquitto and the SQS stub, which answers for the name of AWS behind TLS and a proxy. What differs from a
//! gateway is put back before the comparison (folders, the broker's port), and numbers and widths are not compared.
//! `TIDEGATE_TRANSCRIPT=FILE` writes the output of this run, for the README.

use crate::support::{Authority, LONG, PROGRAM, QUEUE, fleet, said, stub};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::agent::credentials_csv;
use testkit::broker::{Mosquitto, MosquittoOptions, MosquittoRelease};
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{AccessKey, SqsStub};
use testkit::port::HeldPort;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const AWS: &str = "sqs.eu-west-1.amazonaws.com";
const DOWNLOAD: &str = "tidegate_accessKeys.csv";
/// Accepted when the transcript looks at the running agent: one test record and these.
const UPLINKS: usize = 20;

/// A gateway's folders, and the way to what answers for AWS.
struct Gateway {
    folder: tempfile::TempDir,
    broker: SocketAddr,
    proxy: SocketAddr,
    status: SocketAddr,
    /// One that the kernel calls synchronised, whatever it says of this machine's.
    clock: ClockControl,
}

impl Gateway {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--config").arg(self.path("etc/tidegate.toml")).current_dir(self.folder.path());
        command
            .env("TIDEGATE_JOURNAL_PATH", self.path("var/journal"))
            .env("TIDEGATE_STATUS_LISTEN", self.status.to_string());
        command.env("HTTPS_PROXY", format!("http://{}", self.proxy)).env("SSL_CERT_FILE", self.path("ca.pem"));
        command.envs([self.clock.environment()]);
        command.kill_on_drop(true);
        command
    }

    /// Asks the running agent until its status is as it should be.
    async fn until(&self, what: &str, done: impl Fn(&Value) -> bool) {
        let asking = async {
            loop {
                let (json, _, _) = said(self.command(&["status", "--json"]).output().await.unwrap());
                if serde_json::from_str(&json).is_ok_and(|status| done(&status)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, asking).await.expect(what);
    }

    /// What a command said, as it would be said on a gateway.
    async fn run(&self, words: &[&str]) -> String {
        let (said, error, code) = said(self.command(words).output().await.unwrap());
        assert_eq!(code, 0, "{words:?}: {said}{error}");
        if words[0] == "init" {
            // What was written names the gateway's folder.
            let file = self.path("etc/tidegate.toml");
            let text = std::fs::read_to_string(&file)
                .unwrap()
                .replace("/etc/tidegate", &self.path("etc").display().to_string());
            std::fs::write(file, text).unwrap();
        }
        let at = |name: &str| self.path(name).display().to_string();
        let [broker, status] = [self.broker, self.status].map(|addr| format!("127.0.0.1:{}", addr.port()));
        let said = error + &said;
        let settings =
            said.split_whitespace().find(|word| word.ends_with("/mosquitto.conf:")).unwrap_or("-:").to_owned();
        said.replace(&settings, "/etc/mosquitto/mosquitto.conf:")
            .replace(&at("etc"), "/etc/tidegate")
            .replace(&at("var"), "/var/lib/tidegate")
            .replace("tidegate run --config /etc/tidegate/tidegate.toml", "systemctl enable --now tidegate")
            .replace(" --config /etc/tidegate/tidegate.toml", "")
            .replace(&broker, "127.0.0.1:1883")
            .replace(&status, "127.0.0.1:8377")
    }
}

/// Answers for AWS behind an HTTP proxy's CONNECT, with a certificate of our CA in `folder`.
async fn aws(folder: &Path, stub: SocketAddr) -> SocketAddr {
    let ca = Authority::new();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    let (certificate, key) = ca.issue(AWS);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, tls.clone(), stub));
        }
    });
    addr
}

async fn tunnel(stream: TcpStream, tls: TlsAcceptor, stub: SocketAddr) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    assert!(line.starts_with(&format!("CONNECT {AWS}:443 ")), "nothing else is asked for: {line}");
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut stream = tls.accept(stream).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut TcpStream::connect(stub).await?).await?;
    Ok(())
}

/// The README's transcript: each command with what it says.
fn transcript() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```console\n").expect("a transcript");
    let (text, _) = rest.split_once("```").unwrap();
    let parts = text.split("$ ").skip(1).map(|part| part.split_once('\n').unwrap());
    parts.map(|(command, said)| (command.to_owned(), said.to_owned())).collect()
}

/// Without what may differ: numbers, widths, empty lines.
fn comparable(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        let mut last = ' ';
        for c in word.chars() {
            let c = if c.is_ascii_digit() { '#' } else { c };
            if !(c == '#' && last == '#') {
                out.push(c);
            }
            last = c;
        }
        out.push(' ');
    }
    // A fraction may be missing: 4 ms, 4.1 ms.
    out.replace("#.#", "#").trim().to_owned()
}

async fn started(gateway: &Gateway, stub: &SqsStub) -> Child {
    let running = gateway.command(&["run"]).spawn().unwrap();
    let mut uplinks = fleet(gateway.broker, 5, None);
    // Only from its subscription on does the broker keep messages for it.
    let granted = |status: &Value| status["intake"]["routes"][0]["filters"][0]["granted"] == true;
    gateway.until("it subscribes", granted).await;
    uplinks.publish(UPLINKS).await.unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted > UPLINKS as u64).await.unwrap();
    // And a health record.
    let booked = |status: &Value| status["queues"][0]["lane"]["accepted"].as_u64() > Some(UPLINKS as u64);
    gateway.until("it books what was accepted", booked).await;
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_quick_start_shows_what_commands_print() {
    // A release without known trouble, as docs/broker.md asks for.
    let release = MosquittoRelease::newer(Path::new(env!("CARGO_MANIFEST_DIR")));
    let options = MosquittoOptions { release, ..MosquittoOptions::default() };
    let (broker, stub) = (Mosquitto::start(&options).await.unwrap(), stub());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(folder.path().join(DOWNLOAD), credentials_csv(&AccessKey::agent())).unwrap();
    std::fs::create_dir(folder.path().join("var")).unwrap();
    let proxy = aws(folder.path(), stub.addr()).await;
    let (broker, status) = (broker.addr(), HeldPort::take().unwrap());
    let clock = ClockControl::new().unwrap();
    let gateway = Gateway { folder, broker, proxy, status: status.addr(), clock };
    drop(status);
    let sensors = tokio::spawn(async move { fleet(broker, 5, Some(4.0)).publish(400).await });
    let url = format!("mqtt://{broker}");
    let (mut recorded, mut wrong, mut running) = (String::new(), Vec::new(), None);
    for (command, stands) in transcript() {
        recorded += &format!("$ {command}\n");
        let mut words: Vec<&str> = command.trim_start_matches("sudo ").split(' ').collect();
        if words[0] == "systemctl" {
            assert_eq!(stands.trim(), "", "the test does not run this one");
            sensors.abort();
            running = Some(started(&gateway, &stub).await);
            continue;
        }
        assert_eq!(words.remove(0), "tidegate", "{command}");
        if words[0] == "init" {
            words.extend(["--broker", &url]);
        }
        let said = gateway.run(&words).await;
        recorded += &said;
        if comparable(&said) != comparable(&stands) {
            wrong.push(format!("$ {command}\n--- said:\n{said}--- the README has:\n{stands}"));
        }
    }
    if let Some(file) = std::env::var_os("TIDEGATE_TRANSCRIPT") {
        std::fs::write(file, recorded).unwrap();
    }
    assert!(running.is_some(), "the transcript starts the agent");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
