//! RAK WisGate OS, its own network server: `application/{name}/device/{eui}/{rx,join,ack,status}`.
//!
//! Source: the maker's guide to its MQTT broker. There is no unique id and no session: after a re-join device, counter, port
//! and bytes repeat, and `timestamp` counts whole seconds. So nothing here is an identity, unless a release writes the
//! fraction of the second as well. `data_encode` says how the bytes are
//! written. A status has no time. The QoS is set in the gateway's page.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, RawFrame, last_level, level_after, number};
use crate::record::Message;
use crate::record::identity::eui;

/// Reads an event; its kind is the topic's last level.
pub(super) fn read(message: &Message) -> Fields {
    let record_type = match last_level(&message.topic) {
        "rx" => "lorawan.uplink",
        "join" => "lorawan.join",
        "ack" => "lorawan.ack",
        "status" => "lorawan.status",
        _ => "raw",
    };
    let [device, application, time] = extract(&message.payload, [&["devEUI"], &["applicationID"], &["timestamp"]]);
    Fields {
        device: fields::text(device)
            .as_deref()
            .and_then(eui)
            .or_else(|| level_after(&message.topic, "device").and_then(eui)),
        application: fields::word(application)
            .or_else(|| level_after(&message.topic, "application").map(str::to_owned)),
        frame: (record_type == "lorawan.uplink").then(|| frame(&message.payload)).flatten(),
        time: fields::time(time),
        record_type,
        ..Fields::default()
    }
}

fn frame(payload: &[u8]) -> Option<RawFrame> {
    let [encoding, counter, port, data] = extract(payload, [&["data_encode"], &["fCnt"], &["fPort"], &["data"]]);
    let raw = match fields::text(encoding).as_deref() {
        Some("hexstring") => fields::hex(data)?,
        _ => fields::base64(data)?,
    };
    Some(RawFrame { session: None, counter: number(counter), port: number(port), raw })
}
