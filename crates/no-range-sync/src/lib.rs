//! Answers `sync_file_range` with success and does nothing, in the whole process.
//!
//! sled 0.34.7 calls it after each buffer that it writes. That makes nothing durable: neither the file's length nor what a device
//! has in its cache. The journal syncs by itself, once per commit, when sled has written everything; so what sled asks
//! for is time spent twice, and where a commit fills two buffers, three times. Nothing else in the agent needs `sync_file_range`.
//!
//! Durability does not hang on this crate: where the override is not in force, a commit waits longer, and that is all. It is a
//! leaf crate so that the agent itself can forbid unsafe code, and so that no binary ever links two copies.
#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often `sync_file_range` was called in this process so far, [`check`]'s own calls included.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// For test runs: the override tells `observer` of each call from now on (file descriptor, offset, length), so that a run that models
/// the disk knows what stock sled would have asked for.
#[cfg(feature = "failpoints")]
pub fn tell(observer: Observer) {
    *OBSERVER.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(observer);
}

/// Told of a call's file descriptor, offset and length.
#[cfg(feature = "failpoints")]
pub type Observer = fn(i32, i64, i64);

#[cfg(feature = "failpoints")]
static OBSERVER: std::sync::RwLock<Option<Observer>> = std::sync::RwLock::new(None);

// SAFETY: touches nothing but a counter and errno (and, rigged, calls a safe function); the prototype is libc's (64-bit offsets
// on every target, musl's off_t too).
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(
    fd: libc::c_int,
    offset: libc::off64_t,
    length: libc::off64_t,
    _: libc::c_uint,
) -> libc::c_int {
    CALLS.fetch_add(1, Relaxed);
    if fd == NO_FILE {
        // SAFETY: libc guarantees a valid, thread-local errno location.
        unsafe { *libc::__errno_location() = libc::ENOSYS };
        return -1;
    }
    #[cfg(feature = "failpoints")]
    if let Some(observer) = *OBSERVER.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
        observer(fd, offset, length);
    }
    let _ = (offset, length);
    0
}

/// The descriptor by which [`check`] tells the override from the kernel: it cannot exist, and the kernel would say `EBADF`.
const NO_FILE: libc::c_int = -1;

/// Whether the override is in force in this process. Makes no system call.
///
/// # Errors
/// The text of the error that the kernel gave instead of ours.
pub fn check() -> Result<(), String> {
    let before = CALLS.load(Relaxed);
    // SAFETY: a plain call with a file descriptor that cannot exist.
    let answer = unsafe { libc::sync_file_range(std::hint::black_box(NO_FILE), 0, 0, 0) };
    let error = std::io::Error::last_os_error();
    // Other threads may call at the same time, so the counter may have grown by more than one.
    if answer == -1 && error.raw_os_error() == Some(libc::ENOSYS) && CALLS.load(Relaxed) > before {
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
    fn the_call_succeeds_without_the_kernel() {
        // The kernel would say ESPIPE.
        let (pipe, _other) = std::io::pipe().unwrap();
        assert_eq!(unsafe { libc::sync_file_range(pipe.as_raw_fd(), 0, 0, 0) }, 0);
    }
}
