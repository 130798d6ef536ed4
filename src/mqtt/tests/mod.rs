//! Intake against a scripted, rude broker: each promise, and each way in which a broker or a link breaks it.

mod acks;
mod connecting;
mod mosquitto;
mod rude;
mod sessions;
mod sizes;
pub(super) mod support;
