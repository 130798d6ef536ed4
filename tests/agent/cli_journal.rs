//! `tidegate journal …`: beside a running agent and without one, it tells what is there, disturbs nothing, and what it
//! takes out of quarantine arrives.

use crate::support::{
    LONG, PROGRAM, Publisher, QUEUE, arrived, assert_books, config, drained, fleet, lane, mosquitto, online, stub,
    tidegate, until_online,
};
use serde_json::Value;
use testkit::agent::AgentProcess;
use testkit::fake_sqs::{Fault, When};

async fn done(agent: &AgentProcess, words: &[&str]) -> String {
    let (said, error, code) = tidegate(agent, words).await;
    assert_eq!(code, 0, "{words:?}: {said}{error}");
    said
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_records_are_shown_with_and_without_an_agent() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(30).await.unwrap();
    drained(&mut agent, 30).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    fleet.publish(20).await.unwrap();
    agent.wait_status("20 wait", LONG, |s| lane(s, "waiting") == 20).await.unwrap();
    // The state file follows within half a minute; until then some of the first ones may be counted as waiting.
    let state = |s: &Value| s["queues"][0]["drain"]["state"] == "parked";
    agent.wait_status("parked", LONG, state).await.unwrap();
    for running in [true, false] {
        if !running {
            agent.term(LONG).await.unwrap();
        }
        let waiting = lines(&done(&agent, &["journal", "list", "--json", "--limit", "1000"]).await);
        assert_eq!(waiting.iter().filter(|line| line["number"].as_u64() > Some(30)).count(), 20, "running: {running}");
        assert!(waiting.iter().all(|line| line.get("payload").is_none()), "no payload unasked");
        let all = lines(&done(&agent, &["journal", "list", "--all", "--json", "--limit", "1000"]).await);
        assert!(all.len() >= 20, "running: {running}");
        let few = done(&agent, &["journal", "list", "--limit", "3"]).await;
        assert_eq!(few.lines().count(), 4, "a head and three: {few}");
        let shown = done(&agent, &["journal", "show", "31"]).await;
        assert!(shown.contains("chirpstack-v4") && shown.contains("--payload shows it"), "{shown}");
        let shown = done(&agent, &["journal", "show", "31", "--payload"]).await;
        assert!(shown.contains("deduplicationId"), "{shown}");
        let verified = done(&agent, &["journal", "verify"]).await;
        assert!(verified.ends_with("sound\n"), "{verified}");
        let out = agent.folder().join("out.ndjson");
        let export = ["journal", "export", "--queue", "main", "--from", "31", "--out", out.to_str().unwrap()];
        if out.exists() {
            std::fs::write(&out, "of another gateway\n").unwrap();
            let (_, error, code) = tidegate(&agent, &export).await;
            assert!(code == 1 && error.contains("add --force"), "{error}");
            assert_eq!(std::fs::read_to_string(&out).unwrap(), "of another gateway\n");
            done(&agent, &[&export[..], &["--force"]].concat()).await;
        } else {
            done(&agent, &export).await;
        }
        let exported = lines(&std::fs::read_to_string(&out).unwrap());
        assert_eq!(exported.len(), 20);
        assert!(exported.iter().all(|line| line["payload"].as_str().is_some_and(|text| text.contains("devEui"))));
        let cbor = agent.folder().join("out.cbor");
        let to = cbor.to_str().unwrap();
        done(&agent, &["journal", "export", "--from", "31", "--format", "cbor", "--force", "--out", to]).await;
        let count = std::fs::read(&cbor).unwrap().windows(15).filter(|window| window == b"deduplicationId").count();
        assert_eq!(count, 20, "whole payloads, one after the other");
        let (said, error, code) = tidegate(&agent, &["journal", "list", "--queue", "mian"]).await;
        assert!(code == 2 && error.contains("did you mean \"main\"?"), "{said}{error}");
    }
    let (said, error, code) = tidegate(&agent, &["status"]).await;
    assert!(code == 6 && said.contains("waiting 20") && error.contains("no agent answers"), "{said}{error}");
    let (json, _, code) = tidegate(&agent, &["status", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["running"], &json["journal"]["lanes"][0]["waiting"]), (6, &false.into(), &20.into()));
    // All that looking left the journal as it was.
    stub.faults().clear();
    agent.restart().await.unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
    assert_eq!(stub.accepted(QUEUE).len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_is_verified_by_its_own_exit_code() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut publisher = Publisher::new(broker.addr());
    for n in 0..5 {
        let payload = format!("{{\"deduplicationId\":\"needle-{n}\",\"pad\":\"{}\"}}", "x".repeat(500));
        publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", payload).await;
        // Each in its own commit, and so in its own value.
        agent.wait_status("it waits", LONG, |s| lane(s, "waiting") == n + 1).await.unwrap();
    }
    agent.term(LONG).await.unwrap();
    let mut spoilt = 0;
    for entry in std::fs::read_dir(agent.journal_path().join("log")).unwrap().flatten() {
        let db = entry.path().join("db");
        let Ok(mut bytes) = std::fs::read(&db) else { continue };
        for at in 0..bytes.len().saturating_sub(100) {
            // Magic, version, and the number: docs/journal-format.md.
            if bytes[at..].starts_with(b"TGfr\x02") && bytes[at + 12..at + 20] == 3u64.to_be_bytes() {
                bytes[at + 100] ^= 1;
                spoilt += 1;
            }
        }
        std::fs::write(&db, bytes).unwrap();
    }
    assert!(spoilt > 0);
    let (said, error, code) = tidegate(&agent, &["journal", "verify"]).await;
    assert!(
        code == 8 && said.contains("MISSING 3 to 3") && said.contains("1 records cannot be read back"),
        "{said}{error}"
    );
    let (json, _, code) = tidegate(&agent, &["journal", "verify", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["sound"], &json["missing"]), (8, &false.into(), &1.into()));
    let (_, error, code) = tidegate(&agent, &["journal", "show", "3"]).await;
    assert!(code == 1 && error.starts_with("error: record 3 is not in the journal (it holds 1 to about"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_is_not_called_sound() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(7).await.unwrap();
    agent.wait_status("7 wait", LONG, |s| lane(s, "waiting") == 7).await.unwrap();
    agent.term(LONG).await.unwrap();
    assert!(done(&agent, &["journal", "verify"]).await.ends_with("sound\n"));
    std::fs::remove_dir_all(agent.journal_path().join("log")).unwrap();
    let (said, error, code) = tidegate(&agent, &["journal", "verify"]).await;
    let told = said.contains("MISSING 1 to 7") && said.contains("queue main: 7 of the records that wait are MISSING");
    assert!(code == 8 && told && !said.contains("sound"), "{said}{error}");
    let (json, _, code) = tidegate(&agent, &["journal", "verify", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["sound"], &json["missing"]), (8, &false.into(), &7.into()));
}

fn hopeless() -> Fault {
    Fault::FailEntry { index: 0, code: "InvalidMessageContents", sender_fault: true }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantined_records_are_handled_with_and_without_an_agent() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut publisher = Publisher::new(broker.addr());
    for running in [true, false] {
        let bad = format!("bad-{running}");
        stub.faults().push(hopeless(), When::Next(1));
        let payload = format!("{{\"deduplicationId\":\"{bad}\",\"note\":\"{bad}\"}}");
        publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", payload).await;
        let one = |s: &Value| s["journal"]["quarantine"]["entries"] == 1 && lane(s, "waiting") == 0;
        agent.wait_status("one in quarantine", LONG, one).await.unwrap();
        let listed = lines(&done(&agent, &["journal", "quarantine", "list", "--json"]).await);
        let number = listed[0]["number"].to_string();
        let id = listed[0]["quarantined"]["id"].as_str().expect("an id").to_owned();
        // By its id as by its record's number.
        let name = if running { &id } else { &number };
        assert_eq!(
            (&listed[0]["quarantined"]["code"], &listed[0]["quarantined"]["queue"]),
            (&"InvalidMessageContents".into(), &"main".into())
        );
        let shown = done(&agent, &["journal", "quarantine", "show", name, "--payload"]).await;
        assert!(shown.contains(&bad), "{shown}");
        let copy = agent.folder().join("copy.ndjson");
        done(&agent, &["journal", "export", "--quarantine", "--force", "--out", copy.to_str().unwrap()]).await;
        assert!(std::fs::read_to_string(&copy).unwrap().contains(&bad));
        if !running {
            agent.term(LONG).await.unwrap();
        }
        let (said, error, code) = tidegate(&agent, &["journal", "quarantine", "requeue", name, "99999"]).await;
        assert!(
            code == 1
                && said.contains(&format!("requeued: {id} (record {number})"))
                && error.contains("record 99999 is not in"),
            "{said}{error}"
        );
        if !running {
            agent.restart().await.unwrap();
        }
        let gone = |s: &Value| s["journal"]["quarantine"]["entries"] == 0 && lane(s, "waiting") == 0;
        let status = agent.wait_status("sent after all", LONG, gone).await.unwrap();
        assert_books(&status);
        let sent: Vec<_> = stub.accepted(QUEUE).into_iter().filter(|one| one.body.contains(&bad)).collect();
        assert_eq!(sent.len(), 1, "running: {running}");
        assert!(sent[0].body.contains("\"possibleduplicate\":true"), "{}", sent[0].body);
    }
    // Dropped: nothing of it goes anywhere, and the books keep what became of it.
    stub.faults().push(hopeless(), When::Next(1));
    publisher.publish("application/1/device/02f1e2d3c4b5a601/event/up", "{\"deduplicationId\":\"worse\"}").await;
    agent.wait_status("in quarantine", LONG, |s| s["journal"]["quarantine"]["entries"] == 1).await.unwrap();
    let said = done(&agent, &["journal", "quarantine", "drop", "--all"]).await;
    assert!(said.starts_with("dropped: "), "{said}");
    let status = agent.wait_status("empty", LONG, |s| s["journal"]["quarantine"]["entries"] == 0).await.unwrap();
    assert_eq!(lane(&status, "quarantined"), 3);
    assert_books(&status);
    // What is settled so ends with an acknowledgement alone, and finding and list say so.
    let of = |status: &Value| {
        let findings = status["findings"].as_array().expect("findings");
        findings.iter().find(|finding| finding["code"] == "records_quarantined").cloned()
    };
    assert_eq!(of(&status).expect("open")["command"], "sudo tidegate acknowledge", "{status:#}");
    let (_, error, _) = tidegate(&agent, &["journal", "quarantine", "list"]).await;
    assert!(error.contains("is empty") && error.contains("sudo tidegate acknowledge"), "{error}");
    done(&agent, &["acknowledge", "records_quarantined"]).await;
    agent.wait_status("acknowledged", LONG, |s| of(s).is_none()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_is_only_just_made_is_sound() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = AgentProcess::prepare(PROGRAM, config(broker.addr(), &stub)).unwrap();
    let journal = agent.journal_path();
    std::fs::create_dir_all(&journal).unwrap();
    // What a start has made before its first state is written.
    std::fs::write(journal.join("format"), "tidegate journal, format 1\n").unwrap();
    for step in ["no state file", "a blank one", "a started agent", "a stopped one"] {
        match step {
            "a blank one" => std::fs::write(journal.join("state"), [0; 8192]).unwrap(),
            "a started agent" => {
                agent.spawn().unwrap();
                until_online(&mut agent).await;
            }
            "a stopped one" => drop(agent.term(LONG).await.unwrap()),
            _ => {}
        }
        let verified = done(&agent, &["journal", "verify"]).await;
        assert!(verified.ends_with("sound\n") && !verified.contains("damaged:"), "{step}: {verified}");
        assert_eq!(verified.contains("only just made"), step == "no state file" || step == "a blank one", "{step}");
    }
}
