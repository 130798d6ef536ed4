//! Packs: several records as one value of the journal, which holds once what they have in common.
//!
//! A pack is a row of CBOR maps, one after the other (RFC 8742): first what is common, then one map for each record, with
//! the keys of the envelope ([`crate::record::codec`]). A record's envelope is its own map, laid over the common one; its number is
//! the pack's, `n` in the common map, and its place in the row. Two things are left out that follow from others: `n` of
//! each record, and `k` where it is the key by arrival, which `ru` tells together with `j`, `e` and the number.
//!
//! Each pack is read by itself: a damaged one costs its own records and no others. How many records it holds, its
//! checksum and its version are the frame's business.

use crate::clock::Trust;
use crate::record::codec::{CodecError, ENVELOPE_VERSION, Envelope};
use crate::record::{DuplicateKind, JournalId, KeyKind, LaneId, OpenAcks, Record, Run, TimeSource};
use crate::record::{Epoch, Number, Position};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A map of a pack. What it lacks is in the common map, or is absent. What is in the common map is in every record of the
/// pack, so only keys are there that each record has.
#[derive(Serialize, Deserialize, Default)]
struct Fields<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    j: Option<JournalId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<Epoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ru: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    w: Option<i64>,
    #[serde(default, with = "serde_bytes", borrow, skip_serializing_if = "Option::is_none")]
    b: Option<Cow<'a, [u8]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cs: Option<bool>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    t: Option<Cow<'a, str>>,
    #[serde(default, with = "serde_bytes", borrow, skip_serializing_if = "Option::is_none")]
    p: Option<Cow<'a, [u8]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    q: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    u: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<u16>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    f: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    k: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kk: Option<KeyKind>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    g: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    d: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    ty: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    et: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ts: Option<TimeSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rq: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pd: Option<DuplicateKind>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    po: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oa: Option<Cow<'a, OpenAcks>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<Vec<(LaneId, Position)>>,
}

/// What the records of a pack have in common, if they have it: the keys that hardly change from one to the next.
fn common(first: &Record) -> Fields<'_> {
    let (message, identity) = (&first.draft.message, &first.draft.identity);
    Fields {
        v: Some(ENVELOPE_VERSION),
        j: Some(first.journal),
        e: Some(first.epoch),
        n: Some(first.number),
        ru: arrival(first),
        b: Some(Cow::Borrowed(&first.boot.0)),
        c: Some(first.draft.received.trust != Trust::Wrong),
        cs: yes(first.draft.received.trust == Trust::Confirmed),
        t: Some(Cow::Borrowed(&message.topic)),
        q: Some(message.qos),
        f: Some(Cow::Borrowed(&first.draft.profile)),
        kk: Some(identity.key_kind),
        g: Some(Cow::Borrowed(&identity.group)),
        ty: Some(Cow::Borrowed(&identity.record_type)),
        ts: Some(identity.time_source),
        ..Fields::default()
    }
}

/// A flag is written only where it is set.
fn yes(is: bool) -> Option<bool> {
    is.then_some(true)
}

/// The run's random bits in the record's key, where that is what its place in the journal makes of them.
fn arrival(record: &Record) -> Option<u64> {
    let random = u64::from_str_radix(record.key.rsplit('.').next()?, 16).ok()?;
    let run = Run { journal: record.journal, epoch: record.epoch, random };
    (run.arrival_key(record.number) == record.key).then_some(random)
}

/// What of a record its pack does not say.
fn own<'a>(record: &'a Record, common: &Fields<'_>) -> Fields<'a> {
    fn unless<T: PartialEq>(known: Option<&T>, value: T) -> Option<T> {
        (known != Some(&value)).then_some(value)
    }
    fn text<'a>(known: Option<&Cow<'_, str>>, value: &'a str) -> Option<Cow<'a, str>> {
        (known.map(|known| &**known) != Some(value)).then_some(Cow::Borrowed(value))
    }
    let Record { draft, .. } = record;
    let (message, identity) = (&draft.message, &draft.identity);
    let confirmed = draft.received.trust == Trust::Confirmed;
    let (j, e) = (unless(common.j.as_ref(), record.journal), unless(common.e.as_ref(), record.epoch));
    let random = arrival(record);
    Fields {
        v: None,
        j,
        e,
        n: None,
        ru: random.and_then(|random| unless(common.ru.as_ref(), random)),
        w: Some(draft.received.wall_ms),
        b: (common.b.as_deref() != Some(&record.boot.0[..])).then_some(Cow::Borrowed(&record.boot.0[..])),
        m: Some(draft.received.boottime_ms),
        c: unless(common.c.as_ref(), draft.received.trust != Trust::Wrong),
        cs: (common.cs.unwrap_or(false) != confirmed).then_some(confirmed),
        t: text(common.t.as_ref(), &message.topic),
        p: Some(Cow::Borrowed(&message.payload)),
        q: unless(common.q.as_ref(), message.qos),
        r: yes(message.retain),
        u: yes(message.dup),
        i: Some(message.packet_id).filter(|id| *id != 0),
        f: text(common.f.as_ref(), &draft.profile),
        k: random.is_none().then_some(Cow::Borrowed(&record.key)),
        kk: unless(common.kk.as_ref(), identity.key_kind),
        g: text(common.g.as_ref(), &identity.group),
        d: identity.device.as_deref().map(Cow::Borrowed),
        ty: text(common.ty.as_ref(), &identity.record_type),
        et: identity.event_time.as_deref().map(Cow::Borrowed),
        ts: unless(common.ts.as_ref(), identity.time_source),
        rq: yes(record.requeued),
        pd: draft.duplicate.as_ref().map(|duplicate| duplicate.kind),
        po: draft.duplicate.as_ref().and_then(|duplicate| duplicate.of.as_deref()).map(Cow::Borrowed),
        oa: record.open_acks.as_ref().map(Cow::Borrowed),
        l: Some(record.slots.iter().map(|slot| (slot.lane, slot.position)).collect()),
    }
}

impl<'a> Fields<'a> {
    /// The envelope of the record numbered `n`.
    fn over(self, common: &Fields<'a>, n: u64) -> Result<Envelope<'a>, CodecError> {
        fn there<T>(value: Option<T>, key: &str) -> Result<T, CodecError> {
            value.ok_or_else(|| CodecError::Damaged(format!("the key {key} is missing")))
        }
        let j = there(self.j.or(common.j), "j")?;
        let e = there(self.e.or(common.e), "e")?;
        let k = match (self.k, self.ru.or(common.ru)) {
            (Some(key), _) => key,
            (None, random) => {
                let random = there(random, "k")?;
                Cow::Owned(Run { journal: j, epoch: e, random }.arrival_key(Number(n)))
            }
        };
        Ok(Envelope {
            v: ENVELOPE_VERSION,
            j,
            e,
            n: Number(n),
            w: there(self.w, "w")?,
            b: there(self.b.or_else(|| common.b.clone()), "b")?,
            m: there(self.m, "m")?,
            c: there(self.c.or(common.c), "c")?,
            cs: self.cs.or(common.cs).unwrap_or(false),
            t: there(self.t.or_else(|| common.t.clone()), "t")?,
            p: there(self.p, "p")?,
            q: there(self.q.or(common.q), "q")?,
            r: self.r.unwrap_or(false),
            u: self.u.unwrap_or(false),
            i: self.i.unwrap_or(0),
            f: there(self.f.or_else(|| common.f.clone()), "f")?,
            k,
            kk: there(self.kk.or(common.kk), "kk")?,
            g: there(self.g.or_else(|| common.g.clone()), "g")?,
            d: self.d,
            ty: there(self.ty.or_else(|| common.ty.clone()), "ty")?,
            et: self.et,
            ts: there(self.ts.or(common.ts), "ts")?,
            rq: self.rq.unwrap_or(false),
            pd: self.pd,
            po: self.po,
            oa: self.oa,
            l: there(self.l, "l")?,
        })
    }
}

/// The records that one value holds together, and the bytes of it.
#[derive(Debug)]
pub struct Pack {
    /// The first record's number; the others follow without a hole.
    pub first: Number,
    /// How many they are.
    pub count: u16,
    /// The pack, encoded.
    pub bytes: Vec<u8>,
}

/// Packs records of consecutive numbers, in order, as many together as fit `most` bytes. One that is longer has a pack of
/// its own. The same records give the same bytes.
pub fn pack<'a>(records: impl IntoIterator<Item = &'a Record>, most: usize) -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    let mut shared = Fields::default();
    let mut row = Vec::new();
    for record in records {
        row.clear();
        write(&mut row, &own(record, &shared));
        match packs.last_mut() {
            Some(pack) if pack.bytes.len() + row.len() <= most && pack.count < u16::MAX => {
                pack.count += 1;
                pack.bytes.extend_from_slice(&row);
            }
            _ => {
                shared = common(record);
                let mut bytes = Vec::with_capacity(most.min(4096));
                write(&mut bytes, &shared);
                write(&mut bytes, &own(record, &shared));
                packs.push(Pack { first: record.number, count: 1, bytes });
            }
        }
    }
    packs
}

fn write(out: &mut Vec<u8>, fields: &Fields<'_>) {
    serde_cbor::to_writer(out, fields).expect("a map of texts, numbers and bytes, written to memory");
}

/// Reads the records of a pack that holds `count` of them.
///
/// # Errors
///
/// [`CodecError::Newer`] for a later version; [`CodecError::Damaged`] for everything else that is not such a pack.
pub fn unpack(bytes: &[u8], count: u16) -> Result<Vec<Record>, CodecError> {
    let damaged = |error: serde_cbor::Error| CodecError::Damaged(error.to_string());
    let missing = || CodecError::Damaged(format!("it does not hold {count} records"));
    let mut rows = serde_cbor::Deserializer::from_slice(bytes).into_iter::<Fields<'_>>();
    let common = rows.next().ok_or_else(missing)?.map_err(damaged)?;
    match common.v {
        Some(ENVELOPE_VERSION) => {}
        Some(version) if version > ENVELOPE_VERSION => return Err(CodecError::Newer { version: u64::from(version) }),
        _ => return Err(CodecError::Damaged("a version that was never released".to_owned())),
    }
    let first = common.n.ok_or_else(missing)?;
    let mut records = Vec::with_capacity(usize::from(count).min(bytes.len()));
    for row in rows {
        let number = Number(first.0.checked_add(records.len() as u64).ok_or_else(missing)?);
        records.push(row.map_err(damaged)?.over(&common, number.0)?.into_record()?);
    }
    if records.len() != usize::from(count) {
        return Err(missing());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::codec::tests::any_record;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;

    /// Consecutive numbers; some are alike, as the messages of one gateway are.
    fn any_row() -> impl Strategy<Value = Vec<Record>> {
        let alike = prop::collection::vec(any::<(bool, bool, u64)>(), 1..30);
        (prop::collection::vec(any_record(), 30), alike, 1..u64::MAX / 2).prop_map(|(mut records, alike, first)| {
            records.truncate(alike.len());
            for at in 0..records.len() {
                let (like, arrival, random) = alike[at];
                if like && at > 0 {
                    let payload = records[at].draft.message.payload.clone();
                    records[at] = records[at - 1].clone();
                    records[at].draft.message.payload = payload;
                }
                let record = &mut records[at];
                record.number = Number(first + at as u64);
                if arrival && !record.draft.identity.key_kind.identifies() {
                    let run = Run { journal: record.journal, epoch: record.epoch, random };
                    record.key = run.arrival_key(record.number);
                }
            }
            records
        })
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_went_in_packs_that_fit(records in any_row(), most in 0usize..5_000) {
            let packs = pack(&records, most);
            let mut back = Vec::new();
            for Pack { first, count, bytes } in &packs {
                prop_assert!(bytes.len() <= most || *count == 1);
                prop_assert_eq!(*first, records[back.len()].number);
                back.extend(unpack(bytes, *count).unwrap());
            }
            prop_assert_eq!(back, records);
        }

        #[test]
        fn cut_off_flipped_and_miscounted_packs_never_panic(records in any_row(), at: prop::sample::Index, bit in 0_u8..8) {
            let Pack { count, mut bytes, .. } = pack(&records, 1 << 20).remove(0);
            prop_assert!(unpack(&bytes, count - 1).is_err() && unpack(&bytes, count + 1).is_err());
            let at = at.index(bytes.len());
            prop_assert!(unpack(&bytes[..at], count).is_err());
            bytes[at] ^= 1 << bit;
            let _ = unpack(&bytes, count);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), count: u16) {
            prop_assert!(count == 0 || unpack(&bytes, count).is_err());
        }
    }

    #[test]
    fn a_pack_has_common_parts_of_records_once() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let record = any_record().new_tree(&mut runner).unwrap().current();
        let run = Run { journal: record.journal, epoch: record.epoch, random: 7 };
        let records: Vec<Record> = (1..=10)
            .map(|number| {
                let mut record = Record {
                    number: Number(number),
                    key: run.arrival_key(Number(number)),
                    open_acks: None,
                    ..record.clone()
                };
                record.draft.identity.key_kind = KeyKind::Arrival;
                record.draft.identity.key = None;
                record.draft.message.payload = vec![0; 100].into();
                record
            })
            .collect();
        let alone: usize = records.iter().map(|record| crate::record::codec::encode(record).len()).sum();
        let together = pack(&records, 1 << 20).remove(0).bytes.len();
        assert!(together * 10 < alone * 7, "{together} of {alone} bytes");
    }
}
