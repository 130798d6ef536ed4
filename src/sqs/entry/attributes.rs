//! What a message says beside its body: the event's context as message attributes.
//!
//! Beside a structured body they are a copy of what readers route by, without the prefix `ce-`: an SDK that sees it takes the event
//! for a binary one, gives it an id of its own and the envelope for data. In `raw` and `microshare` they are the event: CloudEvents'
//! binary mode, as its HTTP binding writes headers, as far as SQS's ten attributes allow. What comes first in a list stays.
//!
//! A text of the context has no character that CloudEvents or SQS refuse ([`text`]); an attribute is that text with `%` written
//! `%25`, because the SDKs decode what is percent-encoded in `ce-` headers.

use crate::sqs::entry::{EntryFields, percent_encoded};
use crate::sqs::limits::ATTRIBUTES;
use std::borrow::Cow;

/// The content type of a structured body. In lower case: an SDK compares it so.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

type Attributes = Vec<(&'static str, String)>;

/// Beside a structured body: what readers route by, without parsing the body.
pub(super) fn beside_structured(facts: &EntryFields) -> Attributes {
    attributes([
        ("content-type", Some(STRUCTURED)),
        ("type", Some(&facts.kind)),
        ("source", Some(&facts.source)),
        ("subject", facts.subject.as_deref()),
        ("time", facts.time.as_deref()),
        ("gatewayid", Some(&facts.gateway)),
    ])
}

/// The event's context where the body is the payload. The order is the contract's: the first ten that have a value are there.
pub(super) fn binary(facts: &EntryFields, content_type: &str, base64: bool) -> Attributes {
    let mark = |name| (facts.shows_receipt && facts.receipt.mark() == Some(name)).then_some("true");
    attributes([
        ("content-type", Some(content_type)),
        ("content-transfer-encoding", base64.then_some("base64")),
        ("ce-specversion", Some("1.0")),
        ("ce-id", Some(&facts.id)),
        ("ce-source", Some(&facts.source)),
        ("ce-type", Some(&facts.kind)),
        ("ce-sequence", Some(&facts.sequence)),
        ("ce-possibleduplicate", facts.possible_duplicate.then_some("true")),
        ("ce-mqtttopic", Some(&facts.topic)),
        ("ce-duplicateof", facts.duplicate_of),
        ("ce-time", facts.time.as_deref()),
        ("ce-dataschema", facts.data_schema),
        ("ce-subject", facts.subject.as_deref()),
        ("ce-duplicatekind", facts.duplicate_kind),
        ("ce-timecorrected", mark("timecorrected")),
        ("ce-timeuncertain", mark("timeuncertain")),
    ])
}

/// Leaves out what is absent or empty, which SQS refuses, and what comes when SQS's number is full.
fn attributes<const N: usize>(pairs: [(&'static str, Option<&str>); N]) -> Attributes {
    let present = pairs.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let written = |name: &str, value: &str| match name.starts_with("ce-") {
        true => value.replace('%', "%25"),
        false => value.to_owned(),
    };
    present.take(ATTRIBUTES).map(|(name, value)| (name, written(name, value))).collect()
}

/// `text` as CloudEvents takes a string (1.0, Type System): without control characters and noncharacters. These are percent-encoded,
/// and `%` with them, so that the text can be had back.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    match text.chars().all(plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(percent_encoded(text, plain)),
    }
}

fn plain(c: char) -> bool {
    let noncharacter = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    c != '%' && !c.is_control() && !noncharacter
}
