//! Network servers that are known from documents alone: presets of `generic`, nothing but a table of pointers.
//!
//! Nobody has seen their messages on a gateway's own broker yet, and topics and bodies can be set by whoever configures
//! the push. So a preset is exactly the `generic` route that [`Preset::toml`] prints, and a technician whose server says
//! it another way copies that into the configuration and bends it.
//!
//! Sources: `kerlink` the published description of Wanesy's push messages; `thingpark` and `loriot` public collections of
//! their uplinks for payload converters; `tektelic` the maker's page on its broker integration, which names three members
//! only (the rest depends on the integration's data converter).

use super::ProfileOptions;
use crate::record::identity::Grouping;
use std::fmt::Write;

/// A row of the table: where things stand, as `generic` is told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preset {
    /// Name in the configuration.
    pub name: &'static str,
    /// The device; a pointer.
    pub device: &'static str,
    /// An id of the event.
    pub id: Option<&'static str>,
    /// Its time.
    pub time: Option<&'static str>,
    /// A counter.
    pub counter: Option<&'static str>,
}

/// What they all are.
const RECORD_TYPE: &str = "lorawan.uplink";

/// The table.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "kerlink",
        device: "/endDevice/devEui",
        id: Some("/id"),
        time: Some("/recvTime"),
        counter: Some("/fCntUp"),
    },
    Preset {
        name: "thingpark",
        device: "/DevEUI_uplink/DevEUI",
        id: None,
        time: Some("/DevEUI_uplink/Time"),
        counter: Some("/DevEUI_uplink/FCntUp"),
    },
    Preset { name: "loriot", device: "/EUI", id: Some("/seqno"), time: Some("/ts"), counter: Some("/fcnt") },
    Preset { name: "tektelic", device: "/deviceEui", id: None, time: None, counter: None },
];

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// What `generic` is told, for that grouping.
    pub(super) fn options(&self, grouping: Grouping) -> ProfileOptions {
        let pointer = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        ProfileOptions {
            grouping,
            device: self.device.parse().ok(),
            id: pointer(self.id),
            time: pointer(self.time),
            counter: pointer(self.counter),
            record_type: Some(RECORD_TYPE.to_owned()),
            ..ProfileOptions::default()
        }
    }

    /// The route that says the same, to be copied and bent: TOML without `topics` and `queue`.
    pub fn toml(&self) -> String {
        let mut out = format!("profile = \"generic\"\ntype = \"{RECORD_TYPE}\"\ndevice = \"{}\"\n", self.device);
        for (key, at) in [("id", self.id), ("time", self.time), ("counter", self.counter)] {
            if let Some(at) = at {
                let _ = writeln!(out, "{key} = \"{at}\"");
            }
        }
        out
    }
}
