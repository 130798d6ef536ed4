//! Key and group rules: pure, the same for every profile.
//!
//! A *false* duplicate loses a reading, a missed one only repeats it, so every rule here answers a doubt with a new key:
//!
//! 1. [`native`]: the network server's own unique id, the kind of event in front (ids are shared across kinds).
//! 2. [`Frame::key`]: a radio frame. It takes the time in, because counters, ports and bytes repeat after a re-join.
//! 3. [`content`]: topic and bytes, only where the body carries a time or a counter or an id, so that two equal readings
//!    never share it. It names the journal: two sites share topics.
//! 4. retained and 5. arrival have no key here: theirs needs the record's number ([`super::Record::number`]).
//!
//! Keys depend on the message alone (and the journal, once), never on the time of receipt, so a redelivery gets the key
//! of its first delivery. One key has one group: native ids and content belong to one message, and a frame's key covers
//! the group. Everything written here is legal in SQS whatever the bytes that came in.

use super::{Identity, JournalId, KeyKind, Message, TimeSource, event_time::EventTime};
use crate::clock::Moment;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Longest deduplication id and message group id that SQS takes, in characters.
pub const ID_CHARS_MAX: usize = 128;

/// Hex digits of the hash that replaces the end of a longer text, and of the keys made of hashes: 128 bits.
const HASH_DIGITS: usize = 32;

/// What SQS takes in deduplication and group ids besides letters and digits, less `%` and `~`, which are ours: the first
/// marks an escaped byte, the second a cut-off text, and neither may be imitated by what a topic or payload says.
const PLAIN: &[u8] = b"!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}";

/// Writes any text as an SQS id of 1 to 128 characters: what SQS does not take is percent-encoded, what is too long
/// ends in a hash of the whole. Different texts give different ids; the empty text gives `~`.
pub fn sqs_id(text: &str) -> String {
    bounded(escape(text, PLAIN))
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

/// `text` is ASCII.
fn bounded(mut text: String) -> String {
    if text.is_empty() {
        text.push('~');
    } else if text.len() > ID_CHARS_MAX {
        let hash = hash(&[text.as_bytes()], HASH_DIGITS);
        text.truncate(ID_CHARS_MAX - HASH_DIGITS - 1);
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
    let mut out = String::with_capacity(64);
    for byte in sha.finalize() {
        let _ = write!(out, "{byte:02x}");
    }
    out.truncate(digits);
    out
}

/// Rung 1: the parts joined by dots, dots inside a part escaped, so that no two lists of parts give one key.
pub fn native(parts: &[&str]) -> String {
    let plain: Vec<u8> = PLAIN.iter().copied().filter(|byte| *byte != b'.').collect();
    bounded(parts.iter().map(|part| escape(part, &plain)).collect::<Vec<_>>().join("."))
}

/// Rung 2: what tells one radio frame of a device from the next.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Kind of event: `up` …
    pub kind: &'a str,
    /// Device EUI, lower-case hex.
    pub eui: &'a str,
    /// Session (`devAddr` or session key id); empty where the profile has none.
    pub session: &'a str,
    /// Frame counter; an absent one is 0.
    pub counter: u64,
    /// LoRaWAN port; an absent one is 0.
    pub port: u64,
    /// The decrypted bytes.
    pub raw: &'a [u8],
    /// When it was received. Not optional: without it a frame after a re-join looks like the one before.
    pub time: &'a EventTime,
}

impl Frame<'_> {
    /// `lw.{eui}.{counter}.{h32}`. `group` is the record's: a frame that is grouped another way is another record.
    pub fn key(&self, group: &str) -> String {
        let (counter, port, time) = (self.counter.to_be_bytes(), self.port.to_be_bytes(), self.time.to_string());
        let (kind, eui, session) = (self.kind.as_bytes(), self.eui.as_bytes(), self.session.as_bytes());
        let fields = [kind, eui, session, &counter, &port, self.raw, time.as_bytes(), group.as_bytes()];
        native(&["lw", self.eui, &self.counter.to_string(), &hash(&fields, HASH_DIGITS)])
    }
}

/// Rung 3: `c.{journal}.{h32}` over topic and bytes.
pub fn content(message: &Message, journal: JournalId) -> String {
    format!("c.{journal}.{}", hash(&[message.topic.as_bytes(), &message.payload], HASH_DIGITS))
}

/// What a profile found to tell a message by; [`Ladder::climb`] takes the first rung that is there.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    /// Rung 1.
    pub native: Option<String>,
    /// Rung 2.
    pub frame: Option<String>,
    /// Whether the body carries a time, a counter or an id: rung 3.
    pub content: bool,
}

impl Ladder {
    /// The key, where the message carries one, and its rung.
    pub fn climb(self, message: &Message, journal: JournalId) -> (Option<String>, KeyKind) {
        match self {
            Ladder { native: Some(key), .. } => (Some(key), KeyKind::Native),
            Ladder { frame: Some(key), .. } => (Some(key), KeyKind::Frame),
            Ladder { content: true, .. } => (Some(content(message, journal)), KeyKind::Content),
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
    /// Per topic.
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
    match time.filter(|time| time.believable(received)) {
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
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// By SQS's own words: letters, digits and `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~` and the backquote.
    fn legal(id: &str) -> bool {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| (b'!'..=b'~').contains(&b))
    }

    fn message(topic: &str, payload: &[u8], retain: bool) -> Message {
        let payload = Bytes::copy_from_slice(payload);
        Message { topic: topic.to_owned(), payload, qos: 1, retain, dup: false, packet_id: 7 }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_legal_id(text in ".{0,300}", parts in prop::collection::vec(".{0,90}", 1..4)) {
            prop_assert!(legal(&sqs_id(&text)));
            prop_assert!(legal(&native(&parts.iter().map(|p| &**p).collect::<Vec<_>>())));
        }

        #[test]
        fn different_texts_become_different_ids(a in "[a%~. é]{0,150}", b in "[a%~. é]{0,150}") {
            prop_assert_eq!(sqs_id(&a) == sqs_id(&b), a == b);
        }

        #[test]
        fn different_parts_become_different_keys(a in prop::collection::vec("[a.%~]{0,3}", 1..4),
                b in prop::collection::vec("[a.%~]{0,3}", 1..4)) {
            let key = |parts: &[String]| native(&parts.iter().map(|p| &**p).collect::<Vec<_>>());
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }

        #[test]
        fn fields_cannot_flow_into_each_other(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
            let h = |x: &str, y: &str| hash(&[x.as_bytes(), y.as_bytes()], 32);
            prop_assert_eq!(h(&a, &b) == h(&c, &d), (a, b) == (c, d));
        }

        #[test]
        fn any_group_is_legal(topic in ".{0,200}", device in prop::option::of(".{0,200}"), app in prop::option::of(".*"),
                journal: u64) {
            for grouping in [Grouping::Device, Grouping::Topic, Grouping::Gateway, Grouping::Application] {
                let group = grouping.group(&topic, device.as_deref(), app.as_deref(), JournalId(journal));
                prop_assert!(legal(&group), "{}", group);
            }
        }

        #[test]
        fn a_frame_that_differs_in_anything_has_another_key(counter in 0_u64..3, port in 0_u64..3, raw in 0_u8..3,
                session in "[ab]", second in 0_i64..3, group in "[ab]") {
            let time = EventTime::from_nanos(1_770_797_730, 0).expect("an instant");
            let base = Frame { kind: "up", eui: "02f1e2d3c4b5a601", session: "a", counter: 0, port: 0, raw: &[0], time: &time };
            let other_time = EventTime::from_nanos(1_770_797_730 + second, 0).expect("an instant");
            let raw_bytes = [raw];
            let other = Frame { session: &session, counter, port, raw: &raw_bytes, time: &other_time, ..base.clone() };
            let same = (counter, port, raw, &*session, second, &*group) == (0, 0, 0, "a", 0, "a");
            prop_assert_eq!(base.key("a") == other.key(&group), same);
            let prefix = format!("lw.02f1e2d3c4b5a601.{counter}.");
            prop_assert!(other.key(&group).starts_with(&prefix));
        }
    }

    #[test]
    fn the_ladder_takes_the_first_rung_that_is_there() {
        let (live, kept) = (message("t", b"1", false), message("t", b"1", true));
        let climb = |ladder: Ladder, m: &Message| ladder.climb(m, JournalId(1));
        let (native, frame) = (Some("n".to_owned()), Some("f".to_owned()));
        let all = Ladder { native: native.clone(), frame: frame.clone(), content: true };
        assert_eq!(climb(all, &kept), (native, KeyKind::Native), "native before retained");
        assert_eq!(climb(Ladder { frame: frame.clone(), content: true, native: None }, &kept), (frame, KeyKind::Frame));
        let by_content = climb(Ladder { content: true, ..Ladder::default() }, &kept);
        assert_eq!(by_content, (Some(content(&kept, JournalId(1))), KeyKind::Content));
        assert_eq!(climb(Ladder::default(), &kept), (None, KeyKind::Retained));
        assert_eq!(climb(Ladder::default(), &live), (None, KeyKind::Arrival));
    }

    #[test]
    fn content_keys_tell_topics_bytes_and_journals_apart() {
        let key = |topic, payload, journal| content(&message(topic, payload, false), JournalId(journal));
        assert_eq!(key("a", b"1", 1), key("a", b"1", 1));
        for other in [key("b", b"1", 1), key("a", b"2", 1), key("a", b"1", 2), key("a1", b"", 1)] {
            assert_ne!(key("a", b"1", 1), other);
        }
    }

    #[test]
    fn euis_are_read_in_every_spelling() {
        for text in ["02f1e2d3c4b5a601", "02-F1-E2-D3-C4-B5-A6-01", "02:f1:e2:d3:c4:b5:a6:01"] {
            assert_eq!(eui(text).as_deref(), Some("02f1e2d3c4b5a601"));
        }
        assert_eq!(eui("02f1e2d3c4b5a60"), None);
        assert_eq!(eui("sensor-17-kitchen"), None);
    }
}
