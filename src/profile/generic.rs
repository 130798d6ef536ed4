//! Any payload: what tells a message comes from the configuration, as JSON pointers or a level of the topic.
//!
//! A pointer that finds nothing is as good as none. Only an `id` makes an identity: an operator who points to one says
//! that no two readings of a device have the same, ever. It may count per device, so the key also has the device (else
//! the topic) and the journal. A time or a counter makes none: counters start over at a boot, times are coarse, and two
//! equal readings stay two. `counter` is still taken in a configuration, and not read.

use crate::clock::Moment;
use crate::json::pointer::Pointer;
use crate::json::scan::{Scalar, extract};
use crate::profile::ProfileOptions;
use crate::profile::fields::{DEVICE_BYTES_MAX, state_or_raw};
use crate::record::event_time::EventTime;
use crate::record::identity::{self, KeyCandidates, eui, shown_time};
use crate::record::{Identity, JournalId, Message};
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Where a generic message names its device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceAt {
    /// In the payload, at a JSON pointer.
    Pointer(Pointer),
    /// In the topic: its level, counted from 1.
    TopicLevel(NonZeroUsize),
}

impl FromStr for DeviceAt {
    type Err = String;

    /// `/pointer` or `topic:3`. The error says what is expected, to be shown after the offending text.
    fn from_str(text: &str) -> Result<DeviceAt, String> {
        match text.strip_prefix("topic:") {
            Some(level) => level
                .trim()
                .parse()
                .map(DeviceAt::TopicLevel)
                .map_err(|_| "a level of the topic, counted from 1: \"topic:3\" is \"c\" in \"a/b/c\"".to_owned()),
            None => text.parse().map(DeviceAt::Pointer).map_err(|why| format!("\"topic:3\" or {why}")),
        }
    }
}

impl fmt::Display for DeviceAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceAt::Pointer(pointer) => pointer.fmt(f),
            DeviceAt::TopicLevel(level) => write!(f, "topic:{level}"),
        }
    }
}

/// The profile `generic`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generic {
    /// All of it is configuration.
    pub options: ProfileOptions,
}

impl Generic {
    /// Reads a message's identity; [`crate::profile::Profile::identify`] says the rest.
    pub fn identify(&self, message: &Message, received: Moment, journal: JournalId) -> Identity {
        let options = &self.options;
        let device_pointer = match &options.device {
            Some(DeviceAt::Pointer(pointer)) => Some(pointer),
            _ => None,
        };
        let [device, id, time] = read(&message.payload, [device_pointer, options.id.as_ref(), options.time.as_ref()]);
        let device = match options.device {
            Some(DeviceAt::TopicLevel(level)) => message.topic.split('/').nth(level.get() - 1).map(str::to_owned),
            _ => device,
        };
        // However it is spelled, an EUI is one device.
        let device = device.map(|device| eui(&device).unwrap_or(device));
        let device = device.filter(|device| (1..=DEVICE_BYTES_MAX).contains(&device.len()));
        let time = time.as_deref().and_then(EventTime::parse);
        let native = id.map(|id| native(journal, device.as_deref(), &message.topic, &id));
        let group = options.grouping.group(&message.topic, device.as_deref(), None, journal);
        let key = KeyCandidates { native, ..KeyCandidates::default() }.climb(message);
        let record_type = options.record_type.as_deref().unwrap_or_else(|| state_or_raw(&message.payload));
        Identity::new(key, group, device, record_type, shown_time(time.as_ref(), received))
    }
}

/// `id.{journal}.{device}.{id}`; `t.{topic}` where no device is known, so that a topic is not taken for a device.
fn native(journal: JournalId, device: Option<&str>, topic: &str, id: &str) -> String {
    let journal = journal.to_string();
    match device {
        Some(device) => identity::id(&["id", &journal, device, id]),
        None => identity::id(&["id", &journal, "t", topic, id]),
    }
}

/// The texts or digits at the pointers that are set.
fn read(payload: &[u8], pointers: [Option<&Pointer>; 3]) -> [Option<String>; 3] {
    if pointers.iter().all(Option::is_none) {
        return [const { None }; 3];
    }
    // A pointer that is not set must not be taken for the empty one, which is the whole payload.
    let found = extract(payload, pointers.map(|pointer| pointer.map_or(&[][..], Pointer::levels)));
    let mut found = found.into_iter();
    pointers.map(|pointer| {
        let scalar = found.next().flatten();
        pointer.and(scalar).and_then(Scalar::text_or_number).map(|text| text.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Trust;
    use crate::record::KeyKind;
    use crate::record::identity::Grouping;
    use bytes::Bytes;
    use proptest::prelude::*;

    const RECEIVED: Moment = Moment { wall_ms: 1_770_800_000_000, boottime_ms: 5_000, trust: Trust::Confirmed };

    fn message(topic: &str, payload: &[u8]) -> Message {
        let payload = Bytes::copy_from_slice(payload);
        Message { topic: topic.to_owned(), payload, qos: 1, retain: false, dup: false, packet_id: 7 }
    }

    fn by_pointers() -> Generic {
        let pointer = |text: &str| Some(text.parse().expect("a pointer"));
        Generic {
            options: ProfileOptions {
                grouping: Grouping::Device,
                device: Some("/id".parse().expect("a place")),
                id: pointer("/event"),
                time: pointer("/ts"),
                counter: pointer("/seq"),
                ..ProfileOptions::default()
            },
        }
    }

    proptest! {
        #[test]
        fn any_message_gets_an_identity(topic in "[a-c/]{0,8}", payload in prop::collection::vec(any::<u8>(), 0..80)) {
            let message = message(&topic, &payload);
            let identity = by_pointers().identify(&message, RECEIVED, JournalId(1));
            prop_assert_eq!(identity.key.is_some(), identity.key_kind.identifies());
            prop_assert!((1..=128).contains(&identity.group.len()));
        }

        #[test]
        fn only_equal_ids_and_bytes_of_a_device_share_keys(
                a in 0_u8..3, b in 0_u8..3, v in 0_u8..2, w in 0_u8..2, d in 0_u8..3, e in 0_u8..3) {
            let key = |event: u8, value: u8, device: u8| {
                let payload = format!(r#"{{"id":"m{device}","event":{event},"v":{value}}}"#);
                let identity = by_pointers().identify(&message("t", payload.as_bytes()), RECEIVED, JournalId(1));
                identity.key.expect("an id")
            };
            prop_assert_eq!(key(a, v, d) == key(b, w, e), (a, v, d) == (b, w, e));
        }

        #[test]
        fn a_time_and_a_counter_make_no_identity(seq: u32, fraction in 0_u32..1000, retain: bool) {
            let payload = format!(r#"{{"id":"m","seq":{seq},"ts":"2026-02-11T08:15:30.{fraction:03}Z"}}"#);
            let message = Message { retain, ..message("t", payload.as_bytes()) };
            let identity = by_pointers().identify(&message, RECEIVED, JournalId(1));
            let kind = if retain { KeyKind::Retained } else { KeyKind::Arrival };
            prop_assert_eq!((identity.key, identity.key_kind), (None, kind));
        }
    }

    #[test]
    fn an_id_counts_for_its_device_or_its_topic() {
        let key = |device: Option<&str>, topic: &str, journal: u64| {
            let device = device.map(|place| place.parse().expect("a place"));
            let options = ProfileOptions { device, id: "/e".parse().ok(), ..ProfileOptions::default() };
            let of = message(topic, br#"{"e":"7.1","d":"a"}"#);
            Generic { options }.identify(&of, RECEIVED, JournalId(journal)).key.expect("an id")
        };
        let hash = identity::payload_hash(br#"{"e":"7.1","d":"a"}"#);
        assert_eq!(key(Some("/d"), "x/y", 1), format!("id.0000000000000001.a.7%2E1.{hash}"));
        assert_eq!(key(Some("/d"), "x/y", 1), key(Some("/d"), "z", 1), "whatever the topic");
        assert_eq!(key(None, "x/y", 1), format!("id.0000000000000001.t.x/y.7%2E1.{hash}"));
        assert_ne!(key(None, "x/y", 1), key(None, "z", 1));
        assert_ne!(key(None, "a", 1), key(Some("/d"), "a", 1), "a topic is no device");
        assert_ne!(key(Some("/d"), "x", 1), key(Some("/d"), "x", 2), "two journals share devices");
    }

    #[test]
    fn the_device_may_stand_in_the_topic() {
        let profile = |place: &str| Generic {
            options: ProfileOptions { device: Some(place.parse().expect("a place")), ..ProfileOptions::default() },
        };
        let device = |place, topic| profile(place).identify(&message(topic, b"1"), RECEIVED, JournalId(1)).device;
        assert_eq!(device("topic:3", "site/hq/sensor-17").as_deref(), Some("sensor-17"));
        assert_eq!(device("topic:4", "site/hq/sensor-17"), None);
        assert_eq!(device("topic:2", "site//sensor-17"), None, "an empty level is no device");
    }

    #[test]
    fn an_unset_pointer_does_not_read_the_whole_payload() {
        let profile = Generic { options: ProfileOptions { time: "/ts".parse().ok(), ..ProfileOptions::default() } };
        let identity = profile.identify(&message("t", b"42"), RECEIVED, JournalId(1));
        assert_eq!((identity.key_kind, identity.device), (KeyKind::Arrival, None));
    }

    #[test]
    fn places_are_refused_with_what_they_should_look_like() {
        let wrong = |text: &str| text.parse::<DeviceAt>().expect_err("not a place");
        assert!(wrong("topic:0").starts_with("a level of the topic, counted from 1"));
        assert_eq!(wrong("id"), r#""topic:3" or a JSON pointer, which starts with "/", such as "/id""#);
    }
}
