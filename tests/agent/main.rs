//! The agent as a process, between a broker and a queue: one file per promise.
//!
//! The peers are real where it matters (Mosquitto, ministack: `scripts/peers.sh`), the stub where a fault has to be
//! exact. Every test ends with the checker's verdict on what a consumer got. Random tests print their seed;
//! `TIDEGATE_SEED=…` replays it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "peers of the agent are not bound by its edges"
)]
#![allow(clippy::print_stdout, reason = "seeds, messages and figures, for whoever reads a test's output")]

mod accounts;
mod attacks;
mod bad_input;
mod broker;
mod brokers;
mod browser;
mod cases;
mod commands;
mod copies;
mod delivery;
mod demo;
mod disk;
mod doubt;
mod guests;
mod journal;
mod lag;
mod names;
mod outage;
mod page;
mod power_loss;
mod profiles;
mod quick_start;
mod reload;
mod repeats;
mod rude_clock;
mod rude_endpoint;
mod sabotage;
mod service;
mod shutdown;
mod standard;
mod stranded;
mod support;
mod suspend;
mod tls;
mod tools;
mod upgrade;
