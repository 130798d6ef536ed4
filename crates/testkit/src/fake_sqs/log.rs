//! What the stub remembers of everything that ever reached a queue.

use super::message::Attributes;
use std::sync::Arc;

/// What became of an entry that reached the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Kept, under this sequence number.
    Accepted(u128),
    /// Answered as accepted and not kept: its deduplication id was accepted within the window before.
    Absorbed,
    /// Refused with this code.
    Refused(String),
}

/// One entry as it reached the queue, in the order of arrival.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Queue time, ms since 1970.
    pub at_ms: u64,
    /// Number of the call that brought it, over all queues, from 1.
    pub call: u64,
    /// Message id given; empty when refused.
    pub message_id: String,
    /// Body of the message.
    pub body: Arc<str>,
    /// Message group id, if given.
    pub group: Option<String>,
    /// Message deduplication id, if given.
    pub dedup: Option<String>,
    /// Message attributes, sorted by name.
    pub attributes: Attributes,
    /// What became of it.
    pub fate: Fate,
}

/// Entries by fate since the queue was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Calls that reached the queue's entries.
    pub calls: u64,
    /// Entries received, whatever became of them.
    pub received: u64,
    /// Entries that were kept as new messages.
    pub accepted: u64,
    /// Entries absorbed by deduplication.
    pub absorbed: u64,
    /// Entries refused one by one.
    pub refused: u64,
    /// Messages deleted by consumers.
    pub deleted: u64,
}
