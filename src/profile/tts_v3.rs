//! The Things Stack 3, and what is built on it: `v3/{application}@{tenant}/devices/{device}/{up,join,down/…,…}`.
//!
//! Source: the stack's documentation of its data formats and MQTT server. The unique id is a ULID in one of the
//! `correlation_ids`, whose order varies: the entry that starts with `as:up:`, for uplinks also `gs:uplink:`, which is
//! the only one in some. Several messages may have one id (an uplink and what was solved from it, a relay's and that of
//! the device behind it), so kind and bytes are part of the key. Where an uplink has no such id, its frame counts with
//! `session_key_id`, which each join makes anew. Zeros are left out. The server publishes at QoS 0 and cannot do better.

use crate::json::scan::{Scalar, extract};
use crate::profile::fields::{self, Fields, RawFrame, level_after, number};
use crate::record::Message;
use crate::record::identity::{self, eui};

/// Entries of `correlation_ids` that the profile reads; real ones have up to eight.
const IDS: [&str; 16] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];

/// Reads an event; its kind is at the end of the topic.
pub(super) fn read(message: &Message) -> Fields {
    let payload = &message.payload;
    let kind = kind(&message.topic);
    let (record_type, body) = match kind {
        "up" => ("lorawan.uplink", "uplink_message"),
        "join" => ("lorawan.join", "join_accept"),
        "down/ack" => ("lorawan.ack", "downlink_ack"),
        "down/nack" => ("lorawan.ack", "downlink_nack"),
        "down/sent" => ("lorawan.txack", "downlink_sent"),
        "down/queued" | "down/failed" => ("lorawan.downlink", "downlink_queued"),
        "service/data" => ("lorawan.integration", "service_data"),
        "location/solved" => ("lorawan.location", "location_solved"),
        _ => ("raw", ""),
    };
    let [dev_eui, device_id, application, inner, outer] = extract(
        payload,
        [
            &["end_device_ids", "dev_eui"][..],
            &["end_device_ids", "device_id"],
            &["end_device_ids", "application_ids", "application_id"],
            &[body, "received_at"],
            &["received_at"],
        ],
    );
    let named = || fields::text(device_id).or_else(|| level_after(&message.topic, "devices").map(str::to_owned));
    Fields {
        device: fields::text(dev_eui).as_deref().and_then(eui).or_else(named),
        application: fields::text(application),
        native: unique_id(kind, payload).map(|id| identity::id(&["tts", kind, &id])),
        frame: (kind == "up").then(|| frame(payload)).flatten(),
        time: fields::time(inner).or_else(|| fields::time(outer)),
        record_type,
        ..Fields::default()
    }
}

/// What follows the device in the topic.
fn kind(topic: &str) -> &str {
    let behind = topic.split_once("/devices/").map_or("", |(_, behind)| behind);
    behind.split_once('/').map_or("", |(_, kind)| kind)
}

fn unique_id(kind: &str, payload: &[u8]) -> Option<String> {
    let ids =
        extract(payload, IDS.each_ref().map(|index| ["correlation_ids", *index]).each_ref().map(|path| &path[..]));
    let after = |prefix: &str| {
        let texts = ids.iter().flatten().copied().filter_map(Scalar::text);
        texts.filter_map(|text| text.strip_prefix(prefix).map(str::to_owned)).find(|id| !id.is_empty())
    };
    after("as:up:").or_else(|| (kind == "up").then(|| after("gs:uplink:")).flatten())
}

fn frame(payload: &[u8]) -> Option<RawFrame> {
    let at = |name| ["uplink_message", name];
    let [session, counter, port, data] =
        extract(payload, [&at("session_key_id")[..], &at("f_cnt"), &at("f_port"), &at("frm_payload")]);
    Some(RawFrame {
        session: fields::text(session),
        counter: number(counter),
        port: number(port),
        raw: fields::base64(data)?,
    })
}
