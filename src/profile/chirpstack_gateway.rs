//! What ChirpStack's gateway bridge and MQTT forwarder publish: `{region}/gateway/{id}/event/{kind}`, `…/state/{name}`,
//! with or without the region, JSON or protobuf.
//!
//! Source: the server's published schema of its gateway events. Frames are still encrypted and name no device, so the
//! gateway is what they are grouped by; a frame that two gateways heard is two records, as it is two messages. An id in
//! them counts per gateway and comes again, and statistics come in whole seconds: nothing here is an identity. `state/…`
//! is retained.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, level_after};
use crate::record::Message;
use crate::record::event_time::EventTime;
use crate::record::identity::eui;
use prost::Message as _;

#[derive(prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Of an uplink's reception, the one member that is read.
#[derive(prost::Message)]
struct RxInfo {
    #[prost(message, optional, tag = "3")]
    gw_time: Option<Timestamp>,
}

#[derive(prost::Message)]
struct UplinkFrame {
    #[prost(message, optional, tag = "5")]
    rx_info: Option<RxInfo>,
}

#[derive(prost::Message)]
struct GatewayStats {
    #[prost(message, optional, tag = "2")]
    time: Option<Timestamp>,
}

/// Reads an event or a state of a gateway.
pub(super) fn read(message: &Message) -> Fields {
    let mut levels = message.topic.rsplit('/');
    let (name, kind) = (levels.next().unwrap_or_default(), levels.next().unwrap_or_default());
    let record_type = match (kind, name) {
        ("event", "up") => "gateway.up",
        ("event", "stats") => "gateway.stats",
        ("event", "ack") => "gateway.ack",
        ("event", _) => "gateway.event",
        ("state", _) => "gateway.state",
        _ => "raw",
    };
    let gateway = level_after(&message.topic, "gateway");
    Fields {
        device: gateway.map(|id| eui(id).unwrap_or_else(|| id.to_owned())),
        time: time(record_type, &message.payload),
        record_type,
        ..Fields::default()
    }
}

/// ChirpStack's JSON starts with `{`, which in protobuf would be the start of a group, long out of use.
fn time(record_type: &str, payload: &[u8]) -> Option<EventTime> {
    if payload.first() == Some(&b'{') {
        let [received, own] = extract(payload, [&["rxInfo", "gwTime"][..], &["time"]]);
        return fields::time(received).or_else(|| fields::time(own));
    }
    let at = match record_type {
        "gateway.up" => UplinkFrame::decode(payload).ok()?.rx_info?.gw_time?,
        "gateway.stats" => GatewayStats::decode(payload).ok()?.time?,
        _ => return None,
    };
    EventTime::from_nanos(at.seconds, u32::try_from(at.nanos).ok()?)
}
