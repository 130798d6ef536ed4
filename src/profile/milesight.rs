//! Milesight gateways (Linovision's are the same): JSON on topics that the installer chose.
//!
//! Source: the maker's support articles and application guide. There is no session, as with RAK: a frame is
//! an identity by its time, where that is finer than a second. With a payload codec only the decoded object is published: no
//! EUI, counter or time, so two equal readings are equal bytes and have none; the device is then taken from the topic, where
//! the installer has put `$deveui` into it.

use crate::json::scan::extract;
use crate::profile::fields::{self, Fields, RawFrame, number};
use crate::record::Message;
use crate::record::identity::eui;

/// Reads an uplink, with its frame or as a decoded object.
pub(super) fn read(message: &Message) -> Fields {
    let [device, application, time, heard, counter, port, data] = extract(
        &message.payload,
        [&["devEUI"][..], &["applicationID"], &["time"], &["rxInfo", "0", "time"], &["fCnt"], &["fPort"], &["data"]],
    );
    // A counter at 0 is published; without one this is a decoded object, whatever its members are called.
    let frame = counter.and_then(|counter| {
        let raw = fields::base64(data)?;
        Some(RawFrame { session: None, counter: number(Some(counter)), port: number(port), raw })
    });
    let of_topic = || message.topic.split('/').find_map(eui);
    Fields {
        device: fields::text(device).as_deref().and_then(eui).or_else(of_topic),
        application: fields::word(application),
        time: frame.as_ref().and_then(|_| fields::time(time).or_else(|| fields::time(heard))),
        frame,
        record_type: "lorawan.uplink",
        ..Fields::default()
    }
}
