//! What is judged of messages without an identity.

use super::*;
use proptest::prelude::*;

/// A row in letters: a capital is acknowledged when it is sent, and marked when it comes.
fn row(sent: &str, came: &str) -> Row {
    let read = |text: &str| text.chars().map(|c| (c.to_ascii_lowercase().to_string(), c.is_uppercase())).collect();
    Row { sent: read(sent), came: read(came) }
}

/// Lost, too much, out of order, strangers.
fn judged(sent: &str, came: &str) -> [usize; 4] {
    let verdict = row(sent, came).judge("topic", true);
    [verdict.lost, verdict.duplicated, verdict.out_of_order, verdict.strangers]
}

#[test]
fn equal_readings_are_told_by_order_and_count() {
    assert_eq!(judged("AAAB", "aaab"), [0, 0, 0, 0]);
    assert_eq!(judged("AAAB", "aab"), [1, 0, 0, 0], "one was taken for a repeat");
    assert_eq!(judged("AAAB", "aaaab"), [0, 1, 0, 0], "a double that does not say so");
    assert_eq!(judged("AAAB", "aaaAbA"), [0, 0, 0, 0], "doubles that say so, later ones too");
    assert_eq!(judged("AAAB", "Aaab"), [0, 0, 0, 0], "a first one that is marked in doubt");
    assert_eq!(judged("ABAB", "abab"), [0, 0, 0, 0]);
    assert_eq!(judged("ABAB", "aabb"), [0, 0, 1, 0]);
    assert_eq!(judged("AB", "ba"), [0, 0, 1, 0]);
    assert_eq!(judged("AB", "Bab"), [0, 1, 0, 0], "a redelivery cannot come before what it repeats");
    assert_eq!(judged("A", "az"), [0, 0, 0, 1]);
}

#[test]
fn unanswered_resends_may_arrive_as_often_as_sent() {
    for came in ["abcbc", "abbc", "abc"] {
        assert_eq!(judged("AbcBC", came), [0, 0, 0, 0], "{came}");
    }
    assert_eq!(judged("AbcBC", "abcbcc"), [0, 1, 0, 0]);
    assert_eq!(judged("AbcBC", "ab"), [1, 0, 0, 0]);
}

#[test]
fn where_order_is_not_kept_counts_are() {
    let judged = |sent, came| {
        let verdict = row(sent, came).judge("topic", false);
        [verdict.lost, verdict.duplicated, verdict.out_of_order, verdict.strangers]
    };
    assert_eq!(judged("AAB", "baaA"), [0, 0, 0, 0]);
    assert_eq!(judged("AABbb", "abbb"), [1, 0, 0, 0]);
    assert_eq!(judged("AAB", "baaaZ"), [0, 1, 0, 1]);
}

#[test]
fn a_record_counts_once_however_often_the_queue_carried_it() {
    let came = |id: &str, extra: &str| Delivered {
        body: format!(r#"{{"id":"{id}","mqtttopic":"a/1","data":{{"b":1,"a":0}}{extra}}}"#).into(),
        message_id: String::new(),
        group: None,
        dedup: None,
        sequence_number: None,
        attributes: BTreeMap::new(),
    };
    let sending = Sending { topic: "a/1".into(), payload: r#"{ "a": 0, "b": 1 }"#.into(), confirmed: true };
    let again = r#","possibleduplicate":true,"duplicatekind":"resend""#;
    let judged = |came: &[Delivered]| judge_bare(std::slice::from_ref(&sending), came, "a/", true);
    assert!(judged(&[came("x", ""), came("x", again)]).is_clean());
    assert_eq!(judged(&[came("x", ""), came("y", again)]).duplicated, 1, "another id, and no word of a redelivery");
    let redelivery = r#","possibleduplicate":true,"duplicatekind":"redelivery""#;
    assert!(judged(&[came("x", ""), came("y", redelivery)]).is_clean());
    assert_eq!(judged(&[]).lost, 1);
}

proptest! {
    /// Whatever a broker and a right agent do: what was never acknowledged is missing or not, what may be a redelivery
    /// says so. Without one acknowledged reading, or with one more, it is an offence.
    #[test]
    fn honest_deliveries_pass_and_one_reading_more_or_less_fails(
        sent in prop::collection::vec((0u8..3, any::<bool>(), any::<bool>(), any::<bool>()), 1..40),
        at in any::<prop::sample::Index>(),
    ) {
        let (mut row, mut plain) = (Row::default(), Row::default());
        for (reading, confirmed, reached, again) in &sent {
            let reading = reading.to_string();
            row.sent.push((reading.clone(), *confirmed));
            if *confirmed || *reached {
                row.came.push((reading.clone(), false));
            }
            if *again {
                let before = &row.sent[at.index(row.sent.len())].0;
                row.came.push((before.clone(), true));
            }
            plain.sent.push((reading.clone(), true));
            plain.came.push((reading, false));
        }
        prop_assert!(row.judge("topic", true).is_clean() && row.judge("topic", false).is_clean());
        let at = at.index(plain.came.len());
        let taken = plain.came.remove(at);
        prop_assert_eq!(plain.judge("topic", true).lost, 1);
        prop_assert_eq!(plain.judge("topic", false).lost, 1);
        plain.came.insert(at, taken.clone());
        plain.came.insert(at, taken);
        prop_assert_eq!(plain.judge("topic", true).duplicated, 1);
        prop_assert_eq!(plain.judge("topic", false).duplicated, 1);
    }
}
