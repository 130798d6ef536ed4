//! Looks at topic and payload of each message and reads it by the profile that they speak for.
//!
//! The topic decides first: network servers have their own. Where two share one (ChirpStack 3 and 4, RAK) and where the
//! topic is free text, a member that only one of them has decides. What no server's topic or member marks is read as
//! plain values. The choice depends on the message alone, so a redelivery is read as the first delivery was; the record
//! names the profile that was chosen.

use crate::json::scan::{Scalar, extract};
use crate::profile::{Profile, ProfileOptions, REGISTRY};
use crate::record::Message;
use crate::record::identity::{Grouping, eui};

/// The profile `auto`: every other profile, ready to be chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auto {
    candidates: Vec<Profile>,
}

impl Auto {
    /// All candidates, with one grouping.
    pub(super) fn new(grouping: Grouping) -> Auto {
        let known = REGISTRY.iter().filter(|info| !matches!(info.name, "auto" | "generic"));
        let options = || ProfileOptions { grouping, ..ProfileOptions::default() };
        Auto { candidates: known.map(|info| (info.build)(options())).collect() }
    }

    /// The profile that the message speaks for.
    pub fn choose(&self, message: &Message) -> &Profile {
        let name = chosen(&message.topic, &message.payload);
        self.candidates.iter().find(|profile| profile.name() == name).unwrap_or(&self.candidates[0])
    }
}

/// The name of the profile that topic and payload speak for.
fn chosen(topic: &str, payload: &[u8]) -> &'static str {
    by_topic(topic, payload).or_else(|| by_payload(payload)).unwrap_or("plain")
}

fn by_topic(topic: &str, payload: &[u8]) -> Option<&'static str> {
    let levels: Vec<&str> = topic.split('/').take(12).collect();
    match levels[..] {
        ["spBv1.0", ..] | ["spBv1", "0", _, ..] => return Some("sparkplug-b"),
        ["zigbee2mqtt", _, ..] => return Some("zigbee2mqtt"),
        ["tele" | "stat", _, _, ..] => return Some("tasmota"),
        ["homie", _, _, ..] => return Some("homie"),
        ["enocean", _, ..] => return Some("enocean"),
        ["v3", _, "devices", _, _, ..] => return Some("tts-v3"),
        ["integrations", "v1", _, _, "uplink"] => return Some("tektelic"),
        ["lora", .., device, "up" | "joined" | "moved"] if eui(device).is_some() => return Some("multitech"),
        _ => {}
    }
    let ends = |with: [&str; 2]| levels.len() > 2 && levels[levels.len() - 2..] == with;
    match levels[..] {
        [.., "gateway", _, "event" | "state", _] => Some("chirpstack-gateway"),
        [.., "application", _, "device", _, "event", _] => Some(chirpstack(payload)),
        [.., "application", _, "device", _, "rx" | "join" | "ack" | "status"] => Some(chirpstack_or_rak(payload)),
        _ if ends(["events", "rpc"]) => Some("shelly"),
        [prefix, "online"] | [prefix, "status", _] if prefix.starts_with("shelly") => Some("shelly"),
        _ => None,
    }
}

/// Protobuf is ChirpStack 4's; of JSON, `devEUI` at the top is 3's.
fn chirpstack(payload: &[u8]) -> &'static str {
    let [device] = extract(payload, [&["devEUI"]]);
    if device.is_some() { "chirpstack-v3" } else { "chirpstack-v4" }
}

/// The topics that ChirpStack 3 had before 3.11 are RAK's today; RAK writes `timestamp`, and an encoding beside the data.
fn chirpstack_or_rak(payload: &[u8]) -> &'static str {
    let [encoding, timestamp, battery] = extract(payload, [&["data_encode"], &["timestamp"], &["batteryLevel"]]);
    let rak = encoding.is_some() || timestamp.is_some() || battery.is_some();
    if rak { "rak" } else { "chirpstack-v3" }
}

/// By members at the front of the payload, for the servers that write them there.
fn by_payload(payload: &[u8]) -> Option<&'static str> {
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let [thingpark, kerlink, loriot, command, milesight, counter, event, object] = extract(
        payload,
        [
            &["DevEUI_uplink", "DevEUI"][..],
            &["endDevice", "devEui"],
            &["EUI"],
            &["cmd"],
            &["devEUI"],
            &["fCnt"],
            &["event_type"],
            &["obj_type"],
        ],
    );
    let is_eui = |scalar: Option<Scalar<'_>>| scalar.and_then(Scalar::text).is_some_and(|text| eui(&text).is_some());
    if is_eui(thingpark) {
        Some("thingpark")
    } else if is_eui(kerlink) {
        Some("kerlink")
    } else if is_eui(loriot) && command.is_some() {
        Some("loriot")
    } else if is_eui(milesight) && counter.is_some() {
        Some("milesight")
    } else if event.is_some() && object.is_some() {
        Some("microshare")
    } else {
        None
    }
}
