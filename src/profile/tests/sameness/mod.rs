//! Sameness is not repetition: what may make a key, tried on every profile, and the readings that were once taken for
//! repeats (`tests/cases`).

mod dialects;

use super::*;
use crate::clock::Trust;
use crate::profile::tests::samples::{JOURNAL, RECEIVED, samples};
use crate::record::KeyKind;
use crate::record::identity::payload_hash;
use bytes::Bytes;
use dialects::without_identity;
use proptest::prelude::*;
use std::path::Path;
use testkit::samples::FOLDERS;

/// Every profile: as it is by default, and with every pointer set. `key = "record-id"` is left out: it takes the id alone,
/// by the operator's choice.
fn all_profiles(grouping: Grouping) -> Vec<Profile> {
    let pointers = ProfileOptions {
        grouping,
        device: "/d".parse().ok(),
        id: "/id".parse().ok(),
        time: "/t".parse().ok(),
        counter: "/n".parse().ok(),
        ..ProfileOptions::default()
    };
    let default = ProfileOptions { grouping, ..ProfileOptions::default() };
    let of = |info: &ProfileInfo| [default.clone(), pointers.clone()].map(|options| (info.build)(options));
    REGISTRY.iter().flat_map(of).collect()
}

fn message(topic: &str, payload: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message { topic: topic.to_owned(), payload, qos: 1, retain: false, dup: false, packet_id: 7 }
}

fn key(profile: &Profile, message: &Message) -> Option<String> {
    profile.identify(message, RECEIVED, JOURNAL).key
}

fn any_grouping() -> impl Strategy<Value = Grouping> {
    prop::sample::select(vec![Grouping::Device, Grouping::Topic, Grouping::Gateway, Grouping::Application])
}

/// The samples of every network server.
fn all_samples() -> impl Strategy<Value = Message> {
    let folders = FOLDERS.iter().map(|(folder, _)| *folder).chain(["chirpstack-v4", "generic", "plain"]);
    let of = |folder| samples(folder).into_iter().map(|(_, message)| message);
    let small = folders.flat_map(of).filter(|message| message.payload.len() < 10_000);
    prop::sample::select(small.collect::<Vec<_>>())
}

/// A sample and the same with one byte changed: what a profile half knows.
fn bent() -> impl Strategy<Value = (Message, Message)> {
    (all_samples(), any::<(prop::sample::Index, u8)>()).prop_map(|(message, (at, byte))| {
        let mut payload = message.payload.to_vec();
        if !payload.is_empty() {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let bent = Message { payload: Bytes::from(payload), ..message.clone() };
        (message, bent)
    })
}

proptest! {
    #[test]
    fn other_bytes_never_share_a_key((a, b) in bent(), c in all_samples(), swap: bool, grouping in any_grouping()) {
        // Whatever the topics, and by whichever profiles the two are read.
        let b = if swap { Message { payload: c.payload, ..b } } else { b };
        prop_assume!(a.payload != b.payload);
        let profiles = all_profiles(grouping);
        let keys: Vec<String> = profiles.iter().filter_map(|profile| key(profile, &a)).collect();
        for profile in &profiles {
            if let Some(key) = key(profile, &b) {
                prop_assert!(!keys.contains(&key), "{key} of {}", profile.name());
            }
        }
    }

    #[test]
    fn a_key_depends_on_nothing_but_topic_and_payload(
        (a, bent) in bent(), untouched: bool, dup: bool, retain: bool, qos in 0_u8..2, packet_id: u16,
        wall_ms: i64, trusted: bool, one in any_grouping(), other in any_grouping(),
    ) {
        let message = if untouched { a } else { bent };
        let again = Message { dup, retain, qos, packet_id, ..message.clone() };
        let later = Moment { wall_ms, boottime_ms: 1, trust: if trusted { Trust::Confirmed } else { Trust::Wrong } };
        for (one, other) in all_profiles(one).iter().zip(all_profiles(other)) {
            let first = one.identify(&message, RECEIVED, JOURNAL);
            let again = other.identify(&again, later, JOURNAL);
            prop_assert_eq!((first.key, first.device), (again.key, again.device), "{}", one.name());
            prop_assert_eq!(first.key_kind.identifies(), again.key_kind.identifies());
        }
    }

    #[test]
    fn one_payload_on_two_server_topics_has_one_key(
        message in all_samples(), prefix in "([a-z]{1,5}/){1,3}", free in "[a-z]{1,5}(/[a-z]{1,5}){0,3}",
    ) {
        // Some installations put a prefix in front; these have topics of the installer's.
        let prefixed = Message { topic: format!("{prefix}{}", message.topic), ..message.clone() };
        let elsewhere = Message { topic: free, ..message.clone() };
        // `auto` chooses by the topic, so another profile may read what comes under another topic.
        for profile in all_profiles(Grouping::Device).into_iter().filter(|profile| profile.name() != "auto") {
            // What the topic alone has is that topic's: a device by the samples, for an id of the operator's.
            let wanted = key(&profile, &message);
            if wanted.as_ref().is_none_or(|key| key.starts_with("id.") && key.contains(".t.")) {
                continue;
            }
            prop_assert_eq!(key(&profile, &prefixed), wanted.clone(), "{}", profile.name());
            // Where the topic alone names the device, the moved message has another one.
            let device = |message| profile.identify(message, RECEIVED, JOURNAL).device;
            let free = matches!(profile.name(), "milesight" | "microshare" | "generic" | "kerlink");
            if free && device(&message) == device(&elsewhere) {
                prop_assert_eq!(key(&profile, &elsewhere), wanted, "{}", profile.name());
            }
        }
    }

    #[test]
    fn counters_coarse_times_and_content_are_no_identity(
        counter in 0_u32..100_000, second in 1_770_797_730_i64..1_770_897_730, value in "[a-z0-9]{1,8}", retain: bool,
        milli in 0_u32..1000,
    ) {
        let wanted = if retain { KeyKind::Retained } else { KeyKind::Arrival };
        for (name, topic, payload) in without_identity(counter, second, milli, &value) {
            let message = Message { retain, ..message(topic, &payload) };
            for name in [name, "auto"] {
                let pointer = |at: &str| at.parse().ok();
                let (device, time, counter) = ("/d".parse().ok(), pointer("/t"), pointer("/n"));
                let options = ProfileOptions { device, time, counter, ..ProfileOptions::default() };
                let profile = Profile::named(name, options).expect("a name of the registry");
                let identity = profile.identify(&message, RECEIVED, JOURNAL);
                prop_assert_eq!((identity.key, identity.key_kind), (None, wanted), "{} on {}", name, topic);
            }
        }
    }
}

/// A file of `tests/cases`, published on a topic and read by a profile.
fn case(name: &str, topic: &str, file: &str) -> Identity {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file);
    let message = message(topic, &std::fs::read(path).expect("a case"));
    let read = |name: &str| {
        let pointer = |at: &str| at.parse().ok();
        let (device, time, counter) = ("/id".parse().ok(), pointer("/ts"), pointer("/seq"));
        let options = ProfileOptions { device, time, counter, ..ProfileOptions::default() };
        let profile = Profile::named(name, options).expect("a name of the registry");
        // The cases are younger than the samples.
        profile.identify(&message, Moment { trust: Trust::Wrong, ..RECEIVED }, JOURNAL)
    };
    assert_eq!(read("auto").key, read(name).key, "{file}");
    read(name)
}

#[test]
fn a_lamp_switched_under_one_last_seen_has_no_identity() {
    for file in ["z2m/on.json", "z2m/off.json"] {
        let identity = case("zigbee2mqtt", "zigbee2mqtt/lamp1", file);
        assert_eq!((identity.key, identity.key_kind), (None, KeyKind::Arrival), "{file}");
    }
}

#[test]
fn a_counter_restarting_at_each_boot_has_no_identity() {
    for file in ["generic-counter/1.json", "generic-counter/2.json", "generic-counter/3.json"] {
        let identity = case("generic", "site/meter-7", file);
        assert_eq!((identity.key, identity.key_kind), (None, KeyKind::Arrival), "{file}");
        assert_eq!(identity.event_time.as_deref(), Some("2026-11-28T23:50:00Z"), "the time is still shown");
    }
}

#[test]
fn relay_and_device_are_two_records_despite_equal_ids() {
    let chirpstack = |eui: &str, kind: &str, file: &str| {
        let topic = format!("application/3b9a1f6e-0c55-4a10-9d0e-6d2f5f2f7a11/device/{eui}/event/{kind}");
        case("chirpstack-v4", &topic, file).key.expect("an id")
    };
    let id = "5d1f0e9a-7a6b-4c0e-8a51-2f3b1c9d0e11";
    let (relay, device) = (
        chirpstack("0102030405060708", "up", "cs-relay/relay.json"),
        chirpstack("1112131415161718", "up", "cs-relay/end-device.json"),
    );
    assert!(relay != device && [&relay, &device].iter().all(|key| key.starts_with(&format!("cs4.up.{id}."))));
    // Joins and acks alike: the kinds differ, and so do the bytes of one kind.
    for kind in ["join", "ack"] {
        let of_device = chirpstack("1112131415161718", kind, "cs-relay/join.json");
        assert!(of_device.starts_with(&format!("cs4.{kind}.{id}.")));
        assert_ne!(of_device, chirpstack("0102030405060708", kind, "cs-relay/relay.json"));
    }
    let things_stack = |device: &str, file: &str| {
        case("tts-v3", &format!("v3/farm@acme/devices/{device}/up"), file).key.expect("an id")
    };
    let (relay, device) =
        (things_stack("relay1", "tts-relay/relay.json"), things_stack("meter1", "tts-relay/end-device.json"));
    assert!(relay != device && [relay, device].iter().all(|key| key.starts_with("tts.up.01JYGZDDXT9JDPRNET7QKNY004.")));
}

#[test]
fn a_log_without_code_has_one_id_in_both_encodings() {
    let of = |file: &str| {
        let topic = "application/a/device/02f1e2d3c4b5a601/event/log";
        let payload = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file));
        let key = case("chirpstack-v4", topic, file).key.expect("an id");
        let hash = format!(".{}", payload_hash(&payload.expect("a case")));
        key.strip_suffix(&hash).expect("the payload's hash").to_owned()
    };
    assert_eq!(of("cs-log-code/log.json"), "cs4.log.3ac7e3c4-4401-4b8d-9386-a5c902f9202d");
    assert_eq!(of("cs-log-code/log.json"), of("cs-log-code/log.bin"));
}

#[test]
fn equal_plain_values_and_decoded_objects_have_no_key() {
    for (folder, name) in [("plain", "plain"), ("milesight", "milesight")] {
        let profile = Profile::named(name, ProfileOptions::default()).expect("a name of the registry");
        for (entry, message) in samples(folder) {
            let decoded = entry["file"] != "milesight/uplink.json";
            assert_eq!(key(&profile, &message).is_none(), decoded, "{entry}");
        }
    }
}
