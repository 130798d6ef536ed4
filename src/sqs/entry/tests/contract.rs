//! `docs/message-format.md` shows what leaves the gateway: `TIDEGATE_WRITE_DOCS=1 cargo test --lib contract` writes its examples, a plain
//! run compares.

use super::{record, rendering};
use crate::clock::{BootId, Moment, Trust};
use crate::config::BodyFormat;
use crate::record::own::{GAP, HEALTH, draft};
use crate::record::{Epoch, JournalId, LanePosition, Number, Position, Record, Run};
use crate::sqs::Entry;
use crate::sqs::entry::{Rendering, render};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

const JOURNAL: JournalId = JournalId(0x8f31_c2d0_94ab_77e6);

/// The group and the deduplication id, the attributes, and the body.
fn shown(entry: &Entry) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| _ = writeln!(out, "{name:26}{value}");
    line("message group id", &entry.group);
    line("message deduplication id", entry.dedup.as_deref().unwrap_or_default());
    entry.attributes.iter().for_each(|(name, value)| line(name, value));
    format!("{out}\n{}\n", entry.body)
}

fn uplink(payload: &[u8]) -> Record {
    Record { journal: JOURNAL, ..record(payload) }
}

/// A record of tidegate's own, as the journal numbers it.
fn own(kind: &str, position: u64, data: &Value) -> Record {
    let received = Moment { wall_ms: 1_770_797_999_000, boottime_ms: 90_000, trust: Trust::Confirmed };
    let lane = rendering(BodyFormat::CloudEvents).lane;
    let run = Run { journal: JOURNAL, epoch: Epoch(1), random: 0x51ad_03c4_e2f8_9b60 };
    let slots = vec![LanePosition { lane, position: Position(position) }];
    Record::number(draft(JOURNAL, received, lane, kind, data), run, Number(76_544 + position), BootId([1; 16]), slots)
}

/// The example of a schema in `docs/schemas/`, which software of others holds against what is sent.
fn health() -> Value {
    json!({
        "cause": "hourly", "lane": "main", "health": "act",
        "findings": [{ "code": "quarantined", "severity": "act", "about": "main", "since_s": null, "count": 1 }],
        "version": "0.1.0", "commit": "4f0c1de", "target": "aarch64-unknown-linux-musl",
        "configuration": "b5bb9d8014a0f9b1", "boot": "01010101010101010101010101010101", "uptime_s": 86_400,
        "clock": "confirmed",
        "lanes": [{
            "name": "main", "next_position": 123_458, "settled_below": 123_458, "appended": 123_457, "accepted": 123_456, "waiting": 0, "evicted": 0,
            "quarantined": 1, "damaged": 0, "unannounced": 0,
            "chain": { "since": 1, "next": 123_458, "value": "9a3c".repeat(16), "restarts": 0 }, "state": "idle", "lag_s": 0,
            "key": { "id_end": "K7QX", "file_age_days": 41 },
        }],
        "journal": {
            "epoch": 1, "bytes": 1_310_720, "max_bytes": 536_870_912, "free_bytes": 2_147_483_648_u64, "in_ram": false,
            "read_only": false, "writer": "fine",
        },
        "flash": { "life_used_percent": 10, "reserve": "normal" }, "certificate_days": 212,
        "uplink": { "today": { "sent": 1_245_184, "received": 262_144 }, "month": { "sent": 12_124_160, "received": 2_555_904 } },
        "intake": {
            "state": "online", "received": 8640, "repeats": 0, "oversize": 0, "qos0": 0, "unrouted": 0, "sessions_lost": 0,
            "broker_dropped": 0,
            "routes": [{ "profile": "chirpstack-v4", "messages": 8640, "qos0": 0, "last_message_s": 4 }],
        },
    })
}

fn examples() -> Vec<(&'static str, Entry)> {
    let of = |record: &Record, format| render(record, &rendering(format)).expect("fits");
    let payload = br#"{"deduplicationId":"5f0d7c1e","fCnt":7,"object":{"temperature":21.50}}"#;
    let gap = json!({
        "lane": "main", "reason": "evicted", "bound": "journal.max_bytes", "ranges": [[118_001, 120_400]], "count": 2400,
        "first_received": "2026-02-10T23:58:01.004Z", "last_received": "2026-02-11T02:40:12.880Z",
        "groups": ["02f1e2d3c4b5a601", "02f1e2d3c4b5a602"], "further_groups": 0,
    });
    let marked = Rendering { possible_duplicate: true, ..rendering(BodyFormat::Raw) };
    vec![
        ("cloudevents", of(&uplink(payload), BodyFormat::CloudEvents)),
        ("raw", of(&uplink(payload), BodyFormat::Raw)),
        ("raw-bytes", render(&uplink(&[0x01, 0x75, 0xff]), &marked).expect("fits")),
        ("gap", of(&own(GAP, 123_457, &gap), BodyFormat::CloudEvents)),
        ("health", of(&own(HEALTH, 123_458, &health()), BodyFormat::CloudEvents)),
    ]
}

#[test]
fn the_documents_examples_are_what_is_sent() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/message-format.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut made = text.clone();
    for (name, entry) in examples() {
        let mark = format!("<!-- example: {name} -->\n```text\n");
        let start = made.find(&mark).unwrap_or_else(|| panic!("no example {name}")) + mark.len();
        let end = start + made[start..].find("```").expect("a fence");
        made.replace_range(start..end, &shown(&entry));
    }
    if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        made == text,
        "docs/message-format.md is not what is sent: TIDEGATE_WRITE_DOCS=1 cargo test --lib contract"
    );
}

/// The document has every member and attribute that leaves the gateway.
#[test]
fn the_document_names_every_member_and_attribute() {
    let text = include_str!("../../../../docs/message-format.md");
    let named = |name: &str| text.contains(&format!("`{name}`"));
    for (example, entry) in examples() {
        entry.attributes.iter().for_each(|(name, _)| assert!(named(name), "{example}: attribute {name}"));
        if let Ok(Value::Object(body)) = serde_json::from_str(&entry.body)
            && example != "raw"
        {
            body.keys().for_each(|name| assert!(named(name), "{example}: member {name}"));
        }
    }
}
