//! The broker's edge.

pub mod topic;
