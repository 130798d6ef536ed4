//! Fuzzes the configuration.
#![no_main]

tidegate_fuzz::fuzz!("config");
