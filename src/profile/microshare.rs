//! Records in Microshare's streaming envelope, as some local bridges publish them.
//!
//! Source: the platform's documentation of its streaming integrations. `id` is the record's key there; `event_type` says
//! create, update or delete. With `id` alone an update within five minutes of its create would be taken for a repeat and
//! swallowed by the queue, so event, `updateDate` and `checksum` belong to the identity. A checksum without a date is none:
//! it comes again when a value returns to what it was. A record is created once, so its creation needs no date.
//! `key = "record-id"` on a route asks for one record per id, literally, and accepts just that.
//! Grouped by device, so that a record's events keep their order; `recType` is kept as it is, for routing.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields};
use crate::record::Message;
use crate::record::identity::{self, eui, hash};

/// Reads a message; `record_id`: the id alone is the key.
pub(super) fn read(message: &Message, record_id: bool) -> Fields {
    let [id, event, checksum, updated, iot, own, health, at, own_at, stamp] = extract(
        &message.payload,
        [
            &["id"][..],
            &["event_type"],
            &["obj", "checksum"],
            &["obj", "updateDate"],
            &["obj", "data", "meta", "iot", "device_id"],
            &["obj", "data", "device", "id"],
            &["obj", "data", "device_health", "id"],
            &["obj", "data", "meta", "iot", "time"],
            &["obj", "data", "time"],
            &["obj", "tstamp"],
        ],
    );
    let (event, updated) = (fields::text(event).unwrap_or_default(), fields::word(updated));
    let (literal, native) = match fields::text(id) {
        Some(id) if record_id => (Some(identity::literal(&["ms", &id])), None),
        Some(id) if updated.is_some() || event == "create" => {
            let fields = [fields::text(checksum), updated].map(Option::unwrap_or_default);
            let told = hash(&fields.each_ref().map(String::as_bytes), 32);
            (None, Some(identity::id(&["ms", &event, &id, &told])))
        }
        _ => (None, None),
    };
    let device = [iot, own, health].into_iter().find_map(fields::text);
    Fields {
        device: device.map(|device| eui(&device).unwrap_or(device)),
        native,
        literal,
        time: [at, own_at, stamp].into_iter().find_map(fields::time),
        record_type: "microshare.record",
        ..Fields::default()
    }
}
