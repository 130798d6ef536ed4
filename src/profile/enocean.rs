//! The EnOcean to MQTT bridge `enocean-mqtt`: `{prefix}{name}` in JSON, or one topic per field of the telegram.
//!
//! Source: the bridge's documentation and its example configuration. `_DATE_` is the host's local time without an offset:
//! the instant is not known from it, and in the night when clocks go back it names two. So nothing here is an identity.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, state_or_raw};
use crate::record::Message;

/// Reads a message; the device is the topic's second level.
pub(super) fn read(message: &Message) -> Fields {
    let [date] = extract(&message.payload, [&["_DATE_"]]);
    Fields {
        device: message.topic.split('/').nth(1).map(str::to_owned),
        time: fields::time(date),
        record_type: state_or_raw(&message.payload),
        ..Fields::default()
    }
}
