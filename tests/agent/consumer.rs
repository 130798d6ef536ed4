//! `examples/consumer/consumer.py`, which was written from `docs/message-format.md` alone, reads what a gateway sent through a kill, a
//! quarantine, an eviction and resends that the queue no longer absorbs; and notices what was changed in it afterwards.

use crate::readers::{lambda_record, read_by_schema};
use crate::support::{LONG, Publisher, QUEUE, config, drained, fleet, lane, mosquitto, online, stub, until_online};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use testkit::clock_control::ClockControl;
use testkit::consumer::Delivered;
use testkit::fake_sqs::{Fault, SqsStub, When};

/// An hour and all of the jitter: a health record is due.
const HOUR_MS: i64 = 66 * 60_000;
/// Longer than a FIFO queue absorbs a resend.
const LATER_MS: i64 = 400_000;

/// What the consumer says of these messages: its last line, all of it, and whether it is content.
async fn judged(messages: &[Delivered]) -> (String, String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records");
    std::fs::write(&file, messages.iter().map(|message| format!("{}\n", lambda_record(message))).collect::<String>())
        .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/consumer/consumer.py");
    let output = tokio::process::Command::new("python3").arg(script).arg(&file).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().unwrap_or_default().to_owned();
    (last, format!("{said}{}", String::from_utf8_lossy(&output.stderr)), output.status.success())
}

fn healths(stub: &SqsStub) -> usize {
    stub.accepted(QUEUE).iter().filter(|message| message.body.contains("\"type\":\"tidegate.health\"")).count()
}

async fn until_healths(stub: &SqsStub, count: usize) {
    let waited = stub.wait_for(QUEUE, LONG, |_| healths(stub) >= count).await;
    let own = || {
        stub.accepted(QUEUE)
            .into_iter()
            .filter(|message| message.body.contains("urn:tidegate"))
            .map(|message| message.body)
    };
    waited.unwrap_or_else(|late| panic!("{late}: {:#?}", own().collect::<Vec<_>>()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_written_from_the_contract_finds_exactly_the_faults() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.health_records = true;
    configuration.journal_extra = "max_bytes = \"16 MiB\"".into();
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    let mut fleet = fleet(broker.addr(), 40, None);
    until_healths(&stub, 1).await;
    // A record that the queue refuses for good, and its gap record; the kill's resends come behind it.
    let hopeless = Fault::FailEntry { index: 0, code: "InvalidMessageContents", sender_fault: true };
    stub.faults().push(hopeless, When::Next(1));
    fleet.publish(700).await.unwrap();
    drained(&mut agent, 700).await;
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    fleet.publish(300).await.unwrap();
    drained(&mut agent, 1000).await;
    let mut now_ms = HOUR_MS;
    clock.move_to(now_ms, now_ms, 0).unwrap();
    until_healths(&stub, 3).await;

    // Answers that do not come, and the link is away until the queue has forgotten the ids: the resends say so.
    stub.faults().push(Fault::AcceptThenDrop, When::Next(2));
    fleet.publish(200).await.unwrap();
    agent.wait_status("a doubt", LONG, |s| s["queues"][0]["drain"]["ambiguous"].as_u64() >= Some(1)).await.unwrap();
    stub.close().await;
    now_ms += LATER_MS;
    clock.move_to(now_ms, now_ms, 0).unwrap();
    stub.advance(Duration::from_millis(LATER_MS as u64));
    stub.open().unwrap();
    agent.retry().unwrap();
    drained(&mut agent, 1200).await;

    // More comes than the journal may hold while the link is away.
    stub.close().await;
    fleet.publish(200).await.unwrap();
    let mut camera = Publisher::new(broker.addr());
    for n in 0..40 {
        let topic = format!("application/1/device/00000000000000{n:02}/event/up");
        camera.publish(&topic, format!("{{\"n\":{n},\"x\":\"{}\"}}", "7 ".repeat(300 << 10))).await;
    }
    agent.wait_status("evicted", LONG, |s| lane(s, "evicted") > 0).await.unwrap();
    stub.open().unwrap();
    agent.retry().unwrap();
    fleet.publish(800).await.unwrap();
    let status = agent
        .wait_status("all settled", LONG, |s| lane(s, "appended") > 2200 && lane(s, "waiting") == 0)
        .await
        .unwrap();
    now_ms += HOUR_MS;
    clock.move_to(now_ms, now_ms, 0).unwrap();
    let before = healths(&stub);
    until_healths(&stub, before + 1).await;
    assert!(agent.term(LONG).await.unwrap().success());

    let all = stub.accepted(QUEUE);
    let marked = all.iter().filter(|message| message.body.contains("\"possibleduplicate\":true")).count();
    let (evicted, quarantined) = (lane(&status, "evicted"), lane(&status, "quarantined"));
    println!("{} messages, {marked} marked, {evicted} evicted, {quarantined} quarantined", all.len());
    assert!(marked > 0 && evicted > 0 && quarantined == 1 && all.len() >= 2000);
    read_by_schema(&all).await;
    let (last, said, content) = judged(&all).await;
    assert_eq!((&*last, content), ("complete, ordered, duplicates marked, chain right", true), "{said}");

    // One taken out, one changed, one doubled: each is named.
    let records: Vec<usize> = all
        .iter()
        .enumerate()
        .filter(|(_, m)| m.body.contains("lorawan") && !m.body.contains("possibleduplicate"))
        .map(|(at, _)| at)
        .collect();
    // Of before the eviction: a message that was evicted although it arrived counts as a hole.
    let victim = records[records.len() / 4];
    let body: Value = serde_json::from_str(&all[victim].body).unwrap();
    let position: u64 = body["sequence"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
    let id = body["id"].as_str().unwrap();
    let mut without = all.clone();
    without.remove(victim);
    let (_, said, content) = judged(&without).await;
    assert!(
        !content && said.lines().any(|line| line.starts_with("missing") && line.contains(&format!("[{position}]"))),
        "{said}"
    );
    let mut changed = all.clone();
    changed[victim].body = all[victim].body.replacen("\"data\":{", "\"data\":{\"x\":1,", 1).into();
    assert_ne!(changed[victim].body, all[victim].body);
    let (_, said, content) = judged(&changed).await;
    let spans = said.lines().filter(|line| line.starts_with("changed: ")).map(|line| {
        let span = line.rsplit(": ").next().unwrap().split(',').next().unwrap();
        let (first, end) = span.split_once('-').unwrap();
        first.parse::<u64>().unwrap()..=end.parse::<u64>().unwrap()
    });
    let spans: Vec<_> = spans.collect();
    assert!(!content && spans.len() == 1 && spans[0].contains(&position), "{position}: {said}");
    let mut doubled = all.clone();
    doubled.push(all[victim].clone());
    let (_, said, content) = judged(&doubled).await;
    assert!(
        !content && said.lines().any(|line| line.starts_with("doubled without a mark") && line.contains(id)),
        "{said}"
    );
}
