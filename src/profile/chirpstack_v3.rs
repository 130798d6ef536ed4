//! ChirpStack 3 application events: `application/{id}/device/{eui}/event/{kind}`, before 3.11 `…/{eui}/rx`.
//!
//! Source: the server's documentation of its integrations and its published schema. No event has an id.
//! EUIs are base64 of their bytes, or hex where the marshaler is `json_v3`; a time is in the first `rxInfo` (where the
//! gateway knows it) or in `publishedAt` (late releases), which is later. `devAddr` does not name a session that one join
//! made, so a frame without a time finer than a second has no identity. The server publishes at QoS 0 unless told otherwise.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, RawFrame, eui_or_base64, last_level, level_after, number};
use crate::record::Message;
use crate::record::identity::eui;

/// Reads an event; its kind is the topic's last level.
pub(super) fn read(message: &Message) -> Fields {
    let [device, application, published, heard] =
        extract(&message.payload, [&["devEUI"][..], &["applicationID"], &["publishedAt"], &["rxInfo", "0", "time"]]);
    let record_type = match last_level(&message.topic) {
        "up" | "rx" => "lorawan.uplink",
        "join" => "lorawan.join",
        "ack" => "lorawan.ack",
        "txack" => "lorawan.txack",
        "status" => "lorawan.status",
        "error" => "lorawan.log",
        "location" => "lorawan.location",
        "integration" => "lorawan.integration",
        _ => "raw",
    };
    Fields {
        device: eui_or_base64(device).or_else(|| level_after(&message.topic, "device").and_then(eui)),
        application: fields::word(application)
            .or_else(|| level_after(&message.topic, "application").map(str::to_owned)),
        frame: (record_type == "lorawan.uplink").then(|| frame(&message.payload)).flatten(),
        time: fields::time(heard).or_else(|| fields::time(published)),
        record_type,
        ..Fields::default()
    }
}

fn frame(payload: &[u8]) -> Option<RawFrame> {
    let [counter, port, data] = extract(payload, [&["fCnt"], &["fPort"], &["data"]]);
    Some(RawFrame { session: None, counter: number(counter), port: number(port), raw: fields::base64(data)? })
}
