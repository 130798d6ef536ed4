//! What is known of every position of every lane. Nothing here touches the disk or looks at a clock.

pub mod books;
pub(crate) mod cadence;
pub(crate) mod chain;
pub(crate) mod defaults;
pub(crate) mod gap_record;
pub(crate) mod gaps;
pub(crate) mod outcome;
pub(crate) mod retention;
pub(crate) mod seen;
pub(crate) mod settled;
