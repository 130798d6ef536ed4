//! What the writer gives back after a burst, and that nothing is lost by it.

use super::*;
use crate::record::Number;
use proptest::prelude::*;

/// Waits for what the writer and its readers do in their own time.
pub(crate) fn await_that(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One in which a burst of 40 records is more than half a generation.
fn resting(path: &Path) -> JournalOptions {
    JournalOptions { generation_bytes: 25_000, ..options(path) }
}

#[test]
fn a_generation_closes_after_a_burst_and_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let options = resting(dir.path());
    let mut rig = start(&JournalOptions { quiet: Duration::from_millis(300), ..options.clone() });
    let journal = rig.journal.clone();
    let log = &journal.0.log;
    rig.append(1..=40);
    rig.journal.0.forget();
    // Both read in the open generation now, and must not be what keeps it open.
    let (mut reader, again) = (rig.lane().reader(), rig.lane());
    assert_eq!(reader.read(10, 1 << 20).unwrap().len(), 10);
    assert_eq!(again.reread(Number(1)).unwrap().unwrap().number, Number(1));
    await_that("the writer lets go", || log.newest_is_closed());
    assert_eq!(reader.read(1, 1 << 20).unwrap().len(), 1);
    assert_eq!(again.reread(Number(2)).unwrap().unwrap().number, Number(2));
    await_that("nobody holds it", || log.open_generations() == 0);
    assert_eq!(read_all(&mut reader), plain(12..=40));
    rig.append(41..=41);
    assert_eq!(log.firsts(), [1, 41].map(Number));
    assert_eq!(read_all(&mut reader), plain(41..=41));
    assert_eq!(rig.stats().damaged, 0);
    drop((journal, reader, again));
    rig.end(true);
    let rig = start(&options);
    assert_eq!(rig.read_all(), plain(1..=41));
    rig.end(false);
}

#[test]
fn few_records_keep_their_generation_open_through_any_silence() {
    let (quiet, busy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut quiet, mut busy) = (start(&resting(quiet.path())), start(&resting(busy.path())));
    quiet.append(1..=5);
    busy.append(1..=40);
    await_that("the busy one rests", || busy.journal.0.log.open_generations() == 0);
    assert_eq!(quiet.journal.0.log.open_generations(), 1);
    quiet.append(6..=6);
    assert_eq!(quiet.journal.0.log.firsts(), [Number(1)]);
    quiet.end(false);
    busy.end(false);
}

#[test]
fn traffic_with_pauses_fills_at_least_half_a_generation() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    for first in (1..=240).step_by(10) {
        rig.append(first..=first + 9);
        // Part of the input: longer than what the writer takes for the end of a burst.
        std::thread::sleep(Duration::from_millis(5));
    }
    let firsts = rig.journal.0.log.firsts();
    // 240 of them are two generations; of an eighth each they were a dozen.
    assert!(firsts.len() <= 5, "{firsts:?}");
    rig.end(false);
}

/// Nothing in this run gives such a record up: it waits, and every read reports it, also at the lane's end.
#[test]
fn missing_last_records_of_this_run_are_reported_and_wait() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&resting(dir.path()));
    rig.append(1..=40);
    await_that("it rests", || rig.journal.0.log.newest_is_closed());
    await_that("nobody holds it", || rig.journal.0.log.open_generations() == 0);
    rig.journal.0.forget();
    let folder = std::fs::read_dir(dir.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let file = folder.join("db");
    let whole = std::fs::read(&file).unwrap();
    // The value that holds the last one, and those before it that the value also holds.
    let last = frame::scan(&whole, None, drop).filter(|frame| frame.end() == Number(41));
    let last: Vec<_> =
        last.map(|frame| (frame.number, frame.bytes.as_ptr() as usize - whole.as_ptr() as usize)).collect();
    let first = last[0].0;
    let mut bytes = whole.clone();
    last.iter().for_each(|(_, at)| bytes[*at] ^= 1);
    std::fs::write(&file, &bytes).unwrap();
    let (mut reader, lane) = (rig.lane().reader(), rig.lane());
    assert_eq!(reader.read(64, 1 << 20).unwrap().len() as u64, first - Number(1));
    for said in
        [reader.read(64, 1 << 20).map(drop), reader.read(64, 1 << 20).map(drop), lane.reread(Number(40)).map(drop)]
    {
        assert!(said.unwrap_err().to_string().contains("was durable in this run"));
    }
    assert_eq!((rig.stats().damaged, rig.stats().waiting), (0, 40));
    // The medium has come round.
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(read_all(&mut reader), plain(first.0..=40));
    assert_eq!(lane.reread(Number(40)).unwrap().unwrap().number, Number(40));
    drop((reader, lane));
    rig.end(false);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Bursts of any size with rests between them, read with any lag: every record once and in order, also after a crash.
    #[test]
    fn every_record_is_read_once_in_order_across_rests(
        bursts in prop::collection::vec((1u64..120, any::<bool>(), 0usize..100), 1..8),
    ) {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        let mut reader = rig.lane().reader();
        let (mut last, mut read) = (0, Vec::new());
        for (count, rests, lag) in bursts {
            rig.append(last + 1..=last + count);
            last += count;
            rig.journal.0.forget();
            read.extend(reader.read(lag, 1 << 20).unwrap().iter().map(|read| read.record.number));
            if rests {
                // Part of the input: longer than what the writer takes for the end of a burst.
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        read.extend(read_all(&mut reader).into_iter().map(|(_, number)| Number(number)));
        prop_assert_eq!(&read, &(1..=last).map(Number).collect::<Vec<_>>());
        prop_assert_eq!(rig.stats().damaged, 0);
        drop(reader);
        rig.end(true);
        let rig = start(&options(dir.path()));
        prop_assert_eq!(rig.read_all(), plain(1..=last));
        rig.end(false);
    }
}
