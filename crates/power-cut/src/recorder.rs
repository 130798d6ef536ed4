//! The recorder: one folder of this process at a time, its changes and syncs in the order in which they took effect.
//!
//! A call that changes something runs under the recorder's lock, together with its note: so the order of the trace is the
//! order of the effects, and while the lock is held the folder does not change. A sync does not hold the lock, because
//! others write while a disk is busy; its beginning and its end are two notes. What a thread still does after its
//! recording was finished belongs to no trace.

use crate::disk::Disk;
use crate::fault::{self, Fault};
use crate::trace::{Event, Trace};
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// File descriptors above this are not looked at; the comparison at the end would show it.
const FDS_MAX: usize = 4096;

/// The recording that runs; 0: none. Each has its own number.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// What each file descriptor means: recording in the upper half, handle plus one in the lower.
static FDS: [AtomicU64; FDS_MAX] = [const { AtomicU64::new(0) }; FDS_MAX];
static LOG: Mutex<Log> = Mutex::new(Log {
    recording: 0,
    root: Vec::new(),
    events: Vec::new(),
    dirs: Vec::new(),
    handles: 0,
    syncs: 0,
    habits: Habits { ignore_dir_syncs: false, sync_pause: None },
});

thread_local! {
    /// Set while this thread looks at the folder for the recorder itself.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// How a recording treats syncs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Sabotage: syncs of folders are made and not counted.
    pub ignore_dir_syncs: bool,
    /// A sync takes at most this long, about half of it on average, so that others get to write meanwhile as they do
    /// on a disk; `None`: as long as it takes.
    pub sync_pause: Option<Duration>,
}

/// What is noted; only ever touched under its lock.
pub(crate) struct Log {
    recording: u32,
    root: Vec<u8>,
    events: Trace,
    /// Whether each handle is a folder.
    dirs: Vec<bool>,
    handles: u32,
    syncs: u32,
    habits: Habits,
}

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anything is to be noted for this thread.
pub(crate) fn is_recording() -> bool {
    RUNNING.load(Acquire) != 0 && !ASIDE.get()
}

/// The path from the recorded folder, if it is below it. The folder itself is the empty path.
pub(crate) fn below(path: &[u8]) -> Option<String> {
    let log = log();
    let rest = path.strip_prefix(log.root.as_slice()).filter(|_| !log.root.is_empty())?;
    if !rest.is_empty() && !rest.starts_with(b"/") {
        return None;
    }
    let names = rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    Some(names.map(String::from_utf8_lossy).collect::<Vec<_>>().join("/"))
}

/// Whether writes through this file descriptor are noted.
pub(crate) fn knows(fd: i32) -> bool {
    is_recording() && handle_of(fd).is_some()
}

fn handle_of(fd: i32) -> Option<u32> {
    let entry = FDS.get(usize::try_from(fd).ok()?)?.load(Relaxed);
    let (recording, handle) = ((entry >> 32) as u32, entry as u32);
    (entry != 0 && recording == RUNNING.load(Acquire)).then(|| handle - 1)
}

/// A file descriptor is closed, or means something else from now on.
pub(crate) fn forget(fd: i32) {
    if let Some(entry) = usize::try_from(fd).ok().and_then(|fd| FDS.get(fd)) {
        entry.store(0, Relaxed);
    }
}

/// Makes a call and notes it, unless it failed. `errno` stays as the call left it.
pub(crate) fn noted<T: Copy + TryInto<i64>>(call: impl FnOnce() -> T, note: impl FnOnce(&mut Log, T)) -> T {
    let mut log = log();
    let answer = call();
    let error = io::Error::last_os_error().raw_os_error();
    if answer.try_into().is_ok_and(|answer| answer >= 0) && log.recording == RUNNING.load(Acquire) {
        note(&mut log, answer);
    }
    drop(log);
    crate::hooks::restore(error);
    answer
}

/// Notes that a sync begins, and lets it take its time. `None`: not one of ours, or one that does not count.
pub(crate) fn sync_begins(fd: i32) -> Option<Sync> {
    if !is_recording() {
        return None;
    }
    let handle = handle_of(fd)?;
    let mut log = log();
    let counts = log.recording == RUNNING.load(Acquire);
    if !counts || (log.habits.ignore_dir_syncs && log.dirs.get(handle as usize) == Some(&true)) {
        return None;
    }
    log.syncs += 1;
    let sync = log.syncs;
    log.events.push(Event::SyncBegin { handle, sync });
    let (recording, pause) = (log.recording, log.habits.sync_pause);
    drop(log);
    if let Some(longest) = pause {
        // Spread by the count: no two neighbours take as long.
        std::thread::sleep(longest * (sync.wrapping_mul(0x9e37_79b9) >> 24) / 256);
    }
    Some(Sync { recording, sync })
}

/// A sync that has begun.
pub(crate) struct Sync {
    recording: u32,
    sync: u32,
}

/// Notes that a sync has returned; one that began in another recording is ignored.
pub(crate) fn sync_ends(Sync { recording, sync }: Sync) {
    let mut log = log();
    if log.recording == recording && recording == RUNNING.load(Acquire) {
        log.events.push(Event::SyncEnd { sync });
    }
}

/// Notes that a sync has returned with an error.
pub(crate) fn sync_fails(Sync { recording, sync }: Sync) {
    let mut log = log();
    if log.recording == recording && recording == RUNNING.load(Acquire) {
        log.events.push(Event::SyncFailed { sync });
    }
}

/// Notes a `sync_file_range` that was answered with success: the code that overrides that call calls this.
pub fn range_synced(fd: i32, at: i64, len: i64) {
    let Some(handle) = handle_of(fd).filter(|_| is_recording()) else { return };
    let mut log = log();
    if log.recording == RUNNING.load(Acquire) {
        log.events.push(Event::RangeSync { handle, at: at as u64, len: len as u64 });
    }
}

impl Log {
    pub(crate) fn opened(&mut self, fd: i32, is_dir: bool, path: String, create: bool, truncate: bool) {
        let handle = self.handles;
        self.handles += 1;
        self.dirs.push(is_dir);
        match usize::try_from(fd).ok().and_then(|fd| FDS.get(fd)) {
            Some(entry) => entry.store(u64::from(self.recording) << 32 | u64::from(handle + 1), Relaxed),
            None => self.unmodelled("too many open files"),
        }
        self.events.push(Event::Open { path, handle, create, truncate });
    }

    pub(crate) fn wrote(&mut self, fd: i32, at: u64, bytes: &[u8]) {
        let Some(handle) = handle_of(fd) else { return };
        self.events.push(Event::Write { handle, at, bytes: bytes.to_vec() });
    }

    pub(crate) fn resized(&mut self, fd: i32, len: u64) {
        let Some(handle) = handle_of(fd) else { return };
        self.events.push(Event::Resize { handle, len });
    }

    pub(crate) fn renamed(&mut self, from: String, to: String) {
        self.events.push(Event::Rename { from, to });
    }

    pub(crate) fn removed(&mut self, path: String, is_dir: bool) {
        self.events.push(if is_dir { Event::RemoveDir { path } } else { Event::Remove { path } });
    }

    pub(crate) fn made_dir(&mut self, path: String) {
        self.events.push(Event::MakeDir { path });
    }

    pub(crate) fn unmodelled(&mut self, what: &str) {
        self.events.push(Event::Unmodelled(what.to_owned()));
    }
}

/// A running recording; there is one at a time in a process.
#[derive(Debug)]
pub struct Recording {
    root: PathBuf,
    number: u32,
}

impl Recording {
    /// Begins to note what happens below `root`, an absolute path to a folder that is there. What it holds already is
    /// what the disk begins with.
    ///
    /// # Panics
    /// When another recording runs: that is a mistake in the caller.
    pub fn start(root: &Path, habits: Habits) -> Recording {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        assert!(root.is_absolute(), "a recorded folder is named by an absolute path");
        let mut log = log();
        assert!(RUNNING.load(Acquire) == 0, "one recording at a time");
        let number = NEXT.fetch_add(1, Relaxed);
        *log = Log {
            recording: number,
            root: root.as_os_str().as_encoded_bytes().to_vec(),
            events: Vec::new(),
            dirs: Vec::new(),
            handles: 0,
            syncs: 0,
            habits,
        };
        fault::reset();
        RUNNING.store(number, Release);
        Recording { root: root.to_owned(), number }
    }

    /// Puts a mark of the caller's into the trace, here and now.
    pub fn mark(&self, mark: u64) {
        log().events.push(Event::Mark(mark));
    }

    /// From now on these calls below the folder fail, one fault behind the other, and no others.
    pub fn refuse(&self, faults: &[Fault]) {
        fault::arm(faults);
    }

    /// How many calls were refused so far.
    pub fn refused(&self) -> u64 {
        fault::refused()
    }

    /// Ends the recording and proves it: the events, applied to what was there `before`, must give the folder as it is,
    /// byte for byte.
    ///
    /// # Errors
    /// What differs, in words: the recorder missed a call, and nothing that is built from the trace can be believed.
    pub fn finish(self, before: &Disk) -> Result<Trace, String> {
        let mut log = log();
        fault::arm(&[]);
        ASIDE.set(true);
        let compared = before.after(&log.events).and_then(|disk| disk.newest().compare(&self.root));
        ASIDE.set(false);
        RUNNING.store(0, Release);
        let events = std::mem::take(&mut log.events);
        drop(log);
        std::mem::forget(self);
        compared.map(|()| events)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut log = log();
        if log.recording == self.number {
            fault::arm(&[]);
            RUNNING.store(0, Release);
            log.events = Vec::new();
        }
    }
}
