//! ChirpStack 4 application events: `application/{id}/device/{eui}/event/{kind}`, JSON or protobuf.
//!
//! - One topic carries either encoding, with no marker, so it is told per message by its first bytes. Both are read into
//!   the same facts, and the key is made of those: one event in both encodings is one record.
//! - `deduplicationId` is unique per event *of a kind*: the log of a failed codec shares its uplink's, an acknowledgement
//!   and a status that of the uplink that brought them. So the kind stands in every key. One uplink may also cause
//!   several `location` and `integration` events; their keys tell them apart by what they report.
//! - `txack` has no such id: the queue item's stands in, or for a downlink that was never queued its 32-bit random
//!   number, which alone is too short to be unique and so is joined by device and time. `log` is known by its context.
//! - Members at their default are left out by servers before December 2022, in JSON as in protobuf: absent is zero.
//! - ChirpStack never retains; where somebody made it do so, the native key still recognises the event.

mod protobuf;

use crate::clock::Moment;
use crate::record::event_time::EventTime;
use crate::record::extract::{Scalar, extract};
use crate::record::identity::{self, Frame, Grouping, Ladder, hash, native, shown_time};
use crate::record::{Identity, JournalId, Message};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An id that some events carry instead of none.
const NIL_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// What an event is about; the last level of its topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Up,
    Join,
    Ack,
    TxAck,
    Log,
    Status,
    Location,
    Integration,
}

impl Kind {
    const ALL: [(Kind, &'static str, &'static str); 8] = [
        (Kind::Up, "up", "lorawan.uplink"),
        (Kind::Join, "join", "lorawan.join"),
        (Kind::Ack, "ack", "lorawan.ack"),
        (Kind::TxAck, "txack", "lorawan.txack"),
        (Kind::Log, "log", "lorawan.log"),
        (Kind::Status, "status", "lorawan.status"),
        (Kind::Location, "location", "lorawan.location"),
        (Kind::Integration, "integration", "lorawan.integration"),
    ];

    fn of(word: &str) -> Option<Kind> {
        Kind::ALL.iter().find(|(_, name, _)| *name == word).map(|(kind, ..)| *kind)
    }

    fn row(self) -> (&'static str, &'static str) {
        Kind::ALL.iter().find(|(kind, ..)| *kind == self).map_or(("", "raw"), |(_, word, class)| (word, class))
    }

    fn word(self) -> &'static str {
        self.row().0
    }

    fn record_type(self) -> &'static str {
        self.row().1
    }
}

/// What an event says, whichever way it is encoded. By protobuf's rule an absent member is empty or zero.
#[derive(Clone, PartialEq, Debug, Default)]
struct Facts {
    deduplication_id: String,
    time: Option<EventTime>,
    dev_eui: String,
    application_id: String,
    /// `up`, for the frame rung.
    dev_addr: String,
    f_cnt: u32,
    f_port: u32,
    /// `None` when it cannot be read.
    data: Option<Vec<u8>>,
    /// `txack`.
    queue_item_id: String,
    downlink_id: u32,
    f_cnt_down: u32,
    /// `log`.
    code: String,
    description: String,
    context_id: String,
    /// `integration`.
    integration_name: String,
    event_type: String,
    /// `location`: the bits of latitude and longitude as 64-bit floats, which both encodings carry.
    position: [u64; 2],
}

/// The profile `chirpstack-v4`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChirpstackV4 {
    /// What order is kept within.
    pub grouping: Grouping,
}

impl ChirpstackV4 {
    /// Reads a message's identity; [`super::Profile::identify`] says the rest.
    pub fn identify(&self, message: &Message, received: Moment, journal: JournalId) -> Identity {
        let topic = EventTopic::of(&message.topic);
        let facts = read(topic.kind, &message.payload);
        let device = [&*facts.dev_eui, topic.device].into_iter().find_map(identity::eui);
        let application = [&*facts.application_id, topic.application].into_iter().find(|text| !text.is_empty());
        let group = self.grouping.group(&message.topic, device.as_deref(), application, journal);
        let ladder = Ladder {
            native: topic.kind.and_then(|kind| native_key(kind, &facts)),
            frame: frame_key(topic.kind, &facts, device.as_deref(), &group),
            content: facts.time.is_some(),
        };
        let record_type = topic.kind.map_or("raw", Kind::record_type);
        let key = ladder.climb(message, journal);
        Identity::new(key, group, device, record_type, shown_time(facts.time.as_ref(), received))
    }
}

/// What the topic says, counted from its end: some installations put a prefix in front.
struct EventTopic<'a> {
    application: &'a str,
    device: &'a str,
    kind: Option<Kind>,
}

impl EventTopic<'_> {
    fn of(topic: &str) -> EventTopic<'_> {
        let mut levels = topic.rsplit('/');
        let mut next = || levels.next().unwrap_or_default();
        match [next(), next(), next(), next(), next(), next()] {
            [kind, "event", device, "device", application, "application"] => {
                EventTopic { application, device, kind: Kind::of(kind) }
            }
            [kind, ..] => EventTopic { application: "", device: "", kind: Kind::of(kind) },
        }
    }
}

fn given(id: &str) -> bool {
    !id.is_empty() && id != NIL_UUID
}

/// Rung 1, where the event carries an id.
fn native_key(kind: Kind, facts: &Facts) -> Option<String> {
    let time = facts.time.as_ref().map(EventTime::to_string).unwrap_or_default();
    let word = kind.word();
    let f_cnt_down = facts.f_cnt_down.to_string();
    let id = &*facts.deduplication_id;
    match kind {
        Kind::TxAck if given(&facts.queue_item_id) => Some(native(&["cs4", word, &facts.queue_item_id, &f_cnt_down])),
        Kind::TxAck if facts.downlink_id != 0 => {
            let h8 = hash(&[facts.dev_eui.as_bytes(), time.as_bytes()], 8);
            Some(native(&["cs4", word, &facts.downlink_id.to_string(), &f_cnt_down, &h8]))
        }
        Kind::Log if given(&facts.context_id) => {
            let h8 = hash(&[facts.dev_eui.as_bytes(), time.as_bytes(), facts.description.as_bytes()], 8);
            Some(native(&["cs4", word, &facts.context_id, &facts.code, &h8]))
        }
        Kind::TxAck | Kind::Log => None,
        _ if !given(id) => None,
        Kind::Location => {
            let [latitude, longitude] = facts.position.map(u64::to_be_bytes);
            Some(native(&["cs4", word, id, &hash(&[time.as_bytes(), &latitude, &longitude], 8)]))
        }
        Kind::Integration => {
            let fields = [time.as_bytes(), facts.integration_name.as_bytes(), facts.event_type.as_bytes()];
            Some(native(&["cs4", word, id, &hash(&fields, 8)]))
        }
        Kind::Up | Kind::Join | Kind::Ack | Kind::Status => Some(native(&["cs4", word, id])),
    }
}

/// Rung 2: an uplink whose id is missing. Not without its time, nor when its bytes cannot be read.
fn frame_key(kind: Option<Kind>, facts: &Facts, device: Option<&str>, group: &str) -> Option<String> {
    let (Some(Kind::Up), Some(eui), Some(time), Some(raw)) = (kind, device, &facts.time, &facts.data) else {
        return None;
    };
    let (counter, port) = (u64::from(facts.f_cnt), u64::from(facts.f_port));
    Some(Frame { kind: "up", eui, session: &facts.dev_addr, counter, port, raw, time }.key(group))
}

/// Reads whichever encoding it is. ChirpStack's JSON starts with `{`, which in protobuf would be the start of a group,
/// long out of use; what is neither is skimmed as JSON, so that a re-publisher's white space does no harm.
fn read(kind: Option<Kind>, payload: &[u8]) -> Facts {
    if payload.first() == Some(&b'{') {
        return read_json(kind, payload);
    }
    kind.and_then(|kind| protobuf::read(kind, payload)).unwrap_or_else(|| read_json(kind, payload))
}

fn read_json(kind: Option<Kind>, payload: &[u8]) -> Facts {
    let text = |scalar: Option<Scalar<'_>>| scalar.and_then(Scalar::text).map(|t| t.into_owned()).unwrap_or_default();
    // These stand at the front of every event, so of most payloads a few hundred bytes are looked at.
    let [id, time, dev_eui, application_id] = extract(
        payload,
        [&["deduplicationId"][..], &["time"], &["deviceInfo", "devEui"], &["deviceInfo", "applicationId"]],
    );
    let facts = Facts {
        deduplication_id: text(id),
        time: time.and_then(Scalar::text).as_deref().and_then(EventTime::parse),
        dev_eui: text(dev_eui),
        application_id: text(application_id),
        ..Facts::default()
    };
    let number = |scalar: Option<Scalar<'_>>| match scalar {
        Some(Scalar::Number(digits)) => digits.parse().unwrap_or_default(),
        _ => 0,
    };
    match kind {
        Some(Kind::Up) if !given(&facts.deduplication_id) => {
            let [address, f_cnt, f_port, data] = extract(payload, [&["devAddr"][..], &["fCnt"], &["fPort"], &["data"]]);
            let data = STANDARD.decode(text(data)).ok();
            Facts { dev_addr: text(address), f_cnt: number(f_cnt), f_port: number(f_port), data, ..facts }
        }
        Some(Kind::TxAck) => {
            let [item, downlink, f_cnt] = extract(payload, [&["queueItemId"], &["downlinkId"], &["fCntDown"]]);
            Facts { queue_item_id: text(item), downlink_id: number(downlink), f_cnt_down: number(f_cnt), ..facts }
        }
        Some(Kind::Log) => {
            let context = |name| ["context", name];
            let [code, description] = extract(payload, [&["code"], &["description"]]);
            let ids = extract(payload, CONTEXT_IDS.map(context).each_ref().map(|path| &path[..]));
            let context_id = ids.into_iter().map(text).find(|id| !id.is_empty()).unwrap_or_default();
            Facts { code: text(code), description: text(description), context_id, ..facts }
        }
        Some(Kind::Location) => {
            let places = extract(payload, [&["location", "latitude"], &["location", "longitude"]]);
            Facts { position: places.map(degrees), ..facts }
        }
        Some(Kind::Integration) => {
            let [name, event_type] = extract(payload, [&["integrationName"], &["eventType"]]);
            Facts { integration_name: text(name), event_type: text(event_type), ..facts }
        }
        _ => facts,
    }
}

/// What the context of a log may be known by, in the order in which it is looked for.
const CONTEXT_IDS: [&str; 3] = ["deduplication_id", "queue_item_id", "downlink_id"];

/// The bits of a number as a 64-bit float, absent being zero: part of a hash, never shown.
fn degrees(scalar: Option<Scalar<'_>>) -> u64 {
    let value: f64 = match scalar {
        Some(Scalar::Number(digits)) => digits.parse().unwrap_or_default(),
        _ => 0.0,
    };
    value.to_bits()
}

#[cfg(test)]
mod tests;
