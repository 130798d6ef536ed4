//! Envelope v1: a record as CBOR, the way it lies in the journal.
//!
//! One map with short text keys, in any order; keys that are not known are ignored, keys of absent values are left out.
//! So a reader of v1 reads every later envelope that only adds keys; one that changes a meaning raises `v` and is
//! refused here by name ([`CodecError::Newer`]), never misread. Which part of how many a value holds, its length and its
//! checksum are the frame's business, in the journal.
//!
//! | Key | Value | Key | Value |
//! |---|---|---|---|
//! | `v` | version, 1 | `q` | QoS |
//! | `j` | journal id | `r` | RETAIN, if set |
//! | `e` | epoch | `u` | DUP, if set |
//! | `n` | number | `i` | packet id, if not 0 |
//! | `w` | wall-clock ms at receipt | `f` | profile |
//! | `b` | boot id, 16 bytes | `k` | record key |
//! | `m` | ms since boot at receipt | `kk` | rung of the key: n f c r a |
//! | `c` | the clock can be right, if so | `g` | group |
//! | `t` | topic | `d` | device, if known |
//! | `p` | payload | `ty` | type, without prefix |
//! | `l` | lanes: [lane, position] … | `et`, `ts` | event time, if any; its source: e g a |
//! | `rq` | it came back out of quarantine, if so | `pd`, `po` | kind of possible duplicate, if so: s d; of which id |
//! | `oa` | open acks: [session, number, [open …]], on a commit's first record | `cs` | the clock was confirmed, if so |
//!
//! `pd`, `po`, `oa` and `cs` came after 0.1.0, which ignores them. A clock of which 0.1.0 says that it can be right
//! counts as unconfirmed ([`Trust`]).

use crate::clock::{BootId, Moment, Trust};
use crate::record::{
    Draft, DuplicateKind, Identity, JournalId, KeyKind, LaneId, LanePosition, Message, OpenAcks, PossibleDuplicate,
    Record, TimeSource,
};
use crate::record::{Epoch, Number, Position};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The version written here, and the newest one read.
pub const ENVELOPE_VERSION: u16 = 1;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A later release wrote them; nothing is wrong with them.
    #[error(
        "envelope of version {version}, this release reads up to {ENVELOPE_VERSION}: install the release that wrote it, or a later one"
    )]
    Newer {
        /// The version that it says.
        version: u64,
    },
    /// They are not an envelope, or a damaged one.
    #[error("damaged envelope: {0}")]
    Damaged(String),
}

/// The map on disk. The keys are the format: a change is a new version.
#[derive(Serialize, Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) v: u16,
    pub(super) j: JournalId,
    pub(super) e: Epoch,
    pub(super) n: Number,
    pub(super) w: i64,
    #[serde(with = "serde_bytes", borrow)]
    pub(super) b: Cow<'a, [u8]>,
    pub(super) m: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) c: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) cs: bool,
    #[serde(borrow)]
    pub(super) t: Cow<'a, str>,
    #[serde(with = "serde_bytes", borrow)]
    pub(super) p: Cow<'a, [u8]>,
    pub(super) q: u8,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) r: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) u: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) i: u16,
    #[serde(borrow)]
    pub(super) f: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) k: Cow<'a, str>,
    pub(super) kk: KeyKind,
    #[serde(borrow)]
    pub(super) g: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) d: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) ty: Cow<'a, str>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) et: Option<Cow<'a, str>>,
    pub(super) ts: TimeSource,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) rq: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pd: Option<DuplicateKind>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub(super) po: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) oa: Option<Cow<'a, OpenAcks>>,
    pub(super) l: Vec<(LaneId, Position)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(id: &u16) -> bool {
    *id == 0
}

/// Writes a record. The same record gives the same bytes.
pub fn encode(record: &Record) -> Vec<u8> {
    let Record { draft, .. } = record;
    let (message, identity) = (&draft.message, &draft.identity);
    let envelope = Envelope {
        v: ENVELOPE_VERSION,
        j: record.journal,
        e: record.epoch,
        n: record.number,
        w: draft.received.wall_ms,
        b: Cow::Borrowed(&record.boot.0),
        m: draft.received.boottime_ms,
        c: draft.received.trust != Trust::Wrong,
        cs: draft.received.trust == Trust::Confirmed,
        t: Cow::Borrowed(&message.topic),
        p: Cow::Borrowed(&message.payload),
        q: message.qos,
        r: message.retain,
        u: message.dup,
        i: message.packet_id,
        f: Cow::Borrowed(&draft.profile),
        k: Cow::Borrowed(&record.key),
        kk: identity.key_kind,
        g: Cow::Borrowed(&identity.group),
        d: identity.device.as_deref().map(Cow::Borrowed),
        ty: Cow::Borrowed(&identity.record_type),
        et: identity.event_time.as_deref().map(Cow::Borrowed),
        ts: identity.time_source,
        rq: record.requeued,
        pd: draft.duplicate.as_ref().map(|duplicate| duplicate.kind),
        po: draft.duplicate.as_ref().and_then(|duplicate| duplicate.of.as_deref()).map(Cow::Borrowed),
        oa: record.open_acks.as_ref().map(Cow::Borrowed),
        l: record.slots.iter().map(|slot| (slot.lane, slot.position)).collect(),
    };
    let mut out = Vec::with_capacity(message.payload.len() + message.topic.len() + 320);
    serde_cbor::to_writer(&mut out, &envelope).expect("a map of texts, numbers and bytes, written to memory");
    out
}

/// Reads a record. `draft.lanes` and `draft.identity.key` are not stored twice: they follow from the slots and the key.
///
/// # Errors
///
/// [`CodecError::Newer`] for a later version, whatever else it holds; [`CodecError::Damaged`] for everything else that is
/// not an envelope. Never panics.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    match serde_cbor::from_slice::<Envelope<'_>>(bytes) {
        Ok(envelope) if envelope.v == ENVELOPE_VERSION => envelope.into_record(),
        Ok(envelope) => Err(of_version(u64::from(envelope.v))),
        // A later version may have given a key another shape, so its number is read on its own.
        Err(error) => Err(match serde_cbor::from_slice::<Version>(bytes) {
            Ok(Version { v }) if v != u64::from(ENVELOPE_VERSION) => of_version(v),
            _ => CodecError::Damaged(error.to_string()),
        }),
    }
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

fn of_version(version: u64) -> CodecError {
    if version > u64::from(ENVELOPE_VERSION) {
        CodecError::Newer { version }
    } else {
        CodecError::Damaged(format!("version {version}, which was never released"))
    }
}

impl Envelope<'_> {
    pub(super) fn into_record(self) -> Result<Record, CodecError> {
        let boot = self
            .b
            .as_ref()
            .try_into()
            .map_err(|_| CodecError::Damaged(format!("boot id of {} bytes instead of 16", self.b.len())))?;
        let key = self.k.into_owned();
        let identity = Identity {
            key: self.kk.identifies().then(|| key.clone()),
            key_kind: self.kk,
            group: self.g.into_owned(),
            device: self.d.map(Cow::into_owned),
            record_type: self.ty.into_owned(),
            event_time: self.et.map(Cow::into_owned),
            time_source: self.ts,
        };
        let message = Message {
            topic: self.t.into_owned(),
            payload: Bytes::from(self.p.into_owned()),
            qos: self.q,
            retain: self.r,
            dup: self.u,
            packet_id: self.i,
        };
        // 0.1.0 wrote no kind: what came with DUP and without an identity was a possible duplicate.
        let unmarked = (self.u && !self.kk.identifies()).then_some(DuplicateKind::Redelivery);
        let of = self.po.map(Cow::into_owned);
        let duplicate = self.pd.or(unmarked).map(|kind| PossibleDuplicate { kind, of });
        let draft = Draft {
            received: Moment { wall_ms: self.w, boottime_ms: self.m, trust: Trust::kept_as(self.c, self.cs) },
            message,
            profile: self.f.into_owned(),
            identity,
            lanes: self.l.iter().map(|(lane, _)| *lane).collect(),
            duplicate,
        };
        let slots = self.l.into_iter().map(|(lane, position)| LanePosition { lane, position }).collect();
        let (requeued, open_acks) = (self.rq, self.oa.map(Cow::into_owned));
        let (journal, epoch, number) = (self.j, self.e, self.n);
        Ok(Record { journal, epoch, number, boot: BootId(boot), key, slots, requeued, open_acks, draft })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Run;
    use proptest::prelude::*;
    use serde_cbor::Value;
    use std::collections::BTreeMap;

    fn any_kind() -> impl Strategy<Value = KeyKind> {
        use KeyKind::{Arrival, Content, Frame, Native, Retained};
        prop::sample::select(vec![Native, Frame, Content, Retained, Arrival])
    }

    prop_compose! {
        fn any_message()(topic in ".{0,40}", payload in prop::collection::vec(any::<u8>(), 0..300), qos in 0_u8..2,
                retain: bool, dup: bool, packet_id: u16) -> Message {
            Message { topic, payload: payload.into(), qos, retain, dup, packet_id }
        }
    }

    prop_compose! {
        fn any_identity()(key in ".{1,60}", key_kind in any_kind(), group in ".{1,40}", device in prop::option::of(".{0,20}"),
                record_type in "[a-z.]{1,20}", event_time in prop::option::of(".{0,30}"),
                time_source in prop::sample::select(vec![TimeSource::Event, TimeSource::Gateway, TimeSource::Arrival]))
                -> Identity {
            let key = key_kind.identifies().then_some(key);
            Identity { key, key_kind, group, device, record_type, event_time, time_source }
        }
    }

    prop_compose! {
        pub(in crate::record) fn any_record()(message in any_message(), identity in any_identity(), wall_ms: i64, boottime_ms: u64,
                trust in prop::sample::select(vec![Trust::Wrong, Trust::Unconfirmed, Trust::Confirmed]),
                ids: [u64; 4], boot: [u8; 16], mark in prop::option::of(any::<bool>()), of in prop::option::of(".{1,60}"),
                acks in prop::option::of(any::<(u64, u64, Vec<u64>)>()), requeued: bool, of_content_key in "c[.][a-z0-9]{1,40}",
                places in prop::collection::btree_map(any::<u16>(), any::<u64>(), 1..4))
                -> Record {
            let slots: Vec<_> = places.into_iter().map(|(l, position)| LanePosition { lane: LaneId(l), position: Position(position) }).collect();
            let received = Moment { wall_ms, boottime_ms, trust };
            let lanes = slots.iter().map(|slot| slot.lane).collect();
            let marked = message.dup && !identity.key_kind.identifies();
            let kind = mark.map(|resend| if resend { DuplicateKind::Resend } else { DuplicateKind::Redelivery });
            let duplicate = kind.or(marked.then_some(DuplicateKind::Redelivery)).map(|kind| PossibleDuplicate { kind, of });
            let draft = Draft { received, message, profile: "generic".to_owned(), identity, lanes, duplicate };
            let run = Run { journal: JournalId(ids[0]), epoch: Epoch(ids[1]), random: ids[3] };
            let open_acks = acks.map(|(session, through, open)| {
                OpenAcks::from((session, Number(through), open.into_iter().map(Number).collect()))
            });
            let record = Record::number(draft, run, Number(ids[2]), BootId(boot), slots);
            // A key of content was made by 0.1.0 alone, of the message: no identity any more, and still the key.
            let of_content = record.draft.identity.key_kind == KeyKind::Content;
            let key = if of_content { of_content_key } else { record.key.clone() };
            Record { open_acks, requeued, key, ..record }
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_went(record in any_record()) {
            prop_assert_eq!(decode(&encode(&record)).expect("what was written"), record);
        }

        #[test]
        fn cut_off_and_flipped_bytes_never_panic(record in any_record(), at: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = encode(&record);
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at]).is_err(), "cut at {}", at);
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn order_and_unknown_keys_do_not_matter(record in any_record()) {
            // The generic map sorts by key, which is not the order of writing.
            let mut map: BTreeMap<Value, Value> = serde_cbor::from_slice(&encode(&record)).expect("a map");
            map.insert(Value::Text("zz".to_owned()), Value::Array(vec![Value::Integer(1)]));
            let bytes = serde_cbor::to_vec(&map).expect("a map");
            prop_assert_eq!(decode(&bytes).expect("an envelope"), record);
        }
    }

    fn golden_record() -> Record {
        let message = Message {
            topic: "site/hq/sensor-17".to_owned(),
            payload: Bytes::from_static(b"{\"id\":\"m\"}"),
            qos: 1,
            retain: false,
            dup: true,
            packet_id: 513,
        };
        let identity = Identity {
            // Of the content: an identity for 0.1.0, none any more; the record keeps it as its key.
            key: None,
            key_kind: KeyKind::Content,
            group: "m".to_owned(),
            device: Some("m".to_owned()),
            record_type: "sensor.state".to_owned(),
            event_time: Some("2026-02-11T08:15:30.120Z".to_owned()),
            time_source: TimeSource::Event,
        };
        let received = Moment { wall_ms: 1_770_797_730_162, boottime_ms: 61_005, trust: Trust::Unconfirmed };
        let lanes = vec![LaneId(0), LaneId(3)];
        let duplicate = Some(PossibleDuplicate { kind: DuplicateKind::Redelivery, of: None });
        let draft = Draft { received, message, profile: "generic".to_owned(), identity, lanes, duplicate };
        let slots = vec![
            LanePosition { lane: LaneId(0), position: Position(7) },
            LanePosition { lane: LaneId(3), position: Position(70_000) },
        ];
        let run = Run { journal: JournalId(0x0123_4567_89ab_cdef), epoch: Epoch(2), random: 0 };
        Record {
            key: "c.0123456789abcdef.00".to_owned(),
            ..Record::number(draft, run, Number(1_000), BootId([0xb0; 16]), slots)
        }
    }

    /// Released: if this fails, journals in the field can no longer be read.
    const GOLDEN_V1: &str = "\
        b6617601616a1b0123456789abcdef616502616e1903e861771b0000019c4bc50972616250b0b0b0b0b0b0b0b0b0b0b0b0b0\
        b0b0b0616d19ee4d6163f5617471736974652f68712f73656e736f722d313761704a7b226964223a226d227d6171016175f5\
        616919020161666767656e65726963616b75632e303132333435363738396162636465662e3030626b6b61636167616d6164\
        616d6274796c73656e736f722e73746174656265747818323032362d30322d31315430383a31353a33302e3132305a627473\
        6165616c8282000782031a00011170";

    fn unhex(text: &str) -> Vec<u8> {
        let pairs = (0..text.len() / 2).map(|i| &text[2 * i..2 * i + 2]);
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
    }

    #[test]
    fn format_v1_is_read_byte_for_byte_as_released() {
        assert_eq!(decode(&unhex(GOLDEN_V1)).expect("a released record"), golden_record());
    }

    /// As it is written today: what 0.1.0 wrote, and the keys that it ignores.
    #[test]
    fn todays_records_equal_0_1_0_records_plus_some_keys() {
        let acks = OpenAcks { session: 5, through: Number(998), open: vec![Number(990), Number(997)] };
        let record = Record { open_acks: Some(acks), ..golden_record() };
        let keys = |bytes: &[u8]| -> BTreeMap<Value, Value> { serde_cbor::from_slice(bytes).expect("a map") };
        let (mut today, released) = (keys(&encode(&record)), keys(&unhex(GOLDEN_V1)));
        for key in ["pd", "oa"] {
            assert!(today.remove(&Value::Text(key.to_owned())).is_some());
        }
        assert_eq!(today, released);
        assert_eq!(decode(&encode(&record)).expect("an envelope"), record);
    }

    #[test]
    fn a_later_version_is_named_despite_differently_shaped_keys() {
        let later = |change: &dyn Fn(&mut BTreeMap<Value, Value>)| {
            let mut map: BTreeMap<Value, Value> = serde_cbor::from_slice(&encode(&golden_record())).expect("a map");
            map.insert(Value::Text("v".to_owned()), Value::Integer(2));
            change(&mut map);
            decode(&serde_cbor::to_vec(&map).expect("a map")).expect_err("a later version").to_string()
        };
        let text =
            "envelope of version 2, this release reads up to 1: install the release that wrote it, or a later one";
        assert_eq!(later(&|_| ()), text);
        assert_eq!(later(&|map| drop(map.insert(Value::Text("k".to_owned()), Value::Array(vec![])))), text);
        assert_eq!(later(&|map| drop(map.remove(&Value::Text("k".to_owned())))), text);
    }

    #[test]
    fn a_version_that_never_was_is_damage() {
        let mut map: BTreeMap<Value, Value> = serde_cbor::from_slice(&encode(&golden_record())).expect("a map");
        map.insert(Value::Text("v".to_owned()), Value::Integer(0));
        let error = decode(&serde_cbor::to_vec(&map).expect("a map")).expect_err("damage");
        assert_eq!(error.to_string(), "damaged envelope: version 0, which was never released");
    }
}
