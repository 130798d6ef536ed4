//! The records: what number `n` of a run looks like depends on the run's seed and on `n` alone, so that it can be told from
//! what is read back whether each byte is right.

use crate::marks::Told;
use crate::world;
use testkit::random::Random;
use tidegate::clock::BootId;
use tidegate::internals::forged;
use tidegate::record::{Draft, Identity, JournalId, KeyKind, LaneId, LanePosition, Message, Record, Run, TimeSource};

fn dice(seed: u64, n: u64) -> Random {
    Random::seeded(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Which lanes record `n` goes to.
pub(crate) fn goes_to(seed: u64, n: u64) -> [bool; 2] {
    match dice(seed, n).below(20) {
        0..12 => [true, false],
        12..17 => [true, true],
        _ => [false, true],
    }
}

/// Record `n` of the run.
pub(crate) fn draft(seed: u64, n: u64, lanes: [LaneId; 2]) -> Draft {
    let mut random = dice(seed, n);
    let to = goes_to(seed, n);
    random.bits();
    // Mostly readings; now and then one that travels in parts.
    let length = if random.chance(0.02) { 4_000 + random.below(26_000) } else { random.below(500) };
    let mut payload: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| random.bits().to_le_bytes()).collect();
    let lanes = lanes.into_iter().zip(to).filter_map(|(lane, goes)| goes.then_some(lane)).collect();
    // Now and then one that holds records of its own, in whole frames, under the numbers around it: long enough that a page
    // can be lost of it, and the next one not.
    if random.chance(0.1) {
        let forge = |number| forged(&forgery(number, LaneId(0), seed));
        let around = n.saturating_sub(4).max(1)..n + 4;
        payload.extend(around.cycle().take(16 + length as usize % 32).flat_map(forge));
    }
    plain(n, payload, lanes)
}

fn plain(n: u64, payload: Vec<u8>, lanes: Vec<LaneId>) -> Draft {
    Draft {
        received: world::received(n),
        message: Message {
            topic: format!("torture/{}", n % 9),
            payload: payload.into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: n as u16,
        },
        profile: "torture".into(),
        identity: Identity {
            key: Some(format!("n{n}")),
            key_kind: KeyKind::Native,
            group: format!("g{}", n % 9),
            device: None,
            record_type: "raw".into(),
            event_time: None,
            time_source: TimeSource::Arrival,
        },
        lanes,
        duplicate: None,
    }
}

/// A record that no life handed over.
fn forgery(number: u64, lane: LaneId, bits: u64) -> Record {
    let run = Run { journal: JournalId(bits), epoch: tidegate::record::Epoch(1), random: bits };
    let draft = plain(number, b"forged".to_vec(), vec![lane]);
    Record::number(
        draft,
        run,
        tidegate::record::Number(number),
        BootId([0; 16]),
        vec![LanePosition { lane, position: tidegate::record::Position(number) }],
    )
}

/// Which of our records this is; `None`: a gap record.
pub(crate) fn n_of(record: &Record) -> Option<u64> {
    record.key.strip_prefix('n')?.parse().ok()
}

/// What a gap record announces.
pub(crate) fn told_by(record: &Record) -> Option<Told> {
    serde_json::from_slice(&record.draft.message.payload).ok()
}

/// Whether a record is what was handed over, byte for byte. One that came out of quarantine is for one lane alone, and a
/// head for none.
pub(crate) fn is_faithful(seed: u64, record: &Record, lanes: [LaneId; 2]) -> bool {
    let Some(n) = n_of(record) else {
        return record.draft.identity.record_type == "gap" && told_by(record).is_some();
    };
    let mut handed = draft(seed, n, lanes);
    if record.slots.is_empty() || record.requeued && record.draft.lanes.len() == 1 {
        handed.lanes.retain(|lane| record.draft.lanes.contains(lane));
    }
    // The lane that comes and goes is none of these.
    let others: Vec<LaneId> = record.draft.lanes.iter().filter(|lane| lanes.contains(lane)).copied().collect();
    handed.lanes == others && record.draft == Draft { lanes: record.draft.lanes.clone(), ..handed }
}
