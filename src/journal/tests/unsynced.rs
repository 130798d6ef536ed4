//! A sync failed, or may have: what that file holds is written into another one before it counts.

use super::*;
use crate::journal::generation::active::ActiveGeneration;
use crate::journal::generation::manifest::{Manifest, ManifestLane};
use crate::journal::log::listing;
use std::path::PathBuf;

fn folders(journal: &Path) -> Vec<PathBuf> {
    damage::generations(journal)
}

/// More than is carried over at each opening anyway.
fn large(path: &Path) -> JournalOptions {
    JournalOptions { generation_bytes: 1 << 30, quiet: Duration::from_secs(3600), ..options(path) }
}

#[test]
fn a_killed_runs_last_commit_is_rewritten_before_it_counts() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&large(dir.path()));
    rig.append(1..=800);
    let (id, lane, epoch) = (rig.journal.id(), rig.lane().id(), rig.journal.epoch());
    rig.end(false);
    let before = folders(dir.path());
    let rig = start(&large(dir.path()));
    assert_eq!(folders(dir.path()), before, "the state says that all of it was synced");
    rig.end(false);
    append_to_newest(dir.path(), &bare_frames(801..=802, id, lane, epoch.0));
    let mut rig = start(&large(dir.path()));
    let after = folders(dir.path());
    assert!(after.len() == 1 && after != before, "{after:?}");
    assert_eq!(rig.tail, (1..=802).map(Number).collect::<Vec<_>>());
    rig.append(803..=810);
    assert_eq!(rig.journal.0.log.firsts(), [Number(1)], "and it is gone on in");
    assert_eq!(rig.read_all(), plain(1..=810));
    rig.end(true);
    let rig = start(&large(dir.path()));
    assert_eq!(rig.read_all(), plain(1..=810));
    rig.end(false);
}

#[test]
fn an_unsyncable_generation_at_opening_is_awaited_and_untrusted() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&large(dir.path()));
    rig.append(1..=800);
    rig.end(false);
    let before = folders(dir.path());
    let refused = files::refuse_syncs(dir.path());
    let opened = Journal::open(&large(dir.path()), &Clock::new(None));
    assert!(matches!(opened, Err(JournalError::Io { .. })), "{opened:?}");
    assert!(folders(dir.path()).contains(&before[0]), "what is there stays there");
    drop(refused);
    // The next sync says OK, about pages that may be gone.
    let rig = start(&large(dir.path()));
    let after = folders(dir.path());
    assert!(after.len() == 1 && after != before, "{after:?}");
    assert_eq!(rig.read_all(), plain(1..=800));
    rig.end(false);
}

#[test]
fn a_failed_sync_rewrites_the_whole_generation_to_another_file() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&large(dir.path()));
    rig.append(1..=80);
    let before = folders(dir.path());
    for round in 0..3 {
        std::fs::write(dir.path().join("rig-panic-sync"), "2").unwrap();
        let mut reader = rig.lane().reader();
        rig.journal.0.forget();
        let head = reader.read(10, 1 << 20).unwrap().len() as u64;
        let next = 81 + round * 40;
        rig.append(next..=next + 39);
        assert_eq!(read_all(&mut reader), plain(head + 1..=next + 39), "whoever read in the old file goes on");
    }
    assert_eq!(rig.journal.0.log.firsts(), [Number(1)]);
    let after = folders(dir.path());
    assert!(after.len() == 1 && after != before, "{after:?}");
    assert_eq!(rig.journal.stats().writer_panics, 0);
    rig.journal.0.forget();
    assert_eq!(rig.read_all(), plain(1..=200));
    rig.end(true);
    let rig = start(&large(dir.path()));
    assert_eq!(rig.read_all(), plain(1..=200));
    rig.end(false);
}

/// Begins a generation at `first`, as an attempt does whose last step is refused.
fn begin(journal: &Path, rig: &Rig, first: u64) {
    let lanes = vec![ManifestLane { id: rig.lane().id(), name: MAIN.into(), next: Position(first) }];
    let manifest = Manifest { format: frame::FRAME_VERSION, first: Number(first), epoch: rig.journal.epoch(), lanes };
    let dir = journal.join("log").join(listing::name(Number(first), 1));
    drop(ActiveGeneration::create(&dir, &manifest, std::iter::empty(), Arc::default()).unwrap());
}

#[test]
fn what_was_only_begun_ends_no_generation() {
    for later in [false, true] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&large(dir.path()));
        rig.append(1..=40);
        begin(dir.path(), &rig, 21);
        if later {
            // As a start does that does not carry over what is there.
            rig.journal.0.log.end(Number(41));
            begin(dir.path(), &rig, 41);
        }
        rig.end(false);
        let verified = View::open(dir.path()).unwrap().verify(&mut |_, _| {}).unwrap().generations;
        assert!(verified.iter().all(|generation| generation.missing.is_empty()), "{verified:?}");
        let mut rig = start(&large(dir.path()));
        assert_eq!((rig.report.missing, rig.stats().damaged), (0, 0));
        rig.append(41..=50);
        assert_eq!(rig.read_all(), plain(1..=50));
        assert_eq!(rig.journal.0.log.disk_bytes(), files::disk_bytes(&dir.path().join("log")));
        rig.end(false);
        let rig = start(&large(dir.path()));
        assert_eq!(rig.read_all(), plain(1..=50));
        rig.end(false);
    }
}

#[test]
fn many_journals_flush_at_once() {
    // More than sled keeps threads for all databases of a process: each write of theirs needs one.
    let (done, ended) = std::sync::mpsc::channel();
    for _ in 0..24 {
        let done = done.clone();
        std::thread::spawn(move || {
            let dir = crate::testing::fast_dir();
            let mut rig = start(&large(dir.path()));
            (1..=200).for_each(|n| rig.append(n..=n));
            rig.end(false);
            done.send(()).unwrap();
        });
    }
    for _ in 0..24 {
        ended.recv_timeout(Duration::from_secs(60)).expect("a flush that never returns");
    }
}
