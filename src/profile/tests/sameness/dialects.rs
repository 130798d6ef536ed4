//! What publishers say that is not an identity, each in its own form.

use crate::record::event_time::EventTime;

/// What each server publishes, with a counter, a time in whole seconds (where that would be enough, in milliseconds) and
/// equal content, and nothing that could not be equal for two readings.
pub(super) fn without_identity(n: u32, s: i64, milli: u32, v: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const EUI: &str = "02f1e2d3c4b5a601";
    let utc = EventTime::from_nanos(s, 0).expect("an instant").to_string();
    let fine = utc.replace('Z', &format!(".{milli:03}Z"));
    let epoch_ms = format!("{s}{milli:03}");
    let radio = format!(r#""devAddr":"01a2b3c4","fCnt":{n},"fPort":1,"data":"AQID""#);
    let info = format!(r#""deviceInfo":{{"devEui":"{EUI}"}}"#);
    let ids = format!(r#""end_device_ids":{{"device_id":"m","dev_eui":"{EUI}"}}"#);
    let sparkplug =
        [&[8][..], &varint(s as u64 * 1000 + u64::from(milli)), &[24], &varint(u64::from(n % 256))].concat();
    let all = [
        (
            "chirpstack-v4",
            "application/a/device/02f1e2d3c4b5a601/event/up",
            format!(r#"{{"time":"{utc}",{info},{radio}}}"#),
        ),
        (
            "chirpstack-v4",
            "application/a/device/02f1e2d3c4b5a601/event/txack",
            format!(r#"{{"downlinkId":{n},"time":"{utc}",{info},"fCntDown":{n}}}"#),
        ),
        (
            "chirpstack-v4",
            "application/a/device/02f1e2d3c4b5a601/event/log",
            format!(r#"{{"time":"{utc}",{info},"code":"OTAA","context":{{"downlink_id":"{n}"}}}}"#),
        ),
        (
            "chirpstack-v3",
            "application/7/device/02f1e2d3c4b5a601/event/up",
            format!(r#"{{"devEUI":"{EUI}","publishedAt":"{utc}",{radio}}}"#),
        ),
        (
            "chirpstack-v3",
            "application/7/device/02f1e2d3c4b5a601/event/join",
            format!(r#"{{"devEUI":"{EUI}","publishedAt":"{fine}"}}"#),
        ),
        (
            "chirpstack-gateway",
            "eu868/gateway/02aabbfffe10c0de/event/up",
            format!(r#"{{"rxInfo":{{"gwTime":"{fine}","uplinkId":{n}}}}}"#),
        ),
        (
            "chirpstack-gateway",
            "eu868/gateway/02aabbfffe10c0de/event/stats",
            format!(r#"{{"time":"{utc}","rxPacketsReceived":{n}}}"#),
        ),
        (
            "tts-v3",
            "v3/a@t/devices/m/up",
            format!(r#"{{{ids},"uplink_message":{{"f_cnt":{n},"frm_payload":"AQID","received_at":"{utc}"}}}}"#),
        ),
        (
            "multitech",
            "lora/02-f1-e2-d3-c4-b5-a6-01/up",
            format!(r#"{{"deveui":"{EUI}","devaddr":"01a2b3c4","fcnt":{n},"port":1,"data":"AQID","time":"{utc}"}}"#),
        ),
        ("multitech", "lora/02-f1-e2-d3-c4-b5-a6-01/joined", format!(r#"{{"deveui":"{EUI}","time":"{fine}"}}"#)),
        (
            "rak",
            "application/a/device/02f1e2d3c4b5a601/rx",
            format!(r#"{{"devEUI":"{EUI}","timestamp":{s},"fCnt":{n},"data":"AQID","data_encode":"base64"}}"#),
        ),
        ("milesight", "m", format!(r#"{{"devEUI":"{EUI}","time":"{utc}",{radio}}}"#)),
        ("milesight", "m", format!(r#"{{"press":"{v}"}}"#)),
        (
            "kerlink",
            "k",
            format!(r#"{{"id":"{n}","endDevice":{{"devEui":"{EUI}"}},"recvTime":{epoch_ms},"fCntUp":{n}}}"#),
        ),
        ("thingpark", "t", format!(r#"{{"DevEUI_uplink":{{"DevEUI":"{EUI}","Time":"{fine}","FCntUp":{n}}}}}"#)),
        ("loriot", "l", format!(r#"{{"cmd":"rx","EUI":"{EUI}","seqno":{n},"ts":{epoch_ms},"fcnt":{n}}}"#)),
        ("tektelic", "integrations/v1/a/02F1E2D3C4B5A601/uplink", format!(r#"{{"deviceEui":"{EUI}","fPort":{n}}}"#)),
        ("zigbee2mqtt", "zigbee2mqtt/lamp1", format!(r#"{{"last_seen":"{fine}","state":"{v}"}}"#)),
        ("tasmota", "tele/plug/STATE", format!(r#"{{"Time":"{fine}","UptimeSec":{n},"POWER":"{v}"}}"#)),
        ("shelly", "shellyplus1-a/events/rpc", format!(r#"{{"src":"a","params":{{"ts":{s}.{milli:03},"id":{n}}}}}"#)),
        ("homie", "homie/5/a/b/c", v.to_owned()),
        ("enocean", "enocean/switch", format!(r#"{{"_DATE_":"2026-02-11T08:15:30.{milli:03}000","R1":"{v}"}}"#)),
        (
            "microshare",
            "r",
            format!(
                r#"{{"event_type":"update","id":"698c3ae2c280e00aef540700","obj_type":"objs","obj":{{"checksum":"{v}"}}}}"#
            ),
        ),
        ("plain", "building/4/temperature", v.to_owned()),
        ("generic", "site/a", format!(r#"{{"d":"m","t":"{fine}","n":{n},"v":"{v}"}}"#)),
    ];
    let all = all.map(|(name, topic, payload)| (name, topic, payload.into_bytes()));
    all.into_iter().chain([("sparkplug-b", "spBv1.0/G/DDATA/N/D", sparkplug)]).collect()
}

/// As protobuf writes a number.
fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
