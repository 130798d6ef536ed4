//! What a run costs: counters of this process and of the device below its folder.
//!
//! Syncs are counted where they are called: `fsync` and `fdatasync` of the C library are replaced by these, which count and
//! ask the kernel. Everything in the journal that syncs goes through them; sled's own syncs are none (`crates/no-range-sync`).

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_int;
use std::fs;
use std::ops::{AddAssign, Sub};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static SYNCS: AtomicU64 = AtomicU64::new(0);
static MALLOCS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: everything is handed to the system's allocator; counting touches no memory of the allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MALLOCS.fetch_add(1, Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        MALLOCS.fetch_add(1, Relaxed);
        // SAFETY: as for the caller. sled's tables must come as zeroed pages that no code has touched.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        MALLOCS.fetch_add(1, Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// -1 says that the call was refused; the bench does not need the reason.
fn counted(done: rustix::io::Result<()>) -> c_int {
    SYNCS.fetch_add(1, Relaxed);
    if done.is_ok() { 0 } else { -1 }
}

// SAFETY: the C library's prototype; the kernel is asked for the same.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(file: c_int) -> c_int {
    // SAFETY: the caller of this has the file open.
    counted(rustix::fs::fsync(unsafe { BorrowedFd::borrow_raw(file) }))
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    // SAFETY: as above.
    counted(rustix::fs::fdatasync(unsafe { BorrowedFd::borrow_raw(file) }))
}

/// Counters at one moment, or what they rose by.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    /// Bytes written to the block device of the folder, by any process; 0 where it has none that the system counts.
    pub(crate) device: u64,
    /// Bytes of pages that this process made the kernel write: `write_bytes`, without those of files that were removed before
    /// they were written.
    pub(crate) pages: u64,
    /// Bytes that it read by system calls, wherever they came from: `rchar`.
    pub(crate) read: u64,
    pub(crate) syncs: u64,
    pub(crate) mallocs: u64,
    /// Context switches of all threads that live now.
    pub(crate) switches: u64,
    /// CPU time in ms.
    pub(crate) cpu_ms: u64,
}

/// Syncs up to now.
pub(crate) fn syncs() -> u64 {
    SYNCS.load(Relaxed)
}

impl Counts {
    /// As they are now, once what was written has reached the device.
    pub(crate) fn flushed(folder: &Path) -> Counts {
        if let Ok(folder) = fs::File::open(folder) {
            let _ = rustix::fs::syncfs(&folder);
        }
        Counts::now(folder)
    }

    pub(crate) fn now(folder: &Path) -> Counts {
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let of = |name: &str| field(&io, name).unwrap_or(0);
        Counts {
            device: device_bytes(folder).unwrap_or(0),
            pages: of("write_bytes:").saturating_sub(of("cancelled_write_bytes:")),
            read: of("rchar:"),
            syncs: syncs(),
            mallocs: MALLOCS.load(Relaxed),
            switches: switches(),
            cpu_ms: cpu_ms().unwrap_or(0),
        }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, before: Counts) -> Counts {
        Counts {
            device: self.device - before.device,
            pages: self.pages.saturating_sub(before.pages),
            read: self.read - before.read,
            syncs: self.syncs - before.syncs,
            mallocs: self.mallocs - before.mallocs,
            // A thread that has ended took its own with it.
            switches: self.switches.saturating_sub(before.switches),
            cpu_ms: self.cpu_ms - before.cpu_ms,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.device += more.device;
        self.pages += more.pages;
        self.read += more.read;
        self.syncs += more.syncs;
        self.mallocs += more.mallocs;
        self.switches += more.switches;
        self.cpu_ms += more.cpu_ms;
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Sectors written, of the device that holds the folder.
fn device_bytes(folder: &Path) -> Option<u64> {
    let number = fs::metadata(folder).ok()?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_ascii_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * 512)
}

fn switches() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|text| {
            field(&text, "voluntary_ctxt_switches:").unwrap_or(0)
                + field(&text, "nonvoluntary_ctxt_switches:").unwrap_or(0)
        })
        .sum()
}

fn cpu_ms() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // Linux tells them in hundredths of a second on every machine.
    Some(ticks * 10)
}
