//! Whether the kernel calls its wall clock synchronised.
//!
//! The service that keeps the time (systemd-timesyncd, chrony, ntpd, a PTP daemon) tells the kernel so; setting the clock by hand, or from a
//! file at boot, takes that word back. It is a leaf crate so that the agent itself can forbid unsafe code: rustix has no `adjtimex`.
#![cfg(target_os = "linux")]

use std::io;

/// The kernel's largest error of a clock that no time service keeps, in microseconds: it starts there, and comes back there some nine hours
/// after the last correction.
const UNKNOWN_ERROR_US: libc::c_long = 16_000_000;

/// The kernel's structure, and room for a libc whose own one is longer.
#[repr(C)]
struct Answer {
    told: libc::timex,
    room: [u8; 256],
}

/// Asks the kernel. Cheap: a system call that changes nothing and needs no privilege.
///
/// # Errors
/// A sandbox forbids the call.
pub fn is_synchronised() -> io::Result<bool> {
    // SAFETY: all fields are numbers, for which zeros are a value; `modes` 0 asks and sets nothing.
    let mut answer: Answer = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call, and is not shorter than what the libc writes.
    let state = unsafe { libc::adjtimex(&raw mut answer.told) };
    std::hint::black_box(&answer.room);
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(is_kept(answer.told.status, answer.told.maxerror))
}

/// Either word is enough. Some daemons leave the flag set, to keep the kernel from writing the hardware clock; others tell of no
/// error. Setting the clock takes both back.
fn is_kept(status: libc::c_int, error_us: libc::c_long) -> bool {
    status & libc::STA_UNSYNC == 0 || error_us < UNKNOWN_ERROR_US
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_kept_by_either_word_of_the_kernel() {
        assert!(!is_kept(libc::STA_UNSYNC, 16_000_000), "booted, or set by hand");
        assert!(is_kept(0, 16_000_000), "busybox tells of no error");
        assert!(is_kept(libc::STA_UNSYNC, 500_000), "the hardware clock is not the kernel's to write");
        assert!(is_kept(0, 2_000));
    }

    #[test]
    fn the_kernel_can_be_asked_by_anybody() {
        match is_synchronised() {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "only a sandbox refuses"),
        }
    }
}
