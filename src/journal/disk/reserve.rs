//! The reserve: allocated blocks that are given up to get out of a full disk.
//!
//! A disk that others have filled has no room for a new generation, and on some file systems not even for a rename or a
//! state write in place. So the journal holds a few megabytes that it can hand back: when a write or an opening says
//! that there is no space, the reserve goes, and with it the next attempt has room to write down what waits, or to evict.
//! It is made again once the disk has that much to spare.

use crate::journal::disk::{files, volume};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Room for the first records of a generation (a fresh one takes half a megabyte), a state write and an eviction.
pub const RESERVE_BYTES: u64 = 4 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// The reserve of one journal.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// The reserve in the journal's folder, of so many bytes; 0: none is kept. Touches nothing.
    pub(crate) fn new(journal: &Path, bytes: u64) -> Reserve {
        Reserve { path: journal.join("reserve"), bytes }
    }

    /// Whether its blocks are there.
    pub(crate) fn is_there(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.bytes == 0 || fs::metadata(&self.path).is_ok_and(|about| about.blocks() * 512 >= self.bytes)
    }

    /// Makes it, where it is not there and the disk keeps `min_free` and as much again beside it. `Ok(false)`: no room.
    ///
    /// # Errors
    /// The disk refuses; what was allocated is given back.
    pub(crate) fn make(&self, min_free: u64) -> io::Result<bool> {
        if self.is_there() {
            return Ok(true);
        }
        let wanted = min_free.saturating_add(2 * self.bytes);
        if self.path.parent().and_then(volume::free_bytes).is_none_or(|free| free < wanted) {
            return Ok(false);
        }
        self.allocate().inspect_err(|_| drop(fs::remove_file(&self.path)))?;
        Ok(true)
    }

    fn allocate(&self) -> io::Result<()> {
        let mut file = files::writing().create(true).truncate(true).open(&self.path)?;
        if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.bytes).is_err() {
            // Not every file system can promise blocks; written ones are there.
            let piece = vec![0; PIECE];
            for _ in 0..self.bytes / PIECE as u64 {
                file.write_all(&piece)?;
            }
        }
        file.sync_all()?;
        self.path.parent().map_or(Ok(()), files::sync_dir)
    }

    /// Gives its blocks back to the disk. `false`: there was nothing to give.
    pub(crate) fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

/// Whether the disk has no space left, or the user's quota none.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_its_blocks_once_and_gives_them_back() {
        let dir = crate::testing::fast_dir();
        let reserve = Reserve::new(dir.path(), 256 * 1024);
        assert!(!reserve.is_there() && !reserve.give_up());
        assert!(reserve.make(0).unwrap() && reserve.is_there() && reserve.make(0).unwrap());
        assert!(files::disk_bytes(dir.path()) >= 256 * 1024);
        assert!(reserve.give_up() && !reserve.is_there());
        assert!(!reserve.make(u64::MAX).unwrap() && !reserve.is_there(), "no room beside the floor");
    }
}
