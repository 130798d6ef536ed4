//! The writer panics, and continues: with what it had in hand, once.

use super::*;
use proptest::prelude::*;

/// So many panics at a place of the writer's work.
fn tell(journal: &Path, place: &str, times: u32) {
    std::fs::write(journal.join(format!("rig-panic-{place}")), times.to_string()).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Records(u64),
    Repeats(u64),
    Head,
    Panics(&'static str, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..60).prop_map(Step::Records),
        (1u64..4).prop_map(Step::Repeats),
        Just(Step::Head),
        (prop_oneof![Just("commit"), Just("publish")], 1u32..3).prop_map(|(place, times)| Step::Panics(place, times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Every ticket comes back once and in order, every record is there once and in order, whatever panics in between.
    #[test]
    fn a_panic_loses_nothing_and_repeats_nothing(steps in prop::collection::vec(step(), 1..14)) {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        let id = rig.lane().id();
        let (mut next, mut given, mut records) = (1, Vec::new(), Vec::new());
        let mut panics = 0;
        for step in steps {
            match step {
                Step::Panics(place, times) => {
                    tell(dir.path(), place, times);
                    panics = 1;
                }
                Step::Records(count) => {
                    rig.send(next..next + count, &[id]);
                    records.extend(next..next + count);
                    given.extend(next..next + count);
                    next += count;
                }
                Step::Repeats(count) => {
                    for ticket in next..next + count {
                        rig.inbox.as_ref().unwrap().send(Append { item: Item::Repeat, ticket }).unwrap();
                        given.push(ticket);
                    }
                    next += count;
                }
                Step::Head => {
                    let draft = Box::new(draft(next, &[]));
                    let item = Item::Head { draft, why: Unjournaled::Oversize, bytes: 9, delivery: next };
                    rig.inbox.as_ref().unwrap().send(Append { item, ticket: next }).unwrap();
                    given.push(next);
                    next += 1;
                }
            }
        }
        // One more commit, so that a panic that was ordered last has its turn.
        rig.send(next..=next, &[id]);
        records.push(next);
        given.push(next);
        rig.await_tickets(given);
        let counted = rig.journal.stats().writer_panics;
        prop_assert!(counted >= panics, "{counted}");
        prop_assert_eq!(&rig.journal.stats().writer, &WriterHealth::Fine);
        let expected: Vec<(u64, u64)> = (1..).zip(records).collect();
        prop_assert_eq!(&rig.read_all(), &expected);
        rig.journal.0.forget();
        prop_assert_eq!(&rig.read_all(), &expected, "from the disk");
        add_up(&rig.stats());
        rig.end(true);
        let rig = start(&options(dir.path()));
        prop_assert_eq!(&rig.read_all(), &expected, "after a restart");
        rig.end(false);
    }
}

#[test]
fn a_writer_that_always_panics_reports_it_and_still_ends() {
    let dir = crate::testing::fast_dir();
    let rig = start(&options(dir.path()));
    tell(dir.path(), "commit", u32::MAX);
    rig.send(1..=3, &[rig.lane().id()]);
    let until = Instant::now() + Duration::from_secs(60);
    while rig.journal.stats().writer_panics < 3 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(1));
    }
    let WriterHealth::Failing { error } = rig.journal.stats().writer else { panic!("it does not write") };
    assert!(error.contains("panicked: the rig told"), "{error}");
    rig.end(true);
    std::fs::remove_file(dir.path().join("rig-panic-commit")).unwrap();
    let rig = start(&options(dir.path()));
    assert_eq!(rig.read_all(), [], "nothing was acknowledged, and nothing is there");
    rig.end(false);
}
