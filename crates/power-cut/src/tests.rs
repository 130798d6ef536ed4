//! The model's properties against a plain one, and the recorder against the real file system.

#![allow(clippy::disallowed_methods, reason = "the recorder is tried with threads of its own")]

use crate::{Call, Device, Disk, Event, Fault, Habits, Image, Recording, range_synced};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::Duration;

const NAMES: [&str; 4] = ["a", "b", "d/a", "d/b"];

fn device() -> impl Strategy<Value = Device> {
    prop_oneof![Just(Device::Plain), Just(Device::Volatile)]
}

/// Numbers for a cut; the same seed cuts the same way.
fn chooser(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % bound.max(1)
    }
}

/// A disk beside the plainest model of it: names with bytes.
struct Pair {
    disk: Disk,
    plain: BTreeMap<&'static str, Vec<u8>>,
    handles: u32,
    syncs: u32,
}

impl Pair {
    fn new(device: Device) -> Pair {
        let mut pair = Pair { disk: Disk::new(device), plain: BTreeMap::new(), handles: 0, syncs: 0 };
        pair.tell(Event::MakeDir { path: "d".into() });
        pair
    }

    fn tell(&mut self, event: Event) {
        self.disk.apply(&event).unwrap();
    }

    fn open(&mut self, path: &str, create: bool) -> u32 {
        self.handles += 1;
        self.tell(Event::Open { path: path.into(), handle: self.handles, create, truncate: false });
        self.handles
    }

    fn sync(&mut self, path: &str) {
        let handle = self.open(path, false);
        self.syncs += 1;
        self.tell(Event::SyncBegin { handle, sync: self.syncs });
        self.tell(Event::SyncEnd { sync: self.syncs });
    }

    fn write(&mut self, name: &'static str, at: usize, bytes: &[u8]) {
        let handle = self.open(name, true);
        self.tell(Event::Write { handle, at: at as u64, bytes: bytes.to_vec() });
        let plain = self.plain.entry(name).or_default();
        plain.resize(plain.len().max(at + bytes.len()), 0);
        plain[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn resize(&mut self, name: &'static str, len: usize) {
        if let Some(plain) = self.plain.get_mut(name) {
            plain.resize(len, 0);
            let handle = self.open(name, false);
            self.tell(Event::Resize { handle, len: len as u64 });
        }
    }

    fn rename(&mut self, from: &'static str, to: &'static str) {
        if let Some(bytes) = self.plain.remove(from) {
            self.plain.insert(to, bytes);
            self.tell(Event::Rename { from: from.into(), to: to.into() });
        }
    }

    fn remove(&mut self, name: &'static str) {
        if self.plain.remove(name).is_some() {
            self.tell(Event::Remove { path: name.into() });
        }
    }

    fn step(&mut self, (what, one, other, at, len): (u8, usize, usize, usize, usize)) {
        let (one, other) = (NAMES[one], NAMES[other]);
        match what {
            0..=4 => self.write(one, at, &vec![what + 1; len]),
            5 => self.resize(one, at),
            6 => self.rename(one, other),
            7 => self.remove(one),
            8 if self.plain.contains_key(one) => self.sync(one),
            9 => self.sync(""),
            10 => self.sync("d"),
            _ => {}
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize, usize, usize)>> {
    prop::collection::vec((0u8..11, 0usize..4, 0usize..4, 0usize..12_000, 1usize..6_000), 0..40)
}

fn files(image: &Image) -> BTreeMap<&str, Vec<u8>> {
    NAMES.iter().filter_map(|name| Some((*name, image.read(name)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn uncut_the_disk_is_what_everybody_sees(steps in steps(), device in device()) {
        let mut pair = Pair::new(device);
        for step in steps {
            pair.step(step);
            let newest = pair.disk.newest();
            prop_assert_eq!(files(&newest), pair.plain.clone());
        }
    }

    #[test]
    fn once_all_is_synced_no_cut_changes_anything(steps in steps(), device in device(), seed: u64) {
        let mut pair = Pair::new(device);
        steps.into_iter().for_each(|step| pair.step(step));
        for path in pair.plain.keys().copied().chain(["", "d"]).collect::<Vec<_>>() {
            pair.sync(path);
        }
        let (image, lost) = pair.disk.cut(&mut chooser(seed));
        prop_assert_eq!(lost, Default::default());
        prop_assert_eq!(&image, &pair.disk.newest());
        prop_assert_eq!(Disk::holding(device, &image).newest(), image);
    }

    /// Of a file that has its name for certain: each sector as after some write since the last sync that returned, and a
    /// length as after some write since then.
    #[test]
    fn a_cut_shows_nothing_older_than_the_last_sync(
        writes in prop::collection::vec((0usize..9_000, 1usize..5_000, 0u8..4), 1..30), device in device(), seed: u64,
    ) {
        let mut pair = Pair::new(device);
        pair.write("a", 0, b"begin");
        pair.sync("a");
        pair.sync("");
        let handle = pair.open("a", false);
        let mut since = vec![pair.plain["a"].clone()];
        let mut begun = None;
        for (n, (at, len, what)) in writes.into_iter().enumerate() {
            match (what, begun) {
                (0, None) => {
                    pair.tell(Event::SyncBegin { handle, sync: 1_000 });
                    begun = Some(since.len() - 1);
                }
                (0, Some(from)) => {
                    pair.tell(Event::SyncEnd { sync: 1_000 });
                    since.drain(..from);
                    begun = None;
                }
                (1, _) => pair.tell(Event::RangeSync { handle, at: at as u64, len: len as u64 }),
                _ => {
                    pair.write("a", at, &vec![n as u8 + 1; len]);
                    since.push(pair.plain["a"].clone());
                }
            }
        }
        let (image, _) = pair.disk.cut(&mut chooser(seed));
        let found = image.read("a").unwrap();
        prop_assert!(since.iter().any(|bytes| bytes.len() == found.len()));
        for (index, sector) in found.chunks(512).enumerate() {
            let was = |bytes: &Vec<u8>| {
                let part = bytes.iter().copied().chain(std::iter::repeat(0)).skip(index * 512).take(sector.len());
                part.eq(sector.iter().copied())
            };
            // A length that was kept may end in a sector whose data was not.
            prop_assert!(since.iter().any(was), "sector {} is of no time since the last sync", index);
        }
    }

    #[test]
    fn after_a_cut_names_are_those_of_one_moment(steps in steps(), seed: u64) {
        let mut pair = Pair::new(Device::Volatile);
        let mut since: Vec<Vec<&str>> = vec![vec![]];
        for step in steps {
            pair.step(step);
            since.push(pair.plain.keys().copied().collect());
            if let (9 | 10, ..) = step {
                // What was done in the other folder after the last change in this one may still be lost.
                pair.sync("");
                pair.sync("d");
                since.drain(..since.len() - 1);
            }
        }
        let (image, _) = pair.disk.cut(&mut chooser(seed));
        let found: Vec<&str> = files(&image).into_keys().collect();
        prop_assert!(since.contains(&found), "{:?} is none of {:?}", found, since);
    }
}

#[test]
fn a_range_sync_keeps_data_only_without_a_cache() {
    for (device, in_place) in [(Device::Plain, true), (Device::Volatile, false)] {
        let mut pair = Pair::new(device);
        pair.write("a", 0, &[1; 4096]);
        pair.sync("a");
        pair.sync("");
        pair.write("a", 0, &[2; 8192]);
        let handle = pair.open("a", false);
        pair.tell(Event::RangeSync { handle, at: 0, len: 8192 });
        let images: Vec<Vec<u8>> =
            (0..200).map(|seed| pair.disk.cut(&mut chooser(seed)).0.read("a").unwrap()).collect();
        assert_eq!(images.iter().all(|bytes| bytes[..4096] == [2; 4096]), in_place);
        assert!(images.iter().any(|bytes| bytes.len() == 4096), "its length was never synced");
    }
}

#[test]
fn after_a_kill_nothing_is_more_certain_than_before() {
    let mut pair = Pair::new(Device::Volatile);
    pair.write("a", 0, b"never synced");
    let killed = pair.disk.killed();
    assert_eq!(killed.newest(), pair.disk.newest());
    assert!((0..100).any(|seed| killed.cut(&mut chooser(seed)).0.read("a").is_none()));
}

#[test]
fn after_a_failed_sync_only_rewritten_data_is_durable() {
    let mut pair = Pair::new(Device::Volatile);
    pair.write("a", 0, &[1; 8192]);
    pair.sync("a");
    pair.sync("");
    pair.write("a", 0, &[2; 8192]);
    let handle = pair.open("a", false);
    pair.tell(Event::SyncBegin { handle, sync: 1_000 });
    pair.tell(Event::SyncFailed { sync: 1_000 });
    pair.write("a", 0, &[3; 10]);
    pair.sync("a");
    let images = (0..200).map(|seed| pair.disk.cut(&mut chooser(seed)).0.read("a").unwrap());
    let images: Vec<Vec<u8>> = images.collect();
    let first = |bytes: &Vec<u8>| bytes[..10] == [3; 10] && bytes[10..4096] == [2; 4086];
    assert!(images.iter().all(first), "its page was written to again, and synced");
    let old = images.iter().filter(|bytes| bytes[4096..] == [1; 4096]).count();
    assert!((1..200).contains(&old), "nothing is known of the other page: {old} of 200 cuts lost it");
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn recorded(work: impl FnOnce(&std::path::Path)) -> Result<Vec<Event>, String> {
    recorded_with(&[], |dir, _| work(dir))
}

fn recorded_with(faults: &[Fault], work: impl FnOnce(&std::path::Path, &Recording)) -> Result<Vec<Event>, String> {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let habits = Habits { sync_pause: Some(Duration::from_micros(50)), ..Habits::default() };
    let recording = Recording::start(dir.path(), habits);
    recording.refuse(faults);
    work(dir.path(), &recording);
    recording.finish(&Disk::new(Device::Plain))
}

#[test]
fn the_recorder_sees_every_folder_change_of_the_standard_library() {
    let trace = recorded(|dir| {
        fs::create_dir_all(dir.join("x/y")).unwrap();
        fs::write(dir.join("x/whole"), vec![7; 10_000]).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(dir.join("x/y/tail")).unwrap();
        (0..5).for_each(|n| writeln!(file, "line {n}").unwrap());
        file.sync_data().unwrap();
        let file = OpenOptions::new().write(true).open(dir.join("x/whole")).unwrap();
        file.write_all_at(b"in the middle", 5_000).unwrap();
        file.set_len(7_000).unwrap();
        file.set_len(9_000).unwrap();
        file.sync_all().unwrap();
        range_synced(file.as_raw_fd(), 0, 100);
        fs::rename(dir.join("x/y"), dir.join("z")).unwrap();
        fs::write(dir.join("z/tail"), b"anew").unwrap();
        fs::remove_file(dir.join("x/whole")).unwrap();
        File::open(dir).unwrap().sync_all().unwrap();
        fs::remove_dir(dir.join("x")).unwrap();
        fs::create_dir_all(dir.join("deep/er")).unwrap();
        fs::write(dir.join("deep/er/file"), b"goes with its folder").unwrap();
        fs::remove_dir_all(dir.join("deep")).unwrap();
        std::thread::scope(|scope| {
            for n in 0..4u8 {
                scope.spawn(move || {
                    let file = File::create(dir.join(format!("of-{n}"))).unwrap();
                    for at in 0..50 {
                        file.write_all_at(&[n; 700], at * 512).unwrap();
                        file.sync_data().unwrap();
                    }
                });
            }
        });
    });
    let trace = trace.unwrap();
    let count = |wanted: fn(&Event) -> bool| trace.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, Event::SyncBegin { .. })), 203);
    assert_eq!(count(|event| matches!(event, Event::SyncEnd { .. })), 203);
    assert_eq!(count(|event| matches!(event, Event::RangeSync { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Unmodelled(_))), 0);
}

#[test]
fn calls_are_refused_as_planned_and_have_no_effect() {
    let eio = |call, after, times| Fault { call, after, times, errno: libc::EIO, half: false };
    let plan = [
        Fault { half: true, errno: libc::ENOSPC, ..eio(Call::Write, 1, 2) },
        eio(Call::Open, 0, 1),
        eio(Call::Sync, 1, 1),
        eio(Call::Read, 0, 1),
        eio(Call::Rename, 0, 1),
        eio(Call::Resize, 0, 1),
        eio(Call::MakeDir, 0, 1),
        eio(Call::Remove, 0, 1),
    ];
    let trace = recorded_with(&plan, |dir, recording| {
        let code = |said: std::io::Result<()>| said.err().and_then(|error| error.raw_os_error());
        let path = dir.join("a");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        file.write_all_at(&[1; 100], 0).unwrap();
        assert_eq!(code(file.write_all_at(&[2; 100], 100)), Some(libc::ENOSPC));
        assert_eq!(file.metadata().unwrap().len(), 150, "the first half was written");
        assert_eq!(code(File::open(&path).map(drop)), Some(libc::EIO));
        file.sync_data().unwrap();
        assert_eq!(code(file.sync_data()), Some(libc::EIO));
        assert_eq!(code(file.read_exact_at(&mut [0; 10], 0)), Some(libc::EIO));
        file.read_exact_at(&mut [0; 10], 0).unwrap();
        assert_eq!(code(fs::rename(&path, dir.join("b"))), Some(libc::EIO));
        assert_eq!(code(file.set_len(7)), Some(libc::EIO));
        assert_eq!(code(fs::create_dir(dir.join("c"))), Some(libc::EIO));
        assert_eq!(code(fs::remove_file(&path)), Some(libc::EIO));
        assert_eq!(recording.refused(), 9);
        fs::remove_file(&path).unwrap();
    });
    let failed = trace.unwrap().into_iter().filter(|event| matches!(event, Event::SyncFailed { .. })).count();
    assert_eq!(failed, 1);
}

#[test]
fn a_call_that_was_missed_is_found_out() {
    let missed = recorded(|dir| {
        let file = File::create(dir.join("file")).unwrap();
        file.write_all_at(b"seen", 0).unwrap();
        // SAFETY: a valid descriptor, and a buffer of that length.
        let done = unsafe { libc::syscall(libc::SYS_pwrite64, file.as_raw_fd(), b"past us".as_ptr(), 7, 4) };
        assert_eq!(done, 7);
    });
    let said = missed.unwrap_err();
    assert!(said.contains("file differs"), "{said}");
}
