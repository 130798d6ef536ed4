//! The peers themselves, tried by clients that are not ours: the AWS SDK and rumqttc. One crate, so that the SDK is
//! linked once.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "peers of the agent are not bound by its edges"
)]

mod agent;
mod brokers;
mod emulator;
mod fleet;
mod proxy;
mod stub_faults;
mod stub_queue;
mod support;
