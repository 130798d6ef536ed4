//! Peers, faults and the checker that the trials, the integration tests and the benches share.
//!
//! The crate is outside the agent: it starts the agent as a process, surrounds it with peers (a broker, a queue, a
//! link that can be cut) and judges what came out against what went in. It never links the agent, so nothing the agent
//! believes can leak into the judgement.
//!
//! ```text
//! fleet ──► broker ──► (proxy) ──► agent ──► (proxy) ──► stub or ministack ──► consumer
//!   │                                                                             │
//!   └────────────────────────────► checker ◄──────────────────────────────────────┘
//! ```
//!
//! Everything that can fail returns [`Error`] with what was tried, so that a test can print it. What a peer does not
//! understand it refuses loudly and records ([`fake_sqs::SqsStub::unexpected`]); a test ends by asserting that the record is
//! empty.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the agent's edges (who may spawn, read the clock, speak to AWS) are not those of its peers"
)]

pub mod agent;
pub mod broker;
pub mod checker;
pub mod clock_control;
pub mod consumer;
mod error;
pub mod fake_sqs;
pub mod fleet;
pub mod folder;
mod hex;
pub mod http;
pub mod ids;
pub mod link;
pub mod ministack;
pub mod port;
pub mod process;
pub mod proxy;
pub mod random;
pub mod samples;
mod skip;
pub mod small_disk;

pub use error::{Error, Result};
pub use skip::skipped;
