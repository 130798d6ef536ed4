//! What the tests share: a configuration, a route, and a journal that returns tickets when told.

use crate::config::{BrokerAddress, MqttConfig};
use crate::mqtt::Route;
use crate::record::{Identity, KeyKind, LaneId, Message, TimeSource};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::mqtt) fn config(port: u16) -> MqttConfig {
    MqttConfig {
        address: BrokerAddress::Tcp { host: "127.0.0.1".into(), port },
        url: format!("mqtt://127.0.0.1:{port}"),
        client_id: "tidegate-test".into(),
        username: None,
        password_file: None,
        ca_file: None,
        client_cert_file: None,
        client_key_file: None,
        keep_alive: Duration::from_secs(30),
        max_payload_bytes: 700 << 10,
        max_unacked_bytes: 8 << 20,
    }
}

/// Payloads that begin with `key:` are keyed by the rest.
pub(in crate::mqtt) fn route(filter: &str) -> Route {
    let identify = |message: &Message, _received| {
        let key = std::str::from_utf8(&message.payload).ok().and_then(|text| text.strip_prefix("key:"));
        Identity {
            key: key.map(str::to_owned),
            key_kind: if key.is_some() { KeyKind::Native } else { KeyKind::Arrival },
            group: message.topic.clone(),
            device: None,
            record_type: "raw".into(),
            event_time: None,
            time_source: TimeSource::Arrival,
        }
    };
    Route {
        filters: vec![filter.into()],
        profile: "plain".into(),
        identify: Arc::new(identify),
        lanes: vec![LaneId(0)],
    }
}
