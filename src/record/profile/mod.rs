//! Profiles: how one network server's topics and payloads are read. One file per network server.
//!
//! A profile never fails a record: what it cannot read falls to the next rung of the ladder ([`super::identity`]), and a
//! payload that it does not know at all is still a record, grouped by its topic.
//!
//! A new profile is a file beside this one, a variant of [`Profile`] and a row of [`REGISTRY`]; the compiler and the
//! tests ask for the rest.

pub mod chirpstack_v4;
pub mod generic;

#[cfg(test)]
mod samples;

use super::identity::Grouping;
use super::pointer::Pointer;
use super::{Identity, JournalId, Message};
use crate::clock::Moment;
use chirpstack_v4::ChirpstackV4;
use generic::{DeviceAt, Generic};

/// What a route's configuration says about reading, beside the profile's name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfileOptions {
    /// What order is kept within.
    pub grouping: Grouping,
    /// Where the device stands.
    pub device: Option<DeviceAt>,
    /// Where an id of the event stands.
    pub id: Option<Pointer>,
    /// Where the event's time stands.
    pub time: Option<Pointer>,
    /// Where a counter stands.
    pub counter: Option<Pointer>,
}

/// What is known of a profile before it is configured.
#[derive(Clone, Copy, Debug)]
pub struct ProfileInfo {
    /// Name in the configuration.
    pub name: &'static str,
    /// For people, one line.
    pub summary: &'static str,
    /// Topic filters of a route that names none; when empty, the route must name them.
    pub default_topics: &'static [&'static str],
    /// Whether `device`, `id`, `time` and `counter` are read (else the profile knows its payloads itself).
    pub reads_pointers: bool,
    /// Whether it knows applications ([`Grouping::Application`]).
    pub knows_applications: bool,
    build: fn(ProfileOptions) -> Profile,
}

/// Every profile, in the order in which people are shown them.
pub const REGISTRY: &[ProfileInfo] = &[
    ProfileInfo {
        name: "chirpstack-v4",
        summary: "ChirpStack 4 application events, JSON or protobuf",
        default_topics: &["application/+/device/+/event/+"],
        reads_pointers: false,
        knows_applications: true,
        build: |options| Profile::ChirpstackV4(ChirpstackV4 { grouping: options.grouping }),
    },
    ProfileInfo {
        name: "generic",
        summary: "any payload; device, time, counter and id by JSON pointer or topic level",
        default_topics: &[],
        reads_pointers: true,
        knows_applications: false,
        build: |options| Profile::Generic(Generic { options }),
    },
];

/// A configured profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Profile {
    /// ChirpStack 4.
    ChirpstackV4(ChirpstackV4),
    /// Anything, by pointers.
    Generic(Generic),
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

    /// What is known of it before it is configured.
    pub fn info(&self) -> &'static ProfileInfo {
        let name = match self {
            Profile::ChirpstackV4(_) => "chirpstack-v4",
            Profile::Generic(_) => "generic",
        };
        REGISTRY.iter().find(|info| info.name == name).expect("every variant has its row: see the test")
    }

    /// The profile's name, as in the configuration.
    pub fn name(&self) -> &'static str {
        self.info().name
    }

    /// Topic filters of a route that names none; empty when the route must name them.
    pub fn default_topics(&self) -> &'static [&'static str] {
        self.info().default_topics
    }

    /// Reads a message's identity. Never fails: what cannot be read falls to the next rung of the ladder.
    ///
    /// The key depends on the message and `journal` alone; `received` decides only whether a time is shown.
    pub fn identify(&self, message: &Message, received: Moment, journal: JournalId) -> Identity {
        match self {
            Profile::ChirpstackV4(profile) => profile.identify(message, received, journal),
            Profile::Generic(profile) => profile.identify(message, received, journal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_builds_the_profile_of_that_name() {
        for name in Profile::names() {
            let profile = Profile::named(name, ProfileOptions::default()).expect("a name of the list");
            assert_eq!(profile.name(), name);
        }
        assert_eq!(Profile::named("chirpstack", ProfileOptions::default()), None);
    }
}
