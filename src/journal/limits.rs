//! Sizes and times that several layers of the journal go by.

use std::time::Duration;

/// sled's segment size: smaller ones cost writes, larger ones memory (measured).
pub(crate) const SEGMENT_BYTES: usize = 256 * 1024;
/// Most records in one commit; bounds the memory and the time of a single flush.
pub(crate) const COMMIT_RECORDS: usize = 1_000;
/// Most payload bytes in one commit.
pub(crate) const COMMIT_BYTES: usize = 1024 * 1024;
/// Payload bytes of a generation unless a test says otherwise: memory and blast radius of a damaged one.
pub const GENERATION_BYTES: u64 = 2 * 1024 * 1024;
/// Without a record for so long, a burst is over, unless a test says otherwise.
pub const QUIET: Duration = Duration::from_secs(2);

/// Records just committed that are kept in memory for lanes that are level with them.
pub(crate) const RECENT_BYTES: usize = 256 * 1024;

/// Bounds of the histogram of commits, in milliseconds. A good card syncs in a few, a poor one in tens, and one that collects its
/// garbage takes seconds; one that finishes nothing for 20 s hangs.
pub(crate) const COMMIT_MS: &[u64] = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 20_000];
