//! Inputs that a fuzzer begins with.

use crate::journal::{FILES, SEALED, records};
use tidegate::internals::{self, FRAME_BODY_MAX, SLOT_LEN};
use tidegate::record::{Number, codec, pack};

fn seed(which: usize, how: u8, at: usize, bytes: &[u8]) -> Vec<u8> {
    [&[which as u8, how, (at >> 16) as u8, (at >> 8) as u8, at as u8], bytes].concat()
}

/// The newest generation's note, saying that it begins elsewhere.
pub(super) fn foreign_note() -> Vec<u8> {
    let (body, _) = FILES[3].1.split_last_chunk::<4>().expect("a note");
    let note = internals::manifest_from(Number(500), body).expect("a released note");
    seed(3, SEALED, 0, &[&note[..], &[0; 4]].concat())
}

pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![foreign_note()];
    for (which, (_, original)) in FILES.iter().enumerate() {
        let middle = original.len() / 2;
        seeds.push(seed(which, 2, middle, b""));
        seeds.push(seed(which, 4, 0, b""));
        seeds.push(seed(which, 6, middle, &[3]));
        seeds.push(seed(which, 7, 0, &[0, 0, 30, 1, 0, 16, 70, 0x80]));
        if original.len() <= 2 * SLOT_LEN {
            seeds.push(seed(which, SEALED, 0, original));
        }
    }
    for (which, _) in FILES.iter().enumerate().filter(|(_, (path, _))| path.ends_with("/db")) {
        let found = internals::scan(FILES[which].1).next().expect("a frame");
        let framed = internals::split_1(found.number, found.previous, &found.body()).concat();
        seeds.push(seed(which, 5 | SEALED, 0, &framed));
        seeds.extend(hostile().iter().map(|frames| seed(which, 5 | SEALED, 0, frames)));
    }
    seeds
}

/// Frames that a payload may hold, or a flipped bit make: frames in frames, and fields at their ends, of both versions. Their
/// checksums are for the target to make right.
fn hostile() -> Vec<Vec<u8>> {
    let record = &records()[&7];
    let pack = pack::pack([record], FRAME_BODY_MAX).remove(0);
    let sound = [
        internals::split_1(record.number, Some(record.number.before()), &codec::encode(record)).remove(0),
        internals::split(record.number, 1, Some(record.number.before()), &pack.bytes).remove(0),
    ];
    let inner = internals::forged(record);
    let mut frames = vec![
        inner.clone(),
        internals::split_1(Number(8), None, &inner[..inner.len().min(3_000)]).concat(),
        internals::split(Number(8), 1, None, &inner).concat(),
        // A header that claims the frame behind it as its body, and one that is cut off by it.
        [&sound[1][..46], &sound[0]].concat(),
        [&sound[0][..40], &sound[1]].concat(),
    ];
    // Where a field is, and how long it is: number, previous, length, count, part, parts.
    let fields: [&[(usize, usize)]; 2] =
        [&[(14, 8), (22, 8), (10, 4), (6, 2), (8, 2)], &[(12, 8), (20, 8), (8, 4), (28, 2), (30, 2), (32, 2)]];
    for (frame, fields) in sound.iter().zip(fields) {
        for &(at, length) in fields {
            for value in [0u64, 1, u64::MAX, u64::MAX - 1, 1 << 62] {
                let mut frame = frame.clone();
                frame[at..at + length].copy_from_slice(&value.to_be_bytes()[8 - length..]);
                frames.push(frame);
            }
        }
    }
    frames
}

pub(crate) fn parser_seeds() -> Vec<Vec<u8>> {
    let (_, state) = FILES[0];
    let slots = state.chunks(SLOT_LEN).map(|slot| {
        let end = slot.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        slot[..end].to_vec()
    });
    let slots: Vec<Vec<u8>> = slots.collect();
    let bodies = slots.iter().map(|slot| slot.get(24..).unwrap_or_default().to_vec());
    let notes = FILES.iter().filter(|(path, _)| path.ends_with("/generation"));
    let notes = notes.map(|(_, note)| note[..note.len() - 4].to_vec());
    let frames = internals::scan(FILES[2].1).take(3).flat_map(|found| {
        let pack = pack::pack([&codec::decode(&found.body()).expect("a released record")], FRAME_BODY_MAX).remove(0);
        let first = internals::split_1(found.number, found.previous, &found.body()).concat();
        [first, internals::split(found.number, 1, found.previous, &pack.bytes).concat(), pack.bytes]
    });
    slots.iter().cloned().chain(bodies).chain(notes).chain(frames).chain(hostile()).collect()
}
