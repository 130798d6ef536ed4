//! Homie 5: `homie/5/{device}/{node}/{property}`, plain values, and `homie/5/{device}/$state`.
//!
//! Source: the published convention. Every property is retained, so at each subscription the last value of all comes again:
//! those are recognised by the last payload of their topic; a live value has no identity and is its own record.
//! Published at QoS 2, which reaches us as QoS 1.

use crate::profile::fields::{Fields, level_after, state_or_raw};
use crate::record::Message;

/// Reads a property or attribute of a device.
pub(super) fn read(message: &Message) -> Fields {
    // The level behind the version, or behind the base where a release before 5 has no version level.
    let device = level_after(&message.topic, "5").or_else(|| message.topic.split('/').nth(1));
    Fields { device: device.map(str::to_owned), record_type: state_or_raw(&message.payload), ..Fields::default() }
}
