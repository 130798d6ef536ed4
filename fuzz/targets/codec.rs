//! Fuzzes envelopes.
#![no_main]

tidegate_fuzz::fuzz!("codec");
