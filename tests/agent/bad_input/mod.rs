//! Bad input: each has one clear message (what, where, what next), the documented exit code or state, and loses
//! nothing: what was good before it and after it arrives.

mod broker;
mod payloads;
mod queue;
mod start;
