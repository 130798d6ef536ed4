//! Events made in both encodings from the same values, and what damage does to them.

use super::*;
use crate::clock::Trust;
use crate::record::KeyKind;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

const TOPIC: &str = "application/e3b59e6c-2a1a-4c43-8a0c-0b3c7b1e6d52/device/02f1e2d3c4b5a601/event/";
const RECEIVED: Moment = Moment { wall_ms: 1_770_800_000_000, boottime_ms: 5_000, trust: Trust::Confirmed };

fn identify(kind: &str, payload: &[u8]) -> Identity {
    let payload = Bytes::copy_from_slice(payload);
    let message = Message { topic: format!("{TOPIC}{kind}"), payload, qos: 0, retain: false, dup: false, packet_id: 0 };
    ChirpstackV4::default().identify(&message, RECEIVED, JournalId(1))
}

/// One event of each kind, as JSON and as protobuf, from the same few values.
fn both(kind: Kind, id: &str, n: u32, word: &str) -> (Vec<u8>, Vec<u8>) {
    let stamp = stamp_of(n);
    let device = protobuf::DeviceInfo { application_id: "app".into(), dev_eui: "02F1E2D3C4B5A601".into() };
    let info = r#""deviceInfo":{"applicationId":"app","devEui":"02F1E2D3C4B5A601"}"#;
    let time = format!(r#""time":"2026-02-11T08:15:{:02}.120345+00:00""#, n % 60);
    let event = protobuf::Event { deduplication_id: id.into(), time: Some(stamp), device_info: Some(device.clone()) };
    let head = format!(r#""deduplicationId":"{id}",{time},{info}"#);
    match kind {
        Kind::TxAck => (
            format!(r#"{{"downlinkId":{n},{time},{info},"queueItemId":"{id}","fCntDown":{n}}}"#).into_bytes(),
            protobuf::TxAck { downlink_id: n, time: Some(stamp), device_info: Some(device), queue_item_id: id.into() }
                .encode_to_vec(),
        ),
        Kind::Log => (
            format!(
                r#"{{{time},{info},"code":"OTAA","description":"{word}","context":{{"deduplication_id":"{id}"}}}}"#
            )
            .into_bytes(),
            protobuf::Log {
                time: Some(stamp),
                device_info: Some(device),
                context: [("deduplication_id".to_owned(), id.to_owned())].into(),
            }
            .encode_to_vec(),
        ),
        Kind::Up => (
            format!(r#"{{{head},"devAddr":"{word}","fCnt":{n},"fPort":{n},"data":"AQI="}}"#).into_bytes(),
            with_tail(&event, &protobuf::Uplink { f_cnt: n, f_port: n, data: vec![1, 2] }),
        ),
        Kind::Location => (
            format!(r#"{{{head},"location":{{"latitude":{n}.25,"longitude":-6.267494}}}}"#).into_bytes(),
            event.encode_to_vec(),
        ),
        Kind::Integration => (
            format!(r#"{{{head},"integrationName":"{word}","eventType":"x","object":{{}}}}"#).into_bytes(),
            event.encode_to_vec(),
        ),
        Kind::Join | Kind::Ack | Kind::Status => (format!("{{{head}}}").into_bytes(), event.encode_to_vec()),
    }
}

/// Protobuf messages are joined by writing one behind the other.
fn with_tail(event: &protobuf::Event, tail: &impl prost::Message) -> Vec<u8> {
    [event.encode_to_vec(), tail.encode_to_vec()].concat()
}

fn stamp_of(n: u32) -> protobuf::Timestamp {
    protobuf::Timestamp { seconds: 1_770_797_700 + i64::from(n % 60), nanos: 120_345_000 }
}

/// The key without the payload's hash.
fn of_server(identity: &Identity, payload: &[u8]) -> Option<String> {
    let hash = format!(".{}", identity::payload_hash(payload));
    identity.key.as_deref().map(|key| key.strip_suffix(&hash).expect("its hash").to_owned())
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.map(|(kind, ..)| kind).to_vec())
}

proptest! {
    #[test]
    fn two_encodings_of_an_event_share_only_the_id(kind in any_kind(), id in "[0-9a-f]{8}|", n in 1_u32..50,
            word in "[a-c]{0,3}") {
        let (json, protobuf) = both(kind, &id, n, &word);
        let (a, b) = (identify(kind.word(), &json), identify(kind.word(), &protobuf));
        prop_assert_eq!(of_server(&a, &json), of_server(&b, &protobuf));
        prop_assert_eq!((a.group, a.device, a.event_time, a.key_kind), (b.group, b.device, b.event_time, b.key_kind));
    }

    #[test]
    fn the_same_event_has_one_key_and_another_has_another(ka in any_kind(), kb in any_kind(), a in 1_u8..4, b in 1_u8..4,
            n in 1_u32..3, m in 1_u32..3) {
        let event = |kind: Kind, id: u8, n: u32| identify(kind.word(), &both(kind, &format!("id{id}"), n, "w").0).key;
        prop_assert_eq!(event(ka, a, n) == event(kb, b, m), (ka, a, n) == (kb, b, m));
        prop_assert!(event(ka, a, n).is_some());
    }

    #[test]
    fn any_bytes_get_a_legal_identity(kind in "up|log|txack|x", payload in prop::collection::vec(any::<u8>(), 0..120)) {
        let identity = identify(&kind, &payload);
        prop_assert_eq!(identity.key.is_some(), identity.key_kind.identifies());
        prop_assert_eq!(identity.group, "02f1e2d3c4b5a601", "the topic tells the device");
    }

    #[test]
    fn any_damaged_event_gets_an_identity(kind in any_kind(), at: prop::sample::Index, noise: u8, json: bool) {
        let (text, binary) = both(kind, "5f0d7c1e", 3, "w");
        let mut payload = if json { text } else { binary };
        let at = at.index(payload.len());
        payload[at] = noise;
        identify(kind.word(), &payload);
        identify(kind.word(), &payload[..at]);
    }
}

#[test]
fn an_uplink_without_id_needs_a_fine_frame_time() {
    let frame = identify("up", &both(Kind::Up, NIL_UUID, 3, "01a2b3c4").1);
    assert_eq!(frame.key_kind, KeyKind::Frame);
    assert!(frame.key.expect("a key").starts_with("lw.02f1e2d3c4b5a601.3."));
    for time in ["", r#""time":"2026-02-11T08:15:30+00:00","#] {
        let payload = format!(
            r#"{{{time}"deviceInfo":{{"devEui":"02f1e2d3c4b5a601"}},"devAddr":"01a2b3c4","fCnt":3,"data":"AQI="}}"#
        );
        let coarse = identify("up", payload.as_bytes());
        assert_eq!((coarse.key_kind, coarse.key), (KeyKind::Arrival, None), "{payload}");
    }
}

#[test]
fn a_downlinks_random_number_needs_device_and_fine_time() {
    let fine = "2026-02-11T08:15:30.120345+00:00";
    let of = |kind: &str, time: &str| {
        let number = match kind {
            "log" => r#""context":{"downlink_id":"7"}"#,
            _ => r#""downlinkId":7"#,
        };
        identify(kind, format!(r#"{{"time":"{time}",{number}}}"#).as_bytes()).key
    };
    for kind in ["txack", "log"] {
        let key = of(kind, fine).expect("a key");
        let start = format!("cs4.{kind}.7.02f1e2d3c4b5a601.2026-02-11T08:15:30%2E120345Z.");
        assert!(key.starts_with(&start), "{key}");
        assert_eq!(of(kind, "2026-02-11T08:15:30+00:00"), None);
    }
}

#[test]
fn a_log_counts_only_with_a_fine_time() {
    let key = |time: &str| {
        identify("log", format!(r#"{{"time":"{time}","context":{{"queue_item_id":"a"}}}}"#).as_bytes()).key
    };
    assert_eq!(key("2026-02-11T08:15:30+00:00"), None, "one item may fail more than once");
    assert!(key("2026-02-11T08:15:30.1+00:00").is_some_and(|key| key.starts_with("cs4.log.a.")));
}

#[test]
fn a_prefix_before_the_topic_is_taken() {
    let topic = EventTopic::of("site/hq/application/7/device/02f1e2d3c4b5a601/event/join");
    assert_eq!((topic.application, topic.device, topic.kind), ("7", "02f1e2d3c4b5a601", Some(Kind::Join)));
    assert_eq!(EventTopic::of("application/7/device/x/event/odd").kind, None);
}

#[test]
fn unset_devices_group_by_topic_and_other_groupings_by_field() {
    let message = |topic: &str| Message {
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"{}"),
        qos: 0,
        retain: false,
        dup: false,
        packet_id: 0,
    };
    let group =
        |grouping, topic: &str| ChirpstackV4 { grouping }.identify(&message(topic), RECEIVED, JournalId(1)).group;
    assert!(group(Grouping::Device, "odd").starts_with("t."));
    let application = group(Grouping::Application, &format!("{TOPIC}up"));
    assert_eq!(application, "e3b59e6c-2a1a-4c43-8a0c-0b3c7b1e6d52");
    assert_eq!(group(Grouping::Gateway, "a"), group(Grouping::Gateway, "b"));
    assert_eq!(group(Grouping::Topic, "a/b"), "a/b");
}
