//! The samples in `tests/samples`, by the profile that reads them.

/// Folder of samples, profile that reads them. ChirpStack 4 and plain values are not here: their tests ask more of them.
pub const FOLDERS: [(&str, &str); 17] = [
    ("chirpstack-v3", "chirpstack-v3"),
    ("chirpstack-gateway", "chirpstack-gateway"),
    ("tts-v3", "tts-v3"),
    ("multitech", "multitech"),
    ("rak-wisgateos", "rak"),
    ("milesight", "milesight"),
    ("kerlink-wanesy", "kerlink"),
    ("actility-thingpark", "thingpark"),
    ("loriot", "loriot"),
    ("tektelic", "tektelic"),
    ("zigbee2mqtt", "zigbee2mqtt"),
    ("tasmota", "tasmota"),
    ("shelly", "shelly"),
    ("sparkplug-b", "sparkplug-b"),
    ("homie", "homie"),
    ("enocean", "enocean"),
    ("microshare", "microshare"),
];
