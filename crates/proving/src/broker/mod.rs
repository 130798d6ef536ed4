//! Brokers: one inside the process for speed, the real one for the verdict.
//!
//! Both keep sessions and lose nothing by themselves as they are set up here: queues without a count, bounded by bytes.
//! What passes on the embedded one is run against Mosquitto as well, because the embedded one is nobody's broker in the
//! field.

mod embedded;
mod mosquitto;

pub use embedded::{EmbeddedBroker, EmbeddedOptions};
pub use mosquitto::{Mosquitto, MosquittoOptions, TlsListener};
