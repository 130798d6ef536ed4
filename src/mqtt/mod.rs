//! The broker's edge.
