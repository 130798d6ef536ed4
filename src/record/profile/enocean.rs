//! The EnOcean to MQTT bridge `enocean-mqtt`: `{prefix}{name}` in JSON, or one topic per field of the telegram.
//!
//! Source: the bridge's documentation and its example configuration. `_DATE_` is the host's local time without an offset:
//! the instant is not known from it, but it counts microseconds, so with it two telegrams of equal content stay two, and a
//! redelivery of one is recognised. A single field has none and stands on the arrival rung.

use super::facts::{self, Facts, state_or_raw};
use crate::record::Message;
use crate::record::extract::extract;

/// Reads a message.
pub(super) fn read(message: &Message) -> Facts {
    let [date] = extract(&message.payload, [&["_DATE_"]]);
    // With whole seconds alone, in the night when clocks go back, two telegrams an hour apart would look like one.
    let precise = facts::text(date).is_some_and(|date| date.contains('.'));
    Facts {
        device: message.topic.split('/').nth(1).map(str::to_owned),
        counted: precise,
        time: facts::time(date),
        record_type: state_or_raw(&message.payload),
        ..Facts::default()
    }
}
