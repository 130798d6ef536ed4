//! Into quarantine and out of it again: nothing twice, nothing later than it was said, nothing announced for ever.

use super::*;

/// The first `count` records of the main lane that wait, put into quarantine.
fn refuse(rig: &Rig, count: usize) {
    let mut reader = rig.lane().reader();
    let mut left = count;
    while left > 0 {
        let read = reader.read(left.min(64), 1 << 20).unwrap();
        assert!(!read.is_empty());
        left -= read.len();
        for read in read {
            assert!(rig.lane().quarantine(&read.record, read.position, "Refused", "on purpose").unwrap());
        }
    }
}

#[test]
fn a_file_that_was_moved_away_or_emptied_is_noticed_before_the_next_entry() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    refuse(&rig, 2);
    let file = rig.journal.quarantine_file();
    std::fs::rename(&file, dir.path().join("aside")).unwrap();
    refuse(&rig, 3);
    assert_eq!((rig.journal.quarantined().unwrap().len(), rig.journal.facts().quarantine.entries), (3, 3));
    std::fs::write(&file, b"").unwrap();
    refuse(&rig, 1);
    let facts = rig.journal.facts().quarantine;
    assert_eq!((rig.journal.quarantined().unwrap().len(), facts.entries), (1, 1));
    assert_eq!(facts.bytes, std::fs::metadata(&file).unwrap().len());
    std::fs::rename(dir.path().join("aside"), &file).unwrap();
    refuse(&rig, 1);
    assert_eq!((rig.journal.quarantined().unwrap().len(), rig.journal.facts().quarantine.entries), (3, 3));
    rig.end(false);
}

#[test]
fn a_gap_record_that_is_refused_is_counted_and_never_announced() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=20);
    rig.journal.0.book_damage(rig.lane().id(), 5, 8, About::default());
    gaps::until_told(&rig);
    let mut reader = rig.lane().reader();
    let gap = reader.read(64, 1 << 20).unwrap().pop().unwrap();
    assert_eq!((gap.position, &*gap.record.draft.identity.record_type), (21, "gap"));
    assert!(rig.lane().quarantine(&gap.record, gap.position, "Refused", "on purpose").unwrap());
    rig.append(21..=21);
    let facts = rig.facts();
    assert_eq!((facts.quarantined, facts.unannounced, facts.appended), (1, 0, 22), "{facts:?}");
    add_up(&facts);
    drop(reader);
    rig.end(false);
}
