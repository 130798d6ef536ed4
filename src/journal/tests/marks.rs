//! Attempted ⇒ marked, durably, before: whichever caller asks, whatever the disk is doing, and after a drain was made anew.

use super::*;
use crate::record::Position;

#[test]
fn a_mark_still_being_written_is_never_passed_on() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=50);
    let (lane, id) = (rig.lane(), rig.lane().id());
    // The card stalls: the thread that writes the state waits for this.
    let stalled = locked(&rig.journal.0.state);
    let one = lane.clone();
    let first = std::thread::spawn(move || one.mark(&[Position(1)]).unwrap());
    let book = |look: &dyn Fn(&LaneLedger) -> bool| {
        look(locked(&rig.journal.0.books).iter().find(|book| book.id == id).expect("the lane's book"))
    };
    while !book(&LaneLedger::has_unwritten_mark) {
        std::thread::yield_now();
    }
    assert!(lane.needs_mark(&[Position(2)]), "the stride covers it, but a cut now would leave no mark behind");
    let (two, passed) = (lane.clone(), Arc::new(AtomicBool::new(false)));
    let said = passed.clone();
    let second = std::thread::spawn(move || {
        two.mark(&[Position(2)]).unwrap();
        said.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!passed.load(std::sync::atomic::Ordering::SeqCst), "nobody is let through before the card has answered");
    drop(stalled);
    first.join().unwrap();
    second.join().unwrap();
    assert!(!lane.needs_mark(&[Position(2), Position(3)]), "on disk, the stride serves all");
    rig.end(false);
}

#[test]
fn a_drains_attempts_are_maybe_sent_for_the_next_drain() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=50);
    let lane = rig.lane();
    lane.mark(&[1, 2, 7].map(Position)).unwrap();
    let mut reader = rig.lane().reader();
    let of = |read: &ReadRecord| (read.position, matches!(read.maybe_sent, MaybeSent::Since(_)));
    let read = reader.read(1000, 1 << 20).unwrap();
    assert_eq!(read.iter().map(of).collect::<Vec<_>>(), (1..=50).map(|p| (Position(p), p <= 7)).collect::<Vec<_>>());
    rig.end(false);
}
