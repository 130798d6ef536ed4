//! What the bounds are held against, what the writer does while it waits at one, and whose space comes back.

use super::*;
use crate::journal::ledger::cadence::STATE_PAUSE;
use crate::journal::tests::rest::await_that;
use crate::journal::writer::eviction::LOOK_PAUSE;
use crate::record::{Number, Position};
use std::os::unix::fs::MetadataExt;

/// Bytes in the blocks of all generations.
fn on_disk(journal: &Path) -> u64 {
    files::disk_bytes(&journal.join("log"))
}

#[test]
fn a_generation_closed_at_rest_counts_its_real_size() {
    let dir = crate::testing::fast_dir();
    let options = JournalOptions { generation_bytes: 400_000, ..options(dir.path()) };
    let rig = &mut start(&options);
    let id = rig.lane().id();
    for burst in 0..6 {
        // One record is looked at while all is open; what comes behind it is much more.
        for numbers in [1..=1, 2..=700].map(|range| range.map(|n| burst * 700 + n)) {
            rig.send(numbers.clone(), &[id]);
            rig.await_tickets(numbers.collect());
        }
        await_that("the writer rests", || rig.journal.0.log.newest_is_closed());
    }
    await_that("nobody holds a database", || rig.journal.0.log.open_generations() == 0);
    assert_eq!(rig.journal.stats().generations, 6);
    await_that("what is counted is what is there", || rig.journal.stats().bytes == on_disk(dir.path()));
}

#[test]
fn measuring_the_log_reopens_no_folder_measured_before() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=1000);
    let count = rig.journal.0.log.firsts().len();
    assert!(count > 8);
    rig.end(false);
    let walks = || files::WALKS.get();
    let before = walks();
    let log = crate::journal::log::Log::open(dir.path()).unwrap();
    let most = log.disk_bytes_at_most();
    assert_eq!(walks() - before, 0, "the opening has its sum without looking into them");
    let there = on_disk(dir.path());
    assert!(most >= there, "{most} of {there}");
    assert_eq!(log.disk_bytes(), there);
    let before = walks();
    for _ in 0..100 {
        assert_eq!(log.disk_bytes_at_most(), there);
    }
    assert_eq!(walks() - before, 0);
    for first in log.firsts().into_iter().take(count / 2) {
        assert!(log.delete(first));
        // The keeper and the writer both delete: coming second must not count as a refusal by the disk, or the writer
        // would go past its bound.
        assert!(log.delete(first));
    }
    assert_eq!(log.disk_bytes_at_most(), on_disk(dir.path()));
}

#[test]
fn nothing_is_evicted_because_an_opening_counts_too_high() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=1000);
    rig.end(false);
    let there = on_disk(dir.path());
    let mut rig = start(&bounded(dir.path(), there + 200_000, OnFull::DropOldest));
    assert!(rig.journal.0.log.disk_bytes_at_most() > there + 200_000);
    rig.append(1001..=1001);
    assert_eq!((rig.stats().evicted, rig.stats().waiting), (0, 1001));
    rig.end(false);
}

/// Files of the journal that this process has open and that have no name any more: their space does not come back.
fn held(journal: &Path) -> Vec<PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = open.filter_map(|fd| Some((std::fs::read_link(fd.path()).ok()?, std::fs::metadata(fd.path()).ok()?)));
    let gone = links.filter(|(path, stats)| path.starts_with(journal) && stats.nlink() == 0);
    gone.map(|(path, _)| path).collect()
}

#[test]
fn files_of_an_evicted_generation_are_held_open_nowhere() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&bounded(dir.path(), 3_000_000, OnFull::DropOldest));
    rig.append(1..=300);
    rig.journal.0.forget();
    let (lane, mut reader) = (rig.lane(), rig.lane().reader());
    let mut oldest = crate::journal::writer::age::Oldest::new(Duration::from_secs(86_400));
    let first = rig.journal.0.log.firsts()[1];
    assert_eq!(reader.read(10, 1 << 20).unwrap().len(), 10);
    assert_eq!(lane.reread(Number(2)).unwrap().unwrap().number, Number(2));
    assert_eq!(oldest.upto(&rig.journal.0, true), None);
    let mut last = 300;
    while rig.journal.0.log.firsts()[0] < first {
        rig.append(last + 1..=last + 100);
        last += 100;
    }
    assert_eq!(held(dir.path()), Vec::<PathBuf>::new());
    // A reader that had it open continues where the lane does.
    assert_eq!(lane.reread(Number(2)).unwrap(), None);
    let read = read_all(&mut reader);
    assert_eq!(read.last().map(|(_, n)| *n), Some(last));
    assert_eq!((read.len() as u64, rig.stats().damaged), (rig.stats().waiting, 0));
    drop((reader, lane, oldest));
    rig.end(false);
}

/// Fills a journal that stops at its bound; gives how many tickets came back.
pub(crate) fn fill(rig: &mut Rig, count: u64) -> u64 {
    let id = rig.lane().id();
    rig.send(1..=count, &[id]);
    let mut tickets = 0;
    while *locked(&rig.journal.0.health) != (WriterHealth::Full { bound: Bound::MaxBytes }) {
        tickets += rig.committed.try_recv().map_or(0, |some| some.len());
        std::thread::yield_now();
    }
    while let Ok(some) = rig.committed.try_recv() {
        tickets += some.len();
    }
    tickets as u64
}

#[test]
fn a_full_journal_stays_idle_resumes_and_ends_promptly() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&bounded(dir.path(), 3_000_000, OnFull::Stop));
    let mut tickets = fill(&mut rig, 12_000);
    assert!(tickets < 12_000);
    // Part of the input: the keeper writes what moved last, and then a time in which nothing moves.
    std::thread::sleep(2 * STATE_PAUSE);
    let writes = rig.journal.0.state_writes();
    std::thread::sleep(3 * STATE_PAUSE);
    assert_eq!(rig.journal.0.state_writes(), writes, "nothing moved");
    let mut reader = rig.lane().reader();
    let read = read_all(&mut reader);
    let since = Instant::now();
    rig.lane().settle(read.iter().map(|(position, _)| (Position(*position), Outcome::Accepted)));
    tickets += rig.committed.blocking_recv().unwrap().len() as u64;
    assert!(since.elapsed() < LOOK_PAUSE, "woken by what was settled, not by the next look: {:?}", since.elapsed());
    assert!(tickets < 12_000, "it stands at the bound again, or will");
    await_that("it is full again", || {
        *locked(&rig.journal.0.health) == (WriterHealth::Full { bound: Bound::MaxBytes })
    });
    drop(reader);
    let since = Instant::now();
    rig.end(false);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

/// At the bound with records in quarantine: a request that waits there.
pub(crate) fn at_the_bound(dir: &Path) -> (Rig, u64) {
    let mut rig = start(&bounded(dir, 3_000_000, OnFull::Stop));
    rig.append(1..=3);
    for read in rig.lane().reader().read(3, 1 << 20).unwrap() {
        assert!(rig.lane().quarantine(&read.record, read.position, "Refused", "on purpose").unwrap());
    }
    let tickets = fill(&mut rig, 6_000);
    (rig, tickets)
}
