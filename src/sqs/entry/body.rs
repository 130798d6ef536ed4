//! The body: the structured CloudEvents document, or the payload itself.

use crate::sqs::entry::{BASE64_STANDARD, Engine, EntryFields, json};
use crate::sqs::limits::takes;

/// Levels of objects and lists that JSON may have to travel as JSON. Deeper, a reader's parser may give up on the whole message,
/// and on all others that a function got with it; some take 64 levels, and the envelope is one of them.
const DEEPEST: usize = 60;

/// Digits of a number that may travel as JSON. Python takes 4,300 for an integer, and above that gives up like on depth.
const LONGEST: usize = 1000;

/// How a payload can travel.
pub(super) enum Payload<'a> {
    /// One JSON value.
    Json(&'a str),
    /// Text of characters that SQS takes.
    Text(&'a str),
    /// Anything else, and JSON that is nested deeper, or has longer numbers, than readers bear.
    Bytes(&'a [u8]),
    /// Nothing.
    Empty,
}

impl<'a> Payload<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Payload<'a> {
        match std::str::from_utf8(bytes) {
            _ if bytes.is_empty() => Payload::Empty,
            Ok(text) if json::is_json(text) => match json::extent(text) {
                (0..=DEEPEST, 0..=LONGEST) => Payload::Json(text),
                _ => Payload::Bytes(bytes),
            },
            Ok(text) if text.chars().all(takes) => Payload::Text(text),
            _ => Payload::Bytes(bytes),
        }
    }

    /// Media type of the payload as it came.
    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Payload::Json(_) => "application/json",
            Payload::Text(_) => "text/plain",
            Payload::Bytes(_) | Payload::Empty => "application/octet-stream",
        }
    }
}

/// The payload as a body, its media type, and whether it had to be encoded as base64. Not for an empty payload.
///
/// JSON with white space in front, or a number or word with some behind, is called text: an SDK puts quotes around what does not
/// begin with a bracket or a quote, and fails over the line's end in them.
pub(super) fn raw(payload: &Payload, bytes: &[u8]) -> (String, &'static str, bool) {
    let kind = match payload {
        Payload::Json(text) if !text.starts_with(['{', '[', '"']) && text.contains([' ', '\t', '\r', '\n']) => {
            "text/plain"
        }
        _ => payload.content_type(),
    };
    match payload {
        Payload::Json(text) | Payload::Text(text) if text.chars().all(takes) => ((*text).to_owned(), kind, false),
        _ => (BASE64_STANDARD.encode(bytes), kind, true),
    }
}

/// A JSON payload as a body of its own, with the two characters escaped that SQS refuses.
pub(super) fn verbatim(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    json::push_verbatim(&mut out, text);
    out
}

/// The CloudEvents 1.0 document in its structured JSON format.
pub(super) fn structured(facts: &EntryFields, payload: &Payload) -> String {
    let carried = match payload {
        Payload::Json(text) | Payload::Text(text) => text.len() + 8,
        Payload::Bytes(bytes) => bytes.len() * 4 / 3 + 8,
        Payload::Empty => 0,
    };
    let mut document = Document(String::with_capacity(carried + 640));
    document.member("specversion", "1.0");
    document.member("id", &facts.id);
    document.member("source", &facts.source);
    document.member("type", &facts.kind);
    document.optional("subject", facts.subject.as_deref());
    document.optional("time", facts.time.as_deref());
    if !matches!(payload, Payload::Empty) {
        document.member("datacontenttype", payload.content_type());
    }
    document.optional("dataschema", facts.data_schema);
    document.member("partitionkey", &facts.group);
    document.member("sequence", &facts.sequence);
    document.optional("recordedtime", facts.recorded.as_deref());
    if let Some(mark) = facts.receipt.mark() {
        document.flag(mark, true);
    }
    document.optional("rectype", facts.routed.then_some(&*facts.rectype));
    document.optional("gatewayid", Some(&*facts.gateway).filter(|gateway| !gateway.is_empty()));
    document.member("mqtttopic", &facts.topic);
    document.member("timesource", facts.time_source);
    document.member("keykind", facts.key_kind);
    document.flag("possibleduplicate", facts.possible_duplicate);
    document.optional("duplicatekind", facts.duplicate_kind);
    document.optional("duplicateof", facts.duplicate_of);
    match payload {
        Payload::Json(text) => json::push_verbatim(document.name("data"), text),
        Payload::Text(text) => document.member("data", text),
        Payload::Bytes(bytes) => document.member("data_base64", &BASE64_STANDARD.encode(bytes)),
        Payload::Empty => {}
    }
    document.0.push('}');
    document.0
}

/// A JSON object being written.
struct Document(String);

impl Document {
    /// Opens a member; its value is the caller's to append.
    fn name(&mut self, name: &'static str) -> &mut String {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        json::push_string(&mut self.0, name);
        self.0.push(':');
        &mut self.0
    }

    fn member(&mut self, name: &'static str, value: &str) {
        json::push_string(self.name(name), value);
    }

    fn optional(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.member(name, value);
        }
    }

    /// A flag is written only where it is set.
    fn flag(&mut self, name: &'static str, set: bool) {
        if set {
            self.name(name).push_str("true");
        }
    }
}
