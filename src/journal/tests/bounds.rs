//! The bounds beside bytes: age and free space, each with both policies; the reserve; who is told.

use super::*;
use crate::journal::tests::gaps::announced;
use crate::record::Position;
use std::time::Duration;

/// Appends records that were received a moment after this boot, or now.
fn append_of(rig: &mut Rig, numbers: std::ops::RangeInclusive<u64>, old: bool) {
    let id = rig.lane().id();
    let now = rig.journal.0.clock.now();
    for n in numbers.clone() {
        let mut draft = draft(n, &[id]);
        draft.received = Moment { boottime_ms: if old { 1 } else { now.boottime_ms }, ..now };
        rig.inbox.as_ref().unwrap().send(Append { item: Item::Record(Box::new(draft)), ticket: n }).unwrap();
    }
    rig.await_tickets(numbers.collect());
}

/// A bound that what is as old as the boot breaks, and what comes now keeps for as long again.
fn with_age(path: &Path, on_full: OnFull) -> JournalOptions {
    let options = options(path);
    let max_age = Some(Duration::from_millis(crate::clock::boottime_ms() / 2));
    JournalOptions { bounds: Bounds { max_age, on_full, ..options.bounds }, ..options }
}

#[test]
fn old_records_are_evicted_singly_and_announced_without_a_message() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    append_of(&mut rig, 1..=250, true);
    append_of(&mut rig, 251..=300, false);
    settle_read(&rig, 3);
    rig.end(false);
    // Nothing arrives; the journal looks by itself.
    let rig = start(&with_age(dir.path(), OnFull::DropOldest));
    let mut durable = rig.journal.0.durable.subscribe();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while rig.stats().evicted == 0 || rig.stats().unannounced > 0 {
        runtime.block_on(durable.changed()).unwrap();
    }
    let stats = rig.stats();
    assert_eq!((stats.evicted, stats.accepted, stats.waiting), (247, 3, 51), "one gap record waits beside the young");
    let read: Vec<u64> = rig.read_all().into_iter().map(|(_, n)| n).filter(|n| *n > 0).collect();
    assert_eq!(read, (251..=300).collect::<Vec<_>>());
    let gaps = announced(&rig);
    assert_eq!((gaps.len(), &gaps[0]["bound"], &gaps[0]["count"]), (1, &"journal.max_age".into(), &247.into()));
    assert_eq!(rig.journal.stats().evicted.unwrap().bound, "journal.max_age");
    add_up(&stats);
    rig.end(false);
}

/// Reads and settles the first `count`.
fn settle_read(rig: &Rig, count: u64) {
    rig.read_all();
    settle(rig, 1..=count);
}

#[test]
fn with_stop_an_old_record_stops_acks_until_sent() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    append_of(&mut rig, 1..=20, true);
    rig.end(false);
    let mut rig = start(&with_age(dir.path(), OnFull::Stop));
    let id = rig.lane().id();
    rig.send(21..=30, &[id]);
    while *locked(&rig.journal.0.health) != (WriterHealth::Full { bound: Bound::MaxAge }) {
        std::thread::yield_now();
    }
    assert!(rig.committed.try_recv().is_err(), "nothing is acknowledged");
    settle_read(&rig, 20);
    rig.await_tickets((21..=30).collect());
    assert_eq!((rig.stats().evicted, rig.stats().accepted), (0, 20));
    rig.end(false);
}

/// The floor above what is free: as on a disk that others have filled.
fn with_floor(path: &Path, on_full: OnFull) -> JournalOptions {
    let options = options(path);
    JournalOptions { bounds: Bounds { min_free: u64::MAX / 2, on_full, ..options.bounds }, ..options }
}

/// What others have written is not given back by evicting; where that helps: `tests/agent/disk/full.rs`.
#[test]
fn below_a_floor_out_of_reach_nothing_goes() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=600);
    rig.end(false);
    let mut rig = start(&with_floor(dir.path(), OnFull::DropOldest));
    for n in 0..10 {
        rig.append(601 + n * 40..=640 + n * 40);
    }
    let stats = rig.stats();
    assert_eq!((stats.evicted, stats.waiting), (0, 1000), "{stats:?}");
    assert!(rig.journal.stats().generations > 2, "there was something to evict");
    add_up(&stats);
    assert_eq!(rig.read_all().last(), Some(&(stats.appended, 1000)), "the newest is there");
    rig.end(false);
}

#[test]
fn with_stop_the_floor_stops_acks_and_evicts_nothing() {
    let dir = crate::testing::fast_dir();
    let rig = start(&with_floor(dir.path(), OnFull::Stop));
    rig.send(1..=10, &[rig.lane().id()]);
    while *locked(&rig.journal.0.health) != (WriterHealth::Full { bound: Bound::MinFree }) {
        std::thread::yield_now();
    }
    assert_eq!((rig.stats().appended, rig.stats().evicted), (0, 0));
    rig.end(false);
}

#[test]
fn a_lane_without_gap_records_counts_losses_silently() {
    let dir = crate::testing::fast_dir();
    let silent = JournalOptions { silent: vec![MAIN.into()], ..options(dir.path()) };
    let mut rig = start(&silent);
    rig.append(1..=20);
    rig.journal.0.book_damage(
        rig.lane().id(),
        Position(5),
        Position(8),
        crate::journal::ledger::gaps::About::default(),
    );
    rig.append(21..=30);
    assert_eq!((rig.stats().damaged, rig.stats().unannounced, rig.stats().appended), (3, 0, 30));
    assert!(announced(&rig).is_empty());
    add_up(&rig.stats());
    rig.end(false);
}

/// One generation, closed and too large to be gone on in, and how many bytes it takes on the disk.
fn with_one_closed(path: &Path, settled: bool) -> (JournalOptions, u64) {
    let options = JournalOptions { generation_bytes: 1 << 30, ..options(path) };
    let mut rig = start(&options);
    rig.append(1..=800);
    if settled {
        settle_read(&rig, 800);
    }
    assert_eq!(rig.journal.stats().generations, 1);
    rig.end(false);
    let bytes = files::disk_bytes(&path.join("log"));
    (options, bytes)
}

/// The first commit behind an opening was not held against the bound where one closed generation was all there was.
#[test]
fn an_openings_first_commit_keeps_the_bound_beside_closed_generations() {
    let dir = crate::testing::fast_dir();
    let (options, bytes) = with_one_closed(dir.path(), false);
    let bounds = Bounds { max_bytes: bytes + 64 * 1024, ..options.bounds };
    let mut rig = start(&JournalOptions { bounds, ..options });
    let id = rig.lane().id();
    rig.send(801..=900, &[id]);
    rig.await_tickets((801..=900).collect());
    let there = files::disk_bytes(&dir.path().join("log"));
    assert!(there <= bounds.max_bytes, "{there} bytes for {}", bounds.max_bytes);
    let stats = rig.stats();
    assert_eq!((stats.evicted, stats.unannounced), (800, 0), "what had to go is counted and announced");
    add_up(&stats);
    rig.end(false);
}

#[test]
fn with_stop_one_closed_generation_that_has_drained_stops_nothing() {
    let dir = crate::testing::fast_dir();
    let (options, bytes) = with_one_closed(dir.path(), true);
    let bounds = Bounds { max_bytes: bytes + 128 * 1024, on_full: OnFull::Stop, ..options.bounds };
    let mut rig = start(&JournalOptions { bounds, ..options });
    let id = rig.lane().id();
    rig.send(801..=900, &[id]);
    rig.await_tickets((801..=900).collect());
    assert_eq!((rig.stats().evicted, rig.stats().waiting), (0, 100));
    rig.end(false);
}
