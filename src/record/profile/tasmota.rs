//! Tasmota: `tele/{topic}/{SENSOR,STATE,LWT,…}` and `stat/{topic}/…`.
//!
//! Source: the firmware's documentation of MQTT. `Time` is local and has no offset, so the instant is not known from
//! it, and in the night when clocks go back it names two instants, an hour apart: two equal readings would be called one.
//! So it makes a key only together with `UptimeSec`, which `STATE` carries and which never goes back within a run; a time
//! that does have an offset is taken as it is. `LWT` is retained. Published at QoS 0, which the firmware cannot change.

use super::facts::{self, Facts, state_or_raw};
use crate::record::Message;
use crate::record::extract::{Scalar, extract};

/// Reads a message.
pub(super) fn read(message: &Message) -> Facts {
    let [time, uptime] = extract(&message.payload, [&["Time"], &["UptimeSec"]]);
    Facts {
        device: message.topic.rsplit('/').nth(1).map(str::to_owned),
        counted: facts::text(time).is_some() && matches!(uptime, Some(Scalar::Number(_))),
        time: facts::time(time),
        record_type: state_or_raw(&message.payload),
        ..Facts::default()
    }
}
