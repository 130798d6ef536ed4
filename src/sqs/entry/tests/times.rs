//! What a consumer is told of times.

use super::*;

#[test]
fn unknown_times_are_left_out_and_correctable_ones_marked() {
    let mut early = record(b"1");
    early.draft.received = Moment { wall_ms: 12_000, boottime_ms: 12_000, trust: Trust::Wrong };
    early.draft.identity.event_time = None;
    early.draft.identity.time_source = TimeSource::Arrival;
    let unknown = rendered(&early, BodyFormat::CloudEvents);
    assert!(!unknown.body.contains("\"time\"") && !unknown.body.contains("recordedtime"), "{}", unknown.body);
    assert!(unknown.attributes.iter().all(|(name, _)| *name != "ce-time"));

    let now = Moment { wall_ms: 1_770_797_730_000, boottime_ms: 42_000, trust: Trust::Confirmed };
    let at = |boot, now| {
        let rendering = Rendering { now: Some((boot, now)), ..rendering(BodyFormat::CloudEvents) };
        render(&early, &rendering).unwrap().body
    };
    let corrected = at(early.boot, now);
    assert!(corrected.contains(r#""time":"2026-02-11T08:15:00.000Z""#), "{corrected}");
    assert!(corrected.contains(r#""timecorrected":true"#), "{corrected}");
    assert_eq!(at(BootId([2; 16]), now), unknown.body, "another boot's monotonic clock says nothing");
    assert_eq!(at(early.boot, Moment { trust: Trust::Wrong, ..now }), unknown.body);
}

/// A record that came by a clock which a file had set five hours back, and the present when it is right; 30 days later.
fn five_hours_off() -> (Record, Moment) {
    const LAG_MS: u64 = 30 * 24 * 3_600_000;
    let mut record = record(b"1");
    let right = record.draft.received;
    record.draft.received = Moment { wall_ms: right.wall_ms - 5 * 3_600_000, trust: Trust::Unconfirmed, ..right };
    let now = Moment {
        wall_ms: right.wall_ms + LAG_MS as i64,
        boottime_ms: right.boottime_ms + LAG_MS,
        trust: Trust::Confirmed,
    };
    (record, now)
}

#[test]
fn an_unconfirmed_receipt_is_corrected_or_says_so() {
    let (off, now) = five_hours_off();
    let at = |now, format| render(&off, &Rendering { now: Some((off.boot, now)), ..rendering(format) }).unwrap();
    let event = |now| serde_json::from_str::<serde_json::Value>(&at(now, BodyFormat::CloudEvents).body).unwrap();
    let corrected = event(now);
    assert_eq!(
        (&corrected["recordedtime"], &corrected["timecorrected"]),
        (&"2026-02-11T08:15:30.162Z".into(), &true.into())
    );
    assert!(corrected["timeuncertain"].is_null());
    let uncertain = event(Moment { trust: Trust::Unconfirmed, ..now });
    assert_eq!(
        (&uncertain["recordedtime"], &uncertain["timeuncertain"]),
        (&"2026-02-11T03:15:30.162Z".into(), &true.into())
    );
    assert!(uncertain["timecorrected"].is_null());
    // The raw format shows the event's time, and the receipt alone where there is none.
    let marks = |entry: Entry| {
        entry.attributes.iter().filter(|(name, _)| name.starts_with("ce-time") && *name != "ce-time").count()
    };
    assert_eq!(marks(at(now, BodyFormat::Raw)), 0);
    assert_eq!(marks(at(now, BodyFormat::Microshare)), 1);
    let mut plain = off.clone();
    (plain.draft.identity.event_time, plain.draft.identity.time_source) = (None, TimeSource::Arrival);
    let raw = render(&plain, &Rendering { now: Some((off.boot, now)), ..rendering(BodyFormat::Raw) }).unwrap();
    assert!(raw.attributes.contains(&("ce-time", "2026-02-11T08:15:30.162Z".to_owned())), "{raw:?}");
    assert!(raw.attributes.contains(&("ce-timecorrected", "true".to_owned())), "{raw:?}");
}

#[test]
fn event_times_are_judged_by_corrected_receipt_never_by_sending() {
    let (mut off, now) = five_hours_off();
    // Ten days behind when the record came: the event's time, which is right, looked like one of the future.
    off.draft.received.wall_ms -= 10 * 24 * 3_600_000;
    let time = |record: &Record, now| {
        let body = render(record, &Rendering { now: Some((off.boot, now)), ..rendering(BodyFormat::CloudEvents) })
            .unwrap()
            .body;
        let event: serde_json::Value = serde_json::from_str(&body).unwrap();
        (event["time"].as_str().unwrap().to_owned(), event["timesource"].as_str().unwrap().to_owned())
    };
    let right = ("2026-02-11T08:15:30.120345Z".to_owned(), "event".to_owned());
    assert_eq!(time(&off, now), right);
    assert_eq!(time(&off, Moment { trust: Trust::Unconfirmed, ..now }), right, "nobody can rule it out");
    // 29 days after the receipt is before the time of sending, and no time of this event.
    off.draft.identity.event_time = Some("2026-03-12T08:15:30Z".to_owned());
    assert_eq!(time(&off, now), ("2026-02-11T08:15:30.162Z".to_owned(), "arrival".to_owned()));
}
