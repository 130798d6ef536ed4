//! Gaps: what is announced, how they shorten, and that no loss is announced twice or never.

use super::*;
use proptest::prelude::*;

fn missing(holes: &[PendingGap]) -> u64 {
    holes.iter().map(|hole| hole.count).sum()
}

proptest! {
    /// What is noted twice counts once.
    #[test]
    fn holes_that_overlap_count_what_is_in_either(
        all in prop::collection::vec((1u64..500, 0u64..8), 1..30),
        leaves in prop::collection::vec(any::<bool>(), 30),
    ) {
        let mut holes = PendingGaps::default();
        let mut gone = BTreeSet::new();
        for ((from, more), leave) in all.into_iter().zip(leaves) {
            holes.note(PendingGap::new(Reason::MaxBytes, vec![(Position(from), Position(from + more))], About::default()));
            gone.extend(from..=from + more);
            prop_assert_eq!(missing(holes.all()), gone.len() as u64);
            if leave {
                holes.leave();
                holes.announced();
                gone.clear();
            }
        }
    }

    /// However holes are noted, and however many leave in between: each lost position is covered by exactly the holes
    /// that were announced or still are to be, and the counts add up.
    #[test]
    fn every_position_noted_is_announced_once(
        lost in prop::collection::btree_set(1u64..2_000, 0..300),
        steps in prop::collection::vec((0usize..4, any::<bool>(), any::<bool>()), 300),
    ) {
        let mut holes = PendingGaps::default();
        let mut announced: Vec<PendingGap> = Vec::new();
        for (position, (group, evicted, leave)) in lost.iter().zip(&steps) {
            let about = About { groups: BTreeSet::from([format!("g{group}")]), ..About::default() };
            let reason = if *evicted { Reason::MaxBytes } else { Reason::Damaged };
            holes.note(PendingGap::new(reason, vec![(Position(*position), Position(*position))], about));
            if *leave {
                let left = holes.leave().to_vec();
                holes.note(PendingGap::new(Reason::MaxAge, vec![(Position(*position + 5_000), Position(*position + 5_000))], About::default()));
                prop_assert_eq!(&holes.all()[..left.len()], &left[..], "what is on its way does not change");
                holes.announced();
                announced.extend(left);
            }
        }
        announced.extend(holes.all().to_vec());
        let told = |position: u64| {
            announced.iter().filter(|hole| hole.ranges.iter().any(|(from, to)| (*from..=*to).contains(&Position(position)))).count()
        };
        prop_assert!(lost.iter().all(|position| told(*position) >= 1));
        let aged = steps.iter().take(lost.len()).filter(|(.., leave)| *leave).count();
        prop_assert_eq!(missing(&announced), (lost.len() + aged) as u64);
        for hole in &announced {
            prop_assert!(hole.ranges.len() <= RANGES_MAX && hole.about.groups.len() <= GROUPS_MAX);
            prop_assert!(hole.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", hole.ranges);
        }
    }

    #[test]
    fn a_shortened_gap_keeps_its_mark_and_its_coverage(
        lost in prop::collection::btree_set(1u64..500, 1..200),
        (ranges, groups) in (0usize..10, 0usize..5),
    ) {
        let mut about = About::default();
        about.groups.extend(lost.iter().map(|position| format!("g{}", position % 40)));
        let groups_there = about.groups.len() as u64;
        let each = lost.iter().map(|position| (Position(*position), Position(*position))).collect();
        let hole = PendingGap::new(Reason::Damaged, each, about);
        let mut short = hole.clone();
        short.shorten(ranges, groups);
        prop_assert_eq!(short.mark(), hole.mark());
        prop_assert!(short.ranges.len() <= ranges.max(1) && short.about.groups.len() <= groups);
        let covered = |position: &u64| short.ranges.iter().any(|(from, to)| (*from..=*to).contains(&Position(*position)));
        prop_assert!(lost.iter().all(covered));
        prop_assert_eq!(short.about.groups.len() as u64 + short.about.further, groups_there);
    }
}

proptest! {
    /// As if the two nearest ranges became one, again and again.
    #[test]
    fn a_hole_is_shortened_where_its_ranges_are_nearest(
        steps in prop::collection::vec((2u64..9, 0u64..5), 1..80),
        most in 0usize..40,
    ) {
        let mut end = 0;
        let ranges = steps.iter().map(|(space, length)| {
            let from = end + space;
            end = from + length;
            (from, end)
        });
        let mut hole = PendingGap { reason: Reason::Damaged, ranges: ranges.map(|(from, to)| (Position(from), Position(to))).collect(), count: 0, about: About::default() };
        let mut expected = hole.ranges.clone();
        while expected.len() > most.max(1) {
            let at = (1..expected.len()).min_by_key(|at| expected[*at].0 - expected[at - 1].1).unwrap();
            expected[at - 1].1 = expected.remove(at).1;
        }
        hole.shorten(most, 0);
        prop_assert_eq!(hole.ranges, expected);
    }

    #[test]
    fn whatever_ranges_are_read_they_come_out_ascending_and_disjoint(ranges: Vec<(u64, u64)>) {
        let ranges = ranges.into_iter().map(|(from, to)| (Position(from), Position(to))).collect();
        let hole = PendingGap { reason: Reason::Damaged, ranges, count: u64::MAX, about: About { further: u64::MAX, ..About::default() } };
        let mut holes = PendingGaps::restore(vec![hole.clone()]);
        holes.note(PendingGap { ranges: vec![(Position(1), Position(1)), (Position(u64::MAX), Position(u64::MAX))], ..hole });
        for (at, hole) in holes.all().iter().enumerate() {
            prop_assert!(hole.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{at}: {:?}", hole.ranges);
        }
    }
}

#[test]
fn a_silent_lane_keeps_no_holes() {
    let mut holes = PendingGaps::restore(vec![PendingGap::new(
        Reason::MaxBytes,
        vec![(Position(1), Position(9))],
        About::default(),
    )]);
    holes.set_silent(true);
    holes.note(PendingGap::new(Reason::Damaged, vec![(Position(10), Position(10))], About::default()));
    assert_eq!(holes.all(), []);
}
