//! What the torture (`examples/torture`) found, one test each: the journal at the very moment, on the modelled disk.

use super::{JournalOptions, Rig, append_to_newest, bare_frames, options, start};
use ::power_cut::{Device, Disk, Event, Habits, Image, Recording, Trace};
use std::path::Path;
use std::time::Duration;

const FROM_HERE: u64 = 1;

/// Every image that a cut can leave in which nothing survived that no sync had made certain, from the mark on.
fn worst_cuts(trace: &Trace) -> impl Iterator<Item = Image> {
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

fn recorded(work: impl FnOnce(&Path, &Recording)) -> Trace {
    let dir = crate::testing::fast_dir();
    let recording = Recording::start(dir.path(), Habits::default());
    work(dir.path(), &recording);
    recording.finish(&Disk::new(Device::Volatile)).unwrap()
}

/// Killed between write and sync, a process leaves a commit that the next one reads and counts: it must be on the device
/// before the state says so, or a cut between the two leaves a hole that was never acknowledged to anybody.
#[test]
fn what_a_killed_process_left_in_the_page_cache_is_certain_before_it_is_counted() {
    let trace = recorded(|dir, recording| {
        let mut rig = start(&options(dir));
        rig.append(1..=40);
        let (id, lane, epoch) = (rig.journal.id(), rig.lane().id(), rig.journal.epoch());
        rig.end(true);
        append_to_newest(dir, &bare_frames(41..=42, id, lane, epoch.0));
        recording.mark(FROM_HERE);
        let rig = start(&options(dir));
        assert_eq!(rig.tail.last(), Some(&42));
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
