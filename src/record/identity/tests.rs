//! Identities: which candidate holds, and that two readings never share a key.

use super::*;
use crate::clock::Trust;
use bytes::Bytes;
use proptest::prelude::*;

/// By SQS's own words: letters, digits and `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` and the backquote.
fn legal(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| (b'!'..=b'~').contains(&b))
}

fn message(topic: &str, payload: &[u8], retain: bool) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message { topic: topic.to_owned(), payload, qos: 1, retain, dup: false, packet_id: 7 }
}

proptest! {
    #[test]
    fn any_text_becomes_a_legal_id(text in ".{0,300}", parts in prop::collection::vec(".{0,90}", 1..4)) {
        prop_assert!(legal(&sqs_id(&text)));
        let id = id(&parts.iter().map(|p| &**p).collect::<Vec<_>>());
        let (key, _) = KeyCandidates { native: Some(id), ..KeyCandidates::default() }.climb(&message("t", b"", false));
        prop_assert!(legal(&key.expect("a key")));
    }

    #[test]
    fn different_texts_become_different_ids(a in "[a%~. é]{0,150}", b in "[a%~. é]{0,150}") {
        prop_assert_eq!(sqs_id(&a) == sqs_id(&b), a == b);
    }

    #[test]
    fn different_parts_become_different_keys(a in prop::collection::vec("[a.%~]{0,3}", 1..4),
            b in prop::collection::vec("[a.%~]{0,3}", 1..4)) {
        let key = |parts: &[String]| id(&parts.iter().map(|p| &**p).collect::<Vec<_>>());
        prop_assert_eq!(key(&a) == key(&b), a == b);
    }

    #[test]
    fn fields_cannot_flow_into_each_other(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
        let h = |x: &str, y: &str| hash(&[x.as_bytes(), y.as_bytes()], 32);
        prop_assert_eq!(h(&a, &b) == h(&c, &d), (a, b) == (c, d));
    }

    #[test]
    fn any_group_is_legal(topic in ".{0,200}", device in prop::option::of(".{0,200}"), app in prop::option::of(".*"),
            journal: u64) {
        for grouping in [Grouping::Device, Grouping::Topic, Grouping::Gateway, Grouping::Application] {
            let group = grouping.group(&topic, device.as_deref(), app.as_deref(), JournalId(journal));
            prop_assert!(legal(&group), "{}", group);
        }
    }

    #[test]
    fn a_frame_that_differs_in_anything_has_another_id(counter in 0_u64..3, port in 0_u64..3, raw in 0_u8..3,
            session in "[ab]", second in 0_i64..3) {
        let at = |second: i64| EventTime::from_nanos(1_770_797_730 + second, 1).expect("an instant");
        let (time, other_time) = (at(0), at(second));
        let base = Frame { session: Some("a"), ..frame(Some(&time)) };
        let raw_bytes = [raw];
        let other =
            Frame { session: Some(&session), counter, port, raw: &raw_bytes, time: Some(&other_time), ..base.clone() };
        let same = (counter, port, raw, &*session, second) == (0, 0, 0, "a", 0);
        prop_assert_eq!(base.id() == other.id(), same);
        let prefix = format!("lw.02f1e2d3c4b5a601.{counter}.");
        prop_assert!(other.id().expect("a session").starts_with(&prefix));
    }

    #[test]
    fn other_bytes_make_another_key_whatever_the_id(a in "[ab]{0,3}", b in "[ab]{0,3}", long in 0_usize..200) {
        let ladder = KeyCandidates { native: Some(id(&["x", &"y".repeat(long)])), ..KeyCandidates::default() };
        let key = |payload: &str| ladder.clone().climb(&message("t", payload.as_bytes(), false)).0.expect("a key");
        prop_assert_eq!(key(&a) == key(&b), a == b);
        prop_assert!(key(&a).ends_with(&payload_hash(a.as_bytes())));
    }
}

fn frame(time: Option<&EventTime>) -> Frame<'_> {
    Frame { kind: "up", eui: "02f1e2d3c4b5a601", session: None, counter: 0, port: 0, raw: &[0], time }
}

#[test]
fn a_frame_counts_only_with_session_or_fractional_seconds() {
    let at = |nanos| EventTime::from_nanos(1_770_797_730, nanos).expect("an instant");
    assert_eq!(frame(None).id(), None);
    assert_eq!(frame(Some(&at(0))).id(), None, "whole seconds");
    let padded = EventTime::parse("2026-02-11T08:15:30.000Z").expect("an instant");
    assert_eq!(frame(Some(&padded)).id(), None, "whole seconds, written with a fraction");
    assert_eq!(Frame { session: Some(""), ..frame(Some(&at(0))) }.id(), None, "no session");
    assert!(frame(Some(&at(1))).id().is_some());
    assert!(Frame { session: Some("a"), ..frame(None) }.id().is_some());
    let whole = at(0);
    let timed = Frame { session: Some("a"), ..frame(Some(&whole)) };
    assert_ne!(timed.id(), Frame { session: Some("a"), ..frame(None) }.id(), "where there is a time it stays in");
}

#[test]
fn the_ladder_takes_the_first_rung_that_is_there() {
    let (live, kept) = (message("t", b"1", false), message("t", b"1", true));
    let of = |name: &str| Some(name.to_owned());
    let hashed = |name: &str| Some(format!("{name}.6b86b273ff34fce1"));
    let all = KeyCandidates { literal: of("l"), native: of("n"), frame: of("f") };
    assert_eq!(all.clone().climb(&kept), (of("l"), KeyKind::Native), "literally, and before retained");
    let all = KeyCandidates { literal: None, ..all };
    assert_eq!(all.clone().climb(&kept), (hashed("n"), KeyKind::Native));
    assert_eq!(KeyCandidates { native: None, ..all }.climb(&kept), (hashed("f"), KeyKind::Frame));
    assert_eq!(KeyCandidates::default().climb(&kept), (None, KeyKind::Retained));
    assert_eq!(KeyCandidates::default().climb(&live), (None, KeyKind::Arrival));
}

#[test]
fn a_right_event_time_outlives_a_clock_set_back() {
    let time = EventTime::parse("2026-02-11T08:15:30Z").expect("an instant");
    let received = |trust| Moment { wall_ms: 1_769_933_730_000, boottime_ms: 60_000, trust };
    let kept = (Some("2026-02-11T08:15:30Z".to_owned()), TimeSource::Event);
    assert_eq!(shown_time(Some(&time), received(Trust::Unconfirmed)), kept);
    assert_eq!(shown_time(Some(&time), received(Trust::Confirmed)), (None, TimeSource::Arrival), "ten days ahead");
}

#[test]
fn euis_are_read_in_every_spelling() {
    for text in ["02f1e2d3c4b5a601", "02-F1-E2-D3-C4-B5-A6-01", "02:f1:e2:d3:c4:b5:a6:01"] {
        assert_eq!(eui(text).as_deref(), Some("02f1e2d3c4b5a601"));
    }
    assert_eq!(eui("02f1e2d3c4b5a60"), None);
    assert_eq!(eui("sensor-17-kitchen"), None);
}
