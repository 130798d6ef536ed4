//! The record: our envelope around one MQTT message, and its identity.
//!
//! A message becomes a [`Draft`] when a route's profile has read its identity from topic and payload ([`crate::profile`]), and a
//! [`Record`] when the journal has given it a number and a position in each lane. Key, group, type, times and lanes are
//! fixed there; body and attributes are rendered when the record is sent, by the configuration of that moment. The
//! payload travels byte for byte; reading an identity never fails a record.

pub mod chain;
pub mod codec;
mod count;
pub mod event_time;
pub mod identity;
pub mod own;
pub mod pack;
mod receipt;
pub mod type_template;

pub use count::{Epoch, Number, Position};
pub use receipt::Receipt;

use crate::clock::{BootId, Moment};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// 64 random bits drawn when a journal is made; part of every key that is only locally unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JournalId(pub u64);

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One queue's view of the journal, by the number that the journal gave to the queue's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneId(pub u16);

/// What MQTT gave us, free of the client library's types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Topic as published; valid UTF-8 by the protocol.
    pub topic: String,
    /// Payload, byte for byte.
    pub payload: Bytes,
    /// Quality of service of the delivery: 0 or 1 (we never subscribe with 2).
    pub qos: u8,
    /// RETAIN flag of the delivery: set when the broker replays a kept message.
    pub retain: bool,
    /// DUP flag of the delivery: the broker has sent it before.
    pub dup: bool,
    /// Packet id of the delivery; 0 at QoS 0.
    pub packet_id: u16,
}

/// What a record's key is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KeyKind {
    /// The network server's own unique id, or one that the operator points to, and the payload's hash.
    #[serde(rename = "n")]
    Native,
    /// A radio frame: device, session, counter, port, bytes and time, and the payload's hash.
    #[serde(rename = "f")]
    Frame,
    /// Topic and bytes: journals of version 0.1.0 hold such records, no new one is made. It is not an identity.
    #[serde(rename = "c")]
    Content,
    /// Nothing but its arrival, by a message with RETAIN that was not a replay.
    #[serde(rename = "r")]
    Retained,
    /// Nothing but its arrival: every delivery is its own record.
    #[serde(rename = "a")]
    Arrival,
}

impl KeyKind {
    /// The word that the CloudEvents attribute `keykind` carries.
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::Native => "native",
            KeyKind::Frame => "frame",
            KeyKind::Content => "content",
            KeyKind::Retained => "retained",
            KeyKind::Arrival => "arrival",
        }
    }

    /// Whether the key is an identity: it comes from the message, and cannot be equal for two readings.
    pub fn identifies(self) -> bool {
        matches!(self, KeyKind::Native | KeyKind::Frame)
    }
}

/// Where a record's event time comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TimeSource {
    /// The payload says when it happened.
    #[serde(rename = "e")]
    Event,
    /// A gateway's receiver noted it.
    #[serde(rename = "g")]
    Gateway,
    /// Nothing usable in the payload: the time of receipt.
    #[serde(rename = "a")]
    Arrival,
}

impl TimeSource {
    /// The word that the CloudEvents attribute `timesource` carries.
    pub fn word(self) -> &'static str {
        match self {
            TimeSource::Event => "event",
            TimeSource::Gateway => "gateway",
            TimeSource::Arrival => "arrival",
        }
    }
}

/// What a profile reads from a message: which record it is, whose, when, and of what type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The record key when the message carries one; `None` for [`KeyKind::Arrival`] and [`KeyKind::Retained`], whose
    /// key needs the record's number.
    pub key: Option<String>,
    /// What the key is made of.
    pub key_kind: KeyKind,
    /// Message group: 1 to 128 characters of SQS's set.
    pub group: String,
    /// Device as the consumer should see it (the CloudEvents subject), where one is known.
    pub device: Option<String>,
    /// Class of the record, without the configured prefix: `lorawan.uplink`, `sensor.state`, `raw` …
    pub record_type: String,
    /// Event time as RFC 3339 in UTC, fraction as published; `None` with [`TimeSource::Arrival`].
    pub event_time: Option<String>,
    /// Where the event time comes from.
    pub time_source: TimeSource,
}

/// Why a record may tell the consumer again what it has already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DuplicateKind {
    /// The very same record, under the same id.
    #[serde(rename = "s")]
    Resend,
    /// A delivery of the broker's that may repeat an earlier one, recorded under its own id.
    #[serde(rename = "d")]
    Redelivery,
}

impl DuplicateKind {
    /// The word that the attribute `duplicatekind` carries.
    pub fn word(self) -> &'static str {
        match self {
            DuplicateKind::Resend => "resend",
            DuplicateKind::Redelivery => "redelivery",
        }
    }
}

/// The mark of a record that may be a duplicate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PossibleDuplicate {
    /// What it may repeat, and under which id.
    pub kind: DuplicateKind,
    /// The id of the record that it equals, where one is known; only for [`DuplicateKind::Redelivery`].
    pub of: Option<String>,
}

/// One open of one journal: what records without an identity are named after, so that no two of them share a name, not
/// even when a card is copied and both copies continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Run {
    /// The journal of this open.
    pub journal: JournalId,
    /// Count of the journal's opens, this one included.
    pub epoch: Epoch,
    /// 64 random bits, drawn at this open and durable before its first record.
    pub random: u64,
}

impl Run {
    /// The id of a record without an identity: `a.{journal}.{epoch}.{number}.{run}`.
    pub fn arrival_key(&self, number: Number) -> String {
        format!("a.{}.{}.{number}.{:016x}", self.journal, self.epoch, self.random)
    }
}

/// Which records' acks are still open: what the broker may deliver again. Kept as a number and a short list.
///
/// Of the records that came in `session`, the ack of each one up to `through` is closed, except of those in `open`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "(u64, Number, Vec<Number>)", into = "(u64, Number, Vec<Number>)")]
pub struct OpenAcks {
    /// Hash of broker URL and client id: whose acks these are.
    pub session: u64,
    /// Highest number whose ack is closed; 0: none.
    pub through: Number,
    /// Numbers below it whose ack is open, rising; at most [`OpenAcks::MOST`].
    pub open: Vec<Number>,
}

impl OpenAcks {
    /// Longest list; where more are open, the oldest are taken for closed: the agent records again what it closed too
    /// early, and the record says so.
    pub const MOST: usize = 64;

    /// Whether the ack of a record is closed, as far as this tells.
    pub fn closes(&self, number: Number) -> bool {
        number <= self.through && self.open.binary_search(&number).is_err()
    }

    /// What both tell: an ack that either knows to be closed is closed. Of two sessions, `other` is the later one.
    #[must_use]
    pub fn and(self, other: OpenAcks) -> OpenAcks {
        if self.session != other.session {
            return other;
        }
        let (more, less) = if self.through > other.through { (self, other) } else { (other, self) };
        let open = more.open.iter().copied().filter(|number| !less.closes(*number)).collect();
        OpenAcks { open, ..more }
    }
}

impl From<(u64, Number, Vec<Number>)> for OpenAcks {
    fn from((session, through, mut open): (u64, Number, Vec<Number>)) -> OpenAcks {
        open.sort_unstable();
        OpenAcks { session, through, open }
    }
}

impl From<OpenAcks> for (u64, Number, Vec<Number>) {
    fn from(acks: OpenAcks) -> Self {
        (acks.session, acks.through, acks.open)
    }
}

/// A message with its identity and destination, on its way to the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// The time of receipt, by wall clock and by the time since boot.
    pub received: Moment,
    /// The MQTT message, as received.
    pub message: Message,
    /// Name of the profile that read the identity.
    pub profile: String,
    /// What the profile read.
    pub identity: Identity,
    /// The lanes it goes to; never empty, no lane twice.
    pub lanes: Vec<LaneId>,
    /// Set when intake cannot tell it from a repeat.
    pub duplicate: Option<PossibleDuplicate>,
}

/// A record's place in one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanePosition {
    /// The lane that this place is in.
    pub lane: LaneId,
    /// Contiguous within the lane, from 1.
    pub position: Position,
}

/// A numbered record, as the journal holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The journal that numbered it.
    pub journal: JournalId,
    /// Which open of that journal numbered it.
    pub epoch: Epoch,
    /// Place in the journal, dense, from 1.
    pub number: Number,
    /// The boot it was received in.
    pub boot: BootId,
    /// Record key: 1 to 128 characters of SQS's set. Always present, whatever the kind.
    pub key: String,
    /// Its place in each lane it goes to.
    pub slots: Vec<LanePosition>,
    /// It was in quarantine before, under another number.
    pub requeued: bool,
    /// Whose acks were open before its commit; on a commit's first record only.
    pub open_acks: Option<OpenAcks>,
    /// The rest, as it came. `identity.key` repeats `key` where the message carried one.
    pub draft: Draft,
}

impl Record {
    /// Numbers a draft. Records without an identity get a key here: it names journal, epoch, number and run, so it is
    /// never used twice, not even after a damaged tail was lost or a card was copied.
    pub fn number(draft: Draft, run: Run, number: Number, boot: BootId, slots: Vec<LanePosition>) -> Record {
        let key = draft.identity.key.clone().unwrap_or_else(|| run.arrival_key(number));
        let Run { journal, epoch, .. } = run;
        Record { journal, epoch, number, boot, key, slots, requeued: false, open_acks: None, draft }
    }

    /// Its position in `lane`, if it goes there.
    pub fn position(&self, lane: LaneId) -> Option<Position> {
        self.slots.iter().find(|slot| slot.lane == lane).map(|slot| slot.position)
    }

    /// Why the consumer may have it already, by what is known when it is recorded: a delivery that intake could not tell
    /// from a repeat, or a record that came back out of quarantine.
    pub fn possible_duplicate(&self) -> Option<&PossibleDuplicate> {
        const REQUEUED: PossibleDuplicate = PossibleDuplicate { kind: DuplicateKind::Resend, of: None };
        self.draft.duplicate.as_ref().or(self.requeued.then_some(&REQUEUED))
    }
}
