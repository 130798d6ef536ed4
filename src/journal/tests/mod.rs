//! The journal as its users see it: appended, read, settled, reopened, damaged.
#![allow(clippy::disallowed_methods, reason = "tests stand in for the agent, which starts threads")]

mod accounts;
mod aside;
mod bounds;
mod cadence;
mod chain;
mod damage;
mod foreign;
mod gaps;
mod lanes;
mod marks;
mod moved;
mod panics;
mod refused;
// Its recorder is for 64-bit Linux alone.
#[cfg(target_pointer_width = "64")]
mod power_cut;
mod quarantine;
mod reading;
mod rest;
mod room;
mod samples;
mod slots;
mod small;
mod spent;
#[cfg(target_pointer_width = "64")]
mod spent_cut;
mod unsynced;
mod verified;

use super::*;
use crate::clock::{Clock, Moment, boottime_ms};
use crate::config::OnFull;
use crate::journal::disk::frame;
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::journal::ledger::cadence::Lag;
use crate::journal::ledger::gaps::{About, PendingGap, Reason};
use crate::journal::limits::RECENT_BYTES;
use crate::record::{
    Draft, Epoch, Identity, JournalId, KeyKind, LaneId, Message, Number, Position, Record, Run, TimeSource,
};
use crate::sync::locked;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const MAIN: &str = "main";
const SMALL_GENERATION: u64 = 40_000;

/// A journal with its two threads, and the channels that the intake would have.
struct Rig {
    journal: Journal,
    report: OpenReport,
    inbox: Option<UnboundedSender<Append<u64>>>,
    committed: UnboundedReceiver<Vec<u64>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    tail: Vec<Number>,
}

fn options(path: &Path) -> JournalOptions {
    JournalOptions {
        path: path.to_owned(),
        bounds: Bounds { max_bytes: 1 << 30, max_age: None, min_free: 0, on_full: OnFull::DropOldest },
        reserve_bytes: 0,
        generation_bytes: SMALL_GENERATION,
        quiet: Duration::from_millis(1),
        lanes: vec![MAIN.into(), "audit".into()],
        silent: vec![],
        absorbing: vec![],
        machine: "/".into(),
        runtime: None,
    }
}

fn bounded(path: &Path, max_bytes: u64, on_full: OnFull) -> JournalOptions {
    let options = options(path);
    JournalOptions { bounds: Bounds { max_bytes, on_full, ..options.bounds }, ..options }
}

fn start(options: &JournalOptions) -> Rig {
    begin(open(options, &Clock::new(None)))
}

/// Starts the threads of a journal that was opened.
fn begin(mut opened: Opened) -> Rig {
    let mut tail = Vec::new();
    opened.each_of_tail(&mut |record| tail.push(record.number));
    let (inbox, receiver) = unbounded_channel();
    let (sender, committed) = unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (journal, report) = (opened.journal.clone(), opened.report.clone());
    let writer = opened.writer(Duration::ZERO, receiver, sender, stop.clone());
    let keeper = journal.clone();
    let threads = vec![std::thread::spawn(move || writer.run()), std::thread::spawn(move || keeper.keep())];
    Rig { journal, report, inbox: Some(inbox), committed, stop, threads, tail }
}

/// Opens a journal that was closed a moment ago. Another test that starts a process holds a copy of its lock between fork and
/// exec, for as long as a busy machine lets the child wait.
fn open(options: &JournalOptions, clock: &Clock) -> Opened {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match Journal::open(options, clock) {
            Err(JournalError::Locked(_)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
}

fn draft(n: u64, lanes: &[LaneId]) -> Draft {
    Draft {
        // Just now: a machine that has been up for days must not make it too old.
        received: Moment { boottime_ms: boottime_ms(), ..Moment::default() },
        message: Message {
            topic: format!("t/{n}"),
            payload: vec![n as u8; 300].into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: n as u16,
        },
        profile: "test".into(),
        identity: Identity {
            key: Some(format!("k{n}")),
            key_kind: KeyKind::Native,
            group: format!("g{}", n % 7),
            device: None,
            record_type: "raw".into(),
            event_time: None,
            time_source: TimeSource::Arrival,
        },
        lanes: lanes.to_vec(),
        duplicate: None,
    }
}

impl Rig {
    fn lane(&self) -> Lane {
        self.journal.lane(MAIN).unwrap()
    }

    fn send(&self, numbers: impl Iterator<Item = u64>, lanes: &[LaneId]) {
        for n in numbers {
            let item = Item::Record(Box::new(draft(n, lanes)));
            self.inbox.as_ref().unwrap().send(Append { item, ticket: n }).unwrap();
        }
    }

    /// Appends to the main lane in small commits and waits for the tickets.
    fn append(&mut self, numbers: std::ops::RangeInclusive<u64>) {
        let id = self.lane().id();
        let numbers: Vec<u64> = numbers.collect();
        for some in numbers.chunks(40) {
            self.send(some.iter().copied(), &[id]);
            self.await_tickets(some.to_vec());
        }
    }

    fn await_tickets(&mut self, expected: Vec<u64>) {
        let mut tickets = Vec::new();
        while tickets.len() < expected.len() {
            tickets.extend(self.committed.blocking_recv().expect("the writer runs"));
        }
        assert_eq!(tickets, expected, "tickets come back in order");
    }

    /// Everything that can be read, as the numbers in the keys; and the positions.
    fn read_all(&self) -> Vec<(u64, u64)> {
        read_all(&mut self.lane().reader())
    }

    fn stats(&self) -> LaneStats {
        self.journal.stats().lanes.into_iter().find(|lane| lane.name == MAIN).unwrap()
    }

    /// Ends in order; with `crash`, without a last state write.
    fn end(mut self, crash: bool) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.inbox = None;
        self.threads.remove(0).join().unwrap();
        if crash {
            locked(&self.journal.0.keeper.flags).lag = Lag::default();
        }
        self.journal.stop_keeping();
        self.threads.remove(0).join().unwrap();
    }
}

fn read_all(reader: &mut Reader) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    loop {
        let some = reader.read(64, 1 << 20).unwrap();
        if some.is_empty() {
            return all;
        }
        let of =
            |read: ReadRecord| (read.position.0, read.record.key.strip_prefix('k').map_or(0, |n| n.parse().unwrap()));
        all.extend(some.into_iter().map(of));
    }
}

fn plain(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, u64)> {
    range.map(|n| (n, n)).collect()
}

fn settle(rig: &Rig, positions: std::ops::RangeInclusive<u64>) {
    rig.lane().settle(positions.map(|position| (Position(position), Outcome::Accepted)));
}

fn add_up(stats: &LaneStats) {
    let sum = stats.accepted + stats.waiting + stats.evicted + stats.quarantined + stats.damaged;
    assert_eq!(stats.appended, sum, "{stats:?}");
}

#[test]
fn records_are_read_in_order_across_generations_and_reopening() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    assert!(rig.report.made);
    rig.append(1..=500);
    assert!(rig.journal.stats().generations > 2);
    assert_eq!(rig.read_all(), plain(1..=500));
    let (id, epoch) = (rig.journal.id(), rig.journal.epoch());
    rig.end(false);
    let mut rig = start(&options(dir.path()));
    assert_eq!((rig.journal.id(), rig.journal.epoch()), (id, epoch + 1));
    assert_eq!(
        rig.tail,
        (1..=500).map(Number).collect::<Vec<_>>(),
        "the tail is shown for the key index, over all generations"
    );
    rig.append(501..=600);
    assert_eq!(rig.read_all(), plain(1..=600));
    rig.end(false);
}

#[test]
fn a_reader_notices_that_its_active_generation_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = start(&options(dir.path()));
    let mut reader = rig.lane().reader();
    // More than is kept in memory, so that the log itself is read; the reader stops in its middle.
    let kept = RECENT_BYTES as u64 / 700;
    rig.append(1..=30);
    rig.journal.0.forget();
    let head: Vec<u64> = reader.read(10, 1 << 20).unwrap().iter().map(|read| read.position.0).collect();
    assert_eq!(head, (1..=10).collect::<Vec<_>>());
    rig.append(31..=2 * kept);
    assert!(rig.journal.stats().generations > 2);
    assert_eq!(read_all(&mut reader), plain(11..=2 * kept));
    assert_eq!(rig.stats().damaged, 0);
    rig.end(false);
}

/// A generation may refuse in the middle of a call; the records before it, which the reader is past, must not go with it.
#[test]
fn an_unreadable_generation_takes_no_earlier_record_along() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=600);
    let firsts = rig.journal.0.log.firsts();
    rig.journal.0.forget();
    let second = std::fs::read_dir(dir.path().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let second =
        second.into_iter().find(|path| path.to_str().unwrap().contains(&format!("{:020}", firsts[1]))).unwrap();
    let aside = dir.path().join("aside");
    std::fs::rename(&second, &aside).unwrap();
    let mut reader = rig.lane().reader();
    let before = reader.read(1000, 1 << 20).unwrap();
    assert_eq!(before.iter().map(|read| read.position.0).collect::<Vec<_>>(), (1..firsts[1].0).collect::<Vec<_>>());
    assert!(reader.read(1000, 1 << 20).is_err());
    std::fs::rename(&aside, &second).unwrap();
    assert_eq!(read_all(&mut reader), plain(firsts[1].0..=600));
    assert_eq!(rig.stats().damaged, 0);
    rig.end(false);
}

#[test]
fn settled_records_are_not_reread_and_their_space_returns() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=1000);
    let before = rig.journal.stats().generations;
    assert_eq!(rig.read_all().len(), 1000);
    settle(&rig, 1..=900);
    settle(&rig, 950..=960);
    rig.end(false);
    let rig = start(&options(dir.path()));
    let expected: Vec<_> = plain(901..=949).into_iter().chain(plain(961..=1000)).collect();
    assert_eq!(rig.read_all(), expected);
    // The other lane never got a record, so it holds nothing back.
    rig.journal.0.write_state().unwrap();
    let left = rig.journal.stats().generations;
    assert!(left < before / 2, "{left} of {before} generations left");
    assert_eq!(rig.stats().accepted, 911);
    add_up(&rig.stats());
    rig.end(false);
}

#[test]
fn a_crash_without_state_write_repeats_records_and_loses_none() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=300);
    rig.read_all();
    settle(&rig, 1..=200);
    rig.end(true);
    let rig = start(&options(dir.path()));
    let read = rig.read_all();
    assert_eq!(read.last(), Some(&(300, 300)));
    assert!(read.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    add_up(&rig.stats());
    rig.end(false);
}

#[test]
fn each_lane_has_own_positions_and_keeps_its_records() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    let (main, audit) = (rig.lane().id(), rig.journal.lane_id("audit").unwrap());
    rig.send((1..=400).filter(|n| n % 2 == 0), &[main, audit]);
    rig.send((1..=400).filter(|n| n % 2 == 1), &[audit]);
    rig.await_tickets((1..=400).filter(|n| n % 2 == 0).chain((1..=400).filter(|n| n % 2 == 1)).collect());
    assert_eq!(rig.read_all().len(), 200);
    settle(&rig, 1..=200);
    rig.end(false);
    let rig = start(&options(dir.path()));
    assert_eq!(rig.read_all(), []);
    let mut audit = rig.journal.lane("audit").unwrap().reader();
    let positions: Vec<u64> = read_all(&mut audit).into_iter().map(|(position, _)| position).collect();
    assert_eq!(positions, (1..=400).collect::<Vec<_>>());
    drop(audit);
    rig.end(false);
}

#[test]
fn at_the_bound_the_oldest_generation_is_evicted_and_announced() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 3_000_000, OnFull::DropOldest);
    let mut rig = start(&options);
    for n in 0..80 {
        rig.append(n * 100 + 1..=n * 100 + 100);
    }
    let stats = rig.stats();
    assert!(stats.evicted > 0);
    add_up(&stats);
    assert!(rig.journal.stats().bytes <= options.bounds.max_bytes, "{}", rig.journal.stats().bytes);
    let read = rig.read_all();
    let gaps = read.iter().filter(|(_, n)| *n == 0).count();
    assert!(gaps > 0, "a hole is announced");
    assert_eq!(read.len() as u64, stats.waiting);
    let numbers: Vec<u64> = read.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
    assert_eq!(numbers.last(), Some(&8000));
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "what is left has no hole");
    rig.end(false);
}

#[test]
fn with_stop_tickets_wait_for_trimming_and_nothing_is_evicted() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 3_000_000, OnFull::Stop);
    let mut rig = start(&options);
    let mut tickets = room::fill(&mut rig, 6000);
    assert!(tickets < 6000);
    let mut reader = rig.lane().reader();
    while tickets < 6000 {
        let read = read_all(&mut reader);
        rig.lane().settle(read.iter().map(|(position, _)| (Position(*position), Outcome::Accepted)));
        tickets += rig.committed.blocking_recv().unwrap().len() as u64;
    }
    drop(reader);
    assert_eq!(rig.stats().evicted, 0);
    add_up(&rig.stats());
    rig.end(false);
}

#[test]
fn second_processes_and_newer_formats_are_refused_without_changes() {
    let dir = crate::testing::fast_dir();
    let rig = start(&options(dir.path()));
    let second = Journal::open(&options(dir.path()), &Clock::new(None));
    assert!(matches!(second, Err(JournalError::Locked(_))), "{second:?}");
    rig.end(false);
    let line = small::signed("tidegate journal, format 3");
    std::fs::write(dir.path().join("format"), &line).unwrap();
    let newer = Journal::open(&options(dir.path()), &Clock::new(None));
    assert!(matches!(newer, Err(JournalError::Newer(_))), "{newer:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("format")).unwrap(), line);
}

/// Flips one byte in every 4 KB page of a generation's log file, beginning at `from`.
fn damage(journal: &Path, generation: usize, from: usize) {
    let mut folders: Vec<_> = std::fs::read_dir(journal.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let file = folders[generation].join("db");
    let mut bytes = std::fs::read(&file).unwrap();
    for page in (from..bytes.len()).step_by(16 * 4096) {
        bytes[page] ^= 0x10;
    }
    std::fs::write(&file, bytes).unwrap();
}

#[test]
fn a_damaged_generation_is_salvaged_in_order_at_any_place() {
    let _ = tracing_subscriber::fmt().with_test_writer().try_init();
    for place in ["head", "middle", "active"] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=600);
        let generations = rig.journal.stats().generations;
        rig.end(false);
        let index = match place {
            "head" => 0,
            "middle" => generations / 2,
            _ => generations - 1,
        };
        damage(dir.path(), index, 100);
        let mut rig = start(&options(dir.path()));
        rig.append(601..=650);
        // The writer wakes for a hole: its gap record may come while we read.
        let of_records = |(position, n): (u64, u64)| (n > 0).then_some(position);
        let read: Vec<u64> = rig.read_all().into_iter().filter_map(of_records).collect();
        assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "{place}: order");
        assert_eq!(read.last(), Some(&650), "{place}: intake went on");
        let stats = rig.stats();
        add_up(&stats);
        assert_eq!(read.len() as u64 + stats.damaged, 650, "{place}: what is missing is counted");
        assert!(stats.damaged < 60, "{place}: {} records damaged", stats.damaged);
        rig.end(false);
    }
}

/// sled writes a commit in several pieces at once: after a kill the later one may be there and the earlier one not. Nothing
/// of such a commit was acknowledged. Kept, its later records would come before the earlier ones when those come again.
#[test]
fn a_commit_cut_off_is_omitted_without_damage() {
    for durable in [40, 1200] {
        // A short newest generation is carried over, a long one is closed as it is.
        let dir = tempfile::tempdir().unwrap();
        let options = JournalOptions { generation_bytes: 1 << 20, ..options(dir.path()) };
        let mut rig = start(&options);
        rig.append(1..=durable);
        let (id, lane, epoch) = (rig.journal.id(), rig.lane().id(), rig.journal.epoch());
        rig.end(false);
        append_to_newest(dir.path(), &bare_frames(durable + 2..=durable + 3, id, lane, epoch.0));

        for _ in 0..2 {
            let rig = start(&options);
            assert_eq!((rig.report.missing, rig.tail.last()), (0, Some(&Number(durable))));
            rig.end(true);
        }
        let mut rig = start(&options);
        rig.append(durable + 1..=durable + 100);
        assert_eq!(rig.read_all(), plain(1..=durable + 100));
        assert_eq!((rig.stats().appended, rig.stats().damaged), (durable + 100, 0));
        rig.end(false);
        let rig = start(&options);
        assert_eq!((rig.read_all(), rig.tail.last()), (plain(1..=durable + 100), Some(&Number(durable + 100))));
        rig.end(false);
    }
}

/// A full disk has no room for a fresh database; the journal opens nevertheless, so that draining can make room.
#[test]
fn a_newest_generation_not_carried_over_is_read_in_place() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    let epoch = rig.journal.epoch();
    rig.end(false);
    // In the way of the folder that the next open wants to make.
    std::fs::write(dir.path().join(format!("log/gen-{:020}.{:010}", 1, epoch + 1)), b"in the way").unwrap();
    let mut rig = start(&options(dir.path()));
    assert_eq!(rig.read_all(), plain(1..=10));
    rig.append(11..=20);
    assert_eq!(rig.read_all(), plain(1..=20));
    rig.end(false);
}

/// Records as a generation's file holds them, without their commit.
fn bare_frames(numbers: std::ops::RangeInclusive<u64>, id: JournalId, lane: LaneId, epoch: u64) -> Vec<u8> {
    let records = numbers.map(|number| {
        let slots = vec![crate::record::LanePosition { lane, position: Position(number) }];
        let run = Run { journal: id, epoch: Epoch(epoch), random: 1 };
        Arc::new(Record::number(draft(number, &[lane]), run, Number(number), Clock::new(None).boot(), slots))
    });
    // Each in its own value.
    let framed = records.flat_map(|record| log::framed(&[record], None).0);
    framed.flat_map(|(_, _, value)| value).collect()
}

fn append_to_newest(journal: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut folders: Vec<_> = std::fs::read_dir(journal.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    let newest = folders.pop().unwrap();
    std::fs::OpenOptions::new().append(true).open(newest.join("db")).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_truncated_newest_generation_is_noticed_by_the_high_water() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&JournalOptions { generation_bytes: 1 << 20, ..options(dir.path()) });
    rig.append(1..=200);
    rig.end(false);
    let folder = std::fs::read_dir(dir.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::OpenOptions::new().write(true).open(folder.join("db")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let mut rig = start(&options(dir.path()));
    assert!(rig.report.missing > 0);
    rig.append(201..=210);
    let mut read = rig.read_all();
    read.retain(|(_, n)| *n > 0);
    assert_eq!(read.last(), Some(&(210, 210)), "numbers and positions are not given twice");
    assert_eq!(read.len() as u64 + rig.stats().damaged, 210);
    add_up(&rig.stats());
    rig.end(false);
}

#[test]
fn without_state_everything_is_maybe_sent_under_a_far_epoch() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=300);
    let (id, epoch) = (rig.journal.id(), rig.journal.epoch());
    rig.end(false);
    std::fs::write(dir.path().join("state"), vec![0xee; 8192]).unwrap();
    let rig = start(&options(dir.path()));
    assert!(rig.report.state_lost);
    assert_eq!(rig.journal.id(), id);
    assert!(rig.journal.epoch() >= epoch + 1000);
    let mut reader = rig.lane().reader();
    let read = reader.read(1000, 1 << 20).unwrap();
    assert_eq!(read.len(), 300);
    assert!(read.iter().all(|read| read.maybe_sent == MaybeSent::Unknown));
    rig.end(false);
}

#[test]
fn only_what_a_mark_covers_is_maybe_sent_after_restart() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=50);
    assert!(rig.lane().needs_mark(&[Position(1), Position(2)]));
    rig.lane().mark(&[Position(1), Position(2)]).unwrap();
    assert!(!rig.lane().needs_mark(&[Position(3)]));
    rig.end(true);
    let mut rig = start(&options(dir.path()));
    rig.append(51..=60);
    let read = rig.lane().reader().read(1000, 1 << 20).unwrap();
    let maybe: BTreeSet<u64> =
        read.iter().filter(|read| read.maybe_sent != MaybeSent::No).map(|r| r.position.0).collect();
    assert_eq!(maybe, (1..=50).collect());
    rig.end(false);
}

#[test]
fn an_oversize_message_is_recognised_after_a_restart() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    for n in 1..=3 {
        let mut head = draft(n, &[]);
        head.message.payload = vec![n as u8; 4096].into();
        let item = Item::Head { draft: Box::new(head), why: Unjournaled::Oversize, bytes: 5_000_000, delivery: 70 + n };
        rig.inbox.as_ref().unwrap().send(Append { item, ticket: n }).unwrap();
        rig.await_tickets(vec![n]);
    }
    rig.end(true);
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    assert_eq!(opened.heads(), [71, 72, 73]);
    assert_eq!(opened.journal.stats().quarantine.entries, 3);
}

#[test]
fn long_records_travel_in_parts() {
    let dir = crate::testing::fast_dir();
    let rig = start(&options(dir.path()));
    let mut rig = rig;
    let id = rig.lane().id();
    let mut long = draft(1, &[id]);
    long.message.payload = (0..700 * 1024u32).map(|n| (n >> 3) as u8).collect::<Vec<u8>>().into();
    let payload = long.message.payload.clone();
    rig.inbox.as_ref().unwrap().send(Append { item: Item::Record(Box::new(long)), ticket: 1 }).unwrap();
    rig.await_tickets(vec![1]);
    rig.end(false);
    let rig = start(&options(dir.path()));
    let read = rig.lane().reader().read(10, 1 << 20).unwrap();
    assert_eq!(read[0].record.draft.message.payload, payload);
    rig.end(false);
}
