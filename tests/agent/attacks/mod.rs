//! Attacks on an installed agent, tried: one file per promise.

mod keys;
mod purge;
