//! The disk fails, and the agent continues: full, read-only, with errors, slow, damaged. While the disk refuses, the
//! agent acknowledges nothing, so the broker holds what comes; when it is well again everything arrives, in order, and
//! what the disk itself lost is counted and announced.

mod aged;
mod damaged;
mod full;
mod panics;
mod read_only;
mod refusing;
mod slow;
