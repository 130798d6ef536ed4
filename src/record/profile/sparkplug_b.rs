//! Sparkplug B: `spBv1.0/{group}/{N,D}{BIRTH,DATA,DEATH}/{node}[/{device}]` in protobuf, `spBv1.0/STATE/{host}` in JSON.
//!
//! Source: the published specification, chapters on topics and payloads. `seq` (0 to 255, then again) is a counter and the
//! timestamp a coarse time, so nothing here is an identity. Metrics are often known by alias alone, their names stand in
//! the birth: both travel as they are, in order per node and device. Devices are grouped with their node's name, because
//! only that makes them unique. Published at QoS 0.

use super::facts::{self, Facts};
use crate::record::Message;
use crate::record::event_time::EventTime;
use crate::record::extract::extract;
use prost::Message as _;

/// Of a payload, the one member that is read; metrics are skipped.
#[derive(prost::Message)]
struct Payload {
    /// ms since 1970.
    #[prost(uint64, optional, tag = "1")]
    timestamp: Option<u64>,
}

/// Reads a message.
pub(super) fn read(message: &Message) -> Facts {
    let mut levels = message.topic.split('/').skip(1);
    let mut next = || levels.next().filter(|level| !level.is_empty());
    let (group, kind, node, device) = match (next(), next(), next(), next()) {
        (Some("STATE"), Some(host), None, None) => return state(message, host),
        (Some(group), Some(kind), Some(node), device) => (group, kind, node, device),
        _ => return Facts::default(),
    };
    let record_type = match kind {
        "NBIRTH" | "DBIRTH" => "sensor.birth",
        "NDEATH" | "DDEATH" => "sensor.death",
        "NDATA" | "DDATA" => "sensor.state",
        _ => "raw",
    };
    let payload = Payload::decode(&*message.payload).unwrap_or_default();
    Facts {
        device: Some(device.unwrap_or(node).to_owned()),
        within: Some(device.map_or_else(|| format!("{group}/{node}"), |device| format!("{group}/{node}/{device}"))),
        application: Some(group.to_owned()),
        time: payload.timestamp.and_then(|ms| EventTime::parse(&ms.to_string())),
        record_type,
        ..Facts::default()
    }
}

/// A host's state, which is retained.
fn state(message: &Message, host: &str) -> Facts {
    let [time] = extract(&message.payload, [&["timestamp"]]);
    Facts { device: Some(host.to_owned()), time: facts::time(time), record_type: "sensor.state", ..Facts::default() }
}
