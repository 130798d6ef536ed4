//! Small things in a journal's folder: the format line, what others put there, a state write that was refused.

use super::*;
use std::fs;

#[test]
fn a_state_write_that_was_refused_is_tried_again_without_traffic() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    rig.read_all();
    let written = || {
        let state::Found::State { mut state, .. } = state::look(&dir.path().join("state")).unwrap() else { return 0 };
        state.lanes.remove(0).into_book().unwrap().cursor
    };
    // The keeper may be at it for the append; it waits for its second, and then finds a disk that refuses.
    let until = Instant::now() + Duration::from_secs(30);
    while locked(&rig.journal.0.keeper.flags).dirty {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    locked(&rig.journal.0.state).refuse(1);
    settle(&rig, 1..=10);
    while written() < 11 {
        assert!(Instant::now() < until, "nobody tried again");
        std::thread::yield_now();
    }
    rig.end(true);
}

#[test]
fn a_keeper_that_is_told_to_stop_does_not_wait_for_a_disk_that_refuses() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    locked(&rig.journal.0.state).refuse(u32::MAX);
    settle(&rig, 1..=0);
    let since = Instant::now();
    rig.end(false);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}
