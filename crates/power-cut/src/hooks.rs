//! libc's entry points, forwarded to the kernel and noted by the recorder.
//!
//! Each does what libc's does by the system call itself, and sets `errno` as it does. What is not below the recorded
//! folder goes straight through. The list holds what Rust's standard library calls on Linux and a few relatives; a call
//! that is missing is found by the comparison at the end of a recording.
//!
//! SAFETY, for all of them: the prototypes are libc's on 64-bit Linux, where a variadic call passes its arguments like any
//! other; arguments go to the kernel as they came, which checks pointers itself; and where one is read here, libc's
//! contract with its caller (a string that ends in zero, a buffer of the length said) is what makes it sound.

use crate::fault::{self, Call, Fate};
use crate::recorder::{self, Log};
use libc::{AT_FDCWD, c_char, c_int, c_long, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t};
use std::ffi::CStr;

macro_rules! kernel {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: see the head of this file.
        unsafe { libc::syscall(libc::$number $(, $argument as c_long)*) }
    };
}

/// Answers a call with an error in the kernel's place, where the plan says so.
macro_rules! unless_refused {
    ($call:expr) => {
        if let Fate::Fails(error) = fault::fate($call) {
            restore(Some(error));
            return -1;
        }
    };
}

/// Puts `errno` back to what a call left there.
pub(crate) fn restore(error: Option<i32>) {
    if let Some(error) = error {
        // SAFETY: libc guarantees a valid, thread-local errno location.
        unsafe { *libc::__errno_location() = error };
    }
}

/// The name of what a path means, from the recorded folder; `None`: it is not below it.
unsafe fn below(dir: c_int, path: *const c_char) -> Option<String> {
    if !recorder::is_recording() || path.is_null() {
        return None;
    }
    // SAFETY: see the head of this file.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if path.starts_with(b"/") {
        return recorder::below(path);
    }
    // A path relative to the working folder is never the recorded one's: that is named by an absolute path.
    (dir != AT_FDCWD).then(|| recorder::below(&[&path_of(dir)?, b"/".as_slice(), path].concat())).flatten()
}

fn path_of(fd: c_int) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{fd}\0");
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    let length = kernel!(SYS_readlinkat, AT_FDCWD, link.as_ptr(), buffer.as_mut_ptr(), buffer.len());
    buffer.truncate(usize::try_from(length).ok()?);
    Some(buffer)
}

fn is_dir(fd: c_int) -> bool {
    // SAFETY: all zeros are a valid `stat`, which the call fills.
    let mut facts: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `stat` of ours.
    unsafe { libc::fstat(fd, &raw mut facts) == 0 && facts.st_mode & libc::S_IFMT == libc::S_IFDIR }
}

unsafe fn open_at(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let call = || kernel!(SYS_openat, dir, path, flags, mode) as c_int;
    // SAFETY: see the head of this file.
    let Some(name) = (unsafe { below(dir, path) }) else {
        let fd = call();
        recorder::forget(fd);
        return fd;
    };
    unless_refused!(Call::Open);
    recorder::noted(call, |log, fd| {
        if flags & libc::O_TMPFILE == libc::O_TMPFILE {
            log.unmodelled("O_TMPFILE");
        }
        log.opened(fd, is_dir(fd), name, flags & libc::O_CREAT != 0, flags & libc::O_TRUNC != 0);
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { open_at(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { open_at(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { open_at(dir, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { open_at(dir, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn creat(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { open_at(AT_FDCWD, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    // Before the number is free: another thread may be given it at once.
    recorder::forget(fd);
    kernel!(SYS_close, fd) as c_int
}

fn written(log: &mut Log, fd: c_int, at: Option<off_t>, done: ssize_t, buffer: *const c_void) {
    if done <= 0 {
        return;
    }
    // Where the next write would begin is where this one ended, appending or not.
    let at = at.unwrap_or_else(|| kernel!(SYS_lseek, fd, 0, libc::SEEK_CUR) - done as off_t);
    // SAFETY: the kernel has just read that many bytes from there.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), done as usize) };
    log.wrote(fd, at as u64, bytes);
}

/// How many bytes of a write are made; an error: none, and `errno` says why.
fn length_to_write(ours: bool, count: size_t) -> Result<size_t, ()> {
    match if ours { fault::fate(Call::Write) } else { Fate::Passes } {
        Fate::Passes => Ok(count),
        Fate::Half if count > 1 => Ok(count / 2),
        Fate::Half => Ok(count),
        Fate::Fails(error) => {
            restore(Some(error));
            Err(())
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t {
    if recorder::knows(fd) {
        unless_refused!(Call::Read);
    }
    kernel!(SYS_read, fd, buffer, count) as ssize_t
}

unsafe fn read_at(fd: c_int, buffer: *mut c_void, count: size_t, at: off_t) -> ssize_t {
    if recorder::knows(fd) {
        unless_refused!(Call::Read);
    }
    kernel!(SYS_pread64, fd, buffer, count, at) as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread(fd: c_int, buffer: *mut c_void, count: size_t, at: off_t) -> ssize_t {
    // SAFETY: see the head of this file.
    unsafe { read_at(fd, buffer, count, at) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(fd: c_int, buffer: *mut c_void, count: size_t, at: off_t) -> ssize_t {
    // SAFETY: see the head of this file.
    unsafe { read_at(fd, buffer, count, at) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: size_t) -> ssize_t {
    let ours = recorder::knows(fd);
    let Ok(count) = length_to_write(ours, count) else { return -1 };
    let call = || kernel!(SYS_write, fd, buffer, count) as ssize_t;
    if !ours {
        return call();
    }
    recorder::noted(call, |log, done| written(log, fd, None, done, buffer))
}

unsafe fn write_at(fd: c_int, buffer: *const c_void, count: size_t, at: off_t) -> ssize_t {
    let ours = recorder::knows(fd);
    let Ok(count) = length_to_write(ours, count) else { return -1 };
    let call = || kernel!(SYS_pwrite64, fd, buffer, count, at) as ssize_t;
    if !ours {
        return call();
    }
    recorder::noted(call, |log, done| written(log, fd, Some(at), done, buffer))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, buffer: *const c_void, count: size_t, at: off_t) -> ssize_t {
    // SAFETY: see the head of this file.
    unsafe { write_at(fd, buffer, count, at) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, buffer: *const c_void, count: size_t, at: off_t) -> ssize_t {
    // SAFETY: see the head of this file.
    unsafe { write_at(fd, buffer, count, at) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, pieces: *const iovec, count: c_int) -> ssize_t {
    let call = || kernel!(SYS_writev, fd, pieces, count) as ssize_t;
    if !recorder::knows(fd) {
        return call();
    }
    recorder::noted(call, |log, _| log.unmodelled("writev"))
}

unsafe fn resize(fd: c_int, length: off_t) -> c_int {
    let call = || kernel!(SYS_ftruncate, fd, length) as c_int;
    if !recorder::knows(fd) {
        return call();
    }
    unless_refused!(Call::Resize);
    recorder::noted(call, |log, _| log.resized(fd, length as u64))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { resize(fd, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { resize(fd, length) }
}

unsafe fn allocate(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int {
    let call = || kernel!(SYS_fallocate, fd, mode, at, length) as c_int;
    if !recorder::knows(fd) {
        return call();
    }
    recorder::noted(call, |log, _| log.unmodelled("fallocate"))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { allocate(fd, mode, at, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { allocate(fd, mode, at, length) }
}

fn sync(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let Some(sync) = recorder::sync_begins(fd) else { return call() };
    if let Fate::Fails(error) = fault::fate(Call::Sync) {
        recorder::sync_fails(sync);
        restore(Some(error));
        return -1;
    }
    let answer = call();
    if answer == 0 {
        recorder::sync_ends(sync);
    }
    answer
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, || kernel!(SYS_fsync, fd) as c_int)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, || kernel!(SYS_fdatasync, fd) as c_int)
}

unsafe fn rename_at(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int {
    let call = || kernel!(SYS_renameat2, from_dir, from, to_dir, to, flags) as c_int;
    // SAFETY: see the head of this file.
    let names = unsafe { (below(from_dir, from), below(to_dir, to)) };
    if names != (None, None) {
        unless_refused!(Call::Rename);
    }
    match names {
        (None, None) => call(),
        (Some(from), Some(to)) if flags == 0 => recorder::noted(call, |log, _| log.renamed(from, to)),
        _ => recorder::noted(call, |log, _| log.unmodelled("rename across the border, or with flags")),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { rename_at(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn renameat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { rename_at(from_dir, from, to_dir, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn renameat2(
    from_dir: c_int,
    from: *const c_char,
    to_dir: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { rename_at(from_dir, from, to_dir, to, flags) }
}

unsafe fn remove_at(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    let call = || kernel!(SYS_unlinkat, dir, path, flags) as c_int;
    // SAFETY: see the head of this file.
    let Some(name) = (unsafe { below(dir, path) }) else { return call() };
    unless_refused!(Call::Remove);
    recorder::noted(call, |log, _| log.removed(name, flags & libc::AT_REMOVEDIR != 0))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { remove_at(AT_FDCWD, path, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { remove_at(dir, path, flags) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { remove_at(AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

unsafe fn make_dir_at(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    let call = || kernel!(SYS_mkdirat, dir, path, mode) as c_int;
    // SAFETY: see the head of this file.
    let Some(name) = (unsafe { below(dir, path) }) else { return call() };
    unless_refused!(Call::MakeDir);
    recorder::noted(call, |log, _| log.made_dir(name))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { make_dir_at(AT_FDCWD, path, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: see the head of this file.
    unsafe { make_dir_at(dir, path, mode) }
}
