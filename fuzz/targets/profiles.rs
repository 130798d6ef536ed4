//! Fuzzes any message, up to its entry.
#![no_main]

tidegate_fuzz::fuzz!("profiles");
