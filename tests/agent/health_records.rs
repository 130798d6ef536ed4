//! A gateway says in the stream how it is: at a start, at a stop, at a change, and hourly; and while nothing can leave, one of these
//! waits and no more.

use crate::readers::read_by_schema;
use crate::support::{LONG, Publisher, QUEUE, config, lane, mosquitto, online, stub};
use serde_json::Value;
use std::time::Duration;
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{Fault, SqsStub, When};

const MINUTE_MS: i64 = 61_000;
/// An hour and all of the jitter.
const HOUR_MS: i64 = 66 * 60_000;

/// Data of the health records that the queue has, in their order.
fn said(stub: &SqsStub) -> Vec<Value> {
    let events = stub.accepted(QUEUE).into_iter().map(|message| serde_json::from_str::<Value>(&message.body).unwrap());
    let health = events.filter(|event| event["type"] == "tidegate.health");
    health
        .map(|event| {
            assert_eq!(event["dataschema"], "urn:tidegate:schema:health:1");
            assert!(event["partitionkey"].as_str().unwrap().starts_with("tidegate.health."), "{event:#}");
            event["data"].clone()
        })
        .collect()
}

fn causes(stub: &SqsStub) -> Vec<String> {
    said(stub).iter().map(|data| data["cause"].as_str().unwrap().to_owned()).collect()
}

async fn until_said(stub: &SqsStub, count: usize) {
    let waited = stub.wait_for(QUEUE, LONG, |_| said(stub).len() >= count).await;
    waited.unwrap_or_else(|late| panic!("{late}: {:?}", causes(stub)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_records_tell_the_state_without_piling_up_offline() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut clock = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.health_records = true;
    configuration.environment.push(clock.environment());
    let mut agent = online(configuration).await;
    until_said(&stub, 1).await;
    let first = said(&stub)[0].clone();
    assert_eq!((&first["cause"], &first["version"]), (&"start".into(), &env!("CARGO_PKG_VERSION").into()), "{first:#}");
    assert_eq!((&first["lanes"][0]["name"], &first["lanes"][0]["next_position"]), (&"main".into(), &1.into()));
    assert_eq!(first["lanes"][0]["key"]["id_end"].as_str().map(str::len), Some(4), "{first:#}");

    // What a person should know changes: a record that the queue refuses for good.
    let hopeless = Fault::FailEntry { index: 0, code: "InvalidMessageContents", sender_fault: true };
    stub.faults().push(hopeless, When::Next(1));
    let mut publisher = Publisher::new(broker.addr());
    publisher.publish("application/1/device/0011223344556677/event/up", "{}").await;
    agent.wait_status("quarantined", LONG, |status| lane(status, "quarantined") == 1).await.unwrap();
    let mut now_ms = MINUTE_MS;
    clock.move_to(now_ms, now_ms, 0).unwrap();
    until_said(&stub, 2).await;
    let changed = said(&stub)[1].clone();
    assert_eq!((&changed["cause"], &changed["health"]), (&"change".into(), &"act".into()), "{changed:#}");
    let codes = changed["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap());
    assert!(codes.clone().any(|code| code.contains("quarantine")), "{changed:#}");
    // Start, the record, its gap record; this one comes after them.
    assert_eq!(changed["lanes"][0]["next_position"], 4, "{changed:#}");
    now_ms += HOUR_MS;
    clock.move_to(now_ms, now_ms, 0).unwrap();
    until_said(&stub, 3).await;
    assert_eq!(causes(&stub)[2], "hourly");

    // The link is away for hours, and the process is killed in between: one record waits.
    stub.close().await;
    let mut waiting = Vec::new();
    for hour in 0..3 {
        now_ms += HOUR_MS;
        clock.move_to(now_ms, now_ms, 0).unwrap();
        let status = agent.wait_status("one waits", LONG, |status| lane(status, "waiting") >= 1).await.unwrap();
        if hour == 1 {
            agent.restart().await.unwrap();
            crate::support::until_online(&mut agent).await;
        }
        // Two looks of the agent's at what is due.
        let from = status["uptime_s"].as_u64().filter(|_| hour != 1).unwrap_or_default();
        let status = agent.wait_status("two looks", LONG, |s| s["uptime_s"].as_u64() >= Some(from + 11)).await.unwrap();
        waiting.push(lane(&status, "waiting"));
    }
    assert_eq!(waiting, [1, 1, 1]);
    stub.open().unwrap();
    until_said(&stub, 5).await;
    assert_eq!(causes(&stub)[3..5], ["hourly", "start"], "what had waited, and what is true now");

    let status = agent.status().await.unwrap();
    assert!(agent.term(LONG).await.unwrap().success());
    let last = said(&stub).pop().unwrap();
    assert_eq!(last["cause"], "stop", "it arrived before the process ended: {:?}", causes(&stub));
    assert_eq!(last["lanes"][0]["appended"], status["journal"]["lanes"][0]["appended"], "{last:#}");
    let bodies: u64 = stub.accepted(QUEUE).iter().map(|message| message.body.len() as u64).sum();
    let sent = |of: &str| last["uplink"][of]["sent"].as_u64().unwrap_or_default();
    // The last of them was on its way when it was written; a kill cost what was counted since the hour began.
    assert!(sent("month") > bodies / 4 && sent("month") >= sent("today"), "{bodies} bytes of bodies: {last:#}");
    read_by_schema(&stub.accepted(QUEUE)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_not_delayed_by_an_absent_queue() {
    let (mut stub, broker) = (stub(), mosquitto().await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.health_records = true;
    let mut agent = online(configuration).await;
    until_said(&stub, 1).await;
    stub.close().await;
    let mut publisher = Publisher::new(broker.addr());
    publisher.publish("application/1/device/0011223344556677/event/up", "{}").await;
    let away = |status: &Value| {
        status["queues"][0]["state"] == "offline" || status["queues"][0]["drain"]["state"] == "offline"
    };
    agent.wait_status("offline", LONG, away).await.unwrap();
    assert!(agent.term(Duration::from_secs(30)).await.unwrap().success());
    stub.open().unwrap();
    agent.spawn().unwrap();
    until_said(&stub, 3).await;
    let mut causes = causes(&stub);
    causes.truncate(3);
    assert_eq!(causes, ["start", "stop", "start"], "the stop waited in the journal");
}
