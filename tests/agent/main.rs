//! The agent as a process, between a broker and a queue: one file per promise.

mod delivery;
mod demo;
