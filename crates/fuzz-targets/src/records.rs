//! Targets `codec` and `profiles`: from bytes to a record, and from a message to the entry that SQS gets.

use crate::locked;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Mutex;
use tidegate::clock::{BootId, Moment, Trust};
use tidegate::config::BodyFormat;
use tidegate::profile::{Profile, ProfileOptions, REGISTRY};
use tidegate::record::identity::{Grouping, hash};
use tidegate::record::{
    Draft, DuplicateKind, Epoch, Identity, JournalId, KeyKind, LaneId, LanePosition, Message, Number, Position,
    PossibleDuplicate, Record, Run, codec,
};
use tidegate::sqs::Entry;
use tidegate::sqs::entry::{Rendering, Unsendable, render};
use tidegate::sqs::limits::{ATTRIBUTES, ENTRY_BYTES, ID_CHARS, takes, takes_in_id};

const JOURNAL: JournalId = JournalId(0x1234_5678_9abc_def0);
const LANE: LaneId = LaneId(3);
const RECEIVED: Moment = Moment { wall_ms: 1_770_900_000_000, boottime_ms: 5_000, trust: Trust::Confirmed };

/// Samples above this size would only slow a fuzzer down.
const SEED_BYTES_MAX: usize = 8 * 1024;

/// Decoding never panics; what decodes is written and read again as the same record, in the same bytes each time.
pub(super) fn codec(bytes: &[u8]) {
    let Ok(record) = codec::decode(bytes) else { return };
    let written = codec::encode(&record);
    assert_eq!(codec::decode(&written).expect("what was written"), record);
    assert_eq!(codec::encode(&record), written);
}

pub(super) fn codec_seeds() -> Vec<Vec<u8>> {
    let records = messages().into_iter().flat_map(|message| {
        all_profiles(ProfileOptions::default()).map(move |profile| record(&profile, message.clone(), RECEIVED))
    });
    records.map(|record| codec::encode(&record)).collect()
}

/// A byte of options, the topic, a line end, the payload.
///
/// Every profile reads any message, and the same one to the same key and group whenever it comes and however it is
/// delivered; no key returns with other bytes; a frame has one group; the record survives the journal; its entry is legal in every format or too large.
pub(super) fn profiles(input: &[u8]) {
    let Some((flags, message)) = message(input) else { return };
    for profile in all_profiles(options(flags)) {
        let record = record(&profile, message.clone(), RECEIVED);
        check_identity(&profile, &message, &record.draft.identity);
        check_one_group(&profile, flags, &record);
        check_one_payload(&profile, flags, &record);
        assert_eq!(codec::decode(&codec::encode(&record)).expect("what was written"), record);
        for format in [BodyFormat::CloudEvents, BodyFormat::Raw, BodyFormat::Microshare] {
            for fifo in [true, false] {
                check_entry(&record, format, fifo);
            }
        }
    }
}

pub(super) fn profile_seeds() -> Vec<Vec<u8>> {
    let of = |(index, message): (usize, Message)| {
        [&[index as u8][..], message.topic.as_bytes(), b"\n", &message.payload].concat()
    };
    messages().into_iter().enumerate().map(of).collect()
}

fn message(input: &[u8]) -> Option<(u8, Message)> {
    let (flags, rest) = input.split_first()?;
    let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let message = Message {
        topic: String::from_utf8_lossy(&rest[..at]).into_owned(),
        payload: rest.get(at + 1..).unwrap_or_default().to_vec().into(),
        qos: 1,
        retain: flags & 1 != 0,
        dup: flags & 2 != 0,
        packet_id: 7,
    };
    Some((*flags, message))
}

fn options(flags: u8) -> ProfileOptions {
    let pointer = |bit: u8, text: &str| (flags & bit != 0).then(|| text.parse().expect("a pointer"));
    let device = if flags & 4 != 0 { "topic:2" } else { "/id" };
    ProfileOptions {
        grouping: [Grouping::Device, Grouping::Topic, Grouping::Gateway, Grouping::Application]
            [usize::from(flags >> 6)],
        device: Some(device.parse().expect("a place")),
        id: pointer(8, "/event"),
        time: pointer(16, "/ts"),
        counter: pointer(32, "/n"),
        record_type: None,
        record_id: flags & 2 != 0,
    }
}

fn all_profiles(options: ProfileOptions) -> impl Iterator<Item = Profile> {
    REGISTRY.iter().map(move |info| Profile::named(info.name, options.clone()).expect("a name of the registry"))
}

fn record(profile: &Profile, message: Message, received: Moment) -> Record {
    let identity = profile.identify(&message, received, JOURNAL);
    // As intake does with a delivery that says that it may be another one's repeat.
    let unsure = message.dup && !identity.key_kind.identifies();
    let duplicate = unsure.then_some(PossibleDuplicate { kind: DuplicateKind::Redelivery, of: None });
    let draft = Draft { received, message, profile: profile.name().to_owned(), identity, lanes: vec![LANE], duplicate };
    let run = Run { journal: JOURNAL, epoch: Epoch(2), random: 9 };
    Record::number(draft, run, Number(41), BootId([7; 16]), vec![LanePosition { lane: LANE, position: Position(40) }])
}

fn check_identity(profile: &Profile, message: &Message, identity: &Identity) {
    assert_eq!(identity.key.is_some(), identity.key_kind.identifies());
    let ids = identity.key.iter().chain([&identity.group]);
    ids.for_each(|id| assert!(is_legal_id(id), "{id:?}"));
    let again = Message { dup: !message.dup, packet_id: 8, ..message.clone() };
    let later = Moment { wall_ms: 5, boottime_ms: 900_000, trust: Trust::Wrong };
    let again = profile.identify(&again, later, JOURNAL);
    assert_eq!((&again.key, &again.group), (&identity.key, &identity.group), "whenever and however it comes");
}

/// Frame keys of other messages seen by this process, with their groups: a frame is one device's, and has its group. Native
/// ids are the network server's word that they belong to one event, so a message that lies about them proves nothing.
fn check_one_group(profile: &Profile, flags: u8, record: &Record) {
    static SEEN: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    const SEEN_MAX: usize = 10_000;
    let identity = &record.draft.identity;
    // A server may publish one frame on two topics or for two applications: who groups by those has it in two groups.
    let by_device = flags >> 6 == 0;
    if identity.key_kind != KeyKind::Frame || !by_device {
        return;
    }
    let mut seen = locked(&SEEN);
    let seen = seen.get_or_insert_default();
    if seen.len() >= SEEN_MAX {
        seen.clear();
    }
    // Other options of a route mean other groups.
    let key = format!("{} {} {}", profile.name(), flags & 0b1111_1100, record.key);
    let group = seen.entry(key).or_insert_with(|| identity.group.clone());
    assert_eq!(*group, identity.group, "key {} has two groups", record.key);
}

/// The keys of other messages seen by this process, with their payloads.
fn check_one_payload(profile: &Profile, flags: u8, record: &Record) {
    static SEEN: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    const SEEN_MAX: usize = 10_000;
    let identity = &record.draft.identity;
    // `key = "record-id"` takes the id alone, by choice.
    if !identity.key_kind.identifies() || (flags & 2 != 0 && profile.name() == "microshare") {
        return;
    }
    let mut seen = locked(&SEEN);
    let seen = seen.get_or_insert_default();
    if seen.len() >= SEEN_MAX {
        seen.clear();
    }
    let payload = hash(&[&record.draft.message.payload], 64);
    let first = seen.entry(record.key.clone()).or_insert_with(|| payload.clone());
    assert_eq!(*first, payload, "key {} returns with other bytes", record.key);
}

fn check_entry(record: &Record, format: BodyFormat, fifo: bool) {
    let rendering = Rendering {
        rectype: None,
        redact: &[],
        format,
        fifo,
        type_prefix: "tidegate",
        gateway_id: "hq-tower-roof",
        site: "hq-tower",
        lane: LANE,
        now: None,
        possible_duplicate: false,
        limit: ENTRY_BYTES,
    };
    match render(record, &rendering) {
        Ok(entry) => {
            check_legal(&entry, fifo);
            if format == BodyFormat::CloudEvents {
                serde_json::from_str::<&RawValue>(&entry.body).expect("a CloudEvent in JSON");
            }
            let resent = Rendering { possible_duplicate: true, ..rendering };
            let resent = render(record, &resent).expect("a flag more fits");
            assert_eq!((resent.dedup, resent.group), (entry.dedup, entry.group), "ids depend on the record alone");
        }
        Err(Unsendable::TooLarge { bytes, limit }) => assert!(bytes > limit),
        Err(error) => panic!("{error}"),
    }
}

fn check_legal(entry: &Entry, fifo: bool) {
    assert!(!entry.body.is_empty() && entry.body.chars().all(takes), "{:?}", entry.body);
    assert!(entry.attributes.len() <= ATTRIBUTES && entry.size() <= ENTRY_BYTES);
    for (name, value) in &entry.attributes {
        assert!(!name.is_empty() && !value.is_empty() && value.chars().all(takes), "{name}: {value:?}");
    }
    assert!(is_legal_id(&entry.group), "{:?}", entry.group);
    assert_eq!(entry.dedup.is_some(), fifo);
    assert!(entry.dedup.as_deref().is_none_or(is_legal_id), "{:?}", entry.dedup);
}

fn is_legal_id(id: &str) -> bool {
    (1..=ID_CHARS).contains(&id.len()) && id.chars().all(takes_in_id)
}

/// The samples of the tree, with their topics; long ones left out.
fn messages() -> Vec<Message> {
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/samples");
    let index = std::fs::read(samples.join("index.json")).expect("the index of the samples");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("a JSON index");
    let of = |entry: &serde_json::Value| {
        let payload = std::fs::read(samples.join(entry["file"].as_str()?)).ok()?;
        let retain = entry["retain"] == true;
        let topic = entry["topic"].as_str()?.to_owned();
        (payload.len() <= SEED_BYTES_MAX).then(|| Message {
            topic,
            payload: payload.into(),
            qos: 1,
            retain,
            dup: false,
            packet_id: 7,
        })
    };
    index["samples"].as_array().into_iter().flatten().filter_map(of).collect()
}
