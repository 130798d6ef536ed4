//! The broker's edge.
pub mod memory;
pub mod repeats;
