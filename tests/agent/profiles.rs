//! Whatever a network server publishes arrives byte for byte, under the profile that a technician named.

use crate::support::{LONG, Publisher, QUEUE, config, mosquitto, online, stub};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::path::{Path, PathBuf};
use testkit::consumer::Delivered;
use testkit::samples::FOLDERS;

/// Of one folder: topic and payload of each sample that is a separate event and telemetry.
pub(crate) fn samples(folder: &str) -> Vec<(String, Vec<u8>)> {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let index: Value = serde_json::from_slice(&std::fs::read(root.join("index.json")).unwrap()).unwrap();
    let own = index["samples"].as_array().unwrap().iter().filter(|entry| {
        let file = entry["file"].as_str().unwrap();
        // Of one event on two topics, the one that the default topics take.
        let once = match file {
            "multitech/up-by-application.json" => false,
            "multitech/up-by-device.json" => true,
            _ => entry["same_event_as"].is_null(),
        };
        file.starts_with(&format!("{folder}/")) && once && entry["kind"] != "empty"
    });
    own.map(|entry| {
        let payload = std::fs::read(root.join(entry["file"].as_str().unwrap())).unwrap();
        // The envelope's samples come without a topic.
        let topic = entry["topic"].as_str().filter(|topic| !topic.starts_with('(')).unwrap_or("records/hq");
        (topic.to_owned(), payload)
    })
    .collect()
}

fn payload(delivered: &Delivered) -> Vec<u8> {
    match delivered.attributes.get("content-transfer-encoding").map(String::as_str) {
        Some("base64") => STANDARD.decode(&*delivered.body).unwrap(),
        _ => delivered.body.as_bytes().to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_profiles_samples_arrive_unchanged_on_its_topics() {
    let broker = mosquitto().await;
    let apart = [("chirpstack-v4", "chirpstack-v4"), ("plain", "plain")];
    for (folder, profile) in FOLDERS.into_iter().chain(apart) {
        let samples = samples(folder);
        let stub = stub();
        let mut config = config(broker.addr(), &stub);
        config.gateway = format!("gateway-{profile}");
        config.profile = profile.to_owned();
        config.queues[0].extra = "body = \"raw\"".to_owned();
        if matches!(profile, "milesight" | "kerlink" | "thingpark" | "loriot" | "microshare" | "plain") {
            // Free text: the installer's topics.
            config.topics = samples.iter().map(|(topic, _)| topic.clone()).collect();
            config.topics.sort();
            config.topics.dedup();
        }
        let mut agent = online(config).await;
        let mut publisher = Publisher::new(broker.addr());
        for (topic, payload) in &samples {
            publisher.publish(topic, payload.clone()).await;
        }
        let wanted = samples.len() as u64;
        stub.wait_for(QUEUE, LONG, |count| count.accepted >= wanted).await.unwrap_or_else(|error| {
            panic!("{profile}: {error}; {} published\n{}", samples.len(), agent.log());
        });
        let mut delivered = stub.accepted(QUEUE);
        // Groups overtake each other; the sequence is the order of receipt.
        delivered.sort_by_key(|record| record.attributes["ce-sequence"].clone());
        let came: Vec<Vec<u8>> = delivered.iter().map(payload).collect();
        let went: Vec<Vec<u8>> = samples.into_iter().map(|(_, payload)| payload).collect();
        assert!(came == went, "{profile}: something arrived otherwise");
        let source = format!("/{profile}");
        assert!(delivered.iter().all(|record| record.attributes["ce-source"].ends_with(&source)), "{profile}");
        agent.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auto_takes_a_whole_broker_and_names_what_it_chose() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut config = config(broker.addr(), &stub);
    config.profile = "auto".to_owned();
    config.topics = vec!["#".to_owned()];
    let agent = online(config).await;
    let mut publisher = Publisher::new(broker.addr());
    let all: Vec<_> = FOLDERS.iter().flat_map(|(folder, _)| samples(folder)).collect();
    for (topic, payload) in &all {
        publisher.publish(topic, payload.clone()).await;
    }
    stub.wait_for(QUEUE, LONG, |count| count.accepted >= all.len() as u64).await.unwrap();
    let log = agent.log();
    for (_, profile) in FOLDERS {
        let says = log.lines().filter(|line| line.contains("chosen by topic and payload"));
        assert_eq!(says.filter(|line| line.contains(&format!("\"{profile}\""))).count(), 1, "{profile}\n{log}");
    }
}
