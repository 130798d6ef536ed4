//! What unit tests share.

/// A folder in memory where there is one: these tests try logic, not the disk, and a sync there costs nothing.
pub(crate) fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}
