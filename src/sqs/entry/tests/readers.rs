//! What software of readers needs of a message, beyond what SQS takes.

use super::*;

/// Python's parser raises an error at some 1,000 levels and fails the whole batch; others stop at 64.
#[test]
fn json_nested_deeper_than_readers_bear_travels_as_base64() {
    let nested = |levels: usize, open: &str, close: &str| format!("{}7{}", open.repeat(levels), close.repeat(levels));
    for (open, close) in [("[", "]"), (r#"{"[\"]":"#, "}")] {
        let payload = nested(61, open, close);
        for format in [BodyFormat::CloudEvents, BodyFormat::Raw, BodyFormat::Microshare] {
            let entry = rendered(&record(payload.as_bytes()), format);
            assert_sqs_takes(&entry);
            assert!(entry.body.contains(&BASE64_STANDARD.encode(&payload)), "{}", entry.body);
        }
        assert_eq!(
            payload_of(&rendered(&record(payload.as_bytes()), BodyFormat::CloudEvents).body),
            payload.as_bytes()
        );
        let payload = nested(60, open, close);
        assert_eq!(rendered(&record(payload.as_bytes()), BodyFormat::Raw).body, payload);
    }
    for (digits, travels) in [(1000, true), (1001, false)] {
        let payload = format!("[{}]", "7".repeat(digits));
        let body = rendered(&record(payload.as_bytes()), BodyFormat::CloudEvents).body;
        assert_eq!((body.contains(&payload), body.contains("data_base64")), (travels, !travels), "{digits} digits");
    }
    let digits_in_a_string = format!("\"{}\"", "7".repeat(5000));
    assert_eq!(rendered(&record(digits_in_a_string.as_bytes()), BodyFormat::Raw).body, digits_in_a_string);
    let brackets_in_a_string = format!("\"{}\"", "[".repeat(100));
    assert_eq!(rendered(&record(brackets_in_a_string.as_bytes()), BodyFormat::Raw).body, brackets_in_a_string);
}

#[test]
fn the_context_escapes_what_cloudevents_refuse_and_is_reversible() {
    let mut record = record(b"1");
    record.draft.message.topic = "a/100 %/\u{1}\u{85}/\u{fdd0}\u{1fffe}/°".into();
    record.draft.identity.device = Some("d\u{7f}%".into());
    let body: serde_json::Value = serde_json::from_str(&rendered(&record, BodyFormat::CloudEvents).body).unwrap();
    assert_eq!(body["mqtttopic"], "a/100 %25/%01%C2%85/%EF%B7%90%F0%9F%BF%BE/°");
    assert_eq!(body["subject"], "d%7F%25");
    let raw = rendered(&record, BodyFormat::Raw).attributes;
    let of = |name| raw.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
    assert_eq!(of("ce-subject"), Some("d%257F%2525"), "read by an SDK it is the body's");
    assert_eq!(of("ce-mqtttopic"), Some("a/100 %2525/%2501%25C2%2585/%25EF%25B7%2590%25F0%259F%25BF%25BE/°"));
}

#[test]
fn two_journals_or_gateways_never_share_source_and_sequence() {
    let of = |record: &Record, gateway| {
        let rendering = Rendering { gateway_id: gateway, ..rendering(BodyFormat::CloudEvents) };
        let body: serde_json::Value = serde_json::from_str(&render(record, &rendering).unwrap().body).unwrap();
        (body["source"].clone(), body["sequence"].clone())
    };
    let other = Record { journal: JournalId(6), ..record(b"1") };
    assert_ne!(of(&record(b"1"), "one").1, of(&other, "one").1);
    assert_ne!(of(&record(b"1"), "one").0, of(&record(b"1"), "two").0);
}
