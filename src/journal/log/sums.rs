//! What all generations take on disk, as a running sum.
//!
//! The writer asks before each commit, and a look at every folder cost it a millisecond with two thousand of them. So a
//! generation that the writer is done with costs one look, and is added up; the active one costs one look at its one file
//! that grows, sled's `db`, beside which the others were looked at when it was made.
//!
//! An opening does not look through what it finds. Until the exact sum is needed, a folder counts as its `db` and
//! [`BESIDE`] more, which is no less than there is: so the sum is too high then, never too low. Before the writer gives
//! up or refuses anything for it, it has all of it looked at ([`Sums::measure`]).

use crate::journal::disk::files;
use crate::journal::generation::active::DATABASE;
use crate::journal::log::entry::Generation;
use crate::sync::locked;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

/// Beside a database lie its configuration and our note, a block each; the largest block of a usual file system, for both.
const BESIDE: u64 = 2 * 64 * 1024;

/// Sums up the bytes of all generations on disk.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// Of those that the writer is done with, and that were looked at since.
    known: u64,
    others: Vec<(Arc<Generation>, Other)>,
}

/// How a generation is counted whose size may change, or was not looked at.
#[derive(Debug)]
enum Other {
    /// Found at the opening: at most so much.
    Found(u64),
    /// Made by this run. Bytes of what lies beside its `db`, once a look has measured them.
    Made(Option<u64>),
}

impl Sums {
    /// A generation that was found.
    pub(crate) fn found(&self, generation: &Arc<Generation>) {
        let most = blocks(&generation.dir).map_or_else(|| files::disk_bytes(&generation.dir), |bytes| bytes + BESIDE);
        locked(&self.0).others.push((generation.clone(), Other::Found(most)));
    }

    /// A generation that was made.
    pub(crate) fn made(&self, generation: &Arc<Generation>) {
        locked(&self.0).others.push((generation.clone(), Other::Made(None)));
    }

    /// A generation that is there no more.
    pub(crate) fn gone(&self, generation: &Arc<Generation>) {
        let mut parts = locked(&self.0);
        match parts.others.iter().position(|(other, _)| Arc::ptr_eq(other, generation)) {
            Some(at) => drop(parts.others.swap_remove(at)),
            None => parts.known = parts.known.saturating_sub(generation.bytes.load(Relaxed)),
        }
    }

    /// Bytes on disk, at most.
    pub(crate) fn at_most(&self) -> u64 {
        let mut parts = locked(&self.0);
        let Parts { known, others } = &mut *parts;
        let mut sum = 0;
        others.retain_mut(|(generation, other)| {
            let bytes = match other {
                Other::Found(most) => *most,
                Other::Made(beside) if !generation.is_closed() => being_written(generation, beside),
                Other::Made(_) => generation.disk_bytes(),
            };
            let settled = matches!(other, Other::Made(_)) && generation.bytes.load(Relaxed) > 0;
            *if settled { &mut *known } else { &mut sum } += bytes;
            !settled
        });
        *known + sum
    }

    /// Looks at all that was found and not looked at yet; no thread waits for it meanwhile.
    pub(crate) fn measure(&self) {
        let is_found = |other: &Other| matches!(other, Other::Found(_));
        let found: Vec<Arc<Generation>> = locked(&self.0)
            .others
            .iter()
            .filter(|(_, other)| is_found(other))
            .map(|(generation, _)| generation.clone())
            .collect();
        found.iter().for_each(|generation| _ = generation.disk_bytes());
        let mut parts = locked(&self.0);
        for (generation, other) in &mut parts.others {
            if is_found(other) && found.iter().any(|found| Arc::ptr_eq(found, generation)) {
                *other = Other::Made(None);
            }
        }
    }
}

/// Of a generation that the writer writes to.
fn being_written(generation: &Generation, beside: &mut Option<u64>) -> u64 {
    let Some(bytes) = blocks(&generation.dir) else { return files::disk_bytes(&generation.dir) };
    bytes + *beside.get_or_insert_with(|| files::disk_bytes_beside(&generation.dir, DATABASE))
}

/// Bytes in the blocks of its `db`.
fn blocks(dir: &Path) -> Option<u64> {
    fs::metadata(dir.join(DATABASE)).ok().map(|about| about.blocks() * 512)
}
