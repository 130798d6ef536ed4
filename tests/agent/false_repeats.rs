//! Readings that were once taken for repeats (`tests/cases`) all arrive, in order, each under its own id.

use crate::support::{LONG, Publisher, QUEUE, config, mosquitto, online, stub};
use std::collections::HashSet;
use std::path::Path;

/// Profile and route of each case, and what is published, one after the other.
const ROUTES: &str = r#"
[[routes]]
profile = "tts-v3"
queue = "main"

[[routes]]
profile = "zigbee2mqtt"
queue = "main"

[[routes]]
profile = "tasmota"
queue = "main"

[[routes]]
profile = "generic"
topics = ["site/+"]
device = "/id"
time = "/ts"
counter = "/seq"
queue = "main"
"#;

fn case(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file)).unwrap()
}

/// Topic and payload of each reading, in the order of publication.
fn readings() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut say = |topic: &str, payload: Vec<u8>| all.push((topic.to_owned(), payload));
    for file in ["on", "off", "on", "off", "on"] {
        say("zigbee2mqtt/lamp1", case(&format!("z2m/{file}.json")));
    }
    for _boot in 0..3 {
        for n in 1..=3 {
            say("site/meter-7", case(&format!("generic-counter/{n}.json")));
        }
    }
    for power in ["ON", "OFF", "ON"] {
        let state = format!(r#"{{"Time":"2026-11-28T10:00:00","UptimeSec":17,"POWER":"{power}"}}"#);
        say("tele/plug-1/STATE", state.into_bytes());
    }
    let application = "application/3b9a1f6e-0c55-4a10-9d0e-6d2f5f2f7a11/device";
    say(&format!("{application}/0102030405060708/event/up"), case("cs-relay/relay.json"));
    say(&format!("{application}/1112131415161718/event/up"), case("cs-relay/end-device.json"));
    say(&format!("{application}/1112131415161718/event/join"), case("cs-relay/join.json"));
    say("v3/farm@acme/devices/relay1/up", case("tts-relay/relay.json"));
    say("v3/farm@acme/devices/meter1/up", case("tts-relay/end-device.json"));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_states_relays_and_restarted_counters_are_no_repeats() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut config = config(broker.addr(), &stub);
    config.queues[0].extra = "body = \"raw\"".to_owned();
    config.extra = ROUTES.to_owned();
    let mut agent = online(config).await;
    let mut publisher = Publisher::new(broker.addr());
    let readings = readings();
    for (topic, payload) in &readings {
        publisher.publish(topic, payload.clone()).await;
    }
    let wanted = readings.len() as u64;
    stub.wait_for(QUEUE, LONG, |count| count.accepted >= wanted).await.unwrap_or_else(|error| {
        panic!("{error}; {wanted} published\n{}", agent.log());
    });
    let mut delivered = stub.accepted(QUEUE);
    // Groups overtake each other; the sequence is the order of receipt.
    delivered.sort_by_key(|record| record.attributes["ce-sequence"].clone());
    let came: Vec<&[u8]> = delivered.iter().map(|record| record.body.as_bytes()).collect();
    let went: Vec<&[u8]> = readings.iter().map(|(_, payload)| &**payload).collect();
    assert!(came == went, "{} of {} came", came.len(), went.len());
    let ids: HashSet<_> = delivered.iter().map(|record| record.dedup.clone().expect("a FIFO queue")).collect();
    assert_eq!(ids.len(), readings.len(), "each has an id of its own");
    agent.kill().await.unwrap();
}
