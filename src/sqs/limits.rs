//! SQS's numbers, each with its source, and ours that follow from them.
//!
//! Sources: (D) the SQS developer guide and API reference (quotas of messages, of FIFO queues, of batch actions);
//! (L) what a public test suite recorded against the real service.

/// Entries in one batch, at most (D, L).
pub const BATCH_ENTRIES: usize = 10;

/// Bytes of one message, and of all entries of one batch together (D, L). Counted are the UTF-8 bytes of the body and of
/// each attribute's name, type and value. A queue's own `MaximumMessageSize` may be lower; the agent may not read it.
pub const MESSAGE_BYTES: usize = 1024 * 1024;

/// What is kept free below [`MESSAGE_BYTES`], in case the service counts something that we do not.
pub const RESERVE_BYTES: usize = 1024;

/// Bytes of one entry as we build it, until the queue refuses one and says its limit.
pub const ENTRY_BYTES: usize = MESSAGE_BYTES - RESERVE_BYTES;

/// The least that a queue's `MaximumMessageSize` can be set to (D): a smaller limit in an answer is not believed.
pub const LEAST_MESSAGE_BYTES: usize = 1024;

/// Bytes that are billed as one request (D).
pub const BILLING_CHUNK_BYTES: usize = 64 * 1024;

/// Attributes of one message, at most (D, L).
pub const ATTRIBUTES: usize = 10;

/// Characters of a group id and of a deduplication id, at most; at least one (D, L).
pub const ID_CHARS: usize = 128;

/// Bytes of an answer that are read, at most. Ours hold ten entries of a few hundred bytes; a peer that sends more than this
/// is not SQS, and may not fill the gateway's memory.
pub const ANSWER_BYTES: usize = 256 * 1024;

/// Slowest link that an attempt is given time for, in bytes per second: a cellular link at the edge of its cell.
pub const SLOWEST_LINK_BYTES_PER_S: u64 = 2 * 1024;

// A batch of the default budget must be one billing chunk, and one entry must always fit a batch.
const _: () = assert!(BILLING_CHUNK_BYTES <= ENTRY_BYTES);
const _: () = assert!(ENTRY_BYTES < MESSAGE_BYTES && LEAST_MESSAGE_BYTES <= ENTRY_BYTES);
// Entry ids are one decimal digit.
const _: () = assert!(BATCH_ENTRIES <= 10);

/// Whether SQS takes `c` in a body or an attribute's value (D): U+9, U+A, U+D, U+20–D7FF, U+E000–FFFD, U+10000–10FFFF.
pub fn takes(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// Whether SQS takes `c` in a group id or a deduplication id (D, L): letters, digits and punctuation of ASCII.
pub fn takes_in_id(c: char) -> bool {
    c.is_ascii_graphic()
}
