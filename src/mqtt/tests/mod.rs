//! Intake against a scripted, rude broker: each promise, and each way in which a broker or a link breaks it.
#![allow(clippy::disallowed_methods, reason = "tests stand in for the agent, which starts tasks")]

mod acks;
mod connecting;
mod dedup;
mod mosquitto;
mod nonsense;
mod probes;
mod rude;
mod sessions;
mod sizes;
pub(super) mod support;
