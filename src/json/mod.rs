//! JSON read and rewritten in place, without making a tree of it: a payload may hold a megabyte, on a gateway that has little
//! room, and what tidegate passes on must stay as the publisher wrote it, to the digit.
//!
//! [`scan`] takes the values at a few places out of a document; [`mod@pointer`] is how a person names such a place (RFC 6901);
//! [`redact`] replaces what a person does not want to be sent.

pub mod pointer;
pub mod redact;
pub mod scan;
