//! The batcher against models.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

const LIMITS: BatchLimits = BatchLimits { entries: 10, bytes: 1000 };

/// What happens to a batch's entry.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Accepted,
    Again,
    Held,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Accepted), 1 => Just(Fate::Again), 1 => Just(Fate::Held)]
}

proptest! {
    #[test]
    fn a_group_flies_once_in_order_and_every_record_arrives(
        groups in prop::collection::vec(0u8..6, 1..120),
        sizes in prop::collection::vec(1usize..1500, 120),
        fates in prop::collection::vec(fate(), 400),
        strict: bool,
        flights_max in 1usize..5,
        rushed: bool,
    ) {
        let mut batcher = Batcher::new(if strict { Ordering::Strict } else { Ordering::Packed });
        for (index, group) in groups.iter().enumerate() {
            batcher.push(Position(index as u64 + 1), &format!("g{group}"), sizes[index], false);
        }
        let mut now = Instant::now();
        let mut fates = fates.into_iter().cycle();
        let mut flights: Vec<Vec<Position>> = Vec::new();
        let mut accepted: Vec<Position> = Vec::new();
        let group_of = |position: Position| groups[position.0 as usize - 1];
        for _ in 0..10_000 {
            while flights.len() < flights_max {
                let batch = batcher.next(LIMITS, now);
                if batch.is_empty() { break }
                let bytes: usize = batch.iter().map(|p| sizes[p.0 as usize - 1]).sum();
                prop_assert!(batch.len() <= 10 && (bytes <= 1000 || batch.len() == 1));
                for (index, position) in batch.iter().enumerate() {
                    let group = group_of(*position);
                    prop_assert!(flights.iter().flatten().all(|other| group_of(*other) != group), "one flight a group");
                    let before = batch[..index].iter().filter(|p| group_of(**p) == group);
                    let ahead: Vec<Position> = before.copied().collect();
                    prop_assert!(!strict || ahead.is_empty(), "one record of a group in a strict batch");
                    prop_assert!(ahead.iter().all(|p| p < position));
                    let lower = (1..position.0).map(Position).filter(|p| group_of(*p) == group && !accepted.contains(p) && !ahead.contains(p));
                    prop_assert_eq!(lower.count(), 0, "the lowest waiting one goes first");
                }
                flights.push(batch);
            }
            if flights.is_empty() {
                if batcher.is_empty() { break }
                let release = batcher.next_release().expect("something waits, so something is held");
                if rushed { batcher.release_all() } else { now = release }
                continue;
            }
            for position in flights.remove(0) {
                match fates.next().unwrap() {
                    Fate::Accepted => { accepted.push(position); batcher.done(position); }
                    Fate::Again => batcher.again(position, true, None),
                    Fate::Held => batcher.again(position, false, Some(now + Duration::from_secs(1))),
                }
            }
            // The model is about order within strict batches; packed ones may invert on partial failure.
            if !strict && accepted.windows(2).any(|pair| pair[0] > pair[1]) { return Ok(()) }
        }
        prop_assert_eq!(accepted.len(), groups.len());
    }
}

#[test]
fn what_may_have_been_sent_goes_before_all_else() {
    let mut batcher = Batcher::new(Ordering::Strict);
    for position in 1..=20 {
        batcher.push(Position(position), &format!("g{position}"), 10, position > 15);
    }
    let first: BTreeSet<Position> = batcher.next(LIMITS, Instant::now()).into_iter().collect();
    assert!((16..=20).map(Position).all(|position| first.contains(&position)));
}

#[test]
fn a_packed_group_goes_strictly_after_a_partial_failure() {
    let mut batcher = Batcher::new(Ordering::Packed);
    for position in 1..=300 {
        batcher.push(Position(position), "g", 10, false);
    }
    let now = Instant::now();
    let batch = batcher.next(LIMITS, now);
    assert_eq!(batch, (1..=10).map(Position).collect::<Vec<_>>());
    batcher.go_strictly(Position(3));
    batch.iter().for_each(|position| {
        if *position == Position(3) { batcher.again(Position(3), false, None) } else { _ = batcher.done(*position) }
    });
    let mut singles = 0;
    loop {
        let batch = batcher.next(LIMITS, now);
        if batch.len() != 1 {
            break;
        }
        singles += 1;
        batcher.done(batch[0]);
    }
    assert_eq!(singles, STRICT_AFTER_FAILURE as usize);
}

#[test]
fn a_full_window_names_its_blocker_across_any_positions() {
    let mut batcher = Batcher::new(Ordering::Strict);
    batcher.push(Position(1), "stuck", 10, false);
    for position in 2..=10 {
        batcher.push(Position(position * 1_000_000), "other", 10, false);
    }
    assert!(batcher.is_full(10) && !batcher.is_full(11));
    assert_eq!(batcher.lowest_group(), Some("stuck"));
    assert_eq!(batcher.forget_below(Position(10_000_000)).len(), 9);
    assert_eq!(batcher.len(), 1);
}

#[test]
fn a_held_group_gives_up_only_what_was_never_sent() {
    let (mut batcher, now) = (Batcher::new(Ordering::Strict), Instant::now());
    for position in 1..=30 {
        batcher.push(Position(position), ["held", "suspect", "free"][position as usize % 3], 10, false);
    }
    // 1, 4, 7… are the suspect's, 2, 5, 8… are free, 3, 6, 9… are held.
    let flown = batcher.next(BatchLimits { entries: 3, ..LIMITS }, now);
    assert_eq!(flown, [Position(1), Position(2), Position(3)]);
    batcher.suspect(Position(1));
    batcher.again(Position(1), true, None);
    batcher.again(Position(2), false, None);
    batcher.again(Position(3), false, Some(now + Duration::from_secs(9)));
    let left = batcher.leave_behind(|position| position != Position(18));
    let positions = |from: u64| (from..=30).step_by(3).map(Position).collect::<Vec<_>>();
    assert_eq!(left, [("held".into(), positions(21)), ("suspect".into(), positions(4))]);
    assert_eq!((batcher.len_of("held"), batcher.len_of("suspect"), batcher.len_of("free")), (6, 1, 10));
    assert!(batcher.leave_behind(|_| true).len() == 1, "what may leave later leaves later");
    let last = batcher.next_suspects(LIMITS, now)[0];
    assert_eq!(batcher.done(last).as_deref(), Some("suspect"), "nothing of it is left");
}

#[test]
fn suspects_travel_alone_and_the_least_tried_goes_first() {
    let (mut batcher, now) = (Batcher::new(Ordering::Packed), Instant::now());
    for position in 1..=12 {
        batcher.push(Position(position), if position <= 4 { "a" } else { "b" }, 10, false);
    }
    batcher.suspect(Position(2));
    batcher.suspect(Position(5));
    let one = BatchLimits { entries: 1, ..LIMITS };
    assert_eq!(batcher.next(LIMITS, now), [Position(1)], "what lies behind a suspect does not pass it");
    assert_eq!(batcher.next_suspects(one, now), [Position(5)]);
    batcher.again(Position(5), true, None);
    batcher.done(Position(1));
    assert_eq!(batcher.next(LIMITS, now), []);
    assert_eq!(batcher.next_suspects(one, now), [Position(2)], "tried least");
    batcher.again(Position(2), true, None);
    assert_eq!(
        batcher.next_suspects(LIMITS, now),
        [Position(2), Position(5)],
        "of several groups, where it is asked for"
    );
    batcher.acquit(Position(2));
    batcher.again(Position(2), true, None);
    assert_eq!(batcher.next(LIMITS, now), [Position(2), Position(3), Position(4)]);
}
