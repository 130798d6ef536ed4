//! tidegate: a store-and-forward agent from a local MQTT broker to AWS SQS.
//!
//! ```text
//! broker ──► mqtt ──► record ──► journal ──► drain ──► sqs ──► queue(s)
//!              ▲                    │  ▲        │
//!              └─ ack once durable ─┘  └─ trim ─┘   only once SQS accepted
//! ```
//!
//! The modules stand in the order in which data flows; each stage knows only the next one's words.
#![forbid(unsafe_code)]

// Positions, counts and times are 64 bits wide on every target, and shared between threads.
#[cfg(not(target_has_atomic = "64"))]
compile_error!("tidegate needs 64-bit atomic operations, which ARMv5 and ARMv6 do not have");
// Lengths on disk and on the wire are u32 and must fit into memory's own.
const _: () = assert!(usize::BITS >= u32::BITS);

pub mod clock;
pub mod failpoints;
pub mod json;
pub mod network_watch;
pub mod shutdown;
pub(crate) mod sync;
pub mod topic;
pub mod visible;

pub mod config;
pub mod logging;
pub mod tls;

pub mod mqtt;

pub mod record;

pub mod profile;

pub mod journal;

pub mod drain;

pub mod sqs;

pub mod agent;
pub mod cli;
#[cfg(feature = "failpoints")]
pub mod fuzz;
pub mod status;

#[cfg(test)]
pub(crate) mod testing;
