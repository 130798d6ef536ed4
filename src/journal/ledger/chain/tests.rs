//! Whatever order positions are settled in, and whatever restarts in between: the sum is the plain fold over how they ended.

use super::*;
use crate::clock::BootId;
use crate::journal::checkpoint::lane_state::{LaneState, Room};
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::record::{Epoch, LaneId};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Three numbers to a position of the lane.
fn number(position: u64) -> Number {
    Number(position * 3)
}

fn of(position: u64) -> Digest {
    crate::record::chain::digest(Position(position), "id", "t", &position.to_be_bytes())
}

/// A lane of which the chain is kept.
fn lane(appended: u64) -> LaneLedger {
    let mut book = LaneLedger::new(LaneId(0), "main".into(), Number(1));
    book.next = Position(appended + 1);
    book.keep_chain(7);
    book
}

/// What a reader of all messages and gap records computes for `since..next`.
fn plain(ended: &BTreeMap<u64, Outcome>, since: Position, next: Position) -> Digest {
    since.until(next).fold(START, |value, position| match ended[&position.0] {
        Outcome::Accepted => link(&value, &of(position.0)),
        _ => link(&value, &HOLE),
    })
}

/// Reads so many records again, as [`crate::journal::chain`] does it. `gone`: their generation is not there any more.
fn portion(book: &mut LaneLedger, most: usize, steps: usize, gone: &BTreeSet<u64>) -> bool {
    let cursor = book.cursor;
    match book.chain.go_on(cursor, steps) {
        Need::Nothing => return false,
        Need::Time => {}
        Need::Records(from, end) => {
            let first = from.0.div_ceil(3).max(1);
            let there = (first..book.next.0).filter(|position| !gone.contains(position));
            let found: Vec<u64> = there.take(most).collect();
            let (mut looked, mut upto) = (end, number(end.0));
            if found.len() == most && found[most - 1] + 1 < end.0 {
                (looked, upto) = (Position(found[most - 1] + 1), number(found[most - 1]).next());
            }
            let read =
                found.into_iter().map(Position).filter(|position| *position < end && book.chain.lacks(*position));
            let read = read.map(|position| (position, of(position.0))).collect();
            book.chain.take(7, read, upto, looked);
        }
    }
    true
}

/// What holds at any time.
fn assert_holds(book: &LaneLedger, ended: &BTreeMap<u64, Outcome>) -> Result<(), TestCaseError> {
    let chain = &book.chain;
    prop_assert!(chain.next <= book.cursor || chain.next == chain.since, "{:?}", chain);
    prop_assert_eq!(chain.value, plain(ended, chain.since, chain.next), "{:?}", chain);
    prop_assert!(chain.digests.len() <= DIGESTS_MAX + 300 && chain.holes.len() <= HOLES_MAX);
    // What it may have to read stays on the disk.
    let unsummed = chain.next.until(book.cursor).find(|position| ended[&position.0] == Outcome::Accepted);
    if let Some(position) = unsummed {
        let state = LaneState::of(book, Room::FULL);
        prop_assert!(chain.reads_from(book.cursor).is_some_and(|from| from <= number(position.0)));
        prop_assert!(state.needed_from() <= number(position.0));
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    /// From here on so many positions end like this; 0: accepted with their digests, 1: without them.
    Settle(u64, u64, usize),
    /// All below is evicted.
    Evict(u64),
    /// The chain comes on by so many records.
    Portion(usize),
    /// The state is written, in so much room.
    Write(usize),
    /// A crash: the last state is all that is left.
    Crash,
    /// A generation is given back out of turn.
    Gone(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u64..=160, 1u64..20, 0usize..5).prop_map(|(from, count, how)| Step::Settle(from, count, how)),
        1 => (1u64..=160).prop_map(Step::Evict),
        4 => (1usize..30).prop_map(Step::Portion),
        3 => (0usize..40).prop_map(Step::Write),
        1 => Just(Step::Crash),
        1 => (0u64..16).prop_map(Step::Gone),
    ]
}

const APPENDED: u64 = 160;

fn settle(book: &mut LaneLedger, ended: &mut BTreeMap<u64, Outcome>, from: u64, end: u64, how: usize) {
    for position in
        (from..end.min(book.next.0)).filter(|position| !book.is_settled(Position(*position))).collect::<Vec<_>>()
    {
        let outcome = Outcome::ALL[how.saturating_sub(1)];
        match how {
            0 | 1 => _ = book.accept(Position(position), (how == 0).then(|| of(position))),
            _ => _ = book.settle(Position(position), outcome),
        }
        ended.insert(position, outcome);
    }
}

proptest! {
    #[test]
    fn the_chain_is_the_plain_fold_whatever_order_or_restarts(steps in prop::collection::vec(step(), 1..120), harmless: bool) {
        let (mut book, mut ended, mut gone) = (lane(APPENDED), BTreeMap::new(), BTreeSet::new());
        (1..=APPENDED).for_each(|position| book.saw(Position(position), number(position)));
        let mut state = (LaneState::of(&book, Room::FULL), ended.clone());
        for step in steps {
            match step {
                Step::Settle(from, count, how) => settle(&mut book, &mut ended, from, from + count, how),
                Step::Evict(end) => {
                    (1..end).for_each(|position| _ = ended.entry(position).or_insert(Outcome::Evicted));
                    book.settle_below(Position(end), number(end), Outcome::Evicted);
                    if !harmless {
                        gone.extend(1..end);
                    }
                }
                Step::Portion(most) => _ = portion(&mut book, most, most, &gone),
                Step::Write(intervals) => {
                    let room = if harmless { Room::FULL } else { Room { intervals, ..Room::FULL } };
                    state = (LaneState::of(&book, room), ended.clone());
                }
                Step::Crash => {
                    book = state.0.clone().into_book().unwrap();
                    ended.clone_from(&state.1);
                    ended.retain(|position, _| book.is_settled(Position(*position)));
                    (1..=APPENDED).for_each(|position| book.saw(Position(position), number(position)));
                }
                Step::Gone(part) if !harmless => {
                    let part = part * 10 + 1..part * 10 + 11;
                    if part.clone().all(|position| book.is_settled(Position(position)) && state.1.contains_key(&position)) {
                        gone.extend(part);
                    }
                }
                Step::Gone(_) => {}
            }
            assert_holds(&book, &ended)?;
        }
        settle(&mut book, &mut ended, 1, APPENDED + 1, 0);
        let mut turns = 0;
        while portion(&mut book, 16, 16, &gone) {
            assert_holds(&book, &ended)?;
            turns += 1;
            prop_assert!(turns < 1_000, "it comes to its end: {:?}", book.chain);
        }
        prop_assert_eq!(book.chain.next, book.cursor);
        prop_assert_eq!(book.chain.reads_from(book.cursor), None);
        if harmless {
            prop_assert_eq!((book.chain.since, book.chain.restarts), (Position(1), 0), "nothing was lost");
        }
    }
}

#[test]
fn more_records_than_digests_behind_a_held_group_are_reread() {
    const MANY: u64 = 3 * DIGESTS_MAX as u64;
    let (mut book, mut ended) = (lane(MANY), BTreeMap::new());
    for position in 2..=MANY {
        book.saw(Position(position), number(position));
        book.accept(Position(position), Some(of(position)));
        ended.insert(position, Outcome::Accepted);
    }
    assert_eq!((book.chain.digests.len(), book.chain.next), (DIGESTS_MAX, Position(1)));
    book.accept(Position(1), Some(of(1)));
    ended.insert(1, Outcome::Accepted);
    assert_eq!(
        (book.cursor, book.chain.next),
        (Position(MANY + 1), Position(1 + STEPS as u64)),
        "the rest has its time"
    );
    assert_eq!(book.chain.reads_from(book.cursor), Some(Number(1)));
    while portion(&mut book, 256, STEPS, &BTreeSet::new()) {}
    assert_eq!((book.chain.next, book.chain.restarts), (book.cursor, 0));
    assert_eq!(book.chain.value, plain(&ended, Position(1), book.cursor));
}

#[test]
fn an_unreadable_record_restarts_the_chain_once_behind_it() {
    let (mut book, mut ended) = (lane(100), BTreeMap::new());
    (1..=100).for_each(|position| book.saw(Position(position), number(position)));
    settle(&mut book, &mut ended, 10, 101, 1);
    settle(&mut book, &mut ended, 1, 10, 0);
    assert_eq!((book.chain.next, book.chain.news()), (Position(10), None));
    let gone: BTreeSet<u64> = (30..=59).collect();
    while portion(&mut book, 7, 7, &gone) {}
    let chain = &book.chain;
    assert_eq!((chain.since, chain.next, chain.restarts), (Position(60), Position(101), 1));
    assert_eq!(chain.value, plain(&ended, Position(60), Position(101)));
    assert_eq!((book.chain.news(), book.chain.news()), (Some(Position(60)), None), "said once");
}

#[test]
fn more_holes_than_kept_restart_the_chain_among_them() {
    let runs = HOLES_MAX as u64 + 1;
    let (mut book, mut ended) = (lane(2 * runs + 2), BTreeMap::new());
    for run in 1..=runs {
        book.settle(Position(2 * run), Outcome::Damaged);
        ended.insert(2 * run, Outcome::Damaged);
    }
    let since = book.chain.since;
    assert_eq!((book.chain.restarts, since), (1, Position(HOLES_MAX as u64 + 2)));
    for position in (1..=2 * runs + 1).step_by(2) {
        book.accept(Position(position), Some(of(position)));
        ended.insert(position, Outcome::Accepted);
    }
    while portion(&mut book, 64, 64, &BTreeSet::new()) {}
    assert_eq!((book.chain.since, book.chain.next, book.chain.restarts), (since, book.cursor, 1));
    assert_eq!(book.chain.value, plain(&ended, since, book.cursor));
}

/// The log tells at a start which positions no room in the state was for; holes among them are not known one by one.
#[test]
fn without_room_for_holes_a_state_restarts_the_chain() {
    let (mut book, mut ended) = (lane(400), BTreeMap::new());
    settle(&mut book, &mut ended, 1, 20, 0);
    (40..=390).for_each(|position| settle(&mut book, &mut ended, position, position + 1, position as usize % 2 * 3));
    let restored = LaneState::of(&book, Room::FULL).into_book().unwrap();
    assert_eq!((restored.chain.since, restored.chain.restarts), (Position(391), 1), "175 runs");
    assert_eq!(restored.cursor, Position(20));
    let few = LaneState::of(&book, Room { chain: false, ..Room::FULL }).into_book().unwrap();
    assert_eq!((few.chain.settings, few.chain.since), (0, Position(20)), "as a state of an earlier build");
}

#[test]
fn other_settings_restart_the_chain_behind_all_possibly_sent_records() {
    let (mut book, mut ended) = (lane(50), BTreeMap::new());
    book.mark(Position(1), Epoch(1), BootId([1; 16]), 0);
    settle(&mut book, &mut ended, 1, 11, 0);
    settle(&mut book, &mut ended, 20, 31, 0);
    book.keep_chain(7);
    assert_eq!((book.chain.since, book.chain.next), (Position(1), Position(11)), "the same ones");
    book.keep_chain(8);
    assert_eq!((book.chain.since, book.chain.next, book.chain.restarts), (Position(51), Position(51), 1));
    settle(&mut book, &mut ended, 1, 51, 0);
    assert_eq!((book.cursor, book.chain.next), (Position(51), Position(51)));
    book.next = Position(61);
    (51..=60).for_each(|position| _ = book.accept(Position(position), Some(of(position))));
    (51..=60).for_each(|position| _ = ended.insert(position, Outcome::Accepted));
    assert_eq!(book.chain.value, plain(&ended, Position(51), Position(61)));
    // A lane of which nothing was ever sent begins at its first record.
    let mut fresh = LaneLedger::new(LaneId(0), "main".into(), Number(1));
    fresh.next = Position(9);
    fresh.keep_chain(8);
    assert_eq!((fresh.chain.since, fresh.chain.restarts), (Position(1), 0));
}

#[test]
fn a_hole_of_millions_is_summed_up_in_portions() {
    const MANY: u64 = 100_000;
    let mut book = lane(MANY + 5);
    book.settle_below(Position(MANY + 1), number(MANY + 1), Outcome::Evicted);
    assert_eq!((book.chain.next, book.chain.holes.len()), (Position(1 + STEPS as u64), 1));
    assert_eq!(book.chain.reads_from(book.cursor), None, "it holds nothing back");
    let restored = LaneState::of(&book, Room::FULL).into_book().unwrap();
    assert_eq!(
        (restored.chain.next, restored.chain.holes),
        (book.chain.next, [(book.chain.next, Position(MANY + 1))].into())
    );
    while portion(&mut book, 1, 4_096, &BTreeSet::new()) {}
    let expected = (0..MANY).fold(START, |value, _| link(&value, &HOLE));
    assert_eq!((book.chain.value, book.chain.restarts), (expected, 0));
}
