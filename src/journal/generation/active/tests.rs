//! What is appended is read back, whatever sled does in between.

use super::*;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::generation::manifest::{ManifestLane, read_manifest};
use crate::record::{Epoch, LaneId, Position, Record};
use proptest::prelude::*;
use std::sync::Arc;

fn manifest(first: Number) -> Manifest {
    Manifest {
        format: frame::FRAME_VERSION,
        first,
        epoch: Epoch(1),
        lanes: vec![ManifestLane { id: LaneId(0), name: "main".into(), next: Position(1) }],
    }
}

fn framed(records: &[Arc<Record>]) -> Frames {
    crate::journal::log::framed(records, Some(records[0].number.before())).0
}

#[test]
fn appended_records_are_read_while_open_and_once_closed() {
    let dir = crate::testing::fast_dir();
    let dir = dir.path().join("gen");
    // The sixth is several frames long; of later ones a value holds several.
    let record = |n: u64| Arc::new(crate::testing::record(n, &vec![n as u8; if n == 6 { 20_000 } else { 100 }]));
    let records: Vec<_> = (4..400).map(record).collect();
    let strays = Arc::new(AtomicU64::new(0));
    let generation =
        ActiveGeneration::create(&dir, &manifest(Number(4)), [framed(&records[..1])].into_iter(), strays.clone())
            .unwrap();
    generation.append(framed(&records[1..3])).unwrap();
    for group in records[3..].chunks(7) {
        generation.append(framed(group)).unwrap();
    }
    let open = generation.bytes().clone();
    for record in &records {
        assert_eq!(open.value(record.number).unwrap().unwrap().record(record.number).as_ref(), Some(record));
    }
    assert!(open.value(Number(400)).unwrap().is_none() && open.value(Number(3)).unwrap().is_none());
    drop((generation, open));
    assert_eq!(strays.load(Relaxed), 0);
    assert_eq!(read_manifest(&dir).unwrap(), Some(manifest(Number(4))));
    let closed = GenerationBytes::closed(&dir).unwrap();
    assert_eq!(closed.numbers().collect::<Vec<_>>(), (4..400).map(Number).collect::<Vec<_>>());
    for record in &records {
        assert_eq!(closed.value(record.number).unwrap().unwrap().record(record.number).as_ref(), Some(record));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Commits of any size: the file holds every frame once, in the order in which it was appended, and the file never
    /// becomes shorter; and sled's segments are more than half full of what counts, so its cleaner has nothing to do.
    #[test]
    fn sled_only_appends(commits in prop::collection::vec((1usize..60, 0usize..600, any::<bool>()), 1..60)) {
        let dir = crate::testing::fast_dir();
        let dir = dir.path().join("gen");
        let strays = Arc::new(AtomicU64::new(0));
        let generation = ActiveGeneration::create(&dir, &manifest(Number(1)), std::iter::empty(), strays.clone()).unwrap();
        let (mut next, mut length, mut appended) = (1, 0, Vec::new());
        for (count, size, long) in commits {
            let size = if long { size * 40 } else { size };
            let records: Vec<_> = (next..next + count as u64)
                .map(|n| Arc::new(crate::testing::record(n, &vec![n as u8; size])))
                .collect();
            next += count as u64;
            let frames = framed(&records);
            if !generation.has_room_for(frames.len()) {
                break;
            }
            appended.extend(frames.iter().map(|(number, part, _)| (*number, *part)));
            generation.append(frames).unwrap();
            let now = generation.file.metadata().unwrap().len();
            prop_assert!(now >= length);
            length = now;
        }
        drop(generation);
        let bytes = std::fs::read(dir.join(DATABASE)).unwrap();
        prop_assert!(bytes.len() as u64 == length, "closing writes nothing");
        let stand: Vec<_> = frame::scan(&bytes, None, drop).map(|frame| (frame.number, frame.part)).collect();
        prop_assert_eq!(stand, appended);
        prop_assert_eq!(strays.load(Relaxed), 0);
    }
}

#[test]
fn zeros_are_written_ahead_where_growth_costs_and_nowhere_else() {
    let dir = crate::testing::fast_dir();
    for ahead in [true, false] {
        let dir = dir.path().join(ahead.to_string());
        let mut generation =
            ActiveGeneration::create(&dir, &manifest(Number(1)), std::iter::empty(), Arc::default()).unwrap();
        generation.ahead = ahead;
        for n in 1..=20 {
            generation.append(framed(&[Arc::new(crate::testing::record(n, b"some"))])).unwrap();
        }
        let length = generation.file.metadata().unwrap().len();
        assert_eq!(length >= ZEROS as u64, ahead, "{length} bytes");
    }
}

#[test]
fn stray_frames_beside_an_append_are_counted_and_found() {
    let dir = crate::testing::fast_dir();
    let dir = dir.path().join("gen");
    let strays = Arc::new(AtomicU64::new(0));
    let generation = ActiveGeneration::create(&dir, &manifest(Number(1)), std::iter::empty(), strays.clone()).unwrap();
    let records: Vec<_> = (1..=40).map(|n| Arc::new(crate::testing::record(n, b"some"))).collect();
    generation.append(framed(&records[..20])).unwrap();
    // As if it had moved the first commit behind where the next look for the second one begins.
    locked(&generation.tail).end = 0;
    generation.append(framed(&records[20..])).unwrap();
    assert_eq!(strays.load(Relaxed), 1);
    for record in &records {
        let read = generation.bytes().value(record.number).unwrap().unwrap().record(record.number);
        assert_eq!(read.as_ref(), Some(record));
    }
}
