//! Whatever a publisher writes, nothing that the agent prints, logs or serves does anything to a terminal or turns text
//! around.

use crate::support::{Publisher, config, drained, get, mosquitto, online, stub, tidegate};

/// Sets a terminal's title, clears it, and turns text around, by one-byte and two-byte introducers.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}dne\u{2066}\r\nACT: call 555\u{7f}";

#[track_caller]
fn harmless(what: &str, said: &str) {
    let bidi =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let acts = said.char_indices().find(|(_, c)| bidi(*c) || (c.is_control() && !matches!(c, '\n' | '\t')));
    assert!(acts.is_none(), "{what}: {acts:?} in {said:?}");
    assert!(
        !said.lines().any(|line| line.starts_with("ACT: call") && what != "journal show"),
        "{what}: a forged line in\n{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_texts_act_on_no_terminal_log_or_page() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["evil/#".into()]);
    configuration.extra = "show_payloads = true\n".into();
    configuration.environment.push(("TIDEGATE_LOG".into(), "debug".into()));
    let mut agent = online(configuration).await;
    // Mosquitto lets no control character into a topic, and other brokers do: see the file below.
    let mut publisher = Publisher::new(broker.addr());
    publisher.publish("evil/\u{202e}kcab", EVIL).await;
    publisher.publish_qos0("evil/\u{2066}qos0", EVIL).await;
    drained(&mut agent, 2).await;

    let file = agent.folder().join("payload");
    std::fs::write(&file, EVIL).unwrap();
    let (file, topic) = (file.to_string_lossy().into_owned(), format!("evil/{EVIL}"));
    for words in [
        &["explain", &file, "--topic", &topic] as &[&str],
        &["explain", &file, "--topic", &topic, "--json"],
        &["journal", "list", "--all"],
        &["journal", "list", "--all", "--json"],
        &["journal", "show", "1", "--payload"],
        &["journal", "export", "--all"],
        &["status"],
        &["status", "--json"],
        &["check"],
    ] {
        let (said, complained, _) = tidegate(&agent, words).await;
        let what = words[..words.len().min(2)].join(" ");
        harmless(&what, &said);
        harmless(&what, &complained);
        let of_publisher = !matches!(words[0], "status" | "check");
        assert!(!of_publisher || said.contains("kcab") || said.contains("owned"), "{what} shows it: {said}");
    }
    for path in ["/", "/status.json", "/metrics"] {
        harmless(path, &get(&agent, path));
    }
    assert!(get(&agent, "/").contains("kcab"));
    harmless("log", &agent.log());
    assert!(agent.log().contains("qos0"), "{}", agent.log());
    // What is exported is what came, to the last character.
    let (exported, ..) = tidegate(&agent, &["journal", "export", "--all"]).await;
    let first: serde_json::Value = serde_json::from_str(exported.lines().next().unwrap()).unwrap();
    assert_eq!((&first["topic"], &first["payload"]), (&"evil/\u{202e}kcab".into(), &EVIL.into()));
}
