//! What the torture (`crates/trials/src/bin/torture/`) found, one test each: the journal at the very moment, on the modelled disk.

use crate::clock::Clock;
use crate::journal::disk::files;
use crate::journal::disk::frame::FRAME_VERSION;
use crate::journal::generation::active::ActiveGeneration;
use crate::journal::generation::manifest::{Manifest, ManifestLane};
use crate::journal::log::entry::Readings;
use crate::journal::log::listing::list;
use crate::journal::log::{Log, framed};
use crate::journal::quarantine::{Cause, Quarantine, look};
use crate::journal::tests::{
    Journal, JournalOptions, MAIN, Outcome, Rig, append_to_newest, bare_frames, begin, damage, options, plain,
    read_all, settle, start,
};
use crate::record::{Epoch, LaneId, Number, Position};
use crate::sync::locked;
use ::power_cut::{Call, Device, Disk, Event, Fault, Habits, Image, Recording, Trace};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// There is one recording at a time in a process.
static RECORDS: Mutex<()> = Mutex::new(());

pub(crate) const FROM_HERE: u64 = 1;

/// Every image that a cut can leave in which nothing survived that no sync had made certain, from the mark on.
pub(crate) fn worst_cuts(trace: &Trace) -> impl Iterator<Item = Image> {
    let mark = trace.iter().position(|event| *event == Event::Mark(FROM_HERE)).expect("it was set");
    (mark..=trace.len()).map(|events| {
        let disk = Disk::new(Device::Volatile).after(&trace[..events]).expect("a whole trace");
        disk.cut(&mut |_| 0).0
    })
}

fn start_on(image: &Image, check: impl FnOnce(&Rig)) {
    let dir = crate::testing::fast_dir();
    image.write_to(dir.path()).unwrap();
    let rig = start(&options(dir.path()));
    check(&rig);
    rig.end(true);
}

pub(crate) fn recorded(work: impl FnOnce(&Path, &Recording)) -> Trace {
    recorded_with(Habits::default(), work)
}

fn recorded_with(habits: Habits, work: impl FnOnce(&Path, &Recording)) -> Trace {
    let _alone = locked(&RECORDS);
    let dir = crate::testing::fast_dir();
    let recording = Recording::start(dir.path(), habits);
    work(dir.path(), &recording);
    recording.finish(&Disk::new(Device::Volatile)).unwrap()
}

/// Killed between write and sync, a process leaves a commit that the next one reads and counts: it must be on the device
/// before the state says so, or a cut between the two leaves a hole that was never acknowledged.
#[test]
fn page_cache_from_a_kill_is_synced_before_counting() {
    let trace = recorded(|dir, recording| {
        let mut rig = start(&options(dir));
        rig.append(1..=40);
        let (id, lane, epoch) = (rig.journal.id(), rig.lane().id(), rig.journal.epoch());
        rig.end(true);
        append_to_newest(dir, &bare_frames(41..=42, id, lane, epoch.0));
        recording.mark(FROM_HERE);
        let rig = start(&options(dir));
        assert_eq!(rig.tail.last(), Some(&Number(42)));
        rig.end(true);
    });
    for (index, image) in worst_cuts(&trace).enumerate() {
        start_on(&image, |rig| {
            assert_eq!(rig.report.missing, 0, "{index} events after the kill");
            let read = rig.read_all().len();
            assert!([40, 42].contains(&read), "{index} events after the kill: {read} records");
        });
    }
}

/// A commit is one write and one sync, and no more of it is what a disk that forgets has to forget.
#[test]
fn a_small_commit_is_synced_once_and_changes_no_length() {
    const COMMITS: u64 = 40;
    let trace = recorded(|dir, recording| {
        let mut rig =
            start(&JournalOptions { generation_bytes: 1 << 30, quiet: Duration::from_secs(3600), ..options(dir) });
        rig.append(1..=1);
        recording.mark(FROM_HERE);
        (2..=COMMITS).for_each(|n| rig.append(n..=n));
        rig.end(true);
    });
    let mark = trace.iter().position(|event| *event == Event::Mark(FROM_HERE)).expect("it was set");
    let opened = trace.iter().filter_map(|event| match event {
        Event::Open { path, handle, .. } if path.ends_with("/db") => Some(*handle),
        _ => None,
    });
    let of_the_log: Vec<u32> = opened.collect();
    let is_sync = |event: &&Event| matches!(event, Event::SyncBegin { handle, .. } if of_the_log.contains(handle));
    let syncs = trace[mark..].iter().filter(is_sync).count() as u64;
    // One more when the database is closed.
    assert!((COMMITS - 1..=COMMITS).contains(&syncs), "{syncs} syncs");
    let (mut length, mut longer) = (0, 0);
    for (index, event) in trace.iter().enumerate() {
        if let Event::Write { handle, at, bytes } = event
            && of_the_log.contains(handle)
            && at + bytes.len() as u64 > length
        {
            length = at + bytes.len() as u64;
            longer += u64::from(index > mark);
        }
    }
    assert!(longer <= 1, "the file became longer {longer} times");
}

/// sled notes that a write of its own thread failed, and may wake no thread that waits for it: the writer would wait for
/// ever.
#[test]
fn a_commit_with_a_refused_write_or_sync_ends_refused() {
    // Two of sled's buffers: the writer waited for ever where the first one was the last to end, and failed.
    let records: Vec<_> = (1..=100).map(|n| Arc::new(crate::testing::record(n, &[n as u8; 3_000]))).collect();
    let slow = Habits { sync_pause: Some(Duration::from_millis(20)), ..Habits::default() };
    recorded_with(slow, |dir, recording| {
        for round in 0..40 {
            let manifest = Manifest { format: 2, first: Number(1), epoch: crate::record::Epoch(1), lanes: vec![] };
            let generation = ActiveGeneration::create(
                &dir.join(format!("gen-{round}")),
                &manifest,
                std::iter::empty(),
                Arc::default(),
            )
            .unwrap();
            let before = recording.refused();
            let (call, after) = [(Call::Sync, 0), (Call::Write, 0), (Call::Write, 1)][round % 3];
            recording.refuse(&[Fault { call, after, times: 1, errno: 5, half: false }]);
            let frames = framed(&records, Some(Number(0))).0;
            let (said, heard) = mpsc::channel();
            std::thread::spawn(move || said.send(generation.append(frames).is_err()));
            let failed = heard.recv_timeout(Duration::from_secs(20)).expect("the writer stands still");
            assert!(failed && recording.refused() > before, "round {round}");
        }
    });
}

/// A file system that gives space only when it is synced may lose what was written: a sync's "full" does not make it
/// trustworthy.
#[test]
fn a_file_whose_sync_reports_full_is_never_trusted_again() {
    recorded(|dir, recording| {
        let large = JournalOptions { generation_bytes: 1 << 30, quiet: Duration::from_secs(3600), ..options(dir) };
        let mut rig = start(&large);
        rig.append(1..=80);
        let before = damage::generations(dir);
        // Among them may be a sync of the state file, which another thread writes.
        recording.refuse(&[Fault { call: Call::Sync, after: 0, times: 3, errno: 28, half: false }]);
        rig.append(81..=90);
        assert!(recording.refused() > 0);
        let after = damage::generations(dir);
        assert_eq!(rig.journal.0.log.firsts(), [Number(1)], "all of it is in one file");
        assert!(after.len() == 1 && after != before, "{after:?}");
        assert_eq!(rig.read_all(), plain(1..=90));
        rig.end(true);
    });
}

/// A generation is made anew, and the one before it cannot be removed: it must not be taken for the newer one afterwards.
#[test]
fn appends_to_the_newest_copy_are_found_beside_others() {
    let record = |n: u64| Arc::new(crate::testing::record(n, &[n as u8; 300]));
    let manifest = || Manifest { format: 2, first: Number(1), epoch: Epoch(1), lanes: vec![] };
    for after in 0..4 {
        recorded(|dir, recording| {
            let log = Log::open(dir).unwrap();
            for _ in 0..3 {
                drop(log.start(manifest()).unwrap());
                recording.refuse(&[Fault { call: Call::Remove, after, times: 3, errno: 5, half: false }]);
            }
            let newest = log.start(manifest()).unwrap();
            newest.append(framed(&[record(1)], Some(Number(0))).0).unwrap();
            recording.refuse(&[]);
            drop((newest, log));
            let found = Log::open(dir).unwrap().read(&mut Readings::forward(), Number(1)).unwrap();
            assert_eq!(found, Some(record(1)), "{after} removals before one is refused");
        });
    }
}

/// What is drained goes oldest first, or not at all: without a state file, a hole in the log looks like a loss.
#[test]
fn a_generation_that_cannot_be_removed_keeps_later_ones() {
    recorded(|dir, recording| {
        let mut rig = start(&options(dir));
        rig.append(1..=600);
        rig.end(false);
        let opened = Journal::open(&options(dir), &Clock::new(None)).unwrap();
        let (journal, lane) = (opened.journal.clone(), opened.journal.lane(MAIN).unwrap());
        read_all(&mut lane.reader());
        lane.settle((1..=500).map(|position| (Position(position), Outcome::Accepted)));
        let before = journal.0.log.firsts();
        recording.refuse(&[Fault { call: Call::Rename, after: 0, times: 1, errno: 5, half: false }]);
        journal.0.write_state().unwrap();
        assert_eq!((recording.refused(), journal.0.log.firsts()), (1, before));
        drop((journal, lane, opened));
        std::fs::remove_file(dir.join("state")).unwrap();
        let rig = start(&options(dir));
        assert_eq!((rig.read_all().len(), rig.stats().damaged), (600, 0));
        rig.end(false);
    });
}

#[test]
fn no_older_copy_of_a_generation_outlives_it() {
    let manifest = |first| Manifest { format: 2, first, epoch: Epoch(1), lanes: vec![] };
    recorded(|dir, recording| {
        let log = Log::open(dir).unwrap();
        drop(log.start(manifest(Number(1))).unwrap());
        recording.refuse(&[Fault { call: Call::Remove, after: 1, times: 2, errno: 5, half: false }]);
        drop(log.start(manifest(Number(1))).unwrap());
        assert_eq!(std::fs::read_dir(dir.join("log")).unwrap().count(), 2, "the first one is still there");
        drop(log.start(manifest(Number(100))).unwrap());
        let gone = (0..3).any(|_| log.delete(Number(1)));
        assert!(gone);
        drop(log);
        assert_eq!(Log::open(dir).unwrap().firsts(), [Number(100)]);
    });
}

/// A run ended between a rotation and its first commit, and all that was before is settled and gone: the empty generation is the
/// only one, and the one that takes its place is there before it goes.
#[test]
fn a_sole_empty_generation_is_replaced_without_any_interval() {
    let trace = recorded(|dir, recording| {
        let mut rig = start(&options(dir));
        rig.append(1..=40);
        settle(&rig, 1..=40);
        let lanes = vec![ManifestLane { id: rig.lane().id(), name: MAIN.into(), next: Position(41) }];
        let manifest = Manifest { format: FRAME_VERSION, first: Number(41), epoch: rig.journal.epoch(), lanes };
        rig.journal.0.write_state().unwrap();
        rig.journal.0.log.start(manifest).unwrap();
        assert!(rig.journal.0.log.delete(Number(1)));
        rig.end(false);
        recording.mark(FROM_HERE);
        let mut rig = start(&options(dir));
        rig.append(41..=41);
        rig.end(true);
    });
    for (index, image) in worst_cuts(&trace).enumerate() {
        start_on(&image, |rig| assert_eq!(rig.report.missing, 0, "{index} events after the kill"));
    }
}

/// The state is lost, and a generation was only just begun. If the look into its folder is refused, it must not count:
/// what the one before it holds tells the lanes' positions.
#[test]
fn no_position_is_reused_whichever_file_refuses_at_opening() {
    let mut refused = 0;
    for after in 0..40 {
        recorded(|dir, recording| {
            let mut rig = start(&options(dir));
            rig.append(1..=300);
            rig.end(false);
            std::fs::remove_file(dir.join("state")).unwrap();
            let bare = dir.join("log").join(crate::journal::log::listing::name(Number(301), 2));
            std::fs::create_dir(&bare).unwrap();
            std::fs::write(bare.join("db"), vec![0; 4096]).unwrap();
            recording.refuse(&[Fault { call: Call::Open, after, times: 1, errno: 5, half: false }]);
            let first = Journal::open(&options(dir), &Clock::new(None));
            refused += recording.refused();
            recording.refuse(&[]);
            let mut rig = first.map_or_else(|_| start(&options(dir)), begin);
            rig.append(301..=310);
            assert_eq!(rig.read_all(), plain(1..=310), "{after} files before one is refused");
            rig.end(false);
        });
    }
    assert!(refused > 10, "{refused} files were refused");
}

/// What the disk does not let go of takes its room nevertheless, and goes when the disk lets it go.
#[test]
fn what_cannot_be_removed_is_counted_and_tried_again() {
    recorded(|dir, recording| {
        let mut rig = start(&options(dir));
        rig.append(1..=600);
        let on_disk = || files::disk_bytes(&dir.join("log"));
        let firsts = rig.journal.0.log.firsts();
        assert!(firsts.len() > 3 && rig.journal.0.log.disk_bytes() == on_disk(), "{firsts:?}");
        // The first file of the first folder, and what is tried again before the second folder.
        recording.refuse(&[Fault { call: Call::Remove, after: 0, times: 2, errno: 5, half: false }]);
        assert!(rig.journal.0.log.delete(firsts[0]));
        let trash = || list(&dir.join("log")).unwrap().trash.len();
        assert_eq!((trash(), rig.journal.0.log.disk_bytes()), (1, on_disk()));
        assert!(rig.journal.0.log.delete(firsts[1]));
        assert_eq!((recording.refused(), trash(), rig.journal.0.log.disk_bytes()), (2, 1, on_disk()));
        assert!(rig.journal.0.log.delete(firsts[2]));
        assert_eq!((trash(), rig.journal.0.log.disk_bytes()), (0, on_disk()));
        rig.end(false);
    });
}

/// A file whose new name no sync made certain is not added to: what is added would go with the name. Nor is one of which a sync
/// was refused.
#[test]
fn quarantine_entries_after_a_refused_sync_survive_a_cut() {
    for refused in [Call::Sync, Call::Rename] {
        let trace = recorded(|dir, recording| {
            let quarantine = Quarantine::open(dir).unwrap();
            let keep = |n: u64| {
                let place = Some((LaneId(0), Position(n)));
                quarantine.keep(&crate::testing::record(n, b"some"), Cause { code: "c", text: "t", place, whole: None })
            };
            assert!(keep(1).unwrap() && keep(2).unwrap());
            // The sync of the new file passes, that of its folder does not.
            let after = u64::from(refused == Call::Sync);
            let refuse = |call, after| recording.refuse(&[Fault { call, after, times: 1, errno: 5, half: false }]);
            refuse(refused, after);
            assert!(quarantine.remove(&BTreeSet::from(["q1".parse().unwrap()])).is_err());
            assert!(keep(3).unwrap());
            refuse(Call::Sync, 0);
            assert!(keep(4).is_err());
            assert!(keep(4).unwrap());
            recording.mark(FROM_HERE);
        });
        for image in worst_cuts(&trace) {
            let dir = crate::testing::fast_dir();
            image.write_to(dir.path()).unwrap();
            let there: Vec<u64> = look(dir.path()).unwrap().iter().map(|kept| kept.record.number.0).collect();
            assert!(there.ends_with(&[2, 3, 4]), "{refused:?}: {there:?}");
        }
    }
}

/// Whichever sync is refused while a journal is made, what is acknowledged afterwards is under names that survive.
#[test]
fn files_a_refused_sync_left_at_creation_are_made_again() {
    for after in 0..12 {
        let trace = recorded(|dir, recording| {
            let dir = &dir.join("journal");
            recording.refuse(&[Fault { call: Call::Sync, after, times: 1, errno: 5, half: false }]);
            let mut opened = Journal::open(&options(dir), &Clock::new(None));
            if opened.is_err() {
                opened = Journal::open(&options(dir), &Clock::new(None));
            }
            drop(opened.unwrap());
            let mut rig = start(&options(dir));
            rig.append(1..=4);
            recording.mark(FROM_HERE);
            rig.end(false);
        });
        for image in worst_cuts(&trace) {
            let dir = crate::testing::fast_dir();
            image.write_to(dir.path()).unwrap();
            let rig = start(&options(&dir.path().join("journal")));
            assert_eq!((rig.read_all(), rig.report.state_lost), (plain(1..=4), false), "after {after}");
            rig.end(true);
        }
    }
}
