//! What a consumer gets: bodies and attributes, byte for byte, for whatever a device sent.

mod contract;
mod digests;
mod formats;
mod readers;
mod times;

use super::*;
use crate::clock::Trust;
use crate::record::{
    Draft, Epoch, Identity, JournalId, KeyKind, LanePosition, Message, Number, Position, PossibleDuplicate, Run,
};
use crate::sqs::limits::{ATTRIBUTES, ENTRY_BYTES, takes};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::HashMap;

const LANE: LaneId = LaneId(3);

pub(super) fn record(payload: &[u8]) -> Record {
    let message = Message {
        topic: "application/1/device/02f1e2d3c4b5a601/event/up".into(),
        payload: Bytes::copy_from_slice(payload),
        qos: 1,
        retain: false,
        dup: false,
        packet_id: 7,
    };
    let identity = Identity {
        key: Some("cs4.up.5f0d7c1e".into()),
        key_kind: KeyKind::Native,
        group: "02f1e2d3c4b5a601".into(),
        device: Some("02f1e2d3c4b5a601".into()),
        record_type: "lorawan.uplink".into(),
        event_time: Some("2026-02-11T08:15:30.120345Z".into()),
        time_source: TimeSource::Event,
    };
    let received = Moment { wall_ms: 1_770_797_730_162, boottime_ms: 60_000, trust: Trust::Confirmed };
    let draft =
        Draft { received, message, profile: "chirpstack-v4".into(), identity, lanes: vec![LANE], duplicate: None };
    let slots = vec![
        LanePosition { lane: LaneId(1), position: Position(9) },
        LanePosition { lane: LANE, position: Position(123_456) },
    ];
    let run = Run { journal: JournalId(5), epoch: Epoch(1), random: 9 };
    Record::number(draft, run, Number(200_000), BootId([1; 16]), slots)
}

pub(super) fn rendering(format: BodyFormat) -> Rendering<'static> {
    Rendering {
        rectype: None,
        redact: &[],
        format,
        fifo: true,
        type_prefix: "com.example",
        gateway_id: "02aabbfffe10c0de",
        site: "hq-tower",
        lane: LANE,
        now: None,
        possible_duplicate: false,
        limit: ENTRY_BYTES,
    }
}

fn rendered(record: &Record, format: BodyFormat) -> Entry {
    render(record, &rendering(format)).expect("fits")
}

/// The payload as a consumer has it from the structured document.
fn payload_of(body: &str) -> Vec<u8> {
    let event: HashMap<String, Box<RawValue>> = serde_json::from_str(body).expect("a JSON document");
    let text = |name: &str| event.get(name).map(|raw| serde_json::from_str::<String>(raw.get()).expect("a string"));
    match (event.get("data"), text("data_base64"), text("datacontenttype").as_deref()) {
        (Some(data), None, Some("application/json")) => data.get().as_bytes().to_vec(),
        (Some(_), None, Some("text/plain")) => text("data").unwrap_or_default().into_bytes(),
        (None, Some(text), Some("application/octet-stream")) => BASE64_STANDARD.decode(text).unwrap(),
        (None, None, None) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn assert_sqs_takes(entry: &Entry) {
    assert!(!entry.body.is_empty() && entry.body.chars().all(takes));
    assert!(entry.attributes.len() <= ATTRIBUTES);
    for (name, value) in &entry.attributes {
        assert!(!name.is_empty() && !value.is_empty() && value.chars().all(takes), "{name}: {value:?}");
    }
    for id in entry.dedup.iter().chain([&entry.group]) {
        assert!((1..=ID_CHARS).contains(&id.len()) && id.chars().all(takes_in_id), "{id:?}");
    }
}

#[test]
fn a_lorawan_uplink_becomes_this_cloudevent() {
    let entry = rendered(&record(br#"{"fCnt": 7, "object":{"t":21.50}}"#), BodyFormat::CloudEvents);
    assert_eq!(
        entry.body,
        concat!(
            r#"{"specversion":"1.0","id":"cs4.up.5f0d7c1e","source":"//hq-tower/02aabbfffe10c0de/chirpstack-v4","#,
            r#""type":"com.example.lorawan.uplink","subject":"02f1e2d3c4b5a601","time":"2026-02-11T08:15:30.120345Z","#,
            r#""datacontenttype":"application/json","partitionkey":"02f1e2d3c4b5a601","#,
            r#""sequence":"0000000000000005-0000000001-00000000000000123456","recordedtime":"2026-02-11T08:15:30.162Z","#,
            r#""gatewayid":"02aabbfffe10c0de","mqtttopic":"application/1/device/02f1e2d3c4b5a601/event/up","#,
            r#""timesource":"event","keykind":"native","data":{"fCnt": 7, "object":{"t":21.50}}}"#,
        )
    );
    let attributes: Vec<_> = entry.attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        attributes,
        [
            ("content-type", "application/cloudevents+json; charset=utf-8"),
            ("type", "com.example.lorawan.uplink"),
            ("source", "//hq-tower/02aabbfffe10c0de/chirpstack-v4"),
            ("subject", "02f1e2d3c4b5a601"),
            ("time", "2026-02-11T08:15:30.120345Z"),
            ("gatewayid", "02aabbfffe10c0de"),
        ]
    );
    assert_eq!((entry.group.as_str(), entry.dedup.as_deref()), ("02f1e2d3c4b5a601", Some("cs4.up.5f0d7c1e")));
}

#[test]
fn a_raw_message_is_the_payload_with_attributes_as_context() {
    let mut possible = rendering(BodyFormat::Raw);
    possible.possible_duplicate = true;
    let entry = render(&record(&[0, 159]), &possible).unwrap();
    assert_eq!(entry.body, BASE64_STANDARD.encode([0, 159]));
    let attributes: Vec<_> = entry.attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        attributes,
        [
            ("content-type", "application/octet-stream"),
            ("content-transfer-encoding", "base64"),
            ("ce-specversion", "1.0"),
            ("ce-id", "cs4.up.5f0d7c1e"),
            ("ce-source", "//hq-tower/02aabbfffe10c0de/chirpstack-v4"),
            ("ce-type", "com.example.lorawan.uplink"),
            ("ce-sequence", "0000000000000005-0000000001-00000000000000123456"),
            ("ce-possibleduplicate", "true"),
            ("ce-mqtttopic", "application/1/device/02f1e2d3c4b5a601/event/up"),
            ("ce-time", "2026-02-11T08:15:30.120345Z"),
        ]
    );
    // White space that an SDK of npm stumbles over: the bytes stay, and are called text.
    for (payload, kind) in [
        ("21.5\r\n", "text/plain"),
        (" {}", "text/plain"),
        ("{} \n", "application/json"),
        ("21.5", "application/json"),
        ("\"a b\"", "application/json"),
    ] {
        let entry = rendered(&record(payload.as_bytes()), BodyFormat::Raw);
        assert_eq!((entry.body.as_str(), entry.attributes[0].1.as_str()), (payload, kind));
    }
    let plain = rendered(&record(b"21.5 C"), BodyFormat::Raw);
    assert_eq!((plain.body.as_str(), plain.attributes[0].1.as_str()), ("21.5 C", "text/plain"));
    assert!(
        plain.attributes.iter().all(|(name, _)| !matches!(*name, "content-transfer-encoding" | "ce-possibleduplicate"))
    );
}

#[test]
fn an_empty_payload_is_structured_without_data_even_raw() {
    for format in [BodyFormat::CloudEvents, BodyFormat::Raw] {
        let entry = rendered(&record(b""), format);
        assert_sqs_takes(&entry);
        assert_eq!(payload_of(&entry.body), b"");
        assert!(!entry.body.contains("data"), "{}", entry.body);
        assert_eq!(entry.attributes[0].1, "application/cloudevents+json; charset=utf-8");
    }
}

#[test]
fn json_that_no_value_type_holds_stays_as_sent() {
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let long = "9".repeat(400);
    for json in [
        deep.as_str(),
        &long,
        "1e400",
        "-0",
        "1.10",
        r#"{"a":1,"a":2}"#,
        r#""\ud83d""#,
        r#"{"t" : 21.50 }"#,
        "null",
        "true",
        r#""\u0000""#,
        "\"\u{7f}\u{85}\"",
    ] {
        let entry = rendered(&record(json.as_bytes()), BodyFormat::CloudEvents);
        assert_sqs_takes(&entry);
        assert!(entry.body.ends_with(&format!(r#","data":{json}}}"#)), "{}", &entry.body[entry.body.len() - 40..]);
        assert_eq!(rendered(&record(json.as_bytes()), BodyFormat::Raw).body, json);
    }
    // Blanks around the value are part of the payload and legal in the document.
    assert!(rendered(&record(b" {} \n"), BodyFormat::CloudEvents).body.ends_with("\"data\": {} \n}"));
}

#[test]
fn what_is_almost_json_travels_as_text_or_bytes() {
    for (payload, kind) in [
        (&b"\xef\xbb\xbf{}"[..], "text/plain"),
        (b"NaN", "text/plain"),
        (b"{}\n{}", "text/plain"),
        (b"{} x", "text/plain"),
        (b"{'a':1}", "text/plain"),
        (b"ON", "text/plain"),
        (b"{}\0", "application/octet-stream"),
        (b"{\"a\":\"\xe9\"}", "application/octet-stream"),
        (b"\x0a\x03abc", "application/octet-stream"),
    ] {
        let entry = rendered(&record(payload), BodyFormat::CloudEvents);
        assert!(entry.body.contains(&format!(r#""datacontenttype":"{kind}""#)), "{}", entry.body);
        assert_eq!(payload_of(&entry.body), payload);
        assert_sqs_takes(&entry);
    }
}

#[test]
fn the_two_json_characters_that_sqs_refuses_are_escaped() {
    let json = "{\"a\u{fffe}\":\"\u{ffff}é😀\"}";
    let entry = rendered(&record(json.as_bytes()), BodyFormat::CloudEvents);
    assert_sqs_takes(&entry);
    assert!(entry.body.ends_with("\"data\":{\"a\\ufffe\":\"\\uffffé😀\"}}"), "{}", entry.body);
    let raw = rendered(&record(json.as_bytes()), BodyFormat::Raw);
    assert_eq!(BASE64_STANDARD.decode(&raw.body).unwrap(), json.as_bytes());
    assert_eq!(raw.attributes[0].1, "application/json");
}

#[test]
fn a_possible_duplicate_says_so_from_either_stage() {
    let mark = r#""possibleduplicate":true"#;
    assert!(!rendered(&record(b"1"), BodyFormat::CloudEvents).body.contains("possibleduplicate"));
    let resent = Rendering { possible_duplicate: true, ..rendering(BodyFormat::CloudEvents) };
    assert!(render(&record(b"1"), &resent).unwrap().body.contains(mark));
    let with = |duplicate, requeued| {
        let draft = Draft { duplicate, ..record(b"1").draft };
        Record { draft, requeued, ..record(b"1") }
    };
    let redelivery = |of: Option<&str>| {
        let of = of.map(str::to_owned);
        with(Some(PossibleDuplicate { kind: DuplicateKind::Redelivery, of }), false)
    };
    let body = |record: &Record, resent| {
        render(record, &Rendering { possible_duplicate: resent, ..rendering(BodyFormat::CloudEvents) }).unwrap().body
    };
    let why = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        assert_eq!(body["possibleduplicate"], true);
        (text("duplicatekind").expect("always beside it"), text("duplicateof"))
    };
    let (resend, again) = ("resend".to_owned(), "redelivery".to_owned());
    assert_eq!(why(&body(&record(b"1"), true)), (resend.clone(), None));
    assert_eq!(why(&body(&with(None, true), false)), (resend, None), "back out of quarantine");
    assert_eq!(why(&body(&redelivery(None), false)), (again.clone(), None));
    assert_eq!(why(&body(&redelivery(Some("a.1")), true)), (again, Some("a.1".to_owned())), "what says more");
    let raw = rendered(&redelivery(Some("a.1")), BodyFormat::Raw).attributes;
    let of = |name| raw.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
    assert_eq!((of("ce-possibleduplicate"), of("ce-duplicateof")), (Some("true"), Some("a.1")));
    assert!(raw.len() <= crate::sqs::limits::ATTRIBUTES);
}

#[test]
fn a_standard_queue_gets_the_group_and_no_deduplication_id() {
    let standard = Rendering { fifo: false, ..rendering(BodyFormat::CloudEvents) };
    let entry = render(&record(b"1"), &standard).unwrap();
    assert_eq!((entry.group.as_str(), entry.dedup), ("02f1e2d3c4b5a601", None));
}

#[test]
fn the_limit_is_exact_and_counts_attributes() {
    let entry = rendered(&record(b"[1,2,3]"), BodyFormat::CloudEvents);
    let at = |limit| render(&record(b"[1,2,3]"), &Rendering { limit, ..rendering(BodyFormat::CloudEvents) });
    assert!(entry.size() > entry.body.len());
    assert_eq!(at(entry.size()), Ok(entry.clone()));
    assert_eq!(at(entry.size() - 1), Err(Unsendable::TooLarge { bytes: entry.size(), limit: entry.size() - 1 }));
}

#[test]
fn the_largest_payload_that_is_journaled_fits_a_message() {
    for byte in [0, b'"', b'7'] {
        let payload = vec![byte; 700 * 1024];
        for format in [BodyFormat::CloudEvents, BodyFormat::Raw] {
            assert!(rendered(&record(&payload), format).size() <= ENTRY_BYTES);
        }
        assert_eq!(payload_of(&rendered(&record(&payload), BodyFormat::CloudEvents).body), payload);
    }
}

#[test]
fn a_record_of_another_lane_is_not_sent() {
    let other = Rendering { lane: LaneId(9), ..rendering(BodyFormat::CloudEvents) };
    assert_eq!(render(&record(b"1"), &other), Err(Unsendable::NotOfLane));
}

#[test]
fn a_record_without_usable_key_is_never_taken_for_another() {
    let mut nameless = record(b"1");
    nameless.key = String::new();
    let mut next = nameless.clone();
    next.number = next.number.next();
    let id = |record| rendered(record, BodyFormat::CloudEvents).dedup;
    assert_ne!(id(&nameless), id(&next));
    assert_sqs_takes(&rendered(&nameless, BodyFormat::CloudEvents));
}

proptest! {
    #[test]
    fn any_bytes_become_a_legal_message_and_come_back(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        round_trip(&payload);
    }

    #[test]
    fn any_text_becomes_a_legal_message_and_comes_back(text in "(\\PC|[\\x00-\\x1f\u{fffe}\u{ffff}{}\\[\\]\",:0-9]){0,60}") {
        round_trip(text.as_bytes());
    }

    #[test]
    fn any_json_string_becomes_a_legal_message(text in "(\\PC|[\u{fffe}\u{ffff}]){0,60}") {
        let json = serde_json::to_string(&text).unwrap();
        let entry = rendered(&record(json.as_bytes()), BodyFormat::CloudEvents);
        assert_sqs_takes(&entry);
        let back = String::from_utf8(payload_of(&entry.body)).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&back).unwrap(), text);
    }

    #[test]
    fn any_context_becomes_a_legal_message(
        texts in proptest::array::uniform8("(.|[\\x00\u{ffff}\"\\\\ ]){0,150}"), format in any::<bool>(),
    ) {
        let [key, group, device, kind, prefix, gateway, site, profile] = texts;
        let mut record = record(b"x");
        (record.key, record.draft.profile) = (key.clone(), profile);
        (record.draft.identity.group, record.draft.identity.device) = (group, Some(device));
        record.draft.identity.record_type = kind;
        let format = if format { BodyFormat::Raw } else { BodyFormat::CloudEvents };
        let rendering =
            Rendering { type_prefix: &prefix, gateway_id: &gateway, site: &site, ..rendering(format) };
        let entry = render(&record, &rendering).unwrap();
        assert_sqs_takes(&entry);
        if format == BodyFormat::CloudEvents {
            prop_assert_eq!(payload_of(&entry.body), b"x");
        }
    }

    #[test]
    fn different_texts_become_different_ids(a in "[a-c% é\u{0}]{1,150}", b in "[a-c% é\u{0}]{1,150}") {
        prop_assert_eq!(a == b, legal_id(&a) == legal_id(&b));
    }
}

fn round_trip(payload: &[u8]) {
    let structured = rendered(&record(payload), BodyFormat::CloudEvents);
    assert_sqs_takes(&structured);
    let back = payload_of(&structured.body);
    if matches!(Payload::of(payload), Payload::Json(_)) {
        // Blanks around the value are the document's for a JSON reader; two characters come back escaped.
        let text = std::str::from_utf8(payload).unwrap();
        let escaped = text.trim().replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
        assert_eq!(String::from_utf8(back).unwrap(), escaped);
    } else {
        assert_eq!(back, payload);
    }
    let raw = rendered(&record(payload), BodyFormat::Raw);
    assert_sqs_takes(&raw);
    let encoded = raw.attributes.iter().any(|(name, _)| *name == "content-transfer-encoding");
    match (payload.is_empty(), encoded) {
        (true, _) => assert_eq!(payload_of(&raw.body), b""),
        (false, true) => assert_eq!(BASE64_STANDARD.decode(&raw.body).unwrap(), payload),
        (false, false) => assert_eq!(raw.body.as_bytes(), payload),
    }
}
