//! Every sample of the tree, read by its profile, against what the index says of it.

use super::*;
use crate::clock::Trust;
use crate::record::identity::payload_hash;
use crate::record::{KeyKind, TimeSource};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

pub(super) const JOURNAL: JournalId = JournalId(0x1234_5678_9abc_def0);
/// 2026-02-12, after every sample.
pub(super) const RECEIVED: Moment = Moment { wall_ms: 1_770_900_000_000, boottime_ms: 5_000, trust: Trust::Confirmed };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// The index's entries of one folder, each with its message.
pub(super) fn samples(of: &str) -> Vec<(Value, Message)> {
    let index = std::fs::read(folder().join("index.json")).expect("the index");
    let index: Value = serde_json::from_slice(&index).expect("a JSON index");
    let entries = index["samples"].as_array().expect("entries").iter();
    let own: Vec<_> = entries
        .filter(|entry| text(entry, "file").is_some_and(|file| file.starts_with(&format!("{of}/"))))
        .map(|entry| {
            let payload = std::fs::read(folder().join(text(entry, "file").expect("a file"))).expect("a sample");
            let message = Message {
                topic: text(entry, "topic").expect("a topic").to_owned(),
                payload: Bytes::from(payload),
                qos: 0,
                retain: entry["retain"] == true,
                dup: false,
                packet_id: 0,
            };
            (entry.clone(), message)
        })
        .collect();
    let files = std::fs::read_dir(folder().join(of)).expect("the folder").count();
    assert_eq!(own.len(), files, "every file is in the index");
    own
}

pub(super) fn text<'a>(entry: &'a Value, member: &str) -> Option<&'a str> {
    entry[member].as_str()
}

fn of_file<'a>(samples: &'a [(Value, Message)], file: &str) -> &'a Message {
    &samples.iter().find(|(entry, _)| text(entry, "file") == Some(file)).expect("a file of the index").1
}

#[test]
fn every_chirpstack_sample_gives_device_time_type_and_native_key() {
    let profile = Profile::named("chirpstack-v4", ProfileOptions::default()).expect("a profile");
    for (entry, message) in samples("chirpstack-v4") {
        let identity = profile.identify(&message, RECEIVED, JOURNAL);
        assert_eq!(identity.device.as_deref(), text(&entry, "device"), "{entry}");
        assert_eq!(Some(&*identity.group), text(&entry, "device"), "{entry}");
        assert_eq!(identity.event_time.as_deref(), text(&entry, "time"), "{entry}");
        assert_eq!((identity.time_source, identity.key_kind), (TimeSource::Event, KeyKind::Native), "{entry}");
        let kind = text(&entry, "event").expect("a kind");
        let class = if kind == "up" { "uplink" } else { kind };
        assert_eq!(identity.record_type, format!("lorawan.{class}"), "{entry}");
        let hash = payload_hash(&message.payload);
        let key = format!("cs4.{kind}.{}.{hash}", text(&entry, "event_id").expect("an id"));
        assert_eq!(identity.key, Some(key), "{entry}");
    }
}

#[test]
fn chirpstack_keys_are_spelled_as_released() {
    let profile = Profile::named("chirpstack-v4", ProfileOptions::default()).expect("a profile");
    let samples = samples("chirpstack-v4");
    for (file, key) in [
        ("up.json", "cs4.up.5f0d7c1e-8e6a-4a53-9c29-6c1e64a2b7d1.15df1eb082562cff"),
        ("txack.json", "cs4.txack.42cb6459-a640-46ec-9623-bdff39dc4700.52d7b51d3b8f4a00"),
        ("log-codec-error.json", "cs4.log.4e91db13-5ce3-4c8c-ab0f-dfc626cf0700.68ccac9f8d32fb35"),
        ("location.json", "cs4.location.63d870b9-b769-4d88-8b33-8e43f5885100.b806f6a9dd8a80c3"),
    ] {
        let message = of_file(&samples, &format!("chirpstack-v4/{file}"));
        assert_eq!(profile.identify(message, RECEIVED, JOURNAL).key.as_deref(), Some(key));
    }
}

#[test]
fn no_two_chirpstack_samples_share_a_key() {
    let profile = Profile::named("chirpstack-v4", ProfileOptions::default()).expect("a profile");
    let mut seen = HashSet::new();
    for (entry, message) in samples("chirpstack-v4") {
        let key = profile.identify(&message, RECEIVED, JOURNAL).key.expect("a native key");
        assert!(seen.insert(key), "{entry}");
    }
}

#[test]
fn a_retained_chirpstack_event_keeps_its_native_key() {
    let profile = Profile::named("chirpstack-v4", ProfileOptions::default()).expect("a profile");
    let message = of_file(&samples("chirpstack-v4"), "chirpstack-v4/up.json").clone();
    let live = profile.identify(&message, RECEIVED, JOURNAL);
    assert_eq!(profile.identify(&Message { retain: true, ..message }, RECEIVED, JOURNAL), live);
}

/// The generic profile with the pointers that the index gives for a sample; `device` everywhere.
fn configured(entry: &Value) -> Profile {
    let pointer = |member: &str| text(entry, member).and_then(|at| at.parse().ok());
    let device = Some("/id".parse().expect("a place"));
    let options = ProfileOptions {
        device,
        time: pointer("time_at"),
        counter: pointer("counter_at"),
        ..ProfileOptions::default()
    };
    Profile::named("generic", options).expect("a profile")
}

#[test]
fn every_generic_sample_gives_its_device_and_time() {
    // Not one valid JSON text, so the index names no device; skimming finds what is in the part that can be read.
    let skimmed = HashMap::from([
        ("generic/nan-literals.json", "m"),
        ("generic/duplicate-keys.json", "a"),
        ("generic/lone-surrogate.json", "m"),
        ("generic/ndjson.json", "a"),
        ("generic/truncated.json", "a"),
        ("generic/trailing-garbage.json", "a"),
        ("generic/with-bom.json", "m"),
        ("generic/latin1.bin", "m"),
    ]);
    let unusable = ["generic/time-1970.json", "generic/time-future.json"];
    for (entry, message) in samples("generic") {
        let file = text(&entry, "file").expect("a file");
        let identity = configured(&entry).identify(&message, RECEIVED, JOURNAL);
        let device = text(&entry, "device").or(skimmed.get(file).copied());
        assert_eq!(identity.device.as_deref(), device, "{file}");
        match device {
            Some(device) => assert_eq!(identity.group, device, "{file}"),
            None => assert!(identity.group.starts_with("t."), "{file}"),
        }
        let time = text(&entry, "time").filter(|_| !unusable.contains(&file));
        assert_eq!(identity.event_time.as_deref(), time, "{file}");
        // Neither a time nor a counter is an identity.
        assert_eq!((identity.key_kind, identity.key), (KeyKind::Arrival, None), "{file}");
    }
}

#[test]
fn a_retained_generic_sample_has_no_identity_either() {
    let samples = samples("generic");
    let identity = |file: &str| {
        let (entry, message) = samples.iter().find(|(entry, _)| text(entry, "file") == Some(file)).expect("a sample");
        configured(entry).identify(&Message { retain: true, ..message.clone() }, RECEIVED, JOURNAL)
    };
    for file in ["generic/number-forms.json", "generic/epoch-ms.json"] {
        assert_eq!((identity(file).key_kind, identity(file).key), (KeyKind::Retained, None), "{file}");
    }
}
