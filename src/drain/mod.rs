//! The drain: from a lane's cursor to accepted, one task per queue.
//!
//! Flow: read ([`crate::journal::Reader`]) → [`batcher`] → flights → [`settle`] → the books. Why nothing is lost and
//! nothing overtakes:
//!
//! - A record leaves the window only when it is settled: accepted by the evidence of an answer, quarantined durably, or
//!   evicted by the journal. Every other outcome puts it back, before anything newer of its group.
//! - A group is in one flight at a time ([`batcher`]), so an answer that comes late cannot find a later record sent.
//! - A durable mark precedes the first attempt of a position. After a crash everything between cursor and mark is
//!   taken as maybe sent, goes first and with the same ids, and says so where the queue may no longer absorb it.
//! - What is settled but not yet in the state file when the power goes is sent again; that too lies below a mark.
//! - No count of failures ends in anything but another wait ([`governor`]).

pub mod backoff;
pub mod batcher;
mod chain;
mod duplicate;
pub mod governor;
mod left_behind;
mod look_back;
mod looks;
mod outcome;
mod quarantine;
mod send;
pub mod settle;
mod show;
mod size_limit;
mod status;
mod suspects;
mod suspicion;
mod task;
#[cfg(test)]
mod tests;
mod times;
mod window;

pub use status::{DrainShared, DrainState, DrainStatus};
pub use suspicion::SuspectStatus;
pub use task::{Drain, DrainOptions};
pub use times::DrainTimes;
