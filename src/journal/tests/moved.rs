//! sled keeps writing in a file to which the journal no longer appends: what it began ends, and dropping its last handle
//! splits pages that were read. Whatever it moves, a reader gets the bytes that were appended, or nothing.

use super::*;
use crate::record::Number;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes that do not repeat, so that no other record's would pass for them: 1 to 9,000, mostly in several parts.
fn payload(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = if n.is_multiple_of(5) { next() % 400 + 1 } else { 7_000 + next() % 2_000 };
    (0..length).map(|_| next() as u8).collect()
}

fn long(n: u64, lanes: &[LaneId]) -> Draft {
    let mut draft = draft(n, lanes);
    draft.message.payload = payload(n).into();
    draft.message.topic = format!("t/{n}/{}", "x".repeat((n % 3 * 700) as usize));
    draft
}

/// What a record must be, by its key.
#[track_caller]
fn assert_is_itself(record: &Record) {
    let n: u64 = record.key[1..].parse().unwrap();
    let expected = long(n, &[]);
    assert_eq!(record.draft.message.topic, expected.message.topic, "record {}", record.number);
    assert!(record.draft.message.payload == expected.message.payload, "record {} has other bytes", record.number);
}

/// Two lanes, one of them far behind, rereads, the search for what is too old, and commands beside the agent: all while
/// generations are closed under them.
#[test]
fn every_reader_gets_the_appended_bytes_while_generations_close() {
    const RECORDS: u64 = 2_400;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.generation_bytes = 2 << 20;
    options.bounds.max_age = Some(Duration::from_secs(10 * 365 * 86_400));
    let mut rig = start(&options);
    let (main, audit) = (rig.lane(), rig.journal.lane("audit").unwrap());
    let done = AtomicBool::new(false);
    let path = dir.path();
    let (read, late, seen) = std::thread::scope(|scope| {
        let journal = rig.journal.clone();
        let (done, main, audit) = (&done, &main, &audit);
        let reads = scope.spawn(move || {
            let (mut reader, mut numbers) = (main.reader(), Vec::new());
            while numbers.len() < RECORDS as usize {
                // Nothing may come out of memory: the test looks at the log itself.
                journal.0.forget();
                for read in reader.read(16, 1 << 20).expect("readable") {
                    assert_is_itself(&read.record);
                    numbers.push(read.record.number);
                }
                // As a held-up window is: the last ones, again and again.
                for back in numbers.iter().rev().take(30) {
                    assert_is_itself(&main.reread(*back).expect("readable").expect("still there"));
                }
            }
            numbers
        });
        let lags = scope.spawn(move || {
            let (mut reader, mut numbers) = (audit.reader(), Vec::new());
            while numbers.len() < RECORDS as usize {
                for read in reader.read(3, 1 << 20).expect("readable") {
                    assert_is_itself(&read.record);
                    numbers.push(read.record.number);
                }
                std::thread::yield_now();
            }
            numbers
        });
        let looks = scope.spawn(move || {
            let mut seen = 0;
            while !done.load(Relaxed) {
                let view = View::open(path).expect("a journal");
                view.each(Number(0), &mut |record| {
                    assert_is_itself(record);
                    seen += 1;
                    std::ops::ControlFlow::Continue(())
                })
                .expect("readable");
            }
            seen
        });
        let ids = [main.id(), audit.id()];
        for first in (1..=RECORDS).step_by(4) {
            for n in first..first + 4 {
                let item = Item::Record(Box::new(long(n, &ids)));
                rig.inbox.as_ref().unwrap().send(Append { item, ticket: n }).unwrap();
            }
            rig.await_tickets((first..first + 4).collect());
        }
        let ends = (reads.join().unwrap(), lags.join().unwrap());
        done.store(true, Relaxed);
        (ends.0, ends.1, looks.join().unwrap())
    });
    let all: Vec<Number> = (1..=RECORDS).map(Number).collect();
    assert_eq!((&read, &late), (&all, &all));
    assert!(seen > RECORDS, "the commands looked at {seen} records");
    assert!(rig.journal.stats().generations > 5);
    assert_eq!(rig.journal.stats().lanes.iter().map(|lane| lane.damaged).sum::<u64>(), 0);
    rig.end(false);
}
