//! The technician's way, from the installed package to the first record in the queue, as docs/install.md has it: the package's
//! template in place, `init` with every prompt, the access key, `check`, the agent. Between a real Mosquitto with passwords that
//! refuses `#` to the agent's user, and the SQS stub.

use crate::support::{LONG, PROGRAM, Publisher, QUEUE, said, stub};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use testkit::agent::credentials_csv;
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{AccessKey, SqsStub};
use testkit::port::HeldPort;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

const PASSWORD: &str = "right and long";
const TEMPLATE: &str = include_str!("../../src/config/default.toml");

/// A gateway's folders on which nothing was done but the installation.
struct Gateway {
    folder: tempfile::TempDir,
    status: String,
    /// The kernel calls it synchronised, whatever it says of this machine's.
    clock: ClockControl,
}

impl Gateway {
    fn installed() -> Gateway {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let port = HeldPort::take().unwrap();
        let gateway = Gateway { folder, status: port.addr().to_string(), clock: ClockControl::new().unwrap() };
        for name in ["etc", "var"] {
            std::fs::create_dir(gateway.path(name)).unwrap();
        }
        gateway.install_template();
        gateway
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configuration(&self) -> PathBuf {
        self.path("etc/tidegate.toml")
    }

    /// As a package does whose system has flash in another place.
    fn template(&self) -> String {
        TEMPLATE.replace("/var/lib/tidegate/journal", &self.path("var/journal").display().to_string())
    }

    fn install_template(&self) {
        std::fs::write(self.configuration(), self.template()).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--config").arg(self.configuration()).current_dir(self.folder.path());
        command.env("TIDEGATE_STATUS_LISTEN", &self.status).envs([self.clock.environment()]).kill_on_drop(true);
        command.stdin(Stdio::null());
        command
    }

    /// A command with these answers on its standard input, which ends behind them.
    async fn run(&self, words: &[&str], answers: &str) -> (String, String, i32) {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let answers = answers.to_owned();
        // It may end before it has read them all.
        let answering = tokio::spawn(async move { stdin.write_all(answers.as_bytes()).await });
        let output = child.wait_with_output().await.unwrap();
        let _ = answering.await.unwrap();
        said(output)
    }
}

/// A Mosquitto whose user `gateway` may subscribe to what is below `application` and `building`, and to nothing else; `sensors`
/// may publish.
async fn guarded(folder: &Path) -> Option<Mosquitto> {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let plugin = libraries.map(|path| path.join("mosquitto_dynamic_security.so")).find(|path| path.exists());
    let Some(plugin) = plugin else {
        testkit::skipped("mosquitto_dynamic_security.so is not installed");
        return None;
    };
    let file = folder.join("dynamic-security.json");
    let made = Command::new("mosquitto_ctrl")
        .args(["dynsec", "init", file.to_str().unwrap(), "gateway", PASSWORD])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut security: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let allow = |kind: &str, topic: &str| json!({"acltype": kind, "topic": topic, "priority": 0, "allow": true});
    let readable = ["application/#", "building/#"].map(|topic| allow("subscribePattern", topic));
    security["roles"] = json!([
        {"rolename": "gateway", "acls": readable},
        {"rolename": "sensors", "acls": [allow("publishClientSend", "#")]},
    ]);
    // With the hash of the same password.
    let mut gateway = security["clients"][0].clone();
    gateway["roles"] = json!([{"rolename": "gateway"}]);
    let mut sensors = gateway.clone();
    (sensors["username"], sensors["roles"]) = ("sensors".into(), json!([{"rolename": "sensors"}]));
    security["clients"] = json!([gateway, sensors]);
    std::fs::write(&file, security.to_string()).unwrap();
    let extra =
        format!("allow_anonymous false\nplugin {}\nplugin_opt_config_file {}\n", plugin.display(), file.display());
    Some(Mosquitto::start(&MosquittoOptions { extra, ..MosquittoOptions::default() }).await.unwrap())
}

/// Sensors that go on publishing until dropped.
fn sensors(broker: std::net::SocketAddr) -> tokio::task::JoinHandle<()> {
    let mut publisher = Publisher::as_somebody(broker, Some(("sensors", PASSWORD)));
    tokio::spawn(async move {
        for n in 0.. {
            let payload = format!("{{\"deduplicationId\":\"{n}\"}}");
            publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", payload).await;
            publisher.publish("building/4/temperature", format!("{n}")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

/// What a technician is asked, and answers, slips among them.
fn conversation(gateway: &Gateway, broker: &str, stub: &SqsStub) -> Vec<(&'static str, String)> {
    let key = gateway.path("etc/credentials.csv").display().to_string();
    // As of a service that is not AWS's own: it tells no region.
    let (_, path) =
        stub.queue_url(QUEUE).split_once(".com/").map(|(host, path)| (host.to_owned(), path.to_owned())).unwrap();
    let url = format!("{}/{path}", stub.endpoint());
    vec![
        ("The broker? [mqtt://127.0.0.1:1883]", "localhost".into()),
        ("The broker? [mqtt://127.0.0.1:1883]", broker.into()),
        ("The user name there? [none]", "gateway".into()),
        ("The password of gateway (not shown)?", "wrong".into()),
        ("Ask the broker again, with other answers? [yes]", String::new()),
        // Enter takes the broker and the user of before.
        ("The broker? [mqtt://127.0.0.1:", String::new()),
        ("The user name there? [gateway; - for none]", String::new()),
        ("The password of gateway (not shown)?", PASSWORD.into()),
        (
            "Which topics may it read (filters, commas between them)? [those of network servers]",
            "application/#, building/#".into(),
        ),
        ("Take these as routes, or name one profile? [yes]", String::new()),
        ("An id for this gateway", "hq tower".into()),
        ("An id for this gateway", "hq-tower-roof".into()),
        ("The queue's URL, as the SQS console shows it?", "https://example.com/x".into()),
        ("The queue's URL, as the SQS console shows it?", url),
        ("127.0.0.1 does not tell the region. Which is it, such as eu-west-1?", "eu-west-1".into()),
        ("The service's address? [http://127.0.0.1:", String::new()),
        ("Where will the access key's .csv be? [/etc/tidegate/credentials.csv]", key),
    ]
}

fn typed(answers: &[(&str, String)]) -> String {
    answers.iter().map(|(_, answer)| format!("{answer}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_technician_gets_from_package_to_first_record_by_prompts() {
    let (gateway, stub) = (Gateway::installed(), stub());
    let Some(broker) = guarded(gateway.folder.path()).await else { return };
    let publishing = sensors(broker.addr());
    let at = format!("mqtt://{}", broker.addr());
    let conversation = conversation(&gateway, &at, &stub);

    let (told, asked, code) = gateway.run(&["init", "--listen", "2"], &typed(&conversation)).await;
    assert_eq!(code, 0, "{told}{asked}");
    let mut rest = &*asked;
    for (question, _) in &conversation {
        let at = rest.find(question).unwrap_or_else(|| panic!("\"{question}\" is not asked in its turn:\n{asked}"));
        rest = &rest[at + question.len()..];
    }
    let questions = asked.lines().filter(|line| line.trim_end_matches(']').contains('?')).count();
    assert!(questions >= conversation.len(), "{asked}");
    assert!(asked.contains("refuses") && asked.contains("The broker refuses # to this user."), "{asked}");
    assert!(!asked.contains(PASSWORD) && !told.contains(PASSWORD), "{asked}{told}");
    assert!(told.contains("chirpstack-v4: ") && told.contains("plain: "), "{told}");
    let text = std::fs::read_to_string(gateway.configuration()).unwrap();
    let password = gateway.path("etc/mqtt-password");
    for line in [
        "id = \"hq-tower-roof\"",
        "username = \"gateway\"",
        &format!("password_file = \"{}\"", password.display()),
        &format!("path = \"{}\"", gateway.path("var/journal").display()),
        "region = \"eu-west-1\"",
        "topics = [\"building/#\"]",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(!text.contains("\"#\"") && !text.contains(PASSWORD), "{text}");
    assert_eq!(std::fs::read_to_string(&password).unwrap(), format!("{PASSWORD}\n"));
    for file in [&password, &gateway.configuration()] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o640, "{}", file.display());
    }
    assert!(!gateway.path("etc/tidegate.toml.old").exists(), "nobody's text was replaced");

    // What it says to run next can be run unchanged.
    std::fs::write(gateway.path("FILE.csv"), credentials_csv(&AccessKey::agent())).unwrap();
    let with = format!(" --config {}", gateway.configuration().display());
    let steps: Vec<&str> = told.lines().filter_map(|line| line.trim().strip_prefix("tidegate ")).collect();
    assert_eq!(steps.len(), 4, "{told}");
    for step in &steps[..3] {
        let command = step.split("  #").next().unwrap().trim();
        let words: Vec<&str> = command.strip_suffix(&with).unwrap_or_else(|| panic!("{step}")).split(' ').collect();
        let (told, error, code) = gateway.run(&words, "").await;
        assert_eq!(code, 0, "{command}: {told}{error}");
        assert!(words[0] != "check" || told.contains("All checks passed"), "{told}");
    }
    assert_eq!(steps[3], format!("run{with}"));
    let mut agent = gateway.command(&["run"]).spawn().unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 2).await.unwrap();
    let bodies: Vec<_> = stub.accepted(QUEUE).into_iter().map(|one| one.body).collect();
    assert!(bodies.iter().any(|body| body.contains("hq-tower-roof")), "{bodies:?}");
    publishing.abort();
    agent.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_ends_wherever_the_answers_end_and_writes_nothing() {
    let (gateway, stub) = (Gateway::installed(), stub());
    let Some(broker) = guarded(gateway.folder.path()).await else { return };
    let at = format!("mqtt://{}", broker.addr());
    let publishing = sensors(broker.addr());
    let conversation = conversation(&gateway, &at, &stub);
    for answered in 0..conversation.len() {
        let answers = typed(&conversation[..answered]);
        let (told, error, code) = gateway.run(&["init", "--listen", "1"], &answers).await;
        let last = error.lines().last().unwrap_or_default();
        assert_eq!(code, 1, "{answered}: {told}{error}");
        assert!(
            last.starts_with("error: no answer to ") && last.contains("nothing was written"),
            "{answered}: {error}"
        );
        assert_eq!(std::fs::read_to_string(gateway.configuration()).unwrap(), gateway.template(), "{answered}");
    }
    publishing.abort();
    let left: Vec<_> = std::fs::read_dir(gateway.path("etc")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "the template alone: {left:?}");
    // Nor does it ask for ever where empty answers never end.
    let endless = "\n".repeat(100_000);
    let (told, error, code) = gateway.run(&["init", "--listen", "1"], &endless).await;
    assert_eq!(code, 1, "{told}{error}");
    assert!(error.lines().count() < 60, "{error}");
    assert!(error.contains("give it with --queue") || error.contains("give it with --gateway"), "{error}");
    assert_eq!(std::fs::read_to_string(gateway.configuration()).unwrap(), gateway.template());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untouched_templates_are_replaced_and_touched_files_only_on_request() {
    let gateway = Gateway::installed();
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    let asking = ["init", "--listen", "0", "--queue", queue, "--profile", "rak", "--gateway", "raspberrypi"];
    let words = [&asking[..], &["--yes"]].concat();
    let (told, error, code) = gateway.run(&words, "").await;
    assert_eq!(code, 0, "{told}{error}");
    assert!(error.contains("raspberrypi\" is a name that many machines have"), "{error}");
    let written = std::fs::read_to_string(gateway.configuration()).unwrap();
    assert!(written.contains("id = \"raspberrypi\""), "{written}");
    let touched = gateway.template() + "# ours\n";
    std::fs::write(gateway.configuration(), &touched).unwrap();
    let (_, error, code) = gateway.run(&words, "").await;
    assert!(code == 1 && error.contains("stays as it is"), "{error}");
    let (_, error, code) = gateway.run(&asking, "no\n").await;
    assert!(code == 1 && error.contains("stays as it is"), "{error}");
    assert_eq!(std::fs::read_to_string(gateway.configuration()).unwrap(), touched);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flags_file_counts_from_the_shells_folder() {
    let gateway = Gateway::installed();
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    let mut words = vec!["init", "--yes", "--listen", "0", "--queue", queue, "--profile", "rak"];
    words.extend(["--username", "gateway", "--password-file", "broker-password", "--credentials", "keys/new.csv"]);
    let (told, error, code) = gateway.run(&words, "").await;
    assert_eq!(code, 0, "{told}{error}");
    let written = std::fs::read_to_string(gateway.configuration()).unwrap();
    for (key, file) in [("password_file", "broker-password"), ("credentials_file", "keys/new.csv")] {
        assert!(written.contains(&format!("{key} = \"{}\"", gateway.path(file).display())), "{written}");
    }
}

/// At a real terminal, which a process that is ended by a signal leaves as it has made it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_at_the_password_leaves_a_terminal_that_shows() {
    let gateway = Gateway::installed();
    let init = format!(
        "{PROGRAM} init --broker mqtt://127.0.0.1:1 --username bob --config {}; echo ended with $?; stty -a",
        gateway.configuration().display()
    );
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &init, "/dev/null"]).kill_on_drop(true);
    let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut shown) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut text = String::new();
    let mut until = async |word: &str, text: &mut String| {
        while !text.contains(word) {
            let mut some = [0; 1024];
            let count = tokio::time::timeout(LONG, shown.read(&mut some)).await.expect(text).unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&some[..count]));
        }
    };
    until("The password of bob (not shown)?", &mut text).await;
    keys.write_all(b"half\x03").await.unwrap();
    until("iexten", &mut text).await;
    assert!(text.contains("interrupted; nothing was written") && text.contains("ended with 1"), "{text}");
    let modes: Vec<&str> = text.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
    assert!(modes.contains(&"echo") && modes.contains(&"isig") && !text.contains("half"), "{text}");
}
