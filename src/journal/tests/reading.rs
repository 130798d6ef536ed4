//! What reading costs: nothing of the disk for what is in memory, and each byte of a generation about once.

use super::*;

/// Bytes that this thread has read so far.
fn read_so_far() -> u64 {
    let said = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    said.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn only_records_in_memory_are_read_without_the_disk() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    let mut reader = rig.lane().reader();
    let numbers = |read: Vec<ReadRecord>| read.iter().map(|read| read.record.number).collect::<Vec<_>>();
    assert_eq!(reader.read_from_memory(9, 1 << 20).map(numbers), Some(vec![]), "nothing is there");
    rig.append(1..=9);
    settle(&rig, 2..=2);
    assert_eq!(reader.read_from_memory(4, 1 << 20).map(numbers), Some([1, 3, 4, 5].map(Number).into()));
    rig.journal.0.forget();
    assert_eq!(reader.read_from_memory(4, 1 << 20).map(numbers), None, "the disk has to be asked");
    assert_eq!(numbers(reader.read(2, 1 << 20).unwrap()), [6, 7].map(Number));
    rig.append(10..=10);
    assert_eq!(reader.read_from_memory(4, 1 << 20).map(numbers), None, "8 comes first");
    assert_eq!(numbers(reader.read(9, 1 << 20).unwrap()), [8, 9, 10].map(Number));
    assert_eq!(reader.read_from_memory(9, 1 << 20).map(numbers), Some(vec![]), "the end");
    drop(reader);
    rig.end(false);
}

/// As a drain in strict order does: it reads on, and again and again a record from some hundred before, in another generation.
/// It comes to the end of what is durable often, and finds what it knew there.
#[test]
fn alternating_reads_in_three_generations_scan_each_once() {
    const RECORDS: u64 = 1_500;
    let dir = crate::testing::fast_dir();
    let mut rig =
        start(&JournalOptions { generation_bytes: 150_000, quiet: Duration::from_secs(3600), ..options(dir.path()) });
    let lane = rig.lane();
    let mut reader = lane.reader();
    let (mut read, mut bytes) = (0, 0);
    for first in (1..RECORDS).step_by(30) {
        rig.append(first..=first + 29);
        rig.journal.0.forget();
        let before = read_so_far();
        loop {
            let some = reader.read(10, 1 << 20).unwrap();
            let Some(last) = some.last() else { break };
            read += some.len() as u64;
            for back in [10, 300, 600] {
                let number = Number(last.record.number.0.saturating_sub(back).max(1));
                assert_eq!(lane.reread(number).unwrap().unwrap().number, number);
            }
        }
        bytes += read_so_far() - before;
    }
    assert_eq!(read, RECORDS);
    assert!(rig.journal.stats().generations > 3);
    // Four values of 4 KB for ten records; a generation that were looked through each time would cost 15 KB more a record.
    assert!(bytes / read < 5_000, "{} bytes per record", bytes / read);
    drop((reader, lane));
    rig.end(false);
}

/// Strict order over ten devices: each batch takes the next record of each. With a device's records in one long block that is
/// ten generations a batch, with the devices in turn a single one. Either way the journal is read about once.
#[test]
fn rereading_reads_the_journal_about_once_in_any_order() {
    const DEVICES: u64 = 10;
    const EACH: u64 = 900;
    type Order = fn(device: u64, at: u64) -> u64;
    let in_blocks: Order = |device, at| device * EACH + at + 1;
    let in_turn: Order = |device, at| at * DEVICES + device + 1;
    for (order, number_of) in [("in blocks", in_blocks), ("in turn", in_turn)] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&JournalOptions {
            generation_bytes: 300_000,
            quiet: Duration::from_secs(3600),
            ..options(dir.path())
        });
        rig.append(1..=DEVICES * EACH);
        rig.journal.0.forget();
        let (lane, stats) = (rig.lane(), rig.journal.stats());
        assert!(stats.generations > 10, "{} generations", stats.generations);
        let before = read_so_far();
        for at in 0..EACH {
            // As the batcher gives them: not by number.
            let numbers: Vec<Number> = (0..DEVICES).rev().map(|device| Number(number_of(device, at))).collect();
            let records = lane.reread_all(&numbers).unwrap();
            let found: Vec<Number> = records.into_iter().map(|record| record.unwrap().number).collect();
            assert_eq!(found, numbers);
        }
        let read = read_so_far() - before;
        assert!(read < 3 * stats.bytes, "{order}: {read} bytes read of a journal of {}", stats.bytes);
        drop(lane);
        rig.end(false);
    }
}
