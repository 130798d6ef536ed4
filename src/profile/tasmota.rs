//! Tasmota: `tele/{topic}/{SENSOR,STATE,LWT,…}` and `stat/{topic}/…`.
//!
//! Source: the firmware's documentation of MQTT. `Time` is local and has no offset, so the instant is not known from
//! it; a time that does have one is shown. Neither it nor `UptimeSec`, both in whole seconds, is an identity: two equal
//! states may come within one. `LWT` is retained. Published at QoS 0, which the firmware cannot change.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, state_or_raw};
use crate::record::Message;

/// Reads a message; the device is the topic's last level but one.
pub(super) fn read(message: &Message) -> Fields {
    let [time] = extract(&message.payload, [&["Time"]]);
    Fields {
        device: message.topic.rsplit('/').nth(1).map(str::to_owned),
        time: fields::time(time),
        record_type: state_or_raw(&message.payload),
        ..Fields::default()
    }
}
