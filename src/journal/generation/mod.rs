//! One folder of the log: a database that is written once, and read from its bytes.

pub(crate) mod active;
pub(crate) mod bytes;
pub(crate) mod index;
pub(crate) mod manifest;
pub(crate) mod value;
pub(crate) mod watchdog;
