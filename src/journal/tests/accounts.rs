//! Outcomes over restarts: what was settled out of turn keeps how it ended, in however little room the state file has.

use super::*;
use crate::journal::checkpoint::lane_state::LaneState;
use crate::journal::checkpoint::lane_state::Room;
use crate::journal::ledger::gaps::RANGES_MAX;
use crate::record::{Number, Position};

fn book(appended: u64) -> LaneLedger {
    let mut book = LaneLedger::new(LaneId(0), MAIN.into(), Number(1));
    book.next = Position(appended + 1);
    book
}

/// A record that could not be read back, behind others that wait: after a restart its outcome was "accepted", and the next
/// state with less room took it out of a count in which it had never been.
#[test]
fn damage_out_of_turn_survives_restart_and_shrinking() {
    let mut book = book(200);
    (2..=200).step_by(2).for_each(|position| _ = book.settle(Position(position), Outcome::Damaged));
    let again = LaneState::of(&book, Room::FULL).into_book().unwrap();
    assert_eq!(again.ledger, book.ledger);
    let less = LaneState::of(&again, Room { intervals: 30, ..Room::FULL }).into_book().unwrap();
    assert_eq!((less.ledger.damaged, less.ledger.accepted, less.waiting()), (30, 0, 170));
}

/// A jump of four million positions, as a forged or a damaged record can make one: booked in no time, and read again.
#[test]
fn a_hole_of_millions_costs_no_time_or_state_file() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    let lane = rig.lane().id();
    locked(&rig.journal.0.books)[0].next = Position(1 << 23);
    let since = Instant::now();
    rig.journal.0.book_damage(lane, Position(5), Position(1 << 22), About::default());
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    rig.journal.0.write_state().unwrap();
    rig.end(true);
    let rig = start(&options(dir.path()));
    assert!(!rig.report.state_lost, "what was written is read");
    let stats = rig.stats();
    assert_eq!((stats.damaged, stats.cursor), ((1 << 22) - 5, Position(1)));
    add_up(&stats);
    rig.end(false);
}

#[test]
fn a_hole_of_many_ranges_is_shortened_quickly() {
    let since = Instant::now();
    let ranges = (1..80_000).map(|n| (Position(n * 10), Position(n * 10 + n % 7))).collect();
    let hole = PendingGap::new(Reason::Damaged, ranges, About::default());
    assert_eq!(hole.ranges.len(), RANGES_MAX);
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}
