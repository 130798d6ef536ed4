//! The protobuf form of ChirpStack's events: of the published definitions, the fields that an identity needs. What is
//! not named here is skipped by protobuf's own rules, so newer servers are read as well.

use super::{CONTEXT_IDS, Facts, Kind};
use crate::record::event_time::EventTime;
use prost::Message;
use std::collections::HashMap;

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeviceInfo {
    #[prost(string, tag = "3")]
    pub(super) application_id: String,
    #[prost(string, tag = "8")]
    pub(super) dev_eui: String,
}

/// The head that `up`, `join`, `ack`, `status`, `location` and `integration` share. Field 4 is left to [`Uplink`] and the
/// others: it is a text in some kinds and a message in another.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(string, tag = "1")]
    pub(super) deduplication_id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) time: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub(super) device_info: Option<DeviceInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Uplink {
    #[prost(string, tag = "4")]
    pub(super) dev_addr: String,
    #[prost(uint32, tag = "7")]
    pub(super) f_cnt: u32,
    #[prost(uint32, tag = "8")]
    pub(super) f_port: u32,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TxAck {
    #[prost(uint32, tag = "1")]
    pub(super) downlink_id: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) time: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub(super) device_info: Option<DeviceInfo>,
    #[prost(string, tag = "4")]
    pub(super) queue_item_id: String,
    #[prost(uint32, tag = "5")]
    pub(super) f_cnt_down: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Log {
    #[prost(message, optional, tag = "1")]
    pub(super) time: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) device_info: Option<DeviceInfo>,
    #[prost(int32, tag = "4")]
    pub(super) code: i32,
    #[prost(string, tag = "5")]
    pub(super) description: String,
    #[prost(map = "string, string", tag = "6")]
    pub(super) context: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Located {
    #[prost(message, optional, tag = "4")]
    pub(super) location: Option<Location>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Location {
    #[prost(double, tag = "1")]
    pub(super) latitude: f64,
    #[prost(double, tag = "2")]
    pub(super) longitude: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Integrated {
    #[prost(string, tag = "4")]
    pub(super) integration_name: String,
    #[prost(string, tag = "5")]
    pub(super) event_type: String,
}

/// The words that the JSON form has for a log's code, by number.
const LOG_CODES: [&str; 12] = [
    "UNKNOWN",
    "DOWNLINK_PAYLOAD_SIZE",
    "UPLINK_CODEC",
    "DOWNLINK_CODEC",
    "OTAA",
    "UPLINK_F_CNT_RESET",
    "UPLINK_MIC",
    "UPLINK_F_CNT_RETRANSMISSION",
    "DOWNLINK_GATEWAY",
    "RELAY_NEW_END_DEVICE",
    "F_CNT_DOWN",
    "EXPIRED",
];

/// Reads an event; `None` when the payload is no protobuf message of this kind.
pub(super) fn read(kind: Kind, payload: &[u8]) -> Option<Facts> {
    match kind {
        Kind::TxAck => {
            let event = TxAck::decode(payload).ok()?;
            let (queue_item_id, downlink_id, f_cnt_down) = (event.queue_item_id, event.downlink_id, event.f_cnt_down);
            Some(Facts { queue_item_id, downlink_id, f_cnt_down, ..head(event.time, event.device_info) })
        }
        Kind::Log => {
            let event = Log::decode(payload).ok()?;
            let named = usize::try_from(event.code).ok().and_then(|code| LOG_CODES.get(code));
            let code = named.map_or_else(|| event.code.to_string(), |name| (*name).to_owned());
            let id = CONTEXT_IDS.iter().find_map(|name| event.context.get(*name).filter(|id| !id.is_empty()));
            let context_id = id.cloned().unwrap_or_default();
            Some(Facts { code, description: event.description, context_id, ..head(event.time, event.device_info) })
        }
        _ => {
            let event = Event::decode(payload).ok()?;
            let facts = head(event.time, event.device_info);
            rest(kind, payload, Facts { deduplication_id: event.deduplication_id, ..facts })
        }
    }
}

/// What a kind has besides the head, read in a second pass over the same bytes.
fn rest(kind: Kind, payload: &[u8], facts: Facts) -> Option<Facts> {
    match kind {
        Kind::Up => {
            let Uplink { dev_addr, f_cnt, f_port, data } = Uplink::decode(payload).ok()?;
            Some(Facts { dev_addr, f_cnt, f_port, data: Some(data), ..facts })
        }
        Kind::Location => {
            let location = Located::decode(payload).ok()?.location.unwrap_or_default();
            Some(Facts { position: [location.latitude, location.longitude].map(f64::to_bits), ..facts })
        }
        Kind::Integration => {
            let Integrated { integration_name, event_type } = Integrated::decode(payload).ok()?;
            Some(Facts { integration_name, event_type, ..facts })
        }
        _ => Some(facts),
    }
}

fn head(time: Option<Timestamp>, device: Option<DeviceInfo>) -> Facts {
    let DeviceInfo { application_id, dev_eui } = device.unwrap_or_default();
    let time = time.and_then(|at| EventTime::from_nanos(at.seconds, u32::try_from(at.nanos).ok()?));
    Facts { time, dev_eui, application_id, ..Facts::default() }
}
