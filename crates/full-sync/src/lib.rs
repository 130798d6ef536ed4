//! Makes sled's `flush` reach stable storage.
//!
//! sled 0.34.7 syncs its log with `sync_file_range`, which commits neither the file's size nor the device's cache:
//! records that it calls flushed are lost at a power cut. This crate overrides the libc symbol for the whole process: the
//! call becomes an `fdatasync` of the file. That is all that the data need (their place and the file's length belong to it),
//! and where a log write changes neither, the file system has nothing to commit beside the data: `fsync`, which sled falls
//! back to where the call answers `ENOSYS`, would commit the time of the last change each time. Nothing else in the agent
//! needs `sync_file_range`.
//!
//! It is a leaf crate so that the agent itself can forbid unsafe code, and so that no binary ever links two copies.
//! The override cannot be assumed, it must be checked: call [`check`] before the first database is opened, and compare
//! [`calls`] around a database's first flush to know that sled's own call comes through here.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often `sync_file_range` was called in this process so far, [`check`]'s own calls included.
pub fn calls() -> u64 {
    CALLS.load(Relaxed)
}

/// Sabotage for proving runs: from now on the call is answered with success, as a kernel does, and `observer` is told of
/// it (file descriptor, offset, length). Nothing is synced; only a run that models the disk itself may ask for it.
#[cfg(feature = "rig")]
pub fn answer_as_stock(observer: Observer) {
    *OBSERVER.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(observer);
}

/// Told of a call's file descriptor, offset and length.
#[cfg(feature = "rig")]
pub type Observer = fn(i32, i64, i64);

#[cfg(feature = "rig")]
static OBSERVER: std::sync::RwLock<Option<Observer>> = std::sync::RwLock::new(None);

// SAFETY: calls `fdatasync`, which is safe with any descriptor (and, rigged, a safe function); the prototype is libc's (64-bit
// offsets on every target, musl's off_t too).
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(
    fd: libc::c_int,
    offset: libc::off64_t,
    length: libc::off64_t,
    _: libc::c_uint,
) -> libc::c_int {
    CALLS.fetch_add(1, Relaxed);
    #[cfg(feature = "rig")]
    if fd >= 0
        && let Some(observer) = *OBSERVER.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    {
        observer(fd, offset, length);
        return 0;
    }
    let _ = (offset, length);
    if fd == NOBODY {
        // SAFETY: libc guarantees a valid, thread-local errno location.
        unsafe { *libc::__errno_location() = libc::ENOSYS };
        return -1;
    }
    loop {
        // SAFETY: a plain call; of a descriptor that is none the kernel says so.
        let answer = unsafe { libc::fdatasync(fd) };
        // SAFETY: as above.
        if answer == 0 || unsafe { *libc::__errno_location() } != libc::EINTR {
            return answer;
        }
    }
}

/// The descriptor by which [`check`] knows who answers: it cannot exist, and the kernel would say `EBADF`.
const NOBODY: libc::c_int = -1;

/// Whether the override is in force in this process. Makes no system call.
///
/// # Errors
/// The text of the error that the kernel gave instead of ours; the caller must then refuse to open a database.
pub fn check() -> Result<(), String> {
    let before = calls();
    // SAFETY: a plain call with a file descriptor that cannot exist.
    let answer = unsafe { libc::sync_file_range(std::hint::black_box(NOBODY), 0, 0, 0) };
    let error = std::io::Error::last_os_error();
    // Other threads may call at the same time, so the counter may have grown by more than one.
    if answer == -1 && error.raw_os_error() == Some(libc::ENOSYS) && calls() > before {
        Ok(())
    } else {
        Err(format!("sync_file_range is not overridden: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    #[test]
    fn the_override_is_in_force() {
        super::check().expect("the test binary links this crate");
    }

    #[test]
    fn the_call_is_a_sync_of_the_file() {
        let range = |fd| unsafe { libc::sync_file_range(fd, 0, 0, 0) };
        assert_eq!(range(std::fs::File::open(std::env::current_exe().unwrap()).unwrap().as_raw_fd()), 0);
        // What cannot be synced says so, as `fdatasync` has it: `sync_file_range` would say `ESPIPE`.
        let (pipe, _other) = std::io::pipe().unwrap();
        assert_eq!(range(pipe.as_raw_fd()), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
    }
}
