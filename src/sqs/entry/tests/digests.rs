//! The chain's digest of a message: what a reader computes from the message alone.

use super::*;
use crate::record::chain::digest;

/// Payloads of every kind: JSON, with what SQS refuses in it too, text, bytes, nothing.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..60),
        "[a-z \"\\\\\u{e9}]{1,40}".prop_map(String::into_bytes),
        "[a-z \u{fffe}\u{ffff}]{0,20}".prop_map(|text| serde_json::json!({ "a": [1, text] }).to_string().into_bytes()),
        Just(b" [1, 2.50] ".to_vec()),
    ]
}

/// The data as a reader has it from the message.
fn data_of(entry: &Entry, format: BodyFormat) -> Vec<u8> {
    let is = |name: &str, value: &str| entry.attributes.iter().any(|(known, said)| *known == name && said == value);
    match format {
        BodyFormat::Microshare => entry.body.clone().into_bytes(),
        BodyFormat::Raw if !is("content-type", STRUCTURED) => match is("content-transfer-encoding", "base64") {
            true => BASE64_STANDARD.decode(&entry.body).expect("base64"),
            false => entry.body.clone().into_bytes(),
        },
        // All between the name and the end of the document.
        _ if entry.body.contains("\"datacontenttype\":\"application/json\"") => {
            let (_, behind) = entry.body.split_once("\"data\":").expect("a member");
            behind.strip_suffix('}').expect("an object").as_bytes().to_vec()
        }
        _ => payload_of(&entry.body),
    }
}

proptest! {
    #[test]
    fn a_reader_has_the_digest_from_the_message_alone(
        payload in payloads(),
        topic in "[a-z/%\u{7}\u{e9}]{1,20}",
        format in prop_oneof![Just(BodyFormat::CloudEvents), Just(BodyFormat::Raw), Just(BodyFormat::Microshare)],
        less in 0usize..200,
    ) {
        let mut record = record(&payload);
        record.draft.message.topic = topic;
        let entry = rendered(&record, format);
        let id = entry.dedup.clone().expect("a FIFO queue");
        let topic = attributes::text(&record.draft.message.topic).into_owned();
        let expected = digest(Position(123_456), &id, &topic, &data_of(&entry, format));
        prop_assert_eq!(entry.digest.sum, expected);
        if format == BodyFormat::CloudEvents {
            let event: serde_json::Value = serde_json::from_str(&entry.body).expect("a JSON document");
            prop_assert_eq!(event["mqtttopic"].as_str(), Some(&*topic));
        }
        // Another attempt: for a queue that takes less, in another boot, marked.
        let limit = entry.size().saturating_sub(less);
        let other = Rendering { limit, possible_duplicate: true, ..rendering(format) };
        if let Ok(again) = render(&record, &other) {
            prop_assert_eq!(again.digest.sum, digest(Position(123_456), &id, &topic, &data_of(&again, format)));
            let may_differ = format == BodyFormat::Microshare && limit < entry.size();
            prop_assert!(again.digest == entry.digest || !entry.digest.steady || may_differ);
        }
    }
}

#[test]
fn what_a_later_rendering_may_have_otherwise_is_not_steady() {
    let steady = |payload: &[u8], format| rendered(&record(payload), format).digest.steady;
    assert!(steady(b"{\"a\":1}", BodyFormat::CloudEvents) && steady(b"{\"a\":1}", BodyFormat::Microshare));
    assert!(!steady("{\"a\":\"\u{ffff}\"}".as_bytes(), BodyFormat::CloudEvents), "escaped, or base64");
    assert!(steady("{\"a\":\"\u{ffff}\"}".as_bytes(), BodyFormat::Raw));
    let mut unsure = record(b"21");
    unsure.draft.received.trust = Trust::Unconfirmed;
    assert!(!rendered(&unsure, BodyFormat::Microshare).digest.steady, "its time may be corrected");
    assert!(rendered(&unsure, BodyFormat::CloudEvents).digest.steady);
}

#[test]
fn settings_are_told_apart_where_data_depends_on_them() {
    let pointer: Pointer = "/a/b".parse().unwrap();
    let redact = [pointer];
    for format in [BodyFormat::CloudEvents, BodyFormat::Raw, BodyFormat::Microshare] {
        let plain = settings(&rendering(format));
        assert_eq!(plain, settings(&Rendering { possible_duplicate: true, limit: 5_000, ..rendering(format) }));
        assert_ne!(plain, settings(&Rendering { redact: &redact, ..rendering(format) }));
        let named = settings(&Rendering { site: "other", ..rendering(format) });
        assert_eq!(named != plain, format == BodyFormat::Microshare);
    }
    assert_ne!(settings(&rendering(BodyFormat::Raw)), settings(&rendering(BodyFormat::CloudEvents)));
}
