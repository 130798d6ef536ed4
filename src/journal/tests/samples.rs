//! Journals as released versions wrote them, opened by this one: `tests/journals/v1` and its later siblings.
//!
//! A sample is never written anew; a later format gets its own sample, and this file keeps opening all of them.
//! To make one: `TIDEGATE_JOURNAL_SAMPLE=tests/journals/v2 cargo test --lib samples`, with a folder that does not exist.

use super::*;
use crate::record::{Epoch, Position};
use std::path::PathBuf;

/// On one record of both lanes: three frames long.
const LONG: u64 = 100;
const LONG_BYTES: usize = 9_000;

fn sample_draft(n: u64, lanes: &[LaneId]) -> Draft {
    let mut draft = draft(n, lanes);
    draft.message.retain = n == 2;
    draft.message.dup = n == 3;
    draft.identity.event_time = (n == 4).then(|| "2026-02-11T08:15:30.120Z".to_owned());
    if n == LONG {
        draft.message.payload = (0..LONG_BYTES).map(|at| (at / 7) as u8).collect::<Vec<u8>>().into();
    }
    draft
}

/// Writes the journal that the samples hold: 150 records for `main`, of which every fifth goes to `audit` as well, over
/// several generations; 1 to 90 accepted, 95 accepted out of turn, 96 quarantined, one oversize message, and a mark.
fn write_sample(path: &Path) {
    // A queue that takes no gap records: the quarantined one is not announced.
    let mut rig = start(&JournalOptions { silent: vec![MAIN.into()], ..options(path) });
    let (main, audit) = (rig.lane().id(), rig.journal.lane_id("audit").unwrap());
    for n in 1..=150 {
        let lanes: &[LaneId] = if n % 5 == 0 { &[main, audit] } else { &[main] };
        let item = Item::Record(Box::new(sample_draft(n, lanes)));
        rig.inbox.as_ref().unwrap().send(Append { item, ticket: n }).unwrap();
        // A commit each at first, then groups of ten.
        if n <= 20 {
            rig.await_tickets(vec![n]);
        } else if n % 10 == 0 {
            rig.await_tickets((n - 9..=n).collect());
        }
    }
    let item =
        Item::Head { draft: Box::new(draft(151, &[main])), why: Unjournaled::Oversize, bytes: 20_000_000, delivery: 7 };
    rig.inbox.as_ref().unwrap().send(Append { item, ticket: 151 }).unwrap();
    rig.await_tickets(vec![151]);
    let records = rig.lane().reader().read(150, 1 << 20).unwrap();
    rig.lane().mark(&(1..=100).map(Position).collect::<Vec<_>>()).unwrap();
    let hopeless = records.iter().find(|read| read.position == Position(96)).unwrap();
    assert!(
        rig.lane()
            .quarantine(&hopeless.record, Position(96), "InvalidMessageContents", "a sample of a reason")
            .unwrap()
    );
    settle(&rig, 1..=90);
    settle(&rig, 95..=95);
    rig.end(false);
}

/// Opens the journal at `path`, which is changed by it, and holds all of it against what [`write_sample`] put in.
fn check_sample(path: &Path) {
    let rig = start(&options(path));
    assert!(!rig.report.made && !rig.report.state_lost && rig.report.missing == 0, "{:?}", rig.report);
    assert_eq!(rig.journal.epoch(), Epoch(2));
    let stats = rig.stats();
    let counts = (stats.appended, stats.accepted, stats.quarantined, stats.waiting, stats.evicted, stats.damaged);
    assert_eq!(counts, (150, 91, 1, 58, 0, 0));
    assert_eq!(rig.journal.stats().quarantine.entries, 2);

    let (main, audit) = (rig.lane().id(), rig.journal.lane_id("audit").unwrap());
    let read = rig.lane().reader().read(200, 1 << 20).unwrap();
    let expected: Vec<u64> = (91..=94).chain(97..=150).collect();
    assert_eq!(read.iter().map(|read| read.position.0).collect::<Vec<_>>(), expected);
    for ReadRecord { position, record, maybe_sent, .. } in &read {
        let lanes: &[LaneId] = if position.0 % 5 == 0 { &[main, audit] } else { &[main] };
        check_record(record, position.0, lanes);
        assert_eq!(*maybe_sent != MaybeSent::No, *position <= Position(marked_up_to(&read)), "{position}");
    }
    let audited = read_all(&mut rig.journal.lane("audit").unwrap().reader());
    assert_eq!(audited, (1..=30).map(|position| (position, position * 5)).collect::<Vec<_>>());
    rig.end(false);
}

/// A mark runs ahead of what was sent, in strides: it covers at least the hundred positions that were marked.
fn marked_up_to(read: &[ReadRecord]) -> u64 {
    let last = read.iter().filter(|read| read.maybe_sent != MaybeSent::No).map(|read| read.position).max().unwrap();
    assert!(last >= Position(100));
    last.0
}

fn check_record(record: &Record, n: u64, lanes: &[LaneId]) {
    let wanted = sample_draft(n, lanes);
    assert_eq!((record.number, record.epoch), (Number(n), Epoch(1)));
    assert_eq!(record.draft.message, wanted.message, "{n}");
    assert_eq!(record.draft.identity, Identity { key: record.draft.identity.key.clone(), ..wanted.identity }, "{n}");
    assert_eq!(record.key, format!("k{n}"));
    assert_eq!(record.draft.profile, wanted.profile);
    assert_eq!(record.slots.iter().map(|slot| slot.lane).collect::<Vec<_>>(), lanes);
}

#[test]
fn a_journal_of_format_1_is_opened_and_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    testkit::folder::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/v1"), &path).unwrap();
    check_sample(&path);
}

#[test]
fn what_this_release_writes_is_what_the_samples_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    match std::env::var_os("TIDEGATE_JOURNAL_SAMPLE").map(PathBuf::from) {
        Some(sample) => {
            assert!(!sample.exists(), "{} is there already, and a released sample is never changed", sample.display());
            write_sample(&sample);
            testkit::folder::copy(&sample, &path).unwrap();
        }
        None => write_sample(&path),
    }
    check_sample(&path);
}
