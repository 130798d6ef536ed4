//! Every sample of every network server, read by its profile and by `auto`, against what the index says of it; and what
//! holds of all profiles, whatever comes.

use super::*;
use crate::profile::tests::samples::{JOURNAL, RECEIVED, samples, text};
use crate::record::{KeyKind, TimeSource};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;
use testkit::samples::FOLDERS;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

fn profile(name: &str) -> Profile {
    Profile::named(name, ProfileOptions::default()).expect("a name of the registry")
}

/// What the key of each sample is made of, and its type.
fn expected(file: &str) -> (KeyKind, &'static str) {
    use KeyKind::{Arrival, Frame, Native, Retained};
    match file {
        "chirpstack-v3/up.json" => (Frame, "lorawan.uplink"),
        "chirpstack-v3/up-json-v3.json" | "chirpstack-v3/up-old-topic.json" => (Arrival, "lorawan.uplink"),
        "chirpstack-v3/join.json" => (Arrival, "lorawan.join"),
        "chirpstack-v3/status.json" => (Arrival, "lorawan.status"),
        "chirpstack-gateway/event-stats.json" => (Arrival, "gateway.stats"),
        "chirpstack-gateway/state-conn.json" => (Retained, "gateway.state"),
        file if file.starts_with("chirpstack-gateway/event-up") => (Arrival, "gateway.up"),
        "tts-v3/join.json" => (Native, "lorawan.join"),
        "tts-v3/down-ack.json" => (Native, "lorawan.ack"),
        file if file.starts_with("tts-v3/up") => (Native, "lorawan.uplink"),
        "multitech/joined.json" => (Arrival, "lorawan.join"),
        "multitech/clear-empty.bin" => (Arrival, "raw"),
        file if file.starts_with("multitech/up") => (Frame, "lorawan.uplink"),
        "rak-wisgateos/join.json" => (Arrival, "lorawan.join"),
        "rak-wisgateos/status.json" => (Arrival, "lorawan.status"),
        file if file.starts_with("rak-wisgateos/rx") => (Arrival, "lorawan.uplink"),
        "milesight/uplink.json" => (Frame, "lorawan.uplink"),
        file if file.starts_with("milesight/") => (Arrival, "lorawan.uplink"),
        "tektelic/uplink-standard.json" => (Arrival, "lorawan.uplink"),
        "kerlink-wanesy/uplink.json" | "actility-thingpark/uplink.json" | "loriot/uplink.json" => {
            (Arrival, "lorawan.uplink")
        }
        "zigbee2mqtt/device-with-device-info.json" | "zigbee2mqtt/bridge-state.json" => (Retained, "sensor.state"),
        "tasmota/lwt.txt" | "shelly/online.txt" => (Retained, "sensor.state"),
        "sparkplug-b/dbirth.bin" => (Arrival, "sensor.birth"),
        "sparkplug-b/state.json" => (Retained, "sensor.state"),
        file if file.starts_with("homie/") => (Retained, "sensor.state"),
        file if file.starts_with("microshare/") => (Native, "microshare.record"),
        _ => (Arrival, "sensor.state"),
    }
}

/// What is grouped by gateway, not by end device, and which one.
fn gateway(message: &Message) -> Option<&str> {
    fields::level_after(&message.topic, "gateway")
}

#[test]
fn every_sample_gives_device_time_type_and_key_kind() {
    for (folder, name) in FOLDERS {
        for (entry, message) in samples(folder) {
            let file = text(&entry, "file").expect("a file");
            let identity = profile(name).identify(&message, RECEIVED, JOURNAL);
            let device = text(&entry, "device").or(gateway(&message));
            assert_eq!(identity.device.as_deref(), device, "{file}");
            // The fraction travels as given; the index writes some of them otherwise.
            let instant = |time: Option<&str>| {
                time.map(|time| OffsetDateTime::parse(time, &Rfc3339).expect("a time").unix_timestamp_nanos())
            };
            assert_eq!(instant(identity.event_time.as_deref()), instant(text(&entry, "time")), "{file}");
            let source = if entry["time"].is_string() { TimeSource::Event } else { TimeSource::Arrival };
            assert_eq!(identity.time_source, source, "{file}");
            assert_eq!((identity.key_kind, &*identity.record_type), expected(file), "{file}");
            if let (KeyKind::Native, Some(id)) = (identity.key_kind, text(&entry, "event_id")) {
                assert!(identity.key.as_deref().is_some_and(|key| key.contains(id)), "{file}: {:?}", identity.key);
            }
            match (device, name) {
                (Some(device), "sparkplug-b") => {
                    assert_eq!(identity.group, if device == "host-1" { device } else { "HQ/edge-01" }, "{file}");
                }
                (Some(device), _) => assert_eq!(identity.group, crate::record::identity::sqs_id(device), "{file}"),
                (None, _) => assert!(identity.group.starts_with("t."), "{file}"),
            }
        }
    }
}

#[test]
fn a_frame_gives_counter_port_bytes_and_its_joins_session() {
    let mut seen = 0;
    for (folder, name) in FOLDERS {
        let Profile::Rules(rules) = profile(name) else { continue };
        for (entry, message) in samples(folder) {
            let Some(frame) = (rules.read)(&message).frame else { continue };
            let file = text(&entry, "file").expect("a file");
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(frame.counter, entry["counter"].as_u64().unwrap_or_default(), "{file}");
            assert_eq!(frame.port, entry["port"].as_u64().unwrap_or_default(), "{file}");
            assert_eq!(hex(&frame.raw), text(&entry, "raw").unwrap_or_default(), "{file}");
            // A `devAddr`, which the others publish as their session, comes again.
            let session = text(&entry, "session").filter(|_| name == "tts-v3");
            assert_eq!(frame.session.as_deref(), session, "{file}");
            seen += 1;
        }
    }
    assert!(seen >= 11, "only {seen} frames");
}

#[test]
fn auto_reads_every_sample_by_the_profile_of_its_folder() {
    let auto = profile("auto");
    let folders = FOLDERS.iter().copied().chain([("chirpstack-v4", "chirpstack-v4"), ("plain", "plain")]);
    for (folder, name) in folders {
        for (entry, message) in samples(folder) {
            let file = text(&entry, "file").expect("a file");
            // A decoded object on the installer's own topic marks no server; a command to a device is not telemetry.
            let chosen = match file {
                file if file.starts_with("milesight/uplink-decoded") => "plain",
                "multitech/clear-empty.bin" => "plain",
                _ => name,
            };
            assert_eq!(auto.of(&message).name(), chosen, "{file}");
            assert_eq!(
                auto.identify(&message, RECEIVED, JOURNAL),
                profile(chosen).identify(&message, RECEIVED, JOURNAL),
                "{file}"
            );
        }
    }
}

fn keys(folder: &str, name: &str) -> HashMap<String, Option<String>> {
    let of = |(entry, message): &(Value, Message)| {
        let file = text(entry, "file").and_then(|file| file.split_once('/')).expect("a file in a folder").1;
        (file.to_owned(), profile(name).identify(message, RECEIVED, JOURNAL).key)
    };
    samples(folder).iter().map(of).collect()
}

#[test]
fn one_event_on_two_topics_is_one_record() {
    let keys = keys("multitech", "multitech");
    assert!(keys["up-by-application.json"].is_some());
    assert_eq!(keys["up-by-application.json"], keys["up-by-device.json"]);
}

#[test]
fn updates_are_swallowed_only_with_one_record_per_id() {
    let by_default = keys("microshare", "microshare");
    assert!(by_default.values().all(Option::is_some));
    assert_ne!(by_default["stream-create-unpacked.json"], by_default["stream-update-same-id.json"]);
    let options = ProfileOptions { record_id: true, ..ProfileOptions::default() };
    let literal = Profile::named("microshare", options).expect("a profile");
    let key = |file: &str| {
        let samples = samples("microshare");
        let of = samples.iter().find(|(entry, _)| text(entry, "file") == Some(file)).expect("a sample");
        literal.identify(&of.1, RECEIVED, JOURNAL).key
    };
    let created = key("microshare/stream-create-unpacked.json");
    assert_eq!(created.as_deref(), Some("ms.698c3ae2c280e00aef540700"));
    assert_eq!(created, key("microshare/stream-update-same-id.json"));
}

#[test]
fn default_topics_are_disjoint_and_take_the_samples() {
    use crate::topic::{filter_problem, intersect, matches};
    for info in REGISTRY {
        for (index, filter) in info.default_topics.iter().enumerate() {
            assert_eq!(filter_problem(filter), None, "{filter}");
            assert!(info.default_topics[..index].iter().all(|other| !intersect(other, filter)), "{filter}");
        }
    }
    // Taken another way by design, or no telemetry at all.
    let others = ["multitech/up-by-application.json", "multitech/clear-empty.bin"];
    for (folder, name) in FOLDERS {
        let info = profile(name).info();
        for (entry, message) in samples(folder) {
            let file = text(&entry, "file").expect("a file");
            let taken = info.default_topics.iter().any(|filter| matches(filter, &message.topic));
            assert_eq!(taken, !info.default_topics.is_empty() && !others.contains(&file), "{file}");
        }
    }
}

#[test]
fn a_preset_is_the_generic_route_that_it_prints() {
    for (folder, name) in FOLDERS {
        let Some(preset) = presets::Preset::named(name) else { continue };
        let queue = "[queues.main]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n\
                     credentials_file = \"/c.csv\"\n";
        let route = format!("{queue}[[routes]]\ntopics = [\"a/#\"]\nqueue = \"main\"\n{}", preset.toml());
        let config = crate::config::Config::parse(&route, std::path::Path::new("t.toml"), &Default::default())
            .expect("a configuration");
        for (_, message) in samples(folder) {
            let bent = config.routes[0].profile.identify(&message, RECEIVED, JOURNAL);
            assert_eq!(bent, profile(name).identify(&message, RECEIVED, JOURNAL), "{name}");
        }
    }
}

proptest! {
    #[test]
    fn ids_and_groups_are_legal_whatever_the_bytes(
        topic in "(.{1,60}|[a-c]{0,3}/[a-z/]{0,12}|(zigbee2mqtt|tele|v3|spBv1.0|lora)/[A-Za-z0-9/]{0,20})",
        payload in prop::collection::vec(any::<u8>(), 0..200), index in 0..REGISTRY.len(),
    ) {
        let message =
            Message { topic, payload: Bytes::from(payload), qos: 1, retain: false, dup: false, packet_id: 7 };
        let identity = (REGISTRY[index].build)(ProfileOptions::default()).identify(&message, RECEIVED, JOURNAL);
        for id in identity.key.iter().chain([&identity.group]) {
            prop_assert!((1..=128).contains(&id.len()) && id.bytes().all(|b| (b'!'..=b'~').contains(&b)), "{id:?}");
        }
        prop_assert_eq!(identity.key.is_some(), identity.key_kind.identifies());
    }
}
