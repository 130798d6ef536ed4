//! Retained messages: which of them a lane has already.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(bool),
    Subscribe,
    Live(u64),
    Retained(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => any::<bool>().prop_map(Step::Connect),
        2 => Just(Step::Subscribe),
        4 => (0u64..3).prop_map(Step::Live),
        4 => (0u64..3).prop_map(Step::Retained),
    ]
}

proptest! {
    /// Between two SUBSCRIBEs at most one delivery of a topic is skipped, the first retained one, and only when it
    /// equals the value before it; once two came after one SUBSCRIBE, and no other replay was owed, none is.
    #[test]
    fn at_most_one_is_skipped_per_subscribe(steps in prop::collection::vec(step(), 0..60)) {
        let mut retained = Retained::new();
        let (mut last, mut due, mut since, mut leaves, mut owed) = (None, false, 0, false, false);
        let mut kept_before = false;
        for step in steps {
            match step {
                Step::Connect(kept) => {
                    retained.connected(kept);
                    (kept_before, due, owed) = (kept, due && kept, owed && kept);
                }
                Step::Subscribe => {
                    retained.subscribed("f");
                    owed |= due || kept_before;
                    (due, since) = (true, 0);
                }
                Step::Live(value) => {
                    retained.recorded(1, value, 1, None);
                    last = Some(value);
                }
                Step::Retained(value) => {
                    let known = last.is_some();
                    leaves |= due && known && since > 0 && !owed;
                    let judged = retained.judge(1, value, "f", false);
                    let skipped = due && since == 0 && !leaves && last == Some(value);
                    prop_assert_eq!(judged == Replay::Of(1), skipped, "{:?}", judged);
                    since += 1;
                    if !skipped {
                        retained.recorded(1, value, 1, Some("f"));
                        last = Some(value);
                    }
                }
            }
        }
    }
}

#[test]
fn a_broker_that_leaves_retain_on_live_messages_loses_none() {
    let mut retained = Retained::new();
    retained.subscribed("f");
    for value in [215, 215, 215, 220, 220] {
        assert!(!matches!(retained.judge(1, value, "f", false), Replay::Of(_)), "{value}");
        retained.recorded(1, value, 1, Some("f"));
    }
    assert!(retained.leaves_flag());
    retained.subscribed("f");
    assert_eq!(retained.judge(1, 220, "f", false), Replay::Equal);
}

/// What Mosquitto does when it takes our new connection before it has seen the old one's end.
#[test]
fn replays_owed_from_an_earlier_subscribe_prove_no_flag_habit() {
    let mut retained = Retained::new();
    retained.connected(false);
    retained.subscribed("f");
    retained.recorded(1, 7, 1, Some("f"));
    retained.connected(true);
    retained.subscribed("f");
    assert_eq!(retained.judge(2, 8, "f", false), Replay::New, "the rest of the first replay");
    retained.recorded(2, 8, 1, Some("f"));
    assert_eq!(retained.judge(1, 7, "f", false), Replay::Of(1), "the second replay");
    assert_eq!(retained.judge(2, 8, "f", false), Replay::Equal, "recorded and marked: it may be live");
    assert!(!retained.leaves_flag());
}

#[test]
fn replays_under_two_overlapping_filters_prove_no_flag_habit() {
    let mut retained = Retained::new();
    retained.recorded(1, 7, 1, None);
    retained.subscribed("a/b");
    retained.subscribed("#");
    // Both are routed by the first one.
    assert_eq!(retained.judge(1, 7, "a/b", false), Replay::Of(1));
    assert_eq!(retained.judge(1, 7, "a/b", false), Replay::Equal, "recorded and marked");
    assert!(!retained.leaves_flag());
    retained.subscribed("c");
    retained.recorded(2, 8, 1, Some("c"));
    assert_eq!(retained.judge(2, 8, "c", false), Replay::Equal);
    assert!(!retained.leaves_flag(), "# brings c once more");
}

#[test]
fn a_retained_value_is_a_replay_for_lanes_holding_it() {
    let mut retained = Retained::new();
    retained.recorded(1, 7, 0b01, None);
    retained.subscribed("f");
    assert_eq!(retained.judge(1, 7, "f", false), Replay::Of(0b01));
    retained.recorded(1, 7, 0b10, Some("f"));
    retained.subscribed("f");
    assert_eq!(retained.judge(1, 7, "f", false), Replay::Of(0b11));
}
