//! Envelope v1: a record as CBOR.

use super::{Draft, Identity, JournalId, KeyKind, LaneId, Message, Record, Slot, TimeSource};
use crate::clock::{BootId, Moment};
use serde::{Deserialize, Serialize};

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not an envelope.
    #[error("envelope is damaged: {0}")]
    Damaged(#[from] serde_cbor::Error),
    /// Version.
    #[error("envelope has version {0}")]
    Newer(u8),
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u8, j: u64, e: u64, n: u64, w: i64,
    #[serde(with = "serde_bytes")] o: Vec<u8>,
    b: u64, c: bool, t: String,
    #[serde(with = "serde_bytes")] p: Vec<u8>,
    q: u8, r: bool, d: bool, i: u16, f: String, k: String, kk: KeyKind, g: String, dv: Option<String>, y: String,
    et: Option<String>, es: TimeSource, l: Vec<(u16, u64)>,
}

/// Encodes.
pub fn encode(r: &Record) -> Vec<u8> {
    let d = &r.draft;
    let m = &d.message;
    serde_cbor::to_vec(&Envelope { v: 1, j: r.journal.0, e: r.epoch, n: r.number, w: d.received.wall_ms, o: r.boot.0.to_vec(),
        b: d.received.boottime_ms, c: d.received.trusted, t: m.topic.clone(), p: m.payload.to_vec(), q: m.qos, r: m.retain,
        d: m.dup, i: m.packet_id, f: d.profile.clone(), k: r.key.clone(), kk: d.identity.key_kind, g: d.identity.group.clone(),
        dv: d.identity.device.clone(), y: d.identity.record_type.clone(), et: d.identity.event_time.clone(),
        es: d.identity.time_source, l: r.slots.iter().map(|s| (s.lane.0, s.position)).collect() }).expect("encodes")
}

/// Decodes.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    let e: Envelope = serde_cbor::from_slice(bytes)?;
    if e.v != 1 { return Err(CodecError::Newer(e.v)); }
    let lanes: Vec<LaneId> = e.l.iter().map(|l| LaneId(l.0)).collect();
    Ok(Record { journal: JournalId(e.j), epoch: e.e, number: e.n, boot: BootId(e.o.try_into().unwrap_or_default()),
        slots: e.l.iter().map(|l| Slot { lane: LaneId(l.0), position: l.1 }).collect(),
        draft: Draft { received: Moment { wall_ms: e.w, boottime_ms: e.b, trusted: e.c },
            message: Message { topic: e.t, payload: e.p.into(), qos: e.q, retain: e.r, dup: e.d, packet_id: e.i }, profile: e.f,
            identity: Identity { key: e.kk.identifies().then(|| e.k.clone()), key_kind: e.kk, group: e.g, device: e.dv,
                record_type: e.y, event_time: e.et, time_source: e.es }, lanes }, key: e.k })
}
