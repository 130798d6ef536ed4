//! Sparkplug B: `spBv1.0/{group}/{N,D}{BIRTH,DATA,DEATH}/{node}[/{device}]` in protobuf, `spBv1.0/STATE/{host}` in JSON.
//!
//! Source: the published specification, chapters on topics and payloads. `seq` (0 to 255, then again) is a counter and
//! the timestamp a coarse time, so nothing here is an identity. Metrics are often known by alias alone, and the births of
//! node and device give their names: all travel as they are, so a node and its devices are one group, in one order.
//! Brokers that turn dots into slashes (RabbitMQ) give `spBv1/0/…`, which is read as well. Published at QoS 0.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields};
use crate::record::Message;
use crate::record::event_time::EventTime;
use crate::record::identity::sqs_id;
use prost::Message as _;

/// Of a payload, the one member that is read; metrics are skipped.
#[derive(prost::Message)]
struct Payload {
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "1")]
    timestamp: Option<u64>,
}

/// What follows the version in a topic; empty levels are none.
fn levels(topic: &str) -> [Option<&str>; 4] {
    let behind = topic.strip_prefix("spBv1/0/").or_else(|| topic.split_once('/').map(|(_, behind)| behind));
    let mut levels = behind.unwrap_or_default().split('/');
    std::array::from_fn(|_| levels.next().filter(|level| !level.is_empty()))
}

/// Reads a message of a node, of one of its devices, or a host's state.
pub(super) fn read(message: &Message) -> Fields {
    let (group, kind, node, device) = match levels(&message.topic) {
        [Some("STATE"), Some(host), None, None] => return state(message, host),
        [Some(group), Some(kind), Some(node), device] => (group, kind, node, device),
        _ => return Fields::default(),
    };
    let record_type = match kind {
        "NBIRTH" | "DBIRTH" => "sensor.birth",
        "NDEATH" | "DDEATH" => "sensor.death",
        "NDATA" | "DDATA" => "sensor.state",
        _ => "raw",
    };
    let payload = Payload::decode(&*message.payload).unwrap_or_default();
    Fields {
        device: Some(device.unwrap_or(node).to_owned()),
        within: Some(format!("{group}/{node}")),
        application: Some(group.to_owned()),
        time: payload.timestamp.and_then(|ms| EventTime::parse(&ms.to_string())),
        record_type,
        ..Fields::default()
    }
}

/// A host's state, which is retained.
fn state(message: &Message, host: &str) -> Fields {
    let [time] = extract(&message.payload, [&["timestamp"]]);
    Fields { device: Some(host.to_owned()), time: fields::time(time), record_type: "sensor.state", ..Fields::default() }
}

/// The group of today for a record that version 0.1.0 grouped by device; `None` for every other group.
///
/// Such a record may still wait in a journal; what comes after it of its node must not overtake it.
pub(super) fn group_of_node(topic: &str, group: &str) -> Option<String> {
    let [Some(of), Some(_), Some(node), Some(device)] = levels(topic) else { return None };
    (sqs_id(&format!("{of}/{node}/{device}")) == group).then(|| sqs_id(&format!("{of}/{node}")))
}

#[cfg(test)]
mod tests;
