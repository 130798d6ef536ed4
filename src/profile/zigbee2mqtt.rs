//! Zigbee2MQTT: `zigbee2mqtt/{friendly name}`, where a friendly name may hold slashes, spaces, any letter.
//!
//! Source: the bridge's documentation of its topics. States have no id and no counter, and `last_seen` (where it is
//! switched on: `advanced: last_seen`) is not an identity either: it stays the same while a group of lamps is switched,
//! and equal states are equal readings. So every message is its own record; what the bridge retains is known by the
//! topic's last value.
//! The device is its IEEE address where the message or the topic tells it (`include_device_information`), else its
//! friendly name. `bridge/…` has no device.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, state_or_raw};
use crate::record::Message;

/// Reads a state, or a message of the bridge.
pub(super) fn read(message: &Message) -> Fields {
    let [address, seen] = extract(&message.payload, [&["device", "ieeeAddr"][..], &["last_seen"]]);
    let named = || name(message).map(|name| ieee(name).unwrap_or_else(|| name.to_owned()));
    Fields {
        device: fields::text(address).as_deref().and_then(ieee).or_else(named),
        time: fields::time(seen),
        record_type: state_or_raw(&message.payload),
        ..Fields::default()
    }
}

/// The friendly name: what follows the base topic. Where single attributes are published (`output: attribute`), the
/// attribute is the last level, and the payload is not an object.
fn name(message: &Message) -> Option<&str> {
    let (_, rest) = message.topic.split_once('/')?;
    if rest == "bridge" || rest.starts_with("bridge/") {
        return None;
    }
    if let Some(device) = rest.strip_suffix("/availability") {
        return Some(device);
    }
    let object = message.payload.trim_ascii_start().first() == Some(&b'{');
    match rest.rsplit_once('/') {
        Some((device, _)) if !object => Some(device),
        _ => Some(rest),
    }
}

/// `0x00158d0001a2b3c4` as 16 lower-case hex digits.
fn ieee(text: &str) -> Option<String> {
    crate::record::identity::eui(text.strip_prefix("0x")?)
}
