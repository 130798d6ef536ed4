//! The queue's edge: what the drain hands over and what it gets back. No AWS type leaves this folder.
//!
//! An answer is evidence, not a yes: the drain is told which entries the queue named as accepted and which as refused,
//! and judges for itself what is missing or named twice ([`crate::drain::settle`]).
#![allow(clippy::disallowed_types, reason = "the one folder that speaks to AWS")]

pub mod classify;
pub mod client;
pub mod connector;
pub mod credentials;
pub mod entry;
pub mod limits;
#[cfg(test)]
mod testing;

use std::future::Future;
use std::time::Duration;

/// One SQS message, ready to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Message body: at least one character, only characters that SQS takes.
    pub body: String,
    /// Message attributes of type String: name and value, neither empty.
    pub attributes: Vec<(&'static str, String)>,
    /// Message group id.
    pub group: String,
    /// Deduplication id; `None` on a Standard queue.
    pub dedup: Option<String>,
    /// Until when what it says of itself (that the queue would absorb it) is sure; `None`: it stays true.
    pub deadline: Option<Deadline>,
    /// What the chain has of it.
    pub digest: entry::RecordDigest,
}

/// Until when an entry's word is sure, as times since boot in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// It must not leave after this.
    pub leaves_by_ms: u64,
    /// All of it must have arrived by this.
    pub arrives_by_ms: u64,
}

impl Entry {
    /// Bytes as SQS counts them: body, and name, type and value of every attribute.
    pub fn size(&self) -> usize {
        self.body.len()
            + self.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum::<usize>()
    }
}

/// An entry that the queue named as accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcceptedEntry {
    /// Index of the entry in the batch that was sent.
    pub index: usize,
    /// Whether the answer's MD5 of the body is that of the body sent.
    pub md5_matches: bool,
    /// FIFO sequence number, for the debug log.
    pub sequence_number: Option<String>,
}

/// An entry that the queue named as refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedEntry {
    /// Index of the entry in the batch that was sent.
    pub index: usize,
    /// The service's code, prefix stripped.
    pub code: String,
    /// The service's text.
    pub text: String,
}

/// What the service said about a batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// In the order of the answer; an index may be missing or repeated.
    pub accepted: Vec<AcceptedEntry>,
    /// In the order of the answer; an index may be missing or repeated.
    pub refused: Vec<RefusedEntry>,
    /// Ids in the answer that the batch did not have.
    pub strangers: usize,
}

/// Why a whole call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What to do about it.
    pub class: FaultClass,
    /// The service's code, prefix stripped; `None` when there was none.
    pub code: Option<String>,
    /// What happened, for people, one line, without secrets.
    pub text: String,
    /// What a person can do about it; empty when nothing is to be done.
    pub remedy: String,
    /// Whether it is certain that the service did not get the request: refused connection, name resolution, TLS.
    pub never_sent: bool,
    /// How long the service asked us to wait.
    pub retry_after: Option<Duration>,
}

/// The code of an attempt that ended because the link was away and is back, and the connection had not outlived it.
pub const RETURNED: &str = "LinkReturned";
/// The code of an attempt that ended because the link carried nothing of it for too long.
pub const STALLED: &str = "NoProgress";

impl Fault {
    /// Whether the link was at fault by its slowness, not by its absence.
    pub fn is_stalled(&self) -> bool {
        self.code.as_deref() == Some(STALLED)
    }

    /// Whether it says that the link was away and is back.
    pub fn tells_of_the_link(&self) -> bool {
        self.code.as_deref() == Some(RETURNED)
    }
}

/// What to do about a fault. No class ever ends in a lost record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultClass {
    /// The link or the service: back off, try one batch, go on.
    Link,
    /// Too fast for the queue: halve the flights, recover step by step.
    SlowDown,
    /// The signature: once more (the clock's skew has just been learnt), then wait for configuration.
    OnceMore,
    /// The clock makes every certificate look wrong: hold until it is plausible.
    WaitForClock,
    /// Credentials, permission, queue, key, certificate: hold until someone mends it, probe slowly.
    WaitForConfiguration,
    /// The request is too large for the queue or a proxy: halve the batch.
    Shrink,
    /// This entry can never be accepted (entry codes only).
    Quarantine,
    /// We built a request that the service calls malformed: single-message batches, and an ERROR line.
    Bug,
    /// A code we do not know: as [`FaultClass::Link`], counted by code.
    Unknown,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendOutcome {
    /// The service answered about entries.
    Answer(Answer),
    /// The call failed as a whole.
    Fault(Fault),
}

/// Sends batches to one queue. One call is one attempt: the only retries are the drain's.
pub trait BatchSender: Send + Sync + 'static {
    /// Sends 1 to 10 entries and reports what became of them. Cancelling the future abandons the attempt, which must
    /// then be taken as maybe accepted. A batch with an entry that has not left by its [`Entry::deadline`] is not sent:
    /// a [`Fault`] that says [`Fault::never_sent`].
    fn send(&self, entries: &[Entry]) -> impl Future<Output = SendOutcome> + Send;

    /// What an attempt takes on the slowest link that needs no thought, for entries of so many bytes together.
    fn attempt_limit(&self, bytes: usize) -> Duration;

    /// Whether the endpoint, or the proxy's way to it, takes a TCP connection now. Answers within a few seconds, sends nothing that the
    /// service could take for a request. `None`: this sender has no such way to ask.
    fn reach(&self) -> impl Future<Output = Option<bool>> + Send {
        std::future::ready(None)
    }

    /// The gateway's addresses or routes have changed: connections of before are not relied on any more. A flight whose connection has not
    /// outlived that ends with a [`Fault`] of the link.
    fn link_changed(&self) {}

    /// Whether something that may have caused a fault has changed since the last attempt (new credentials, a clock that
    /// has become right): a reason to try at once. Cheap; asked every few seconds while a lane is parked.
    fn is_mended(&self) -> bool;

    /// Why the file of the keys cannot be used now, while a key that it had before is in force. A start would have none. Blocks:
    /// it looks at the file.
    fn key_file_trouble(&self) -> Option<String> {
        None
    }
}
