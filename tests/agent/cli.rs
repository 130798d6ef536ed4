//! The technician's commands, as processes: what they print, how they end, and that they disturb nothing.

use crate::support::{LONG, PROGRAM, Publisher, QUEUE, config, fleet, mosquitto, online, said, stub, tidegate};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::fake_sqs::{AccessKey, Fault, SqsStub, When};

/// Runs the program; what it printed, and how it ended.
fn run(arguments: &[&str]) -> (String, String, i32) {
    said(Command::new(PROGRAM).args(arguments).output().unwrap())
}

fn prepared(config: AgentConfig) -> AgentProcess {
    AgentProcess::prepare(PROGRAM, config).unwrap()
}

/// The marked line of a step.
fn line<'a>(said: &'a str, step: &str) -> &'a str {
    said.lines().find(|line| line.contains(step)).unwrap_or_else(|| panic!("no step {step} in\n{said}"))
}

#[test]
fn profiles_are_listed_shown_and_found_by_their_slips() {
    let (list, _, code) = run(&["profiles"]);
    assert!(code == 0 && list.contains("chirpstack-v4") && list.contains("from documents alone"), "{list}");
    let (one, _, code) = run(&["profiles", "kerlink"]);
    assert!(code == 0 && one.contains("profile = \"generic\"") && one.contains("/endDevice/devEui"), "{one}");
    let (_, error, code) = run(&["profiles", "zigbee2mqt"]);
    assert!(code == 2 && error.starts_with("error: ") && error.contains("did you mean \"zigbee2mqtt\"?"), "{error}");
    let (json, _, _) = run(&["profiles", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(all.as_array().is_some_and(|all| all.len() > 20), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_names_the_queue_and_refuses_a_wrong_key() {
    let stub = stub();
    let agent = prepared(config("127.0.0.1:1".parse().unwrap(), &stub));
    let (policy, hint, code) = tidegate(&agent, &["policy"]).await;
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert!(code == 0 && hint.starts_with("Paste it"), "{hint}");
    assert!(policy["Statement"][0]["Resource"].as_str().is_some_and(|arn| arn.ends_with(QUEUE)), "{policy}");
    let (_, error, code) = tidegate(&agent, &["policy", "--kms-key", "alias/site"]).await;
    assert!(code == 1 && error.contains("arn:aws:kms:REGION:ACCOUNT:key/ID"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_download_is_private_and_its_secret_hidden() {
    let stub = stub();
    let agent = prepared(config("127.0.0.1:1".parse().unwrap(), &stub));
    let (download, place) = (agent.folder().join("rootkey.csv"), agent.folder().join("keys/c.csv"));
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    for text in [
        format!("\u{feff}Access key ID,Secret access key\r\nAKIAIOSFODNN7EXAMPLE,{secret}\r\n"),
        format!(
            "User name,Password,Access key ID,Secret access key,Console login link\nbob,,AKIAIOSFODNN7EXAMPLE,{secret},\n"
        ),
    ] {
        std::fs::write(&download, text).unwrap();
        let (from, to) = (download.to_string_lossy(), place.to_string_lossy());
        let (said, error, code) = tidegate(&agent, &["credentials", "import", &from, "--to", &to]).await;
        assert_eq!(code, 0, "{error}");
        assert!(said.contains("AKIAIOSFODNN7EXAMPLE") && said.contains("Delete the download"), "{said}");
        assert!(!said.contains(secret) && !error.contains(secret));
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&place).unwrap(), std::fs::read(&download).unwrap());
    }
    std::fs::write(&download, "hello").unwrap();
    let (_, error, code) =
        tidegate(&agent, &["credentials", "import", &download.to_string_lossy(), "--to", &place.to_string_lossy()])
            .await;
    assert!(code == 1 && error.contains("rootkey.csv"), "{error}");
    assert!(std::fs::read_to_string(&place).unwrap().contains(secret), "what was there stays");
}

#[test]
fn completions_are_printed_for_each_shell() {
    for (shell, says) in
        [("bash", "complete -F _tidegate"), ("zsh", "#compdef tidegate"), ("fish", "complete -c tidegate")]
    {
        let (script, _, code) = run(&["completions", shell]);
        assert!(code == 0 && script.contains(says) && script.contains("explain"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_explained_and_nothing_is_sent() {
    let stub = stub();
    let agent = prepared(config("127.0.0.1:1".parse().unwrap(), &stub));
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/rak-wisgateos/rx.json");
    let sample = sample.to_string_lossy();
    let topic = "application/hq tower/device/02f1e2d3c4b5a601/rx";
    let (said, _, code) = tidegate(&agent, &["explain", &sample, "--topic", topic, "--profile", "rak"]).await;
    assert_eq!(code, 0, "{said}");
    // Its time has whole seconds alone, and no session: no identity.
    for what in
        ["rak", "a.0000000000000000.1.1.", "arrival:", "of 1047552 bytes", "Nothing was sent", "\"data_encode\""]
    {
        assert!(said.contains(what), "{what} in\n{said}");
    }
    let frame = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/multitech/up-by-device.json");
    let frame = ["explain", &frame.to_string_lossy(), "--topic", "lora/x/up", "--profile", "multitech"];
    let (said, _, _) = tidegate(&agent, &frame).await;
    for what in ["lw.", "frame:"] {
        assert!(said.contains(what), "{what} in\n{said}");
    }
    let (said, _, _) = tidegate(&agent, &["explain", &sample, "--topic", "x/y"]).await;
    assert!(said.contains("none takes this topic"), "{said}");
    let (_, error, code) = tidegate(&agent, &["explain", &sample]).await;
    assert!(code == 1 && error.contains("--topic"), "{error}");
    assert_eq!(stub.log(QUEUE).len(), 0, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_next_message_is_explained_beside_the_running_agent() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 3, None);
    let explained = tidegate(&agent, &["explain", "--count", "2", "--json"]);
    let publish = async {
        // Until the guest is there: what came before it came is not its.
        loop {
            fleet.publish(2).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let (said, error, code) = tokio::select! { said = explained => said, () = publish => unreachable!() };
    assert_eq!((code, said.lines().count()), (0, 2), "{said}{error}");
    let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&first["profile"], &first["key_kind"]), (&"chirpstack-v4".into(), &"native".into()), "{first}");
    let status = agent.wait_status("still there", LONG, |s| s["intake"]["state"] == "online").await.unwrap();
    assert_eq!(status["intake"]["connections"], 1, "the agent kept its session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_beside_an_agent_sends_only_when_asked() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut publisher = Publisher::new(broker.addr());
    let publish = async {
        loop {
            publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", "{}").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    for file in std::fs::read_dir(agent.folder())
        .unwrap()
        .flatten()
        .filter(|f| f.path().extension().is_some_and(|e| e == "csv"))
    {
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let checked = tidegate(&agent, &["check", "--listen", "2"]);
    let (said, error, code) = tokio::select! { said = checked => said, () = publish => unreachable!() };
    println!("{said}");
    for step in ["configuration", "keys of main", "✓ broker", "filter application", "route 1", "queue main: reach"] {
        assert!(line(&said, step).starts_with('✓'), "{step} in\n{said}{error}");
    }
    assert!(line(&said, "permission to send").contains("not proven"), "{said}");
    let files: Vec<_> = said.lines().filter(|line| line.starts_with('✗')).collect();
    // A temporary folder may lie in RAM, and then that is what has to be said.
    assert!(files.iter().all(|line| line.contains("file system")), "{said}");
    assert_eq!(code, if files.is_empty() { 0 } else { 7 });
    let before = stub.log(QUEUE).iter().filter(|arrival| arrival.body.contains("check --send")).count();
    assert_eq!(before, 0, "nothing was sent");
    let (said, _, _) = tidegate(&agent, &["check", "--listen", "1", "--send"]).await;
    assert!(line(&said, "permission to send").starts_with('✓'), "{said}");
    let sent = stub.log(QUEUE).into_iter().find(|arrival| arrival.body.contains("check --send")).expect("a record");
    assert!(sent.body.contains("\"type\":\"tidegate.test\"") && sent.group.as_deref() == Some("tidegate.test"));
    let status = agent.wait_status("still there", LONG, |s| s["intake"]["state"] == "online").await.unwrap();
    assert_eq!(status["intake"]["connections"], 1, "the agent kept its session");
}

/// What `check` says when `fault` is in force.
async fn with_fault(stub: &SqsStub, agent: &AgentProcess, fault: Fault) -> String {
    stub.faults().clear();
    stub.faults().push(fault, When::Always);
    let (said, _, code) = tidegate(agent, &["check", "--listen", "1"]).await;
    assert_eq!(code, 7, "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_queue_fault_has_its_own_line_and_remedy() {
    let (broker, mut stub) = (mosquitto().await, stub());
    let agent = prepared(config(broker.addr(), &stub));
    for (code, status, says) in [
        ("AccessDenied", 403, "allow sqs:SendMessage"),
        ("InvalidClientTokenId", 403, "key"),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, "queue"),
        ("ExpiredToken", 403, "renew"),
        ("KMS.DisabledException", 400, "key"),
    ] {
        let said = with_fault(&stub, &agent, Fault::Refuse { code, status }).await;
        let at = said.lines().position(|line| line.contains("permission to send")).expect("the step");
        let both: Vec<&str> = said.lines().skip(at).take(2).collect();
        assert!(both[0].starts_with('✗') && both.join(" ").contains(says), "{code}:\n{said}");
    }
    stub.faults().clear();
    stub.close().await;
    let (said, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert!(code == 7 && line(&said, "queue main: reach").starts_with('✗'), "{said}");
    assert!(line(&said, "queue main: clock").contains("not tried"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_local_fault_has_its_own_line_and_remedy() {
    let stub = stub();
    let mut configuration = config("127.0.0.1:1".parse().unwrap(), &stub);
    configuration.queues[0].key = AccessKey::agent();
    let agent = prepared(configuration);
    let (said, _, code) = tidegate(&agent, &["check", "--listen", "1"]).await;
    assert!(code == 7 && line(&said, " broker").starts_with('✗'), "{said}");
    assert!(line(&said, "route 1").contains("not tried: no broker"), "{said}");
    let keys =
        std::fs::read_dir(agent.folder()).unwrap().flatten().find(|f| f.path().extension().is_some_and(|e| e == "csv"));
    let keys = keys.expect("the credentials").path();
    std::fs::set_permissions(&keys, PermissionsExt::from_mode(0o644)).unwrap();
    let (said, _, _) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(said.contains("chmod 640") && line(&said, "– broker").contains("offline"), "{said}");
    std::fs::write(&keys, "nonsense").unwrap();
    let (said, _, _) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(line(&said, "keys of main").starts_with('✗') && said.contains("credentials import"), "{said}");
    assert!(line(&said, "status page").contains("for this machine alone"), "{said}");
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    std::fs::write(agent.config_path(), text.replace("[status]", "[status]\ntoken_file = \"token\"")).unwrap();
    let (said, _, _) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(line(&said, "status page").starts_with('✗') && said.contains("token: No such file"), "{said}");
    std::fs::write(agent.config_path().with_file_name("token"), "too short").unwrap();
    let (said, _, _) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(line(&said, "status page").contains("less than 16 characters"), "{said}");
    std::fs::write(agent.config_path().with_file_name("token"), "long enough for a token").unwrap();
    let (said, _, _) = tidegate(&agent, &["check", "--offline"]).await;
    assert!(line(&said, "status page").starts_with('✓') && said.contains("chmod 640"), "{said}");
    let (json, _, code) = tidegate(&agent, &["check", "--offline", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(code == 7 && json["ok"] == false && json["steps"].as_array().is_some_and(|s| s.len() > 5), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_writes_a_valid_configuration_and_overwrites_nothing_unasked() {
    let (broker, folder) = (mosquitto().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("etc/tidegate.toml");
    let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
    let broker_url = format!("mqtt://{}", broker.addr());
    let init = |more: &[&str], answers: &'static str| {
        let mut arguments = vec!["init", "--config", file.to_str().unwrap(), "--broker", &broker_url, "--listen", "2"];
        arguments.extend(more);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        tokio::task::spawn_blocking(move || {
            let mut child = Command::new(PROGRAM)
                .args(arguments)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            // It may have ended by a flag alone.
            let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), answers.as_bytes());
            let output = child.wait_with_output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (text(output.stdout), text(output.stderr), output.status.code().unwrap())
        })
    };
    let mut publisher = Publisher::new(broker.addr());
    let publish = async {
        loop {
            publisher
                .publish("application/hq/device/02f1e2d3c4b5a601/rx", "{\"data_encode\":\"base64\",\"fCnt\":1}")
                .await;
            publisher.publish("building/4/temperature", "21.5").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    // Answers: no user, the proposals, an id, a slip instead of the queue's URL, the URL, and the usual place of the keys.
    let answers =
        "\n\nhq-tower-roof\nhttps://example.com/x\nhttps://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\n\n";
    let (said, asked, code) =
        tokio::select! { said = init(&[], answers) => said.unwrap(), () = publish => unreachable!() };
    assert_eq!(code, 0, "{said}{asked}");
    assert!(said.contains("rak: ") && said.contains("plain: ") && said.contains("tidegate check"), "{said}");
    let written = std::fs::read_to_string(&file).unwrap();
    for line in ["profile = \"rak\"", "profile = \"plain\"", "topics = [\"building/#\"]", url, &broker_url] {
        assert!(written.contains(line), "{line} in\n{written}");
    }
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o007, 0);
    let (_, error, code) = init(&["--yes", "--queue", url, "--profile", "rak"], "").await.unwrap();
    assert!(code == 1 && error.contains("stays as it is") && error.contains("--force"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    let (_, error, code) = init(&["--yes", "--force", "--queue", url, "--profile", "milesight"], "").await.unwrap();
    assert_eq!(code, 0, "{error}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("profile = \"milesight\"\ntopics = [\"#\"]"));
    assert_eq!(std::fs::read_to_string(file.with_extension("toml.old")).unwrap(), written, "the old text is kept");
    let (_, error, code) = init(&["--yes", "--force"], "").await.unwrap();
    assert!(code == 1 && error.contains("--queue"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_holds_what_helps_and_no_planted_secret() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut configuration = config(broker.addr(), &stub);
    let passwords = tempfile::tempdir().unwrap();
    let file = passwords.path().join("mqtt");
    std::fs::write(&file, "planted-broker-password\n").unwrap();
    configuration.mqtt_extra = format!("username = \"roof\"\npassword_file = \"{}\"", file.display());
    let agent = online(configuration).await;
    let mut fleet = fleet(broker.addr(), 2, None);
    fleet.publish(5).await.unwrap();
    // A technician pasted what does not belong there.
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    let pasted = "# password = \"planted-comment\"\n# mqtt://roof:planted-in-url@10.0.0.1\n";
    std::fs::write(agent.config_path(), format!("{pasted}{text}")).unwrap();
    let out = agent.folder().join("bundle.tar");
    let (said, error, code) = tidegate(&agent, &["bundle", "--out", out.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{error}");
    let bytes = std::fs::read(&out).unwrap();
    let holds = |what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    for what in ["tidegate-bundle/status.json", "\"appended\"", "/proc", "state", "password_file", "clock "] {
        assert!(holds(what), "{what} is missing:\n{said}");
    }
    let key = AccessKey::agent();
    for secret in ["planted-broker-password", "planted-comment", "planted-in-url", &key.secret] {
        assert!(!holds(secret), "{secret} is in it");
    }
    // A configuration that does not load is one of the reasons for a bundle.
    std::fs::write(agent.config_path(), "[mqtt]\nurl = 5\n").unwrap();
    let (said, _, code) = tidegate(&agent, &["bundle", "--out", out.to_str().unwrap()]).await;
    assert!(code == 0 && said.contains("config-problems.txt"), "{said}");
}
