//! Fuzzes a connection of the status server.
#![no_main]

tidegate_fuzz::fuzz!("status_requests");
