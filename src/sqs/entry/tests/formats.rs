//! Routing types, redaction and the Microshare body, as they leave the gateway.

use super::*;
use crate::sqs::entry::tests::{record, rendering};
use serde_json::Value;

fn of(payload: &[u8], rendering: &Rendering) -> Value {
    let entry = render(&record(payload), rendering).expect("fits");
    serde_json::from_str(&entry.body).expect("a JSON body")
}

#[test]
fn microshare_bodies_are_envelopes_with_compact_payload_and_stable_id() {
    let rendering = rendering(BodyFormat::Microshare);
    let entry =
        render(&record(b"{ \"t\": 21.50, \"big\": 123456789012345678901234567890 }"), &rendering).expect("fits");
    assert!(entry.body.contains("\"data\":{\"t\":21.50,\"big\":123456789012345678901234567890}"), "{}", entry.body);
    let body: Value = serde_json::from_str(&entry.body).expect("JSON");
    let id = body["id"].as_str().expect("an id");
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!((&body["obj"]["id"], &body["obj"]["origin"]["id"]), (&body["id"], &body["id"]));
    assert_eq!((&body["event_type"], &body["obj_type"]), (&"create".into(), &"objs".into()));
    assert!(body["recType"].as_str().is_some_and(|kind| kind.starts_with("com.example.")), "{body}");
    assert!(body["obj"]["tstamp"].is_i64(), "{body}");
    let again =
        render(&record(b"{ \"t\": 21.50, \"big\": 123456789012345678901234567890 }"), &rendering).expect("fits");
    assert_eq!(again.body, entry.body, "a resend is the same message");
    let names: Vec<&str> = entry.attributes.iter().map(|(name, _)| *name).collect();
    for name in ["content-type", "ce-id", "ce-source", "ce-type", "ce-specversion", "ce-sequence"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn what_is_no_json_travels_in_a_microshare_body_too() {
    let rendering = rendering(BodyFormat::Microshare);
    assert_eq!(of("21,5 °C".as_bytes(), &rendering)["obj"]["data"], "21,5 °C");
    assert_eq!(of(&[0, 255], &rendering)["obj"]["data"]["base64"], "AP8=");
    assert_eq!(of(b"", &rendering)["obj"]["data"], Value::Null);
}

#[test]
fn a_record_in_microshares_envelope_keeps_it_and_its_type() {
    let envelope = br#"{"id":"698c3ae2c280e00aef540700","recType":"io.example.packed","obj":{"data":1}}"#;
    let mut record = record(envelope);
    record.draft.profile = "microshare".into();
    let body = render(&record, &rendering(BodyFormat::Microshare)).expect("fits").body;
    assert_eq!(body.as_bytes(), envelope);
    let event = render(&record, &rendering(BodyFormat::CloudEvents)).expect("fits").body;
    assert!(event.contains("\"rectype\":\"io.example.packed\""), "{event}");
}

#[test]
fn a_template_makes_the_type_from_the_records_content() {
    let template: Template = "io.{site}.{topic:2}.{/object/kind}.{/nothing}".parse().expect("a template");
    let rendering = Rendering { rectype: Some(&template), site: "hq tower", ..rendering(BodyFormat::CloudEvents) };
    let mut record = record(br#"{"object":{"kind":"air quality"}}"#);
    record.draft.message.topic = "a/b-1/c".into();
    let body: Value = serde_json::from_str(&render(&record, &rendering).expect("fits").body).expect("JSON");
    assert_eq!(body["rectype"], "io.hq-tower.b-1.air-quality.unknown");
    for (wrong, says) in [
        ("{topic}", "one of {type}, {profile}"),
        ("{topic:0}", "one of {type}"),
        ("a b", "letters, digits"),
        ("{type", "a \"}\" behind each"),
        ("", "a type such as"),
    ] {
        assert!(wrong.parse::<Template>().expect_err("no template").contains(says), "{wrong}");
    }
}

#[test]
fn redacted_values_leave_in_no_format_and_all_else_does() {
    let secret = "000102030405060708090a0b0c0d0e0f";
    let payload = format!(r#"{{"join_accept":{{"app_s_key":{{"key":"{secret}"}},"n":1e400}},"other":"{{"}}"#);
    let at: Vec<Pointer> = vec!["/join_accept/app_s_key".parse().expect("a pointer")];
    for format in [BodyFormat::CloudEvents, BodyFormat::Raw, BodyFormat::Microshare] {
        let rendering = Rendering { redact: &at, ..rendering(format) };
        let entry = render(&record(payload.as_bytes()), &rendering).expect("fits");
        let all = format!("{} {:?}", entry.body, entry.attributes);
        assert!(!all.contains(secret) && all.contains("redacted"), "{all}");
        assert!(all.contains("1e400") && all.contains("\"other\":\"{\""), "{all}");
    }
}
