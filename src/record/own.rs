//! What tidegate itself says in the stream: records of its own profile, with a schema of their data.

use crate::clock::Moment;
use crate::record::{Draft, Identity, JournalId, KeyKind, LaneId, Message, Record, TimeSource};

/// The profile of tidegate's own records; no route can have it.
pub const PROFILE: &str = "tidegate";

/// Type of a gap record, behind the prefix.
pub const GAP: &str = "gap";

/// Type of a health record, behind the prefix.
pub const HEALTH: &str = "health";

/// The schema of a record's data, for the attribute `dataschema`: an identifier, kept in `docs/schemas/`. `None`: a sensor's record,
/// whose data is not ours to describe.
pub fn schema(record: &Record) -> Option<&'static str> {
    match (&*record.draft.profile, &*record.draft.identity.record_type) {
        (PROFILE, GAP) => Some("urn:tidegate:schema:gap:1"),
        (PROFILE, HEALTH) => Some("urn:tidegate:schema:health:1"),
        _ => None,
    }
}

/// A record of tidegate's own for one lane, of `kind` ([`GAP`], [`HEALTH`]) and with `data` as JSON. Each kind has a message group of
/// its own: it is not in order with the records that it speaks of.
pub fn draft(journal: JournalId, now: Moment, lane: LaneId, kind: &str, data: &serde_json::Value) -> Draft {
    Draft {
        received: now,
        message: Message {
            topic: format!("$tidegate/{kind}"),
            payload: data.to_string().into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: 0,
        },
        profile: PROFILE.to_owned(),
        identity: Identity {
            key: None,
            key_kind: KeyKind::Arrival,
            group: format!("tidegate.{kind}.{journal}"),
            device: None,
            record_type: kind.to_owned(),
            event_time: None,
            time_source: TimeSource::Arrival,
        },
        lanes: vec![lane],
        duplicate: None,
    }
}
