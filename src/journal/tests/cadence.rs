//! When the state file is written: what may wait, what may not, and what takes along whatever waits.

use super::*;
use crate::journal::checkpoint::state;
use crate::journal::ledger::cadence::{LAG_POSITIONS, STATE_PAUSE};
use crate::journal::tests::rest::await_that;
use crate::journal::tests::room::fill;
use crate::record::{Number, Position};

/// The main lane's queue is FIFO.
fn absorbing(options: JournalOptions) -> JournalOptions {
    JournalOptions { absorbing: vec![MAIN.into()], ..options }
}

/// The main lane's book as the disk has it.
fn on_disk(path: &Path) -> LaneLedger {
    let state::Found::State { mut state, .. } = state::look(&path.join("state")).unwrap() else { panic!("no state") };
    state.lanes.remove(0).into_book().unwrap()
}

/// How long what moved may still wait; `None`: the disk has all of it.
fn left(rig: &Rig) -> Option<Duration> {
    let due = locked(&rig.journal.0.keeper.flags).lag.due();
    due.map(|due| due.saturating_duration_since(Instant::now()))
}

#[test]
fn fifo_acceptances_wait_for_a_mark_or_the_end() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&absorbing(options(dir.path())));
    rig.append(1..=10);
    rig.read_all();
    settle(&rig, 1..=5);
    assert!(left(&rig).is_some_and(|left| left > 2 * STATE_PAUSE));
    assert_eq!(on_disk(dir.path()).cursor, Position(1));
    rig.lane().mark(&[Position(6)]).unwrap();
    assert_eq!((left(&rig), on_disk(dir.path()).cursor), (None, Position(6)));
    settle(&rig, 6..=7);
    assert!(left(&rig).is_some_and(|left| left > 2 * STATE_PAUSE));
    rig.end(false);
    assert_eq!(on_disk(dir.path()).cursor, Position(8));
}

#[test]
fn standard_acceptances_and_a_thousand_positions_do_not_wait() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    rig.read_all();
    settle(&rig, 1..=5);
    await_that("it is written", || on_disk(dir.path()).cursor == Position(6));
    rig.end(false);
    let rig = &mut start(&absorbing(options(dir.path())));
    rig.append(11..=LAG_POSITIONS + 10);
    rig.read_all();
    settle(rig, 6..=LAG_POSITIONS + 5);
    await_that("it is written", || on_disk(dir.path()).cursor == Position(LAG_POSITIONS + 6));
}

#[test]
fn losses_and_acks_to_be_closed_are_written_without_waiting() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&absorbing(options(dir.path())));
    rig.append(1..=10);
    let read = rig.lane().reader().read(10, 1 << 20).unwrap();
    rig.lane().settle([(Position(1), Outcome::Damaged)]);
    await_that("damage is written", || on_disk(dir.path()).ledger.damaged == 1);
    assert!(rig.lane().quarantine(&read[1].record, Position(2), "Refused", "on purpose").unwrap());
    await_that("what is quarantined is written", || on_disk(dir.path()).ledger.quarantined == 1);
    rig.journal.0.book_damage(
        rig.lane().id(),
        Position(3),
        Position(4),
        crate::journal::ledger::gaps::About::default(),
    );
    await_that("a hole is written", || on_disk(dir.path()).ledger.damaged == 2);
    let writes = rig.journal.0.state_writes();
    rig.journal.note_open_acks(crate::record::OpenAcks { session: 1, through: Number(10), open: vec![] }, true);
    await_that("acks are written", || rig.journal.0.state_writes() > writes);
    rig.end(false);
}

/// What lags after a crash comes again, and is known for what it is.
#[test]
fn unwritten_acceptances_come_again_marked_as_maybe_sent() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&absorbing(options(dir.path())));
    rig.append(1..=10);
    rig.lane().mark(&[1, 2, 3].map(Position)).unwrap();
    rig.read_all();
    settle(&rig, 1..=3);
    rig.end(true);
    let rig = start(&absorbing(options(dir.path())));
    let read = rig.lane().reader().read(100, 1 << 20).unwrap();
    assert_eq!(read.len(), 10);
    assert!(read[..3].iter().all(|read| matches!(read.maybe_sent, MaybeSent::Since(_))));
    rig.end(false);
}

#[test]
fn at_a_stopping_bound_fifo_acceptances_make_room_immediately() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&absorbing(bounded(dir.path(), 3_000_000, OnFull::Stop)));
    rig.append(1..=200);
    assert!(fill(&mut rig, 6_000) < 6_000);
    let firsts = rig.journal.0.log.firsts();
    let mut reader = rig.lane().reader();
    // One generation of many, and less than what is written for its number alone.
    let upto = (firsts[1] - Number(1)).min(LAG_POSITIONS - 1);
    assert_eq!(upto, firsts[1] - Number(1), "a small generation");
    assert_eq!(reader.read(upto as usize, 1 << 20).unwrap().len() as u64, upto);
    let since = Instant::now();
    settle(&rig, 1..=upto);
    await_that("it is deleted", || rig.journal.0.log.firsts()[0] > Number(1));
    assert!(since.elapsed() < 3 * STATE_PAUSE, "{:?}", since.elapsed());
    drop(reader);
    rig.end(false);
}

#[test]
fn a_stop_waits_for_the_write_that_is_under_way() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=3);
    rig.journal.0.write_state().unwrap();
    // As a mark's write has it, which has taken all that was due.
    let under_way = locked(&rig.journal.0.state);
    rig.journal.stop_keeping();
    let keeper = rig.journal.clone();
    let (said, heard) = std::sync::mpsc::channel();
    let kept = std::thread::spawn(move || {
        keeper.keep();
        said.send(()).unwrap();
    });
    assert!(heard.recv_timeout(Duration::from_millis(100)).is_err(), "nobody knows yet whether it is on the disk");
    drop(under_way);
    heard.recv_timeout(Duration::from_secs(30)).unwrap();
    kept.join().unwrap();
    rig.end(true);
}
