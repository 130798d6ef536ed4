//! The protobuf form of ChirpStack's events: of the published definitions, the fields that an identity needs. What is
//! not named here is skipped by protobuf's own rules, so newer servers are read as well.

use crate::profile::chirpstack_v4::{CONTEXT_IDS, Fields, Kind};
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

/// The head that `up`, `join`, `ack`, `status`, `location` and `integration` share. Field 4 is not read: it is a text in some
/// kinds and a message in another.
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
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Log {
    #[prost(message, optional, tag = "1")]
    pub(super) time: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    pub(super) device_info: Option<DeviceInfo>,
    #[prost(map = "string, string", tag = "6")]
    pub(super) context: HashMap<String, String>,
}

/// Reads an event; `None` when the payload is not a protobuf message of this kind.
pub(super) fn read(kind: Kind, payload: &[u8]) -> Option<Fields> {
    match kind {
        Kind::TxAck => {
            let TxAck { downlink_id, time, device_info, queue_item_id } = TxAck::decode(payload).ok()?;
            Some(Fields { queue_item_id, downlink_id, ..head(time, device_info) })
        }
        Kind::Log => {
            let Log { time, device_info, mut context } = Log::decode(payload).ok()?;
            let named = CONTEXT_IDS.into_iter().filter_map(|name| Some((name, context.remove(name)?)));
            let context = named.into_iter().find(|(_, id)| !id.is_empty());
            Some(Fields { context, ..head(time, device_info) })
        }
        _ => {
            let Event { deduplication_id, time, device_info } = Event::decode(payload).ok()?;
            let facts = Fields { deduplication_id, ..head(time, device_info) };
            if kind != Kind::Up {
                return Some(facts);
            }
            // What an uplink has besides the head, read in a second pass over the same bytes.
            let Uplink { f_cnt, f_port, data } = Uplink::decode(payload).ok()?;
            Some(Fields { f_cnt, f_port, data: Some(data), ..facts })
        }
    }
}

fn head(time: Option<Timestamp>, device: Option<DeviceInfo>) -> Fields {
    let DeviceInfo { application_id, dev_eui } = device.unwrap_or_default();
    let time = time.and_then(|at| EventTime::from_nanos(at.seconds, u32::try_from(at.nanos).ok()?));
    Fields { time, dev_eui, application_id, ..Fields::default() }
}
