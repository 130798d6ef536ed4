//! What goes to the journal's writer, and what comes back.

use crate::record::{Draft, Number};

/// What the intake asks the journal to keep, in order of receipt.
#[derive(Debug)]
pub struct Append<T> {
    /// The record, repeat or head to keep.
    pub item: Item,
    /// Given back, in order, once the item and all before it have reached stable storage.
    pub ticket: T,
}

/// What comes back when something is durable.
pub trait Ticket {
    /// The item was a record, and the journal gave it this number.
    fn numbered(&mut self, number: Number);
}

impl Ticket for () {
    fn numbered(&mut self, _: Number) {}
}

impl Ticket for u64 {
    fn numbered(&mut self, _: Number) {}
}

/// One thing to keep.
#[derive(Debug)]
pub enum Item {
    /// A new record, not yet numbered.
    Record(Box<Draft>),
    /// A repeat of something appended before: nothing to write, but its ticket waits for what comes before it.
    Repeat,
    /// A message that cannot be journaled: its head (as the draft's payload) goes to the quarantine.
    Head {
        /// The message with only the head of its payload.
        draft: Box<Draft>,
        /// Why the journal does not take it whole.
        why: Unjournaled,
        /// Size of the whole payload.
        bytes: u64,
        /// Hash by which the broker's redelivery of it is recognised; kept with the head ([`crate::journal::recovery::Opened::heads`]).
        delivery: u64,
    },
}

/// Why a message cannot be journaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unjournaled {
    /// It is larger than `mqtt.max_payload_bytes`.
    Oversize,
    /// No route takes its topic.
    Unrouted,
}

/// Bytes that an envelope adds to topic and payload, rounded up.
const ENVELOPE_BYTES: usize = 400;

pub(crate) fn weight(draft: &Draft) -> usize {
    draft.message.payload.len() + draft.message.topic.len() + ENVELOPE_BYTES
}
