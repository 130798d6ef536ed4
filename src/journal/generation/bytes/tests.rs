//! Files that change, break off or refuse under their index.
#![allow(clippy::disallowed_methods, reason = "a second thread looks while the first one holds the lock")]

use super::*;
use crate::journal::disk::frame::VALUE_MAX;
use crate::journal::generation::index::PIECE;
use crate::journal::generation::manifest::Manifest;
use crate::journal::limits::SEGMENT_BYTES;
use crate::journal::log::framed;
use crate::record::{Epoch, codec};

/// A record that says who it is, and bytes that are its value.
fn value(number: u64, payload: &[u8]) -> Vec<Vec<u8>> {
    let record = Arc::new(crate::testing::record(number, payload));
    framed(&[record], None).0.into_iter().map(|(_, _, value)| value).collect()
}

fn payload(closed: &GenerationBytes, number: u64) -> Option<Vec<u8>> {
    let record = closed.value(Number(number)).unwrap()?.record(Number(number))?;
    Some(record.draft.message.payload.to_vec())
}

#[test]
fn frames_across_pieces_are_found_and_incomplete_records_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = vec![0xaa; PIECE - 20];
    bytes.extend(value(1, b"across the border").remove(0));
    bytes.extend(vec![0xbb; PIECE]);
    let long = vec![3; 3 * VALUE_MAX];
    let parts = value(2, &long);
    bytes.extend(&parts[0]);
    fs::write(dir.path().join("db"), &bytes).unwrap();
    fs::create_dir(dir.path().join("blobs")).unwrap();
    fs::write(dir.path().join("blobs/1"), parts[1..].concat()).unwrap();
    fs::write(dir.path().join("blobs/2"), value(3, &long).remove(1)).unwrap();
    let closed = GenerationBytes::closed(dir.path()).unwrap();
    assert_eq!(closed.numbers().collect::<Vec<_>>(), [1, 2].map(Number));
    assert_eq!(payload(&closed, 1).as_deref(), Some(&b"across the border"[..]));
    assert_eq!(payload(&closed, 2), Some(long));
    assert_eq!(payload(&closed, 3), None);
}

/// The bytes of records that say which they are.
fn row(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    numbers.flat_map(|number| value(number, format!("record {number:02}").as_bytes()).remove(0)).collect()
}

#[test]
fn a_file_changing_under_its_index_gives_records_or_absence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db");
    fs::write(&file, row(10..=30)).unwrap();
    let closed = GenerationBytes::closed(dir.path()).unwrap();
    let whole = |number: u64| Some(format!("record {number:02}").into_bytes());
    // In place, as sled does: the places of the index hold other sound frames of the same length.
    for order in [(10..=30).rev().collect::<Vec<_>>(), (10..=30).map(|n| n % 21 + 10).collect()] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&row(order.into_iter()), 0).unwrap();
        (10..=30).for_each(|number| assert_eq!(payload(&closed, number), whole(number)));
    }
    // Moved by a few bytes, and one of them gone.
    let moved = [&b"TGfr"[..], &row((10..=30).filter(|number| *number != 17))].concat();
    fs::OpenOptions::new().write(true).truncate(true).open(&file).unwrap().write_all_at(&moved, 0).unwrap();
    (10..=30).for_each(|number| assert_eq!(payload(&closed, number), whole(number).filter(|_| number != 17)));
}

#[test]
fn of_several_copies_the_one_that_sled_wrote_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    let segment = |lsn: u64, body: &[u8]| {
        let mut bytes = vec![0; 20];
        bytes[4..12].copy_from_slice(&(lsn ^ i64::MAX as u64).to_le_bytes());
        bytes.extend(value(1, body).remove(0));
        bytes.resize(SEGMENT_BYTES, 0);
        bytes
    };
    let size = SEGMENT_BYTES as u64;
    fs::write(
        dir.path().join("db"),
        [segment(3 * size, b"new"), segment(size, b"old"), segment(2 * size, b"mid")].concat(),
    )
    .unwrap();
    let closed = GenerationBytes::closed(dir.path()).unwrap();
    assert_eq!(payload(&closed, 1).as_deref(), Some(&b"new"[..]));
}

/// A damaged value costs its own records and no others, and none is taken for another's.
#[test]
fn of_packed_records_a_damaged_value_costs_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (1..=100).map(|n| Arc::new(crate::testing::record(n, &[n as u8; 150]))).collect();
    let (frames, _) = framed(&records, Some(Number(0)));
    assert!((2..50).contains(&frames.len()), "several in a value, and several values");
    let (first, second) = (frames[0].0, frames[1].0);
    let mut bytes: Vec<u8> = frames.into_iter().flat_map(|(_, _, value)| value).collect();
    bytes[100] ^= 1;
    fs::write(dir.path().join("db"), &bytes).unwrap();
    let closed = GenerationBytes::closed(dir.path()).unwrap();
    assert_eq!(closed.numbers().collect::<Vec<_>>(), second.until(Number(101)).collect::<Vec<_>>());
    assert_eq!(closed.in_doubt(Number(0)), second - first);
    for record in &records {
        let read = closed.value(record.number).unwrap().and_then(|value| value.record(record.number));
        assert_eq!(read.as_ref(), Some(record).filter(|record| record.number >= second));
    }
}

/// In the other version than the note says a frame is part of a payload, and a later version's frame too in the first one.
#[test]
fn a_generation_takes_frames_of_its_own_version_alone() {
    let old = |number: Number| {
        frame::split_1(number, None, &codec::encode(&crate::testing::record(number.0, b"old"))).concat()
    };
    let new = |number: Number| value(number.0, b"new").concat();
    for (version, own, other) in
        [(1, &old as &dyn Fn(Number) -> Vec<u8>, &new as &dyn Fn(Number) -> Vec<u8>), (2, &new, &old)]
    {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest { format: version, first: Number(1), epoch: Epoch(1), lanes: vec![] };
        let note = serde_cbor::to_vec(&manifest).unwrap();
        let crc = crc32c::crc32c(&note).to_be_bytes();
        fs::write(dir.path().join("generation"), [note, crc.to_vec()].concat()).unwrap();
        let bytes: Vec<u8> = (1..=10)
            .flat_map(|number| [other(Number(number + 20)), own(Number(number)), other(Number(number))].concat())
            .collect();
        fs::write(dir.path().join("db"), &bytes).unwrap();
        let closed = GenerationBytes::closed(dir.path()).unwrap();
        assert_eq!(closed.numbers().collect::<Vec<_>>(), (1..=10).map(Number).collect::<Vec<_>>());
        let said: &[u8] = if version == 1 { b"old" } else { b"new" };
        assert_eq!(payload(&closed, 3).as_deref(), Some(said));
    }
}

#[test]
fn a_generation_is_not_indexed_while_its_database_is_open() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("db"), row(1..=2)).unwrap();
    let holder = File::open(dir.path().join("db")).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let scanned = scope.spawn(|| GenerationBytes::closed(dir.path()));
        assert!(GenerationBytes::as_it_is(dir.path()).is_ok(), "a command does not wait");
        assert!(!scanned.is_finished());
        drop(holder);
        assert_eq!(scanned.join().unwrap().unwrap().numbers().count(), 2);
    });
}

/// A payload may hold whole frames, sound ones, at every offset: on the border of the pieces in which a file is read, too.
#[test]
fn frames_inside_other_frames_do_not_count_across_pieces() {
    let forged = frame::split_1(Number(2), None, b"forged").remove(0);
    let row = |number| frame::split_1(number, None, &forged.repeat(60)).remove(0);
    let length = row(Number(1)).len();
    for shift in (0..length + forged.len()).step_by(7) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; PIECE - length - forged.len() / 2 + shift];
        (3..6).for_each(|number| bytes.extend(row(Number(number))));
        fs::write(dir.path().join("db"), &bytes).unwrap();
        let closed = GenerationBytes::closed(dir.path()).unwrap();
        assert_eq!(closed.numbers().collect::<Vec<_>>(), [3, 4, 5].map(Number), "shifted by {shift}");
    }
}

/// What was appended is found in pieces, too, and what lies inside a frame that a piece cuts off is none.
#[test]
fn only_appended_frames_are_found_wherever_a_piece_ends() {
    let forged = frame::split_1(Number(9), None, b"forged").remove(0);
    let rows: Vec<Vec<u8>> =
        (1..=3).map(|n| frame::split_1(Number(n), None, &forged.repeat(60 - n as usize)).remove(0)).collect();
    let appended: Vec<_> = (1..).zip(&rows).map(|(number, row)| (Number(number), 0, row.len())).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let follow = |bytes: &[u8], from| {
        fs::write(&path, bytes).unwrap();
        let mut index = Index::default();
        let end = index.follow((1, &File::open(&path).unwrap()), from, &appended).unwrap();
        (end, index.places.iter().map(|place| place.at).collect::<Vec<_>>())
    };
    let lengths: Vec<u64> = rows.iter().map(|row| row.len() as u64).collect();
    // More and more between them, as sled's own pages are, so that every frame is cut off at some place.
    for between in (0..6_000).step_by(61) {
        let gap = vec![0xaa; between];
        let bytes = [&b"before"[..], &rows[0], &gap, &rows[1], &gap, &rows[2], &[0; 10_000]].concat();
        let second = 6 + lengths[0] + between as u64;
        let third = second + lengths[1] + between as u64;
        assert_eq!(follow(&bytes, 3), (Some(third + lengths[2]), vec![6, second, third]), "{between} between");
        // Where another one is among them, or one is missing, it is not so.
        let other = frame::split_1(Number(7), None, b"other").remove(0);
        assert_eq!(follow(&[&rows[0][..], &other, &gap, &rows[1], &rows[2], &[0; 10_000]].concat(), 0), (None, vec![]));
        assert_eq!(follow(&[&rows[0][..], &gap, &rows[1], &gap].concat(), 0), (None, vec![]));
    }
}
