//! What a fuzzer does to the journal: targets `journal_files` and `journal_parsers`.
//!
//! The journal that is damaged is the released one in `tests/journals/v1`: 150 records in two generations, a state file
//! with settled intervals and a mark, a quarantine. Everything runs on one thread, so that a finding replays.

use crate::scratch::scratch;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tidegate::clock::Clock;
use tidegate::config::OnFull;
use tidegate::internals::{self, SLOT_LEN, StateView};
use tidegate::journal::books::{Outcome, OutcomeCounts};
use tidegate::journal::{Append, Bounds, Item, Journal, JournalError, JournalOptions, Lane, Opened, QUIET, Reader};
use tidegate::record::{Draft, Epoch, LaneId, Number, Position, Record, codec};

mod seal;
mod seeds;
#[cfg(test)]
mod tests;

use seal::seal;
pub(crate) use seeds::{file_seeds, parser_seeds};

macro_rules! file {
    ($path:literal) => {
        ($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/journals/v1/", $path)))
    };
}

/// The journal's files; those of the intake, which v1 lacks, are caches and start empty.
const FILES: [(&str, &[u8]); 11] = [
    file!("state"),
    file!("format"),
    file!("log/gen-00000000000000000101.0000000001/db"),
    file!("log/gen-00000000000000000101.0000000001/generation"),
    file!("log/gen-00000000000000000101.0000000001/conf"),
    file!("log/gen-00000000000000000001.0000000001/db"),
    file!("log/gen-00000000000000000001.0000000001/generation"),
    file!("quarantine/kept"),
    file!("lock"),
    ("intake/seen", b""),
    ("intake/filters", b""),
];
const LANES: [&str; 2] = ["main", "audit"];

/// Which file, what is done to it, where (24 bits), then bytes.
///
/// The journal opens, or is refused as a newer one. Each lane is read to its end, in order; what is read of the records
/// that were there is what was written, unless the damage has a right checksum. New records can be appended, all is
/// settled, and the books add up. Then it opens once more under a new epoch, and what was appended is read back.
pub(crate) fn files(input: &[u8]) {
    let Some(([which, how, at @ ..], bytes)) = input.split_first_chunk::<5>() else { return };
    let (path, original) = FILES[usize::from(*which) % FILES.len()];
    let at = usize::from(at[0]) << 16 | usize::from(at[1]) << 8 | usize::from(at[2]);
    let sealed = how & SEALED != 0;
    let mut damaged = damage(original, how & 7, at, bytes);
    if let Some(bytes) = damaged.as_mut().filter(|_| sealed) {
        seal(path, bytes);
        if is_a_lie(path, bytes) {
            return;
        }
    }
    let folder = Folder(scratch("journal"));
    folder.fill(path, damaged.as_deref());
    let was = (!sealed).then(records);
    let Some(opened) = folder.open() else { return };
    let epoch = opened.journal.epoch();
    internals::read_intake_files(&folder.0.join("intake"));
    let left = go_on(opened, was, None);
    let opened = folder.open().expect("what was opened once opens again");
    assert!(!opened.report.state_lost && opened.journal.epoch() > epoch);
    go_on(opened, was, Some(left));
}

/// In the second byte of an input: checksums are made right again after the damage.
const SEALED: u8 = 0x80;

/// `None`: the file is gone. 6: sectors came back empty; 7: single bytes, wherever they are.
fn damage(original: &[u8], how: u8, at: usize, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut file = original.to_vec();
    let at = at % (file.len() + 1);
    match how {
        0 => return Some(bytes.to_vec()),
        1 => {
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
        2 => file.truncate(at),
        3 => drop(file.splice(at..at, bytes.iter().copied())),
        4 => return None,
        5 => file.extend_from_slice(bytes),
        6 => {
            let end = file.len().min(at + 512 * (1 + bytes.first().map_or(0, |count| usize::from(*count))));
            file[at..end].fill(0);
        }
        _ => {
            let length = file.len();
            for flip in bytes.chunks_exact(4).filter(|_| length > 0) {
                let at = (usize::from(flip[0]) << 16 | usize::from(flip[1]) << 8 | usize::from(flip[2])) % length;
                file[at] ^= flip[3];
            }
        }
    }
    Some(file)
}

/// Counts above this are a lie with a right checksum that no journal comes near: sums with them saturate, and then two
/// sums are equal that should differ.
const COUNT_MAX: u64 = u64::MAX / 2;

/// Whether a sealed file claims to hold more than can be counted.
fn is_a_lie(path: &str, bytes: &[u8]) -> bool {
    let lies = |count: u64| count > COUNT_MAX;
    if path == "state" {
        let mut states = bytes.chunks_exact(SLOT_LEN).filter_map(internals::state_in_slot);
        return states.any(|state| {
            let books = || state.ledgers.iter().any(|book| lies(book.next.0) || lies(book.read_from.0));
            lies(state.high.0) || lies(state.epoch.0) || books()
        });
    }
    if path.ends_with("/generation") {
        let note = bytes.split_last_chunk::<4>().and_then(|(body, _)| internals::manifest(body));
        return note
            .is_some_and(|note| lies(note.first.0) || lies(note.epoch.0) || note.next.iter().any(|next| lies(next.0)));
    }
    internals::scan(bytes).any(|found| {
        let record = codec::decode(&found.body()).ok();
        let positions = |record: &Record| record.slots.iter().any(|slot| lies(slot.position.0));
        lies(found.number.0)
            || found.previous.is_some_and(|previous| lies(previous.0))
            || record.is_some_and(|record| lies(record.number.0) || lies(record.epoch.0) || positions(&record))
    })
}

/// A journal's folder, gone with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    /// Puts every file there, except that one holds `other`, or is missing.
    fn fill(&self, path: &str, other: Option<&[u8]>) {
        for (name, original) in FILES {
            let Some(bytes) = (if name == path { other } else { Some(original) }) else { continue };
            let file = self.0.join(name);
            fs::create_dir_all(file.parent().expect("a folder above it")).expect("a folder");
            fs::write(file, bytes).expect("a file");
        }
    }

    /// `None`: it was refused as a newer one.
    fn open(&self) -> Option<Opened> {
        let options = JournalOptions {
            path: self.0.clone(),
            bounds: Bounds { max_bytes: 1 << 30, max_age: None, min_free: 0, on_full: OnFull::DropOldest },
            reserve_bytes: 0,
            generation_bytes: 40_000,
            quiet: QUIET,
            lanes: LANES.map(str::to_owned).into(),
            silent: Vec::new(),
            absorbing: Vec::new(),
            machine: "/".into(),
            runtime: None,
        };
        match Journal::open(&options, &Clock::new(None)) {
            Ok(opened) => Some(opened),
            Err(JournalError::Newer(_)) => None,
            Err(error) => panic!("the journal must open on whatever is there: {error}"),
        }
    }
}

/// The records of the undamaged journal.
fn records() -> &'static HashMap<u64, Record> {
    static RECORDS: OnceLock<HashMap<u64, Record>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let frames =
            FILES.iter().filter(|(path, _)| path.ends_with("/db")).flat_map(|(_, bytes)| internals::scan(bytes));
        let mut parts: BTreeMap<(u64, u16), Vec<u8>> =
            frames.map(|found| ((found.number.0, found.part), found.body().into_owned())).collect();
        let mut found = HashMap::new();
        while let Some(((number, _), _)) = parts.first_key_value() {
            let number = *number;
            let rest = parts.split_off(&(number + 1, 0));
            let envelope: Vec<u8> = parts.into_values().flatten().collect();
            found.insert(number, codec::decode(&envelope).expect("a released record"));
            parts = rest;
        }
        assert_eq!(found.len(), 150, "the released journal is read whole");
        found
    })
}

/// One run of the agent over it: reads, appends a record to every lane, ends in order; its number is returned. A run
/// that finds the record which the one before it `left` reads on to the end, so that nothing may wait.
fn go_on(mut opened: Opened, was: Option<&HashMap<u64, Record>>, left: Option<u64>) -> u64 {
    let journal = opened.journal.clone();
    opened.each_of_tail(&mut |record| check(record, was));
    let mut lanes = LANES.map(|name| Drained::of(journal.lane(name).expect("a configured lane"), was));
    lanes.iter_mut().for_each(Drained::drain);
    for lane in &lanes {
        assert!(left.is_none_or(|left| lane.numbers.contains(&left)), "what was committed is read back");
    }
    let ids = LANES.map(|name| journal.lane_id(name).expect("a configured lane"));
    append(opened, draft(&ids));
    if left.is_some() {
        for lane in &mut lanes {
            lane.drain();
            assert_eq!(lane.lane.waiting(), 0, "all that can be read was settled, and what cannot was booked");
        }
    }
    for lane in journal.stats().lanes {
        let booked = lane.accepted + lane.waiting + lane.evicted + lane.quarantined + lane.damaged;
        assert_eq!(booked, lane.appended, "the books add up: {lane:?}");
    }
    journal.stop_keeping();
    journal.keep();
    journal.stats().durable.0
}

/// What is read of a lane.
struct Drained<'a> {
    lane: Lane,
    reader: Reader,
    last: Position,
    numbers: Vec<u64>,
    was: Option<&'a HashMap<u64, Record>>,
}

impl<'a> Drained<'a> {
    fn of(lane: Lane, was: Option<&'a HashMap<u64, Record>>) -> Drained<'a> {
        Drained { reader: lane.reader(), lane, last: Position(0), numbers: Vec::new(), was }
    }

    fn drain(&mut self) {
        loop {
            let read = self.reader.read(64, 1 << 20).expect("files in memory can be read");
            if read.is_empty() {
                return;
            }
            for found in &read {
                assert!(found.position > self.last, "position {} after {}", found.position, self.last);
                self.last = found.position;
                self.numbers.push(found.record.number.0);
                check(&found.record, self.was);
            }
            self.lane.settle(read.iter().map(|found| (found.position, Outcome::Accepted)));
        }
    }
}

/// What damage may cost is a record, never its content.
fn check(record: &Record, was: Option<&HashMap<u64, Record>>) {
    if let Some(was) = was.filter(|_| record.epoch == Epoch(1)) {
        assert_eq!(Some(record), was.get(&record.number.0));
    }
}

fn draft(lanes: &[LaneId]) -> Draft {
    let model = &records()[&1].draft;
    Draft { lanes: lanes.to_vec(), ..model.clone() }
}

/// Appends one record. The writer ends with its inbox.
fn append(opened: Opened, draft: Draft) {
    let (inbox, receiver) = tokio::sync::mpsc::unbounded_channel();
    let (sender, mut committed) = tokio::sync::mpsc::unbounded_channel();
    let item = Item::Record(Box::new(draft));
    inbox.send(Append { item, ticket: () }).expect("the writer is there");
    drop(inbox);
    // Told to stop beforehand: a disk that refuses is a finding, not something to wait for.
    opened.writer(Duration::ZERO, receiver, sender, Arc::new(true.into())).run();
    assert!(committed.try_recv().is_ok(), "the record was committed");
}

/// The pure readers alone: frames, a state slot, a generation's note, and what they hold. Nothing of a disk, so that a
/// fuzzer gets far.
pub(crate) fn parsers(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal::frames(&mut sealed);
    for bytes in [bytes, &sealed] {
        let end = bytes.as_ptr_range().end;
        for found in internals::scan(bytes) {
            assert!(found.part < found.parts && found.bytes.as_ptr_range().end <= end);
            found.count_records();
        }
    }
    if !bytes.is_empty() {
        let frames = internals::split(Number(7), 1, Some(Number(6)), bytes);
        let parts = frames.iter().map(|frame| internals::parse(frame).expect("what was written").body());
        assert_eq!(parts.collect::<Vec<_>>().concat(), bytes);
    }
    let _ = internals::manifest(bytes);
    check_state(internals::state_in_body(bytes));
    sealed = bytes.to_vec();
    sealed.resize(SLOT_LEN, 0);
    internals::seal_slot(&mut sealed);
    check_state(internals::state_in_slot(&sealed));
}

/// A state that does not contradict itself has books that add up.
fn check_state(state: Option<StateView>) {
    for book in state.into_iter().flat_map(|state| state.ledgers) {
        let OutcomeCounts { accepted, evicted, quarantined, damaged } = book.ledger;
        assert_eq!(accepted + evicted + quarantined + damaged + book.waiting(), book.appended());
    }
}
