//! A record as JSON and as text, for people and their tools.

use crate::clock::{Trust, rfc3339_ms};
use crate::journal::{Quarantined, View};
use crate::record::{Epoch, Position, Record};
use crate::visible;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// One line of `journal export`, format 1; keys may be added.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    number: u64,
    journal: String,
    epoch: Epoch,
    key: &'a str,
    key_kind: &'static str,
    group: &'a str,
    #[serde(rename = "type")]
    record_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    profile: &'a str,
    topic: &'a str,
    qos: u8,
    retain: bool,
    dup: bool,
    received: Option<String>,
    clock_trusted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<&'a str>,
    bytes: usize,
    /// Position in each queue's lane.
    positions: BTreeMap<String, Position>,
    /// The queues that it waits for.
    waiting: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    requeued: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<Cause<'a>>,
}

/// Why it is in quarantine.
#[derive(Serialize)]
struct Cause<'a> {
    /// What commands call it.
    id: String,
    code: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// The payload's whole size, where only its head is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_bytes: Option<u64>,
}

impl<'a> Line<'a> {
    /// `payload`: whether it is in it, as text where it is text.
    pub(super) fn of(view: &View, record: &'a Record, payload: bool) -> Line<'a> {
        let (message, identity) = (&record.draft.message, &record.draft.identity);
        let name = |lane| view.lane_name(lane).map_or_else(|| format!("lane {}", lane.0), str::to_owned);
        let text = std::str::from_utf8(&message.payload).ok();
        let waits = record.slots.iter().filter(|slot| view.waits(record, slot.lane));
        Line {
            number: record.number.0,
            journal: record.journal.to_string(),
            epoch: record.epoch,
            key: &record.key,
            key_kind: identity.key_kind.word(),
            group: &identity.group,
            record_type: &identity.record_type,
            device: identity.device.as_deref(),
            profile: &record.draft.profile,
            topic: &message.topic,
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
            received: rfc3339_ms(record.draft.received.wall_ms),
            clock_trusted: record.draft.received.trust == Trust::Confirmed,
            event_time: identity.event_time.as_deref(),
            bytes: message.payload.len(),
            positions: record.slots.iter().map(|slot| (name(slot.lane), slot.position)).collect(),
            waiting: waits.map(|slot| name(slot.lane)).collect(),
            requeued: record.requeued,
            payload: text.filter(|_| payload),
            payload_base64: (payload && text.is_none()).then(|| STANDARD.encode(&message.payload)),
            quarantined: None,
        }
    }

    /// Something in quarantine: its positions and whether it waits are those of the lane that it left.
    pub(super) fn quarantined(view: &View, entry: &'a Quarantined, payload: bool) -> Line<'a> {
        let queue = entry.place.and_then(|(lane, _)| view.lane_name(lane)).map(str::to_owned);
        let cause = Cause {
            id: entry.id.to_string(),
            code: &entry.code,
            text: &entry.text,
            queue,
            position: entry.place.map(|(_, position)| position),
            whole_bytes: entry.whole_bytes,
        };
        Line { waiting: Vec::new(), quarantined: Some(cause), ..Line::of(view, &entry.record, payload) }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// One line of a list.
    pub(super) fn row(&self) -> String {
        let waits = if self.waiting.is_empty() { "-".to_owned() } else { self.waiting.join(",") };
        let received = self.received.as_deref().unwrap_or("-");
        format!("{:>8}  {:<24}  {:>7}  {:<12}  {}  {}", self.number, received, self.bytes, waits, self.topic, self.key)
    }

    /// All of it, a fact per line.
    pub(super) fn facts(&self) -> String {
        let Ok(serde_json::Value::Object(facts)) = serde_json::to_value(self) else { return String::new() };
        let mut out = String::new();
        for (name, value) in facts.iter().filter(|(name, _)| !name.starts_with("payload")) {
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let _ = writeln!(out, "{:<14} {}", name.replace('_', " "), visible::line(&value));
        }
        out
    }
}

/// The head of a list.
pub(super) const HEAD: &str = "  number  received                    bytes  waits for     topic  key";
