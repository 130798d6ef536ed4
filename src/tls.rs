//! TLS of both edges.
