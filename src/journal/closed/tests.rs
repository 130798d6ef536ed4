//! Files that change, break off or refuse under their index.
#![allow(clippy::disallowed_methods, reason = "a second thread looks while the first one holds the lock")]

use super::*;

#[test]
fn pages_are_believed_lost_only_after_they_were_refused_without_a_break() {
    let (path, start) = (Path::new("db"), Instant::now());
    let mut refusing = BTreeMap::new();
    assert!(!believes(&mut refusing, path, Some(start)));
    assert!(!believes(&mut refusing, path, Some(start + PATIENCE - Duration::from_secs(1))));
    believes(&mut refusing, path, None);
    assert!(!believes(&mut refusing, path, Some(start + PATIENCE)), "it was well in between");
    assert!(believes(&mut refusing, path, Some(start + 2 * PATIENCE)));
    assert!(!believes(&mut refusing, Path::new("other"), Some(start + 2 * PATIENCE)));
}

#[test]
fn frames_across_piece_borders_and_files_are_found_and_incomplete_records_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = vec![0xaa; PIECE - 20];
    bytes.extend(frame::split(1, Some(0), b"across the border").remove(0));
    bytes.extend(vec![0xbb; PIECE]);
    let long = vec![3; 3 * VALUE_MAX];
    let parts = frame::split(2, None, &long);
    bytes.extend(&parts[0]);
    fs::write(dir.path().join("db"), &bytes).unwrap();
    fs::create_dir(dir.path().join("blobs")).unwrap();
    fs::write(dir.path().join("blobs/1"), parts[1..].concat()).unwrap();
    fs::write(dir.path().join("blobs/2"), frame::split(3, None, &long).remove(1)).unwrap();
    let closed = ClosedGeneration::closed(dir.path()).unwrap();
    assert_eq!(closed.numbers().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(closed.read(1).unwrap().as_deref(), Some(&b"across the border"[..]));
    assert_eq!(closed.read(2).unwrap(), Some(long));
    assert_eq!(closed.read(3).unwrap(), None);
}

/// The bytes of records whose envelopes say which they are.
fn row(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    numbers.flat_map(|number| frame::split(number, None, format!("record {number}").as_bytes()).remove(0)).collect()
}

#[test]
fn a_file_that_changes_under_its_index_gives_what_was_asked_for_or_says_that_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db");
    fs::write(&file, row(1..=20)).unwrap();
    let closed = ClosedGeneration::closed(dir.path()).unwrap();
    let said = |number: u64| closed.read(number).unwrap().map(|envelope| String::from_utf8(envelope).unwrap());
    let whole = |number: u64| Some(format!("record {number}"));
    // In place, as sled does: other sound frames, of the same length, stand where the index points.
    for order in [(1..=20).rev().collect::<Vec<_>>(), (1..=20).map(|n| n % 20 + 1).collect()] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&row(order.into_iter()), 0).unwrap();
        (1..=20).for_each(|number| assert_eq!(said(number), whole(number)));
    }
    // Moved by a few bytes, and one of them gone.
    let moved = [&b"TGfr"[..], &row((1..=20).filter(|number| *number != 7))].concat();
    fs::OpenOptions::new().write(true).truncate(true).open(&file).unwrap().write_all_at(&moved, 0).unwrap();
    (1..=20).for_each(|number| assert_eq!(said(number), whole(number).filter(|_| number != 7)));
}

#[test]
fn of_several_copies_the_one_that_sled_wrote_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    let segment = |lsn: u64, body: &[u8]| {
        let mut bytes = vec![0; 20];
        bytes[4..12].copy_from_slice(&(lsn ^ i64::MAX as u64).to_le_bytes());
        bytes.extend(frame::split(1, None, body).remove(0));
        bytes.resize(SEGMENT_BYTES, 0);
        bytes
    };
    let size = SEGMENT_BYTES as u64;
    fs::write(
        dir.path().join("db"),
        [segment(3 * size, b"new"), segment(size, b"old"), segment(2 * size, b"mid")].concat(),
    )
    .unwrap();
    let closed = ClosedGeneration::closed(dir.path()).unwrap();
    assert_eq!(closed.read(1).unwrap().as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_generation_is_not_indexed_while_its_database_is_open() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("db"), row(1..=2)).unwrap();
    let holder = File::open(dir.path().join("db")).unwrap();
    rustix::fs::flock(&holder, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        let scanned = scope.spawn(|| ClosedGeneration::closed(dir.path()));
        assert!(ClosedGeneration::as_it_is(dir.path()).is_ok(), "a command does not wait");
        assert!(!scanned.is_finished());
        drop(holder);
        assert_eq!(scanned.join().unwrap().unwrap().numbers().count(), 2);
    });
}

/// A payload may hold whole frames, sound ones, at every offset: on the border of the pieces in which a file is read, too.
#[test]
fn a_frame_inside_another_one_is_none_wherever_a_file_is_cut_into_pieces() {
    let forged = frame::split(2, None, b"forged").remove(0);
    let row = |number| frame::split(number, None, &forged.repeat(60)).remove(0);
    let length = row(1).len();
    for shift in (0..length + forged.len()).step_by(7) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = vec![0; PIECE - length - forged.len() / 2 + shift];
        (3..6).for_each(|number| bytes.extend(row(number)));
        fs::write(dir.path().join("db"), &bytes).unwrap();
        let closed = ClosedGeneration::closed(dir.path()).unwrap();
        assert_eq!(closed.numbers().collect::<Vec<_>>(), [3, 4, 5], "shifted by {shift}");
    }
}
