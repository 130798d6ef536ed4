//! Network servers that are known from documents alone: presets of `generic`, nothing but a table of pointers.
//!
//! Their messages were not seen on a gateway's own broker yet, and the technician who configures the push can set topics
//! and bodies. So a preset is exactly the `generic` route that [`Preset::toml`] prints, and a technician whose server
//! says it another way copies that into the configuration and adapts it. None has an `id`: whether theirs are unique is
//! not known from a document, so nothing is taken for an identity until the operator says so.
//!
//! Sources: `kerlink` the published description of Wanesy's push messages; `thingpark` and `loriot` public collections of
//! their uplinks for payload converters; `tektelic` the maker's page on its broker integration, which names three members
//! only (the rest depends on the integration's data converter).

use crate::profile::ProfileOptions;
use crate::record::identity::Grouping;
use std::fmt::Write;

/// A row of the table: where a message has what, as `generic` is told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preset {
    /// Name in the configuration.
    pub name: &'static str,
    /// The device; a pointer.
    pub device: &'static str,
    /// The event's time; a pointer.
    pub time: Option<&'static str>,
}

/// What they all are.
const RECORD_TYPE: &str = "lorawan.uplink";

/// All presets, by the servers' names.
pub const PRESETS: [Preset; 4] = [
    Preset { name: "kerlink", device: "/endDevice/devEui", time: Some("/recvTime") },
    Preset { name: "thingpark", device: "/DevEUI_uplink/DevEUI", time: Some("/DevEUI_uplink/Time") },
    Preset { name: "loriot", device: "/EUI", time: Some("/ts") },
    Preset { name: "tektelic", device: "/deviceEui", time: None },
];

impl Preset {
    /// The preset of that name.
    pub fn named(name: &str) -> Option<&'static Preset> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The options of `generic`, for that grouping.
    pub(super) fn options(&self, grouping: Grouping) -> ProfileOptions {
        ProfileOptions {
            grouping,
            device: self.device.parse().ok(),
            time: self.time.and_then(|time| time.parse().ok()),
            record_type: Some(RECORD_TYPE.to_owned()),
            ..ProfileOptions::default()
        }
    }

    /// The route that says the same, to be copied and bent: TOML without `topics` and `queue`.
    pub fn toml(&self) -> String {
        let mut out = format!("profile = \"generic\"\ntype = \"{RECORD_TYPE}\"\ndevice = \"{}\"\n", self.device);
        if let Some(time) = self.time {
            let _ = writeln!(out, "time = \"{time}\"");
        }
        out
    }
}
