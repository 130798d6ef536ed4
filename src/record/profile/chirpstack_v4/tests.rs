//! Events made in both encodings from the same values, and what damage does to them.

use super::*;
use crate::record::KeyKind;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

const TOPIC: &str = "application/e3b59e6c-2a1a-4c43-8a0c-0b3c7b1e6d52/device/02f1e2d3c4b5a601/event/";
const RECEIVED: Moment = Moment { wall_ms: 1_770_800_000_000, boottime_ms: 5_000, trusted: true };

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
            protobuf::TxAck {
                downlink_id: n,
                time: Some(stamp),
                device_info: Some(device),
                queue_item_id: id.into(),
                f_cnt_down: n,
            }
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
                code: 4,
                description: word.into(),
                context: [("deduplication_id".to_owned(), id.to_owned())].into(),
            }
            .encode_to_vec(),
        ),
        Kind::Up => (
            format!(r#"{{{head},"devAddr":"{word}","fCnt":{n},"fPort":{n},"data":"AQI="}}"#).into_bytes(),
            with_tail(&event, &protobuf::Uplink { dev_addr: word.into(), f_cnt: n, f_port: n, data: vec![1, 2] }),
        ),
        Kind::Location => (
            format!(r#"{{{head},"location":{{"latitude":{n}.25,"longitude":-6.267494}}}}"#).into_bytes(),
            with_tail(
                &event,
                &protobuf::Located {
                    location: Some(protobuf::Location { latitude: f64::from(n) + 0.25, longitude: -6.267494 }),
                },
            ),
        ),
        Kind::Integration => (
            format!(r#"{{{head},"integrationName":"{word}","eventType":"x","object":{{}}}}"#).into_bytes(),
            with_tail(&event, &protobuf::Integrated { integration_name: word.into(), event_type: "x".into() }),
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

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.map(|(kind, ..)| kind).to_vec())
}

proptest! {
    #[test]
    fn one_event_in_both_encodings_is_one_record(kind in any_kind(), id in "[0-9a-f]{8}|", n in 1_u32..50, word in "[a-c]{0,3}") {
        let (json, protobuf) = both(kind, &id, n, &word);
        let (a, b) = (identify(kind.word(), &json), identify(kind.word(), &protobuf));
        if a.key_kind == KeyKind::Content {
            // Content is bytes: without an id the encodings cannot be told to be one event.
            prop_assert_eq!((a.group, a.event_time, a.key_kind), (b.group, b.event_time, b.key_kind));
        } else {
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn the_same_event_has_one_key_and_another_has_another(ka in any_kind(), kb in any_kind(), a in 1_u8..4, b in 1_u8..4,
            n in 1_u32..3, m in 1_u32..3) {
        let event = |kind: Kind, id: u8, n: u32| identify(kind.word(), &both(kind, &format!("id{id}"), n, "w").0).key;
        // An uplink's id does not return with another counter; the other kinds' keys cover what may differ.
        prop_assume!(a != b || n == m || ka != kb);
        prop_assert_eq!(event(ka, a, n) == event(kb, b, m), (ka, a, n) == (kb, b, m));
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
fn an_uplink_without_an_id_is_known_by_its_frame_and_without_a_time_by_its_arrival() {
    let frame = identify("up", &both(Kind::Up, NIL_UUID, 3, "01a2b3c4").1);
    assert_eq!(frame.key_kind, KeyKind::Frame);
    assert!(frame.key.expect("a key").starts_with("lw.02f1e2d3c4b5a601.3."));
    let timeless = identify("up", br#"{"deviceInfo":{"devEui":"02f1e2d3c4b5a601"},"fCnt":3,"data":"AQI="}"#);
    assert_eq!((timeless.key_kind, timeless.key), (KeyKind::Arrival, None));
}

#[test]
fn a_downlink_that_was_never_queued_is_known_by_its_number_device_and_time() {
    let key = |n| identify("txack", &both(Kind::TxAck, "", n, "").0).key.expect("a key");
    assert!(key(7).starts_with("cs4.txack.7.7."), "{}", key(7));
    assert_ne!(key(7), key(8));
}

#[test]
fn a_prefix_before_the_topic_is_taken() {
    let topic = EventTopic::of("site/hq/application/7/device/02f1e2d3c4b5a601/event/join");
    assert_eq!((topic.application, topic.device, topic.kind), ("7", "02f1e2d3c4b5a601", Some(Kind::Join)));
    assert_eq!(EventTopic::of("application/7/device/x/event/odd").kind, None);
}

#[test]
fn an_unset_device_groups_by_topic_and_a_wish_by_what_it_names() {
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
