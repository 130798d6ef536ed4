//! Into quarantine and out of it again: nothing twice, nothing later than it was said, nothing announced for ever.

use super::*;

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
