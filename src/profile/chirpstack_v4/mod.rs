//! ChirpStack 4 application events: `application/{id}/device/{eui}/event/{kind}`, JSON or protobuf.
//!
//! - One topic carries either encoding, with no marker, so each message's first bytes decide. Both are read into
//!   the same facts, and the server's part of a key is made of those; the payload's hash behind it is each one's own.
//! - `deduplicationId` is unique per event *of a kind*: the log of a failed codec shares its uplink's, an acknowledgement
//!   and a status that of the uplink that brought them. So every key names the kind. One uplink may also cause several
//!   `location` and `integration` events, and that of a relay shares its id with the one it brought: their bytes differ.
//! - `txack` has no such id: the queue item's takes its place. For a downlink that was never queued there is a 32-bit random
//!   number, too short to be unique: it counts only with a device and a time finer than a second. `log` is known by its
//!   context, where its time is as fine: one queue item may fail more than once.
//! - Members at their default are left out by servers before December 2022, in JSON as in protobuf: absent is zero.
//! - ChirpStack never retains; where a bridge or script makes it do so, the native key still recognises the event.

mod protobuf;

use crate::clock::Moment;
use crate::json::scan::{Scalar, extract};
use crate::record::event_time::EventTime;
use crate::record::identity::{self, Frame, Grouping, KeyCandidates, shown_time};
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
struct Fields {
    deduplication_id: String,
    time: Option<EventTime>,
    dev_eui: String,
    application_id: String,
    /// `up`, for its frame.
    f_cnt: u32,
    f_port: u32,
    /// `None` when it cannot be read.
    data: Option<Vec<u8>>,
    /// `txack`.
    queue_item_id: String,
    downlink_id: u32,
    /// `log`: the name of an id and the id.
    context: Option<(&'static str, String)>,
}

/// The profile `chirpstack-v4`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChirpstackV4 {
    /// What order is kept within.
    pub grouping: Grouping,
}

impl ChirpstackV4 {
    /// Reads a message's identity; [`crate::profile::Profile::identify`] says the rest.
    pub fn identify(&self, message: &Message, received: Moment, journal: JournalId) -> Identity {
        let topic = EventTopic::of(&message.topic);
        let facts = read(topic.kind, &message.payload);
        let device = [&*facts.dev_eui, topic.device].into_iter().find_map(identity::eui);
        let application = [&*facts.application_id, topic.application].into_iter().find(|text| !text.is_empty());
        let group = self.grouping.group(&message.topic, device.as_deref(), application, journal);
        let ladder = KeyCandidates {
            native: topic.kind.and_then(|kind| native(kind, &facts, device.as_deref())),
            frame: frame(topic.kind, &facts, device.as_deref()),
            ..KeyCandidates::default()
        };
        let record_type = topic.kind.map_or("raw", Kind::record_type);
        let key = ladder.climb(message);
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

/// The server's own id, where the event carries one that is unique.
fn native(kind: Kind, facts: &Fields, device: Option<&str>) -> Option<String> {
    let id = |parts: &[&str]| Some(identity::id(&[&["cs4", kind.word()], parts].concat()));
    let fine = facts.time.as_ref().filter(|time| time.is_fine());
    // A 32-bit random number.
    let of_downlink = |number: &str| id(&[number, device?, &fine?.to_string()]);
    match kind {
        Kind::TxAck if given(&facts.queue_item_id) => id(&[&facts.queue_item_id]),
        Kind::TxAck if facts.downlink_id != 0 => of_downlink(&facts.downlink_id.to_string()),
        Kind::TxAck => None,
        Kind::Log => match (&facts.context, fine) {
            (Some((DOWNLINK, number)), _) => of_downlink(number),
            (Some((_, context)), Some(_)) if given(context) => id(&[context]),
            _ => None,
        },
        _ if given(&facts.deduplication_id) => id(&[&facts.deduplication_id]),
        _ => None,
    }
}

/// The frame of an uplink whose id is missing; not when its bytes cannot be read.
fn frame(kind: Option<Kind>, facts: &Fields, device: Option<&str>) -> Option<String> {
    let (Some(Kind::Up), Some(eui), Some(raw)) = (kind, device, &facts.data) else { return None };
    let (counter, port, time) = (u64::from(facts.f_cnt), u64::from(facts.f_port), facts.time.as_ref());
    Frame { kind: "up", eui, session: None, counter, port, raw, time }.id()
}

/// Reads whichever encoding it is. ChirpStack's JSON starts with `{`, which in protobuf would be the start of a group,
/// long out of use; what is neither is skimmed as JSON, so that a re-publisher's white space does no harm.
fn read(kind: Option<Kind>, payload: &[u8]) -> Fields {
    if payload.first() == Some(&b'{') {
        return read_json(kind, payload);
    }
    kind.and_then(|kind| protobuf::read(kind, payload)).unwrap_or_else(|| read_json(kind, payload))
}

fn read_json(kind: Option<Kind>, payload: &[u8]) -> Fields {
    let text = |scalar: Option<Scalar<'_>>| scalar.and_then(Scalar::text).map(|t| t.into_owned()).unwrap_or_default();
    // These are at the front of every event, so of most payloads a few hundred bytes are read.
    let [id, time, dev_eui, application_id] = extract(
        payload,
        [&["deduplicationId"][..], &["time"], &["deviceInfo", "devEui"], &["deviceInfo", "applicationId"]],
    );
    let facts = Fields {
        deduplication_id: text(id),
        time: time.and_then(Scalar::text).as_deref().and_then(EventTime::parse),
        dev_eui: text(dev_eui),
        application_id: text(application_id),
        ..Fields::default()
    };
    let number = |scalar: Option<Scalar<'_>>| match scalar {
        Some(Scalar::Number(digits)) => digits.parse().unwrap_or_default(),
        _ => 0,
    };
    match kind {
        Some(Kind::Up) if !given(&facts.deduplication_id) => {
            let [f_cnt, f_port, data] = extract(payload, [&["fCnt"], &["fPort"], &["data"]]);
            let data = STANDARD.decode(text(data)).ok();
            Fields { f_cnt: number(f_cnt), f_port: number(f_port), data, ..facts }
        }
        Some(Kind::TxAck) => {
            let [item, downlink] = extract(payload, [&["queueItemId"], &["downlinkId"]]);
            Fields { queue_item_id: text(item), downlink_id: number(downlink), ..facts }
        }
        Some(Kind::Log) => {
            let context = |name| ["context", name];
            let ids = extract(payload, CONTEXT_IDS.map(context).each_ref().map(|path| &path[..]));
            let named = CONTEXT_IDS.into_iter().zip(ids.map(text));
            Fields { context: named.into_iter().find(|(_, id)| !id.is_empty()), ..facts }
        }
        _ => facts,
    }
}

/// What the context of a log may be known by, in the order of the search.
const CONTEXT_IDS: [&str; 3] = ["deduplication_id", "queue_item_id", DOWNLINK];
const DOWNLINK: &str = "downlink_id";

#[cfg(test)]
mod tests;
