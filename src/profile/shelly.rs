//! Shelly, second generation and later: `{id}/events/rpc`, `{id}/status/{component}`, `{id}/online`.
//!
//! Source: the maker's technical documentation. A notification names its device (`src`) and its time (`params/ts`, seconds
//! with a fraction); a status has neither; `online` is retained. There is no id, so no identity: one notification may
//! repeat what another said in the same moment. Published at QoS 1.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, state_or_raw};
use crate::record::Message;

/// Reads a notification, a status or `online`.
pub(super) fn read(message: &Message) -> Fields {
    let [device, time] = extract(&message.payload, [&["src"][..], &["params", "ts"]]);
    let of_topic = || {
        let topic = &*message.topic;
        let prefix = topic.strip_suffix("/events/rpc").or_else(|| topic.strip_suffix("/online"));
        prefix.or_else(|| topic.rsplit_once("/status/").map(|(prefix, _)| prefix)).map(str::to_owned)
    };
    Fields {
        device: fields::text(device).or_else(of_topic),
        time: fields::time(time),
        record_type: state_or_raw(&message.payload),
        ..Fields::default()
    }
}
