//! Profiles: how one network server's topics and payloads are read. One file per network server.
//!
//! A profile never fails a record: what it cannot read makes no identity ([`crate::record::identity`]), and a payload that it does
//! not know at all is still a record, grouped by its topic.
//!
//! A new profile is a file beside this one and a row of [`REGISTRY`]; the compiler and the tests ask for the rest.

pub mod auto;
mod chirpstack_gateway;
mod chirpstack_v3;
pub mod chirpstack_v4;
mod enocean;
mod fields;
pub mod generic;
mod homie;
mod microshare;
mod milesight;
mod multitech;
pub mod presets;
mod rak;
mod registry;
mod shelly;
mod sparkplug_b;
mod tasmota;
mod tts_v3;
mod zigbee2mqtt;

use crate::clock::Moment;
use crate::json::pointer::Pointer;
use crate::record::identity::Grouping;
use crate::record::{Draft, Identity, JournalId, Message, Record};
use auto::Auto;
use chirpstack_v4::ChirpstackV4;
use fields::Fields;
use generic::{DeviceAt, Generic};
use presets::Preset;
pub use registry::REGISTRY;
use std::borrow::Cow;

/// What a route's configuration says about reading, beside the profile's name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfileOptions {
    /// What order is kept within.
    pub grouping: Grouping,
    /// Where the message names its device.
    pub device: Option<DeviceAt>,
    /// Where it has an id of the event.
    pub id: Option<Pointer>,
    /// Where it has the event's time.
    pub time: Option<Pointer>,
    /// Where it has a counter: taken in a configuration, and not read; it makes no identity.
    pub counter: Option<Pointer>,
    /// Class of every record.
    pub record_type: Option<String>,
    /// `key = "record-id"`: one record per record id, literally.
    pub record_id: bool,
}

/// What is known of a profile before it is configured.
#[derive(Clone, Copy, Debug)]
pub struct ProfileInfo {
    /// Name in the configuration.
    pub name: &'static str,
    /// For people, one line.
    pub summary: &'static str,
    /// Topic filters of a route that names none, disjoint; when empty, the route must name them.
    pub default_topics: &'static [&'static str],
    /// Whether `device`, `id`, `time` and `type` are read (else the profile knows its payloads itself).
    pub reads_pointers: bool,
    /// Whether it knows applications ([`Grouping::Application`]).
    pub knows_applications: bool,
    /// Whether its messages are known from documents alone, and were not seen on a gateway yet.
    pub documents_only: bool,
    /// What makes the SQS id, in words.
    pub key: &'static str,
    /// What a redelivery is recognised by, in words.
    pub redelivery: &'static str,
    /// What the default group is, in words.
    pub group: &'static str,
    /// Where the profile looks for the event's time, in this order; else it is the arrival's.
    pub time: &'static str,
    /// The QoS that the publisher uses, and what to change there so that nothing is lost while the agent is away.
    pub qos: &'static str,
    build: fn(ProfileOptions) -> Profile,
}

impl ProfileInfo {
    /// What to do at the publisher, should its messages come with QoS 0: an imperative.
    pub fn qos_remedy(&self) -> String {
        const BROKER: &str = "let the broker queue QoS 0 (Mosquitto: queue_qos0_messages true)";
        // The column of docs/profiles.md: what the publisher uses, and behind it what to change.
        let (uses, change) =
            self.qos.split_once([';', ':']).map_or((self.qos, ""), |(uses, change)| (uses, change.trim()));
        match change {
            _ if uses.contains("cannot be changed") => BROKER.to_owned(),
            "let the broker queue QoS 0" => BROKER.to_owned(),
            // It publishes with more: something on the way lowers it.
            "nothing to change" => "see what lowers the QoS between publisher and broker, such as a bridge".to_owned(),
            "" | "look at what tidegate status counts as QoS 0" => "let the publisher use QoS 1".to_owned(),
            change => match uses.strip_prefix("as set in ") {
                Some(place) => change.replacen("choose QoS 1", &format!("choose QoS 1 in {place}"), 1),
                None if change == "choose QoS 1" => "choose QoS 1 at the publisher".to_owned(),
                None => change.to_owned(),
            },
        }
    }
}

/// A profile that is nothing but rules: what it reads of a message, and what order is kept within.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    name: &'static str,
    grouping: Grouping,
    read: fn(&Message) -> Fields,
}

impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        (self.name, self.grouping) == (other.name, other.grouping)
    }
}

impl Eq for Rules {}

/// The profile `microshare`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Microshare {
    /// What order is kept within.
    pub grouping: Grouping,
    /// Whether the record's id alone is its key.
    pub record_id: bool,
}

/// A profile with its options, as a route uses it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Profile {
    /// ChirpStack 4, in JSON or protobuf.
    ChirpstackV4(ChirpstackV4),
    /// A network server whose messages are read by fixed rules.
    Rules(Rules),
    /// Records in Microshare's envelope.
    Microshare(Microshare),
    /// A preset of `generic`, under its own name.
    Preset(&'static str, Generic),
    /// `generic`: any JSON, by the operator's pointers.
    Generic(Generic),
    /// One of the others, message by message.
    Auto(Auto),
}

/// What a lane keeps order within: a record's group, or, where an earlier release grouped it otherwise, today's.
///
/// The group's id in SQS stays the stored one; what waits of the former group holds the new one back.
pub fn order_key(record: &Record) -> Cow<'_, str> {
    let Draft { message, profile, identity, .. } = &record.draft;
    let of_node = (profile == "sparkplug-b").then(|| sparkplug_b::group_of_node(&message.topic, &identity.group));
    of_node.flatten().map_or(Cow::Borrowed(&*identity.group), Cow::Owned)
}

impl Profile {
    /// The names that [`Profile::named`] knows.
    pub fn names() -> Vec<&'static str> {
        REGISTRY.iter().map(|info| info.name).collect()
    }

    /// The profile of that name; `None` when there is none. Options that it does not read are ignored.
    pub fn named(name: &str, options: ProfileOptions) -> Option<Profile> {
        REGISTRY.iter().find(|info| info.name == name).map(|info| (info.build)(options))
    }

    /// What to do at the publisher whose messages the profile of that name reads, should they come with QoS 0; `None` when there is
    /// no such profile.
    pub fn qos_remedy_of(name: &str) -> Option<String> {
        REGISTRY.iter().find(|info| info.name == name).map(ProfileInfo::qos_remedy)
    }

    fn rules(name: &'static str, read: fn(&Message) -> Fields, options: ProfileOptions) -> Profile {
        Profile::Rules(Rules { name, grouping: options.grouping, read })
    }

    /// The preset, with what the route says otherwise.
    fn preset(name: &'static str, options: ProfileOptions) -> Profile {
        let preset = Preset::named(name).expect("a row of the table: see the test").options(options.grouping);
        let options = ProfileOptions {
            device: options.device.or(preset.device),
            id: options.id.or(preset.id),
            time: options.time.or(preset.time),
            counter: options.counter.or(preset.counter),
            record_type: options.record_type.or(preset.record_type),
            ..options
        };
        Profile::Preset(name, Generic { options })
    }

    /// Plain values: `generic` without anything that it would look for in a payload.
    fn plain(options: ProfileOptions) -> Profile {
        let device = options.device.filter(|device| matches!(device, DeviceAt::TopicLevel(_)));
        let options = ProfileOptions { grouping: options.grouping, device, ..ProfileOptions::default() };
        Profile::Preset("plain", Generic { options })
    }

    /// What is known of it before it is configured.
    pub fn info(&self) -> &'static ProfileInfo {
        let name = match self {
            Profile::ChirpstackV4(_) => "chirpstack-v4",
            Profile::Rules(rules) => rules.name,
            Profile::Microshare(_) => "microshare",
            Profile::Preset(name, _) => name,
            Profile::Generic(_) => "generic",
            Profile::Auto(_) => "auto",
        };
        REGISTRY.iter().find(|info| info.name == name).expect("every variant has its row: see the test")
    }

    /// The profile's name, as in the configuration.
    pub fn name(&self) -> &'static str {
        self.info().name
    }

    /// What to do at the publisher whose messages this profile reads, should they come with QoS 0: an imperative.
    pub fn qos_remedy(&self) -> String {
        self.info().qos_remedy()
    }

    /// Topic filters of a route that names none; empty when the route must name them.
    pub fn default_topics(&self) -> &'static [&'static str] {
        self.info().default_topics
    }

    /// The profile that reads this message: itself, or what `auto` chooses.
    pub fn of(&self, message: &Message) -> &Profile {
        match self {
            Profile::Auto(auto) => auto.choose(message),
            profile => profile,
        }
    }

    /// Reads a message's identity. Never fails: where it cannot be read, there is none.
    ///
    /// The key depends on topic, payload and `journal` alone; `received` decides only whether a time is shown.
    pub fn identify(&self, message: &Message, received: Moment, journal: JournalId) -> Identity {
        match self {
            Profile::ChirpstackV4(profile) => profile.identify(message, received, journal),
            Profile::Rules(rules) => (rules.read)(message).identity(message, rules.grouping, received, journal),
            Profile::Microshare(Microshare { grouping, record_id }) => {
                microshare::read(message, *record_id).identity(message, *grouping, received, journal)
            }
            Profile::Preset(_, profile) | Profile::Generic(profile) => profile.identify(message, received, journal),
            Profile::Auto(auto) => auto.choose(message).identify(message, received, journal),
        }
    }
}

#[cfg(test)]
mod tests {
    mod all_samples;
    mod sameness;
    mod samples;

    use super::*;

    #[test]
    fn every_name_builds_the_profile_of_that_name() {
        for name in Profile::names() {
            let profile = Profile::named(name, ProfileOptions::default()).expect("a name of the list");
            assert_eq!(profile.name(), name);
        }
        assert_eq!(Profile::named("chirpstack", ProfileOptions::default()), None);
    }

    #[test]
    fn the_remedy_for_qos_0_is_the_publishers_own() {
        let of = |name: &str| Profile::named(name, ProfileOptions::default()).expect(name).qos_remedy();
        let broker = "let the broker queue QoS 0 (Mosquitto: queue_qos0_messages true)";
        for (name, remedy) in [
            ("chirpstack-v4", "set qos = 1 in [integration.mqtt]"),
            ("chirpstack-gateway", "set qos = 1 in the bridge's [integration.mqtt]"),
            ("zigbee2mqtt", "set qos: 1 under device_options"),
            ("tts-v3", broker),
            ("tasmota", broker),
            ("sparkplug-b", broker),
            ("rak", "choose QoS 1 in the gateway's page (MQTT)"),
            ("multitech", "see what lowers the QoS between publisher and broker, such as a bridge"),
            ("tektelic", "let the publisher use QoS 1"),
            ("generic", "choose QoS 1 at the publisher"),
            ("auto", "let the publisher use QoS 1"),
        ] {
            assert_eq!(of(name), remedy, "{name}");
        }
    }
}
