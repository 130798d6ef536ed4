//! Sets glibc's allocator for a process that lives long beside others on a small machine.
//!
//! By default glibc gives each busy thread its own arena, and keeps what was freed in it: after a burst the agent held
//! about twice what it uses (`cargo bench --bench budgets`). With one arena, large buffers mapped on their own and the
//! top given back, a burst is over when it is over. Threads that allocate at the same time wait for each other a little;
//! the agent's wait for disk and network.
//!
//! It is a leaf crate so that the agent itself can forbid unsafe code. Other C libraries have no such settings: musl gives
//! memory back by itself.
#![cfg(target_os = "linux")]

/// Bytes from which a buffer is mapped on its own, and unmapped when it is freed: above the many small ones that come and go.
/// Set, it also stays: by default glibc raises it with the first large buffer that is freed.
pub const MAPPED_BYTES: i32 = 64 * 1024;
/// Free bytes at the top of the heap above which they go back to the system; glibc's own default, which setting keeps fixed.
pub const KEPT_BYTES: i32 = 128 * 1024;

/// To be called at the start of `main`, before there are threads. Whether the allocator took all of it; always where there is
/// nothing to set.
pub fn set() -> bool {
    #[cfg(target_env = "gnu")]
    {
        let settings =
            [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, MAPPED_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_BYTES)];
        // SAFETY: a plain call with numbers; glibc locks its own state.
        settings.iter().all(|(key, value)| unsafe { libc::mallopt(*key, *value) } == 1)
    }
    #[cfg(not(target_env = "gnu"))]
    true
}

/// Gives free memory back to the system wherever in the heap it lies; the settings alone give back what is free at its top.
/// Takes a millisecond or so with tens of megabytes: for after a burst, not for each of its steps.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain call with a number; glibc locks its own state.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_allocator_takes_the_settings() {
        assert!(super::set());
    }
}
