//! tidegate: a store-and-forward agent from a local MQTT broker to AWS SQS.
//!
//! ```text
//! broker ──► mqtt ──► record ──► journal ──► drain ──► sqs ──► queue(s)
//!              ▲                    │  ▲        │
//!              └─ ack once durable ─┘  └─ trim ─┘   only once SQS accepted
//! ```
//!
//! A module imports only from modules that stand above it here, in another paragraph (`tests/house_rules/layers.rs`).
#![forbid(unsafe_code)]

// Positions, counts and times are 64 bits wide on every target, and shared between threads.
#[cfg(not(target_has_atomic = "64"))]
compile_error!("tidegate needs 64-bit atomic operations, which ARMv5 and ARMv6 do not have");
// Lengths on disk and on the wire are u32 and must fit into memory's own.
const _: () = assert!(usize::BITS >= u32::BITS);

pub mod first_line;
pub mod histogram;
pub mod json;
pub mod network_watch;
pub mod shutdown;
pub mod size;
pub(crate) mod sync;
pub mod topic;
pub mod visible;

pub mod failpoints;
pub mod journald;

pub mod logging;

pub mod clock;

pub mod record;
pub mod tls;

pub mod profile;

pub mod config;

pub mod journal;
pub mod sqs;

pub mod drain;
pub mod mqtt;

pub mod status;

pub mod agent;

pub mod cli;

#[cfg(feature = "internals")]
pub mod internals;

#[cfg(test)]
pub(crate) mod testing;
