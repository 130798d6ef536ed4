//! The journal.

use crate::record::Draft;

/// What the intake asks the journal to keep, in order of receipt.
#[derive(Debug)]
pub struct Append<T> {
    /// What it is.
    pub item: Item,
    /// Given back, in order, once the item and all before it have reached stable storage.
    pub ticket: T,
}

/// One thing to keep.
#[derive(Debug)]
pub enum Item {
    /// A new record.
    Record(Box<Draft>),
    /// A repeat of something appended before: nothing to write, but its ticket waits for what stands before it.
    Repeat,
    /// A message too large to be journaled: its head (as the draft's payload) goes to the quarantine.
    Oversize {
        /// The message with only the head of its payload.
        draft: Box<Draft>,
        /// Size of the whole payload.
        bytes: u64,
    },
}
