//! One uplink, as ChirpStack v4 publishes it: 0.8 to 1.6 KB of JSON, every value invented.

use crate::hex::hex;
use crate::random::Random;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The application of every device.
pub const APPLICATION: &str = "e3b59e6c-2a1a-4c43-8a0c-0b3c7b1e6d52";
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+00:00");

/// Equal readings in a row of a sensor without identity.
pub const EQUAL_READINGS: u32 = 4;
/// Messages of a lamp under one time.
pub const SWITCHED_AT_ONCE: u32 = 6;
/// Times of lamps count from here.
const LAMPS_SINCE_S: u64 = 1_767_225_600;

/// An event, ready to be published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// Topic to publish it on.
    pub topic: String,
    /// Payload: a JSON text.
    pub payload: Bytes,
    /// Record id that identifies it; see [`record_id`].
    pub id: String,
    /// Device EUI, lower-case: its message group.
    pub eui: String,
}

/// The id of the record that an uplink becomes: kind, `deduplicationId`, and 16 hex digits of the payload's SHA-256.
pub fn record_id(deduplication_id: &str, payload: &[u8]) -> String {
    format!("cs4.up.{deduplication_id}.{}", hex(&Sha256::digest(payload)[..8]))
}

/// A sensor with a session and a frame counter.
#[derive(Clone, Debug)]
pub struct Device {
    eui: String,
    name: String,
    address: String,
    counter: u32,
    floor: u64,
    is_meter: bool,
}

impl Device {
    /// The device of this index: its EUI begins with `02f1e2d3` and tells devices apart, whatever the generator says.
    pub fn new(index: usize, random: &mut Random) -> Device {
        let room = random.below(40);
        let floor = random.below(12);
        Device {
            eui: format!("02f1e2d3{index:08x}"),
            name: format!("Meeting room {floor}.{room:02} climate"),
            address: format!("01{:06x}", random.below(1 << 24)),
            counter: random.below(5000) as u32,
            floor,
            is_meter: index.is_multiple_of(2),
        }
    }

    /// The device's next uplink; counts its frame counter up.
    pub fn uplink(&mut self, random: &mut Random) -> Uplink {
        self.counter += 1;
        let id = random.uuid();
        let now = OffsetDateTime::now_utc().format(TIME).unwrap_or_default();
        let payload = self.event(&id, &now, random).to_string();
        Uplink {
            topic: format!("application/{APPLICATION}/device/{}/event/up", self.eui),
            id: record_id(&id, payload.as_bytes()),
            payload: Bytes::from(payload),
            eui: self.eui.clone(),
        }
    }

    /// Its next reading as a sensor without any identity sends it, on its own topic. Every other device is a meter: a
    /// bare number, the same one [`EQUAL_READINGS`] times in a row. The others are lamps, switched on and off while their
    /// time does not change for [`SWITCHED_AT_ONCE`] messages.
    pub fn bare_reading(&mut self) -> Uplink {
        self.counter += 1;
        let (topic, value) = if self.is_meter {
            (format!("bare/{}", self.eui), (self.counter / EQUAL_READINGS).to_string())
        } else {
            let state = if self.counter.is_multiple_of(2) { "ON" } else { "OFF" };
            let seen = LAMPS_SINCE_S + u64::from(self.counter / SWITCHED_AT_ONCE);
            let value = json!({ "state": state, "last_seen": seen * 1000 });
            (format!("zigbee2mqtt/lamp-{}", self.eui), value.to_string())
        };
        Uplink { id: format!("{topic}={value}"), eui: topic.clone(), topic, payload: value.into() }
    }

    fn event(&self, id: &str, now: &str, random: &mut Random) -> Value {
        let receptions: Vec<Value> = (0..=random.below(2)).map(|gateway| reception(gateway, now, random)).collect();
        json!({
            "deduplicationId": id,
            "time": now,
            "deviceInfo": {
                "tenantId": "6b0f2f3a-1c57-4d5e-9a64-2f5f0f6f2c11",
                "tenantName": "Example Estates",
                "applicationId": APPLICATION,
                "applicationName": "hq-tower",
                "deviceProfileId": "0a8c0f9d-7b44-4e6d-9a39-3d1f7a5c8e21",
                "deviceProfileName": "climate-v2",
                "deviceName": self.name,
                "devEui": self.eui,
                "deviceClassEnabled": "CLASS_A",
                "tags": { "building": "HQ Tower", "floor": self.floor.to_string() },
            },
            "devAddr": self.address,
            "adr": true,
            "dr": random.below(6),
            "fCnt": self.counter,
            "fPort": 85,
            "confirmed": false,
            "data": "A2fcAARoQQV9WAI=",
            "object": {
                "temperature": 15.0 + random.below(150) as f64 / 10.0,
                "humidity": random.below(1000) as f64 / 10.0,
                "co2": 400 + random.below(1200),
                "battery": null,
            },
            "rxInfo": receptions,
            "txInfo": {
                "frequency": 867_100_000 + 200_000 * random.below(8),
                "modulation": { "lora": { "bandwidth": 125_000, "spreadingFactor": 7 + random.below(6), "codeRate": "CR_4_5" } },
            },
            "regionConfigId": "eu868",
        })
    }
}

/// What one gateway heard of it.
fn reception(gateway: u64, now: &str, random: &mut Random) -> Value {
    json!({
        "gatewayId": format!("02aabbfffe10c0{:02x}", 0xde + gateway),
        "uplinkId": random.below(1 << 16),
        "gwTime": now,
        "nsTime": now,
        "rssi": -(50 + random.below(70) as i64),
        "snr": random.below(200) as f64 / 10.0 - 10.0,
        "channel": random.below(8),
        "rfChain": random.below(2),
        "location": { "latitude": 53.3441, "longitude": -6.2675, "altitude": 31.0 },
        "context": "EFwMtA==",
        "metadata": { "region_common_name": "EU868", "region_config_id": "eu868" },
        "crcStatus": "CRC_OK",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_rise_and_sizes_are_those_of_the_field() {
        let mut random = Random::seeded(3);
        let mut device = Device::new(7, &mut random);
        let uplinks: Vec<Uplink> = (0..200).map(|_| device.uplink(&mut random)).collect();
        let counters: Vec<u64> = uplinks
            .iter()
            .map(|u| {
                let value: Value = serde_json::from_slice(&u.payload).unwrap();
                assert_eq!(u.id, record_id(value["deduplicationId"].as_str().unwrap(), &u.payload));
                assert_eq!(value["deviceInfo"]["devEui"], u.eui);
                value["fCnt"].as_u64().unwrap()
            })
            .collect();
        assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(uplinks.iter().all(|u| (700..1800).contains(&u.payload.len())), "{:?}", uplinks[0].payload.len());
    }
}
