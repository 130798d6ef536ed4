//! Brokers: one inside the process for speed, the real ones for the verdict.
//!
//! The embedded one and Mosquitto keep sessions and lose nothing by themselves as they are set up here: queues without a
//! count, bounded by bytes. What passes on the embedded one is run against Mosquitto as well, because no gateway in the
//! field runs the embedded one. The others are brokers as people find them, with the settings that they come with: what
//! an agent must get along with ([`AnyBroker`]).

mod any;
mod embedded;
mod mosquitto;
mod program;
mod rabbitmq;

pub use any::{AnyBroker, BrokerKind};
pub use embedded::{EmbeddedBroker, EmbeddedOptions};
pub use mosquitto::{Mosquitto, MosquittoOptions, MosquittoRelease, TlsListener};
pub use program::ProgramBroker;
pub use rabbitmq::RabbitMq;
