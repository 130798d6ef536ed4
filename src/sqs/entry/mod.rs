//! A record as an SQS message: body, attributes, group and deduplication id.
//!
//! Rendered when the record is sent, by the configuration of that moment; what must not change between two attempts
//! (group and deduplication id) depends on the record alone. Whatever bytes a device sent, the result is one that SQS
//! takes: a body of legal characters (`json`), attributes without empty values, ids of legal characters (`legal_id`);
//! and the payload can be had back from it byte for byte, but for two characters that SQS refuses and JSON may escape.
//!
//! The payload goes into `data` as it came when it is JSON, as a string when it is text that SQS takes, and as
//! `data_base64` otherwise. It is never parsed into values: numbers beyond any float, repeated members and lone
//! surrogates arrive as they were sent.
//!
//! Times are told as they are known when the record is sent: the receipt as [`Receipt`] has it, and the event's time if that
//! receipt does not rule it out. So a resend may know the time that its first attempt did not, or say it a millisecond off. Nothing
//! hangs on it: a queue tells a resend by its id, which it has absorbed or not, and each rendering is weighed anew.
//!
//! A zero-length payload has no `data`. In the `raw` format it cannot be sent as it is (SQS wants one character), so it
//! goes as the structured document; its `content-type` attribute tells the two apart.
//!
//! `docs/message-format.md` is the contract with those who read the queue; a test holds its examples against this module.

mod attributes;
mod body;
mod digest;
mod json;
mod microshare;
mod options;
#[cfg(test)]
mod tests;

pub use attributes::STRUCTURED;
pub use digest::{RecordDigest, settings};
pub use options::RenderOptions;

use crate::clock::{BootId, Moment, rfc3339_ms};
use crate::config::BodyFormat;
use crate::json::pointer::Pointer;
use crate::json::redact::redact;
use crate::json::scan::{Scalar, extract};
use crate::record::event_time::EventTime;
use crate::record::own;
use crate::record::type_template::Template;
use crate::record::{DuplicateKind, Identity, LaneId, Position, Receipt, Record, TimeSource};
use crate::sqs::Entry;
use crate::sqs::limits::{ID_CHARS, takes_in_id};
use attributes::text;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use body::Payload;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;

/// How records of one lane are rendered.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'a> {
    /// Body format.
    pub format: BodyFormat,
    /// Whether the queue is a FIFO queue: only those take a deduplication id.
    pub fifo: bool,
    /// Prefix of the CloudEvents type; may be empty.
    pub type_prefix: &'a str,
    /// The gateway's label.
    pub gateway_id: &'a str,
    /// First part of the CloudEvents source.
    pub site: &'a str,
    /// The record type for routing, where the operator has one of their own.
    pub rectype: Option<&'a Template>,
    /// Values that do not leave the gateway.
    pub redact: &'a [Pointer],
    /// The lane whose positions count.
    pub lane: LaneId,
    /// The present, by which the receipt time of a record of this boot is corrected when its clock was not confirmed
    /// then and is now.
    pub now: Option<(BootId, Moment)>,
    /// Whether the record may have been accepted before, more than SQS's deduplication window ago or on a queue that has
    /// none.
    pub possible_duplicate: bool,
    /// Bytes that the queue takes in one message, as SQS counts them.
    pub limit: usize,
}

/// Why a record cannot become a message of this queue.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsendable {
    /// Larger than the queue takes.
    #[error("the message has {bytes} bytes and the queue takes {limit}; raise the queue's maximum message size")]
    TooLarge {
        /// Size as SQS counts it.
        bytes: usize,
        /// What the queue takes.
        limit: usize,
    },
    /// The record does not go to this lane: a mistake of the caller.
    #[error("the record has no position in this lane; please report it")]
    NotOfLane,
}

/// Renders `record` for one queue.
///
/// # Errors
/// [`Unsendable::TooLarge`] when it exceeds [`Rendering::limit`].
pub fn render(record: &Record, rendering: &Rendering) -> Result<Entry, Unsendable> {
    let facts = EntryFields::of(record, rendering)?;
    let redacted = redact(&record.draft.message.payload, rendering.redact);
    let bytes = &redacted[..];
    let rendered = entry(record, &facts, (&Payload::of(bytes), bytes), rendering);
    let size = rendered.size();
    if size <= rendering.limit {
        return Ok(rendered);
    }
    if rendering.format != BodyFormat::Raw {
        // Text full of quotes and backslashes doubles its size by escapes; base64 adds a third.
        let encoded = entry(record, &facts, (&Payload::Bytes(bytes), bytes), rendering);
        if encoded.size() <= rendering.limit {
            return Ok(encoded);
        }
    }
    // A record that carries a decoded object beside its raw bytes could be sent without the object here, flagged.
    Err(Unsendable::TooLarge { bytes: size, limit: rendering.limit })
}

fn entry(record: &Record, facts: &EntryFields, data: (&Payload, &[u8]), rendering: &Rendering) -> Entry {
    let (payload, bytes) = data;
    let format = match (rendering.format, payload) {
        // SQS takes no empty body.
        (BodyFormat::Raw, Payload::Empty) => BodyFormat::CloudEvents,
        (format, _) => format,
    };
    let (body, attributes) = match format {
        BodyFormat::CloudEvents => (body::structured(facts, payload), attributes::beside_structured(facts)),
        BodyFormat::Raw => {
            let (body, kind, base64) = body::raw(payload, bytes);
            (body, attributes::binary(facts, kind, base64))
        }
        BodyFormat::Microshare => {
            let body = match payload {
                Payload::Json(text) if facts.enveloped => body::verbatim(text),
                _ => microshare::envelope(facts, payload),
            };
            (body, attributes::binary(facts, "application/json", false))
        }
    };
    let dedup = rendering.fifo.then(|| facts.id.clone());
    let digest = RecordDigest::of(record, facts, data, &body, rendering.format);
    Entry { body, attributes, group: facts.group.clone(), dedup, deadline: None, digest }
}

/// The context of a record, as texts.
struct EntryFields<'a> {
    position: Position,
    id: String,
    source: String,
    kind: String,
    subject: Option<Cow<'a, str>>,
    time: Option<String>,
    group: String,
    sequence: String,
    recorded: Option<String>,
    /// For consumers that route: the operator's template, or what the record's own envelope says, or its type.
    rectype: String,
    /// Whether that is more than the type says already.
    routed: bool,
    /// Whether the payload is a record in Microshare's envelope.
    enveloped: bool,
    /// What is to be known of the receipt.
    receipt: Receipt,
    /// Whether the attributes show the receipt: as the event's time, or because the body does.
    shows_receipt: bool,
    gateway: Cow<'a, str>,
    topic: Cow<'a, str>,
    /// Names the schema of `data`, for what tidegate itself says.
    data_schema: Option<&'static str>,
    time_source: &'static str,
    key_kind: &'static str,
    possible_duplicate: bool,
    /// Why, and which id the record equals where one is known; only beside `possible_duplicate`.
    duplicate_kind: Option<&'static str>,
    duplicate_of: Option<&'a str>,
}

impl<'a> EntryFields<'a> {
    fn of(record: &'a Record, rendering: &Rendering<'a>) -> Result<EntryFields<'a>, Unsendable> {
        let position = record.position(rendering.lane).ok_or(Unsendable::NotOfLane)?;
        let identity = &record.draft.identity;
        let receipt = Receipt::of(record, rendering.now);
        let recorded = receipt.ms().and_then(rfc3339_ms);
        let event_time = event_time(identity, receipt);
        let kind = match rendering.type_prefix {
            "" => text(&identity.record_type).into_owned(),
            prefix => text(&format!("{prefix}.{}", identity.record_type)).into_owned(),
        };
        let enveloped = record.draft.profile == "microshare";
        let own = || {
            let [own] = extract(&record.draft.message.payload, [&["recType"]]);
            own.and_then(Scalar::text).map(|text| text.into_owned())
        };
        let rectype = match rendering.rectype {
            Some(template) => Some(template.of(record, &kind, rendering.gateway_id, rendering.site)),
            None => enveloped.then(own).flatten(),
        };
        // A mark of the intake says more than the drain's: it may name the other id.
        let marked = record.possible_duplicate();
        let resent = rendering.possible_duplicate.then_some(DuplicateKind::Resend);
        let duplicate = marked.map(|mark| mark.kind).or(resent);
        // An id must be there and differ from every other's, or a FIFO queue swallows the record.
        let unique = || format!("a.{}.{}.{}", record.journal, record.epoch, record.number);
        Ok(EntryFields {
            position,
            id: legal_id(&record.key).unwrap_or_else(unique),
            source: source(rendering.site, rendering.gateway_id, &record.draft.profile),
            routed: rectype.is_some(),
            rectype: rectype.map_or_else(|| kind.clone(), |rectype| text(&rectype).into_owned()),
            enveloped,
            kind,
            subject: identity.device.as_deref().filter(|device| !device.is_empty()).map(text),
            time_source: event_time.map_or(TimeSource::Arrival, |_| identity.time_source).word(),
            shows_receipt: event_time.is_none() || rendering.format == BodyFormat::Microshare,
            time: event_time.map(str::to_owned).or_else(|| recorded.clone()),
            group: legal_id(&identity.group).unwrap_or_else(|| "tidegate.ungrouped".into()),
            sequence: format!("{}-{:010}-{position:020}", record.journal, record.epoch),
            recorded,
            receipt,
            gateway: text(rendering.gateway_id),
            topic: text(&record.draft.message.topic),
            data_schema: own::schema(record),
            key_kind: identity.key_kind.word(),
            possible_duplicate: duplicate.is_some(),
            duplicate_kind: duplicate.map(DuplicateKind::word),
            duplicate_of: marked.and_then(|mark| mark.of.as_deref()),
        })
    }
}

/// The event's time as the payload says it, unless the receipt rules it out: by an unconfirmed clock the intake could
/// not judge it.
fn event_time(identity: &Identity, receipt: Receipt) -> Option<&str> {
    let said = identity.event_time.as_deref().filter(|_| identity.time_source != TimeSource::Arrival)?;
    let believed = EventTime::parse(said).is_none_or(|time| time.believable(receipt.sure_ms()));
    believed.then_some(said)
}

/// `text` as a group or deduplication id: unchanged when it is legal, else encoded and ended by a hash of the original,
/// so that two different texts never become one id. `None` for an empty text.
fn legal_id(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if text.len() <= ID_CHARS && text.chars().all(takes_in_id) {
        return Some(text.to_owned());
    }
    const HASH_CHARS: usize = 32;
    let mut id = percent_encoded(text, takes_in_id);
    id.truncate(ID_CHARS - HASH_CHARS - 1);
    id.push('.');
    id.push_str(&hex::encode(&Sha256::digest(text.as_bytes())[..HASH_CHARS / 2]));
    Some(id)
}

/// Where a record comes from: `//{site}/{gateway}/{profile}`. Beside the id it is what a consumer tells repeats by, so it names
/// the gateway: two of one site may hear the same frame, and each is the other's only witness.
pub fn source(site: &str, gateway_id: &str, profile: &str) -> String {
    format!("//{}/{}/{}", uri_segment(site), uri_segment(gateway_id), uri_segment(profile))
}

/// `text` as a segment of a URI's path or as its authority.
fn uri_segment(text: &str) -> String {
    percent_encoded(text, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'))
}

fn percent_encoded(text: &str, takes: fn(char) -> bool) -> String {
    if text.chars().all(takes) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if takes(c) {
            out.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
