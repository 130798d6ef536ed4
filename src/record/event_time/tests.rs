//! Event times: forms, zones, and what the receipt rules out.

use super::*;
use proptest::prelude::*;

fn utc(text: &str) -> Option<String> {
    EventTime::parse(text).map(|at| at.to_string())
}

proptest! {
    #[test]
    fn an_instant_is_the_same_however_it_is_written(s in EARLIEST_S..LATEST_S, nanos in 0_u32..1_000_000_000,
            offset_min in -1439_i64..=1439) {
        let at = EventTime { seconds: s, fraction: format!("{nanos:09}") };
        let z = at.to_string();
        prop_assert_eq!(EventTime::parse(&z), Some(at.clone()));
        prop_assert_eq!(EventTime::parse(&format!("{s}.{nanos:09}")), Some(at.clone()));
        prop_assert_eq!(EventTime::parse(&format!("{s}{nanos:09}")), Some(at.clone()));
        let local = EventTime { seconds: s + offset_min * 60, fraction: at.fraction.clone() }.to_string();
        let sign = if offset_min < 0 { '-' } else { '+' };
        let (h, m) = (offset_min.abs() / 60, offset_min.abs() % 60);
        let local = format!("{}{sign}{h:02}:{m:02}", local.trim_end_matches('Z'));
        prop_assert_eq!(EventTime::parse(&local), Some(at), "{}", local);
    }

    #[test]
    fn any_text_is_taken(text in ".{0,40}", digits in "[0-9.eE:+TZ-]{0,40}") {
        EventTime::parse(&text);
        EventTime::parse(&digits);
    }
}

#[test]
fn published_forms_are_read_exactly() {
    for (text, expected) in [
        ("2026-02-11T08:15:30.120345+00:00", "2026-02-11T08:15:30.120345Z"),
        ("2026-02-11T13:45:30.120+05:30", "2026-02-11T08:15:30.120Z"),
        ("2026-02-11 08:15:30z", "2026-02-11T08:15:30Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("1770797730", "2026-02-11T08:15:30Z"),
        ("1770797730.1204", "2026-02-11T08:15:30.1204Z"),
        ("1770797730120", "2026-02-11T08:15:30.120Z"),
        ("1770797730120.5", "2026-02-11T08:15:30.1205Z"),
        ("1.77079773012e9", "2026-02-11T08:15:30.12Z"),
        ("17707977301204e-4", "2026-02-11T08:15:30.1204Z"),
        ("1770797730120345678", "2026-02-11T08:15:30.120345678Z"),
    ] {
        assert_eq!(utc(text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_names_no_instant_is_refused() {
    for text in [
        "",
        "now",
        "2026-02-11T08:15:30",
        "11/02/26 8.15",
        "2026-02-30T08:15:30Z",
        "2026-02-11T24:00:00Z",
        "2026-02-11T08:15:30Z ago",
        "-1770797730",
        "1770797730.",
        "0x65",
        "1e400",
        "NaN",
        "2026-02-11T08:15:30.1234567890123456789012345Z",
    ] {
        assert_eq!(utc(text), None, "{text}");
    }
}

#[test]
fn clocks_that_were_never_set_or_overflowed_are_refused() {
    for text in ["1970-01-01T00:03:21Z", "2106-02-07T06:28:15Z", "2014-12-31T23:59:59Z", "0", "4294967295"] {
        assert_eq!(utc(text), None, "{text}");
    }
    assert!(utc("2015-01-01T00:00:00Z").is_some() && utc("2099-12-31T23:59:59Z").is_some());
}

#[test]
fn an_event_a_day_ahead_of_sure_receipt_is_disbelieved() {
    let at = EventTime::parse("2026-02-12T08:15:30Z").expect("an instant");
    assert!(at.believable(Some(1_770_797_730_000)), "24 h ahead");
    assert!(!at.believable(Some(1_770_797_729_999)), "1 ms more");
    assert!(at.believable(None), "a clock that nobody confirmed judges nothing");
}

#[test]
fn only_a_nonzero_fraction_is_finer_than_a_second() {
    for (text, fine) in [
        ("2026-02-11T08:15:30Z", false),
        ("2026-02-11T08:15:30.000Z", false),
        ("2026-02-11T08:15:30.001Z", true),
        ("1770797730", false),
        ("1770797730000", false),
        ("1770797730120", true),
    ] {
        assert_eq!(EventTime::parse(text).expect("an instant").is_fine(), fine, "{text}");
    }
}

#[test]
fn protobuf_instants_are_written_as_the_json_form_writes_them() {
    for (nanos, fraction) in [(0, "Z"), (100_000_000, ".100Z"), (120_345_000, ".120345Z"), (1, ".000000001Z")] {
        let text = EventTime::from_nanos(1_770_797_730, nanos).expect("an instant").to_string();
        assert_eq!(text, format!("2026-02-11T08:15:30{fraction}"));
    }
    assert_eq!(EventTime::from_nanos(1_770_797_730, 1_000_000_000), None);
}
