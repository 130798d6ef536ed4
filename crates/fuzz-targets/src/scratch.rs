//! A folder for what a target must have on disk.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A new folder of this process; in RAM if the caller made it so by `TMPDIR`.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tidegate-{name}-{}-{count}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for what is fuzzed");
    folder
}
