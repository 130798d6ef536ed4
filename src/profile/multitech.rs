//! MultiTech mPower and mLinux: `lora/{device EUI}/up` and, the very same message, `lora/{application EUI}/{device EUI}/up`.
//!
//! Source: the maker's own bridge and application examples. The default topics take each uplink once; a route that subscribes
//! to both gets one record in a queue, because the key is made of frame and bytes and not of the topic. `time` is UTC in
//! microseconds (`tmms` counts from the GPS epoch and is not read); without it there is no identity. Published at QoS 1.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, RawFrame, last_level, number};
use crate::record::Message;
use crate::record::identity::eui;

/// Reads an event; its kind is the topic's last level.
pub(super) fn read(message: &Message) -> Fields {
    let record_type = match last_level(&message.topic) {
        "up" => "lorawan.uplink",
        "joined" => "lorawan.join",
        "moved" => "lorawan.location",
        _ => "raw",
    };
    let [device, application, time] = extract(&message.payload, [&["deveui"], &["appeui"], &["time"]]);
    // The device is the last EUI of the topic: that of the application may come before it.
    let of_topic = || message.topic.rsplit('/').find_map(eui);
    Fields {
        device: fields::text(device).as_deref().and_then(eui).or_else(of_topic),
        application: fields::text(application).as_deref().and_then(eui),
        frame: (record_type == "lorawan.uplink").then(|| frame(&message.payload)).flatten(),
        time: fields::time(time),
        record_type,
        ..Fields::default()
    }
}

fn frame(payload: &[u8]) -> Option<RawFrame> {
    let [counter, port, data] = extract(payload, [&["fcnt"], &["port"], &["data"]]);
    Some(RawFrame { session: None, counter: number(counter), port: number(port), raw: fields::base64(data)? })
}
