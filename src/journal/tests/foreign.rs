//! Generations of another journal in this one's folder: none goes in silence. Those of ids that the journal had go as ever.

use super::*;
use crate::journal::tests::damage::{generations, on_board};
use crate::journal::tests::slots::forge;
use std::fs;

/// Copies all generations of one journal into another one's folder.
fn mix(from: &Path, into: &Path) -> Vec<PathBuf> {
    let folders = generations(from);
    for folder in &folders {
        let to = into.join("log").join(folder.file_name().unwrap());
        assert!(!to.exists(), "{}", to.display());
        testkit::folder::copy(folder, &to).unwrap();
    }
    folders
}

/// Settles all that waits, and appends and settles more, so that all before it goes.
fn drain(rig: &mut Rig, next: u64) {
    for from in [next, next + 300] {
        rig.append(from..=from + 299);
        let read = rig.read_all();
        rig.lane().settle(read.iter().map(|(position, _)| (Position(*position), Outcome::Accepted)));
    }
    rig.journal.0.write_state().unwrap();
}

#[test]
fn generations_of_another_journal_are_set_aside_whole() {
    let (other, dir) = (crate::testing::fast_dir(), crate::testing::fast_dir());
    let mut rig = start(&options(other.path()));
    rig.append(1..=140);
    rig.end(false);
    let mut rig = start(&options(dir.path()));
    drain(&mut rig, 1);
    rig.end(false);
    let foreign = mix(other.path(), dir.path());
    let mut rig = start(&options(dir.path()));
    rig.append(601..=610);
    assert_eq!(rig.read_all(), plain(601..=610), "what waits is read as ever");
    drain(&mut rig, 611);
    let stats = rig.journal.stats();
    assert_eq!((stats.foreign, stats.set_aside, rig.stats().damaged), (foreign.len(), 0, 0));
    for folder in &foreign {
        let name = format!("aside/foreign-{}/db", folder.file_name().unwrap().to_str().unwrap());
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), fs::read(folder.join("db")).unwrap());
    }
    assert_eq!(rig.journal.try_aside_again(), 0);
    rig.end(false);
    let rig = start(&options(dir.path()));
    assert_eq!(rig.journal.stats().foreign, foreign.len(), "until a person removes them");
    rig.end(false);
}

#[test]
fn of_two_journals_first_generations_both_are_kept() {
    let (other, dir) = (crate::testing::fast_dir(), crate::testing::fast_dir());
    let mut rig = start(&options(other.path()));
    rig.append(1..=30);
    rig.end(false);
    let mut rig = start(&options(dir.path()));
    rig.append(1..=20);
    rig.end(false);
    // Carried over, so that its folder has another name.
    start(&options(dir.path())).end(false);
    mix(other.path(), dir.path());
    let rig = start(&options(dir.path()));
    assert_eq!((rig.read_all(), rig.journal.stats().foreign), (plain(1..=20), 1));
    rig.end(false);
}

/// A card that was moved, and then moved again: what came before has the former ids.
#[test]
fn generations_of_former_ids_go_as_ever() {
    // As this version keeps them, as an earlier one kept none, and as if they were lost.
    for (former, foreign) in [("kept", false), ("unknown", false), ("lost", true)] {
        let (dir, machine) = (crate::testing::fast_dir(), tempfile::tempdir().unwrap());
        for (count, board) in ["board-one", "board-two", "board-three"].into_iter().enumerate() {
            let mut rig = start(&on_board(dir.path(), machine.path(), Some(board)));
            assert_eq!(rig.report.copied, count > 0);
            rig.append(count as u64 * 300 + 1..=count as u64 * 300 + 300);
            rig.end(false);
        }
        forge(dir.path(), |state| match former {
            "kept" => assert_eq!(state.former.as_ref().map(Vec::len), Some(2)),
            "unknown" => state.former = None,
            _ => state.former = Some(Vec::new()),
        });
        let mut rig = start(&on_board(dir.path(), machine.path(), Some("board-three")));
        drain(&mut rig, 901);
        let stats = rig.journal.stats();
        assert_eq!(stats.foreign > 0, foreign, "{former}");
        assert!(stats.generations < 5 && rig.stats().damaged == 0, "{former}: {stats:?}");
        rig.end(false);
    }
}
