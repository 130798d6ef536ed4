//! Key and group rules: pure, the same for every profile.
//!
//! An **identity** is what cannot be equal for two readings, and only an identity makes a key here. A false repeat loses a
//! reading, a missed one only repeats it, so whatever leaves a doubt has none:
//!
//! 1. [`id`]: a network server's own unique id, the kind of event in front (ids are shared across kinds); or an id that the
//!    operator points to.
//! 2. [`Frame`]: a radio frame, with a session that one join made or with a time finer than a second. Counters, ports and
//!    bytes alone come again after a re-join.
//!
//! Content, counters and coarse times are none: a lamp says `ON` twice, a counter starts over at a boot. Such records get
//! their key with their number ([`crate::record::Record::number`]).
//!
//! Every key ends in a hash of the payload ([`payload_hash`]), added in one place ([`KeyCandidates::climb`]): a
//! redelivery has equal bytes, so one id with other bytes (a relay and the device behind it) is another reading without a
//! separate rule. Only `key = "record-id"` leaves it out, by the operator's choice.
//!
//! Keys depend on the message alone (and, for the operator's ids, on the journal), never on the time of receipt nor on how
//! it was delivered. Neither group nor, where the payload tells the device, topic is part of one: an uplink that a server
//! publishes on two topics is one record. Everything written here is legal in SQS whatever the bytes that came in.

use crate::clock::Moment;
use crate::record::{Identity, JournalId, KeyKind, Message, TimeSource, event_time::EventTime};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Longest deduplication id and message group id that SQS takes, in characters.
pub const ID_CHARS_MAX: usize = 128;

/// Hex digits of the hash that replaces the end of a longer text, and of the keys made of hashes: 128 bits.
const HASH_DIGITS: usize = 32;

/// Hex digits of the payload's hash, at the end of every key.
const PAYLOAD_DIGITS: usize = 16;

/// What SQS takes in deduplication and group ids besides letters and digits, less `%` and `~`, which are ours: the first
/// marks an escaped byte, the second a cut-off text, and neither may be imitated by what a topic or payload says.
const PLAIN: &[u8] = b"!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}";

/// Writes any text as an SQS id of 1 to 128 characters: what SQS does not take is percent-encoded, what is too long
/// ends in a hash of the whole. Different texts give different ids; the empty text gives `~`.
pub fn sqs_id(text: &str) -> String {
    bounded(escape(text, PLAIN), ID_CHARS_MAX)
}

fn escape(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `text` is ASCII; `most` leaves room for a hash.
fn bounded(mut text: String, most: usize) -> String {
    if text.is_empty() {
        text.push('~');
    } else if text.len() > most {
        let hash = hash(&[text.as_bytes()], HASH_DIGITS);
        text.truncate(most - HASH_DIGITS - 1);
        text.push('~');
        text.push_str(&hash);
    }
    text
}

/// The first `digits` hex digits (at most 64) of SHA-256 over the fields, each with its length in front: no two lists
/// of fields look alike.
pub fn hash(fields: &[&[u8]], digits: usize) -> String {
    let mut sha = Sha256::new();
    for field in fields {
        sha.update((field.len() as u64).to_be_bytes());
        sha.update(field);
    }
    first_digits(&sha.finalize(), digits)
}

/// The first 16 hex digits of the payload's SHA-256, as `sha256sum` prints it.
pub fn payload_hash(payload: &[u8]) -> String {
    first_digits(&Sha256::digest(payload), PAYLOAD_DIGITS)
}

fn first_digits(bytes: &[u8], digits: usize) -> String {
    let mut out = hex::encode(bytes);
    out.truncate(digits);
    out
}

/// An id for [`KeyCandidates`]: the parts joined by dots, dots inside a part escaped, so that no two lists of parts give one id.
/// It leaves room for the payload's hash.
pub fn id(parts: &[&str]) -> String {
    bounded(joined(parts), ID_CHARS_MAX - PAYLOAD_DIGITS - 1)
}

/// A key that is used as it is: as [`id`], for [`KeyCandidates::literal`].
pub fn literal(parts: &[&str]) -> String {
    bounded(joined(parts), ID_CHARS_MAX)
}

fn joined(parts: &[&str]) -> String {
    let plain: Vec<u8> = PLAIN.iter().copied().filter(|byte| *byte != b'.').collect();
    parts.iter().map(|part| escape(part, &plain)).collect::<Vec<_>>().join(".")
}

/// What tells one radio frame of a device from the next, beside its bytes.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Kind of event: `up` …
    pub kind: &'a str,
    /// Device EUI, lower-case hex.
    pub eui: &'a str,
    /// Session that one join made, by the id of its keys; a `devAddr` is none, it comes again.
    pub session: Option<&'a str>,
    /// Frame counter; an absent one is 0.
    pub counter: u64,
    /// LoRaWAN port; an absent one is 0.
    pub port: u64,
    /// The decrypted bytes.
    pub raw: &'a [u8],
    /// When it was received.
    pub time: Option<&'a EventTime>,
}

impl Frame<'_> {
    /// `lw.{eui}.{counter}.{h32}`. `None` without a session and without a time finer than a second: such a frame looks after
    /// a re-join like the one before it, and two of one second like one.
    pub fn id(&self) -> Option<String> {
        let session = self.session.filter(|session| !session.is_empty());
        if session.is_none() && !self.time.is_some_and(EventTime::is_fine) {
            return None;
        }
        let (counter, port) = (self.counter.to_be_bytes(), self.port.to_be_bytes());
        let (session, time) = (session.unwrap_or_default(), self.time.map(EventTime::to_string).unwrap_or_default());
        let (kind, eui) = (self.kind.as_bytes(), self.eui.as_bytes());
        let fields = [kind, eui, session.as_bytes(), &counter, &port, self.raw, time.as_bytes()];
        Some(id(&["lw", self.eui, &self.counter.to_string(), &hash(&fields, HASH_DIGITS)]))
    }
}

/// What a profile found to know a message by, made by [`id`]; [`KeyCandidates::climb`] takes the first that is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyCandidates {
    /// A key without the payload's hash, by the operator's choice; made by [`literal`].
    pub literal: Option<String>,
    /// A network server's own id, or one that the operator points to.
    pub native: Option<String>,
    /// The id of a radio frame, from [`Frame::id`].
    pub frame: Option<String>,
}

impl KeyCandidates {
    /// The key, where the message carries an identity, and its kind.
    pub fn climb(self, message: &Message) -> (Option<String>, KeyKind) {
        let hashed = |id: String| format!("{id}.{}", payload_hash(&message.payload));
        match self {
            KeyCandidates { literal: Some(key), .. } => (Some(key), KeyKind::Native),
            KeyCandidates { native: Some(id), .. } => (Some(hashed(id)), KeyKind::Native),
            KeyCandidates { frame: Some(id), .. } => (Some(hashed(id)), KeyKind::Frame),
            _ if message.retain => (None, KeyKind::Retained),
            _ => (None, KeyKind::Arrival),
        }
    }
}

/// What order is kept within.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Grouping {
    /// Per device; a message of an unknown device goes with its topic.
    #[default]
    Device,
    /// Per topic, whatever the device.
    Topic,
    /// All of this gateway's stream, one after the other.
    Gateway,
    /// Per application of the network server, where the profile knows it; else as [`Grouping::Device`].
    Application,
}

impl Grouping {
    /// The message group: 1 to 128 characters of SQS's set. `device` and `application` as the profile read them.
    pub fn group(self, topic: &str, device: Option<&str>, application: Option<&str>, journal: JournalId) -> String {
        match (self, device, application) {
            (Grouping::Topic, ..) => sqs_id(topic),
            // Not one word for all gateways: on a shared queue they would wait for each other.
            (Grouping::Gateway, ..) => format!("gateway.{journal}"),
            (Grouping::Application, _, Some(application)) => sqs_id(application),
            (_, Some(device), _) => sqs_id(device),
            (_, None, _) => format!("t.{}", hash(&[topic.as_bytes()], 16)),
        }
    }
}

/// The event time to show and where it comes from: `time` if it can be believed, else the arrival.
pub fn shown_time(time: Option<&EventTime>, received: Moment) -> (Option<String>, TimeSource) {
    match time.filter(|time| time.believable(received.confirmed_ms())) {
        Some(time) => (Some(time.to_string()), TimeSource::Event),
        None => (None, TimeSource::Arrival),
    }
}

/// An EUI in any of its spellings (`02-F1-…`, `02:f1:…`, `02F1…`) as 16 lower-case hex digits.
pub fn eui(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, '-' | ':')).map(|c| c.to_ascii_lowercase()).collect();
    (digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

impl Identity {
    /// Puts the parts together.
    pub fn new(
        (key, key_kind): (Option<String>, KeyKind),
        group: String,
        device: Option<String>,
        record_type: &str,
        (event_time, time_source): (Option<String>, TimeSource),
    ) -> Identity {
        Identity { key, key_kind, group, device, record_type: record_type.to_owned(), event_time, time_source }
    }
}

#[cfg(test)]
mod tests;
