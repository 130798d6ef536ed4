//! The two slots: written in turn, damaged, left behind.

use super::*;
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::record::{LaneId, Position};

fn state(epoch: u64) -> State {
    State {
        journal: JournalId(7),
        epoch: Epoch(epoch),
        high: Number(3),
        fingerprint: 0,
        machine: Machine::default(),
        run: 11,
        open_acks: Some(OpenAcks { session: 1, through: Number(3), open: vec![Number(2)] }),
        last_good_s: Some(5),
        lane_ids: 0,
        former: Some(vec![JournalId(5)]),
        loss: Some(StateLoss { epoch: Epoch(epoch), before: Number(3), presumed: 1 }),
        lanes: vec![],
    }
}

fn reopen(path: &Path) -> (StateFile, Found) {
    StateFile::open(path, None).unwrap()
}

#[test]
fn the_newest_untorn_state_is_found_on_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (mut file, found) = reopen(&path);
    assert!(matches!(found, Found::Nothing));
    let holds = |epoch, lost| {
        let Found::State { state: found, lost: said } = reopen(&path).1 else { return false };
        *found == state(epoch) && lost == said
    };
    for epoch in 1..=5 {
        file.write(fit(|_| state(epoch)).unwrap(), Home::Disk).unwrap();
        assert!(holds(epoch, false), "with one slot that was never written, too");
    }
    let (newest, older) = ((file.slot * SLOT_LEN) as u64, ((1 - file.slot) * SLOT_LEN) as u64);
    file.file.write_all_at(&[0xff; 100], newest + 30).unwrap();
    assert!(holds(4, true));
    file.file.write_all_at(&[0; SLOT_LEN], newest).unwrap();
    assert!(holds(4, true), "it is blank, and was written before");
    // The next write spares the only sound one.
    reopen(&path).0.write(fit(|_| state(6)).unwrap(), Home::Disk).unwrap();
    assert!(holds(6, false));
    file.file.write_all_at(&[0xff; 100], newest + 30).unwrap();
    assert!(holds(4, true));
    file.file.write_all_at(&[0xff; 100], older + 30).unwrap();
    assert!(matches!(reopen(&path).1, Found::Damaged));
    file.file.write_all_at(&[0; 2 * SLOT_LEN], 0).unwrap();
    assert!(matches!(reopen(&path).1, Found::Nothing));
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    reopen(&path).0.write(fit(|_| state(1)).unwrap(), Home::Disk).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let slot = &mut bytes[SLOT_LEN..];
    slot[7] = 2;
    twoslot::seal(slot);
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(StateFile::open(&path, None), Err(StateError::Newer { format: 2, .. })));
}

#[test]
fn many_settled_intervals_are_cut_to_fit_the_slot() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = LaneLedger::new(LaneId(0), "main".into(), Number(1));
    book.next = Position(40_001);
    for position in (2..40_000).step_by(2) {
        book.settle(Position(position), Outcome::Accepted);
    }
    let (mut file, _) = reopen(&dir.path().join("state"));
    let make = |room| State { lanes: vec![LaneState::of(&book, room)], ..state(1) };
    let written = file.write(fit(make).unwrap(), Home::Disk).unwrap().state;
    assert!(written.lanes[0].clone().into_book().unwrap().ledger.accepted >= 64);
}
