//! The state file: two slots of 4 KB, written in turn, each numbered and checksummed.
//!
//! One slot holds all that must survive beside the records: journal id, epoch, last good time, and every lane's
//! cursor, settled intervals, marks and ledger. A write goes to the slot that does not hold the newest state and ends
//! in one fdatasync: a power cut in the middle of it leaves the other slot, which is the state of the write before.
//! What the file lags behind is repeated, never lost: cursors only ever move up.

use super::files;
use super::lane_state::{LaneState, Room};
use super::origin::Machine;
use crate::record::{JournalId, OpenAcks};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) const SLOT_LEN: usize = 4096;
const HEADER_LEN: usize = 24;
const MAGIC: [u8; 4] = *b"TGst";
const FORMAT: u32 = 1;

/// Why the state file could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: written by a newer tidegate (state format {format}, this program reads {FORMAT})", path.display())]
    Newer { path: PathBuf, format: u32 },
    #[error("{0} queues are more than the state file holds; configure fewer, or with shorter names")]
    TooManyLanes(usize),
}

/// What one slot holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "j")]
    pub(super) journal: JournalId,
    /// Count of opens.
    #[serde(rename = "e")]
    pub(super) epoch: u64,
    /// Highest number known to be durable.
    #[serde(rename = "h")]
    pub(super) high: u64,
    /// What 0.1.0 told the machine by; it takes 0 for "unknown".
    #[serde(rename = "f")]
    pub(super) fingerprint: u64,
    /// What the machine is told by.
    #[serde(rename = "o", default)]
    pub(super) machine: Machine,
    /// Random bits of the newest open.
    #[serde(rename = "u", default)]
    pub(super) run: u64,
    /// Whose acks are open.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) open_acks: Option<OpenAcks>,
    /// Last good time, seconds since 1970.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub(super) last_good_s: Option<i64>,
    #[serde(rename = "l")]
    pub(super) lanes: Vec<LaneState>,
}

/// The open file, and which write is next.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    file: File,
    serial: u64,
}

/// What was found when the file was opened.
#[derive(Debug)]
pub(super) enum Found {
    /// The newest sound state.
    State(State),
    /// No file: a new journal.
    Nothing,
    /// A file without a sound slot.
    Damaged,
}

impl StateFile {
    /// Opens or makes the file and reads its newest sound slot.
    pub(super) fn open(path: &Path) -> Result<(StateFile, Found), StateError> {
        let io = |source| StateError::Io { path: path.to_owned(), source };
        let existed = path.exists();
        let file = files::writing().read(true).create(true).truncate(false).open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if !existed || length == 0 {
            // Allocated once and only overwritten afterwards, so that a later fdatasync has no metadata to write.
            file.write_all_at(&[0; 2 * SLOT_LEN], 0).map_err(io)?;
            file.sync_all().map_err(io)?;
            path.parent().map_or(Ok(()), files::sync_dir).map_err(io)?;
            return Ok((StateFile { path: path.to_owned(), file, serial: 0 }, Found::Nothing));
        }
        let newest = newest(&file, path)?;
        let serial = newest.as_ref().map_or(0, |(serial, _)| *serial);
        let found = newest.map_or(Found::Damaged, |(_, state)| Found::State(state));
        Ok((StateFile { path: path.to_owned(), file, serial }, found))
    }

    #[cfg(test)]
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Writes a prepared state durably.
    pub(super) fn write(&mut self, Prepared { state, body }: Prepared) -> Result<State, StateError> {
        let serial = self.serial + 1;
        let mut slot = vec![0; SLOT_LEN];
        slot[..4].copy_from_slice(&MAGIC);
        slot[4..8].copy_from_slice(&FORMAT.to_be_bytes());
        slot[8..16].copy_from_slice(&serial.to_be_bytes());
        slot[16..20].copy_from_slice(&(body.len() as u32).to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..20]), &body);
        slot[20..24].copy_from_slice(&crc.to_be_bytes());
        slot[HEADER_LEN..HEADER_LEN + body.len()].copy_from_slice(&body);
        let io = |source| StateError::Io { path: self.path.clone(), source };
        self.file.write_all_at(&slot, (serial % 2) * SLOT_LEN as u64).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.serial = serial;
        Ok(state)
    }
}

/// The newest sound state of a file that is only looked at; `None`: there is no file, or no sound slot in it.
pub(super) fn look(path: &Path) -> Result<Option<State>, StateError> {
    match File::open(path) {
        Ok(file) => Ok(newest(&file, path)?.map(|(_, state)| state)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Io { path: path.to_owned(), source }),
    }
}

/// Serial number and state of the newest sound slot.
fn newest(file: &File, path: &Path) -> Result<Option<(u64, State)>, StateError> {
    let mut newest: Option<(u64, State)> = None;
    for slot in 0..2 {
        let mut bytes = vec![0; SLOT_LEN];
        // A slot that cannot be read is a damaged slot; the other one may be sound.
        if file.read_exact_at(&mut bytes, (slot * SLOT_LEN) as u64).is_err() {
            continue;
        }
        match parse(&bytes) {
            Some(Ok((serial, state))) if newest.as_ref().is_none_or(|(best, _)| serial > *best) => {
                newest = Some((serial, state));
            }
            Some(Err(format)) => return Err(StateError::Newer { path: path.to_owned(), format }),
            _ => {}
        }
    }
    Ok(newest)
}

/// A state that fits a slot.
#[derive(Debug)]
pub(super) struct Prepared {
    state: State,
    body: Vec<u8>,
}

/// Asks `make` for the state in so much room per lane, and again in less until it fits: about ten lanes of the longest
/// names always do.
///
/// # Errors
/// [`StateError::TooManyLanes`]: even the least of everything does not.
pub(super) fn fit(make: impl Fn(Room) -> State) -> Result<Prepared, StateError> {
    let mut room = Room::FULL;
    loop {
        let state = make(room);
        let body = serde_cbor::to_vec(&state).expect("numbers and short names encode");
        if body.len() <= SLOT_LEN - HEADER_LEN {
            return Ok(Prepared { state, body });
        }
        room = room.less().ok_or(StateError::TooManyLanes(state.lanes.len()))?;
    }
}

/// The serial number and state of a slot, or the newer format that it has; `None`: not a sound slot.
pub(super) fn parse(bytes: &[u8]) -> Option<Result<(u64, State), u32>> {
    let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let length = u32_at(16) as usize;
    if bytes[..4] != MAGIC || length > SLOT_LEN - HEADER_LEN {
        return None;
    }
    let body = &bytes[HEADER_LEN..HEADER_LEN + length];
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), body) != u32_at(20) {
        return None;
    }
    if u32_at(4) > FORMAT {
        return Some(Err(u32_at(4)));
    }
    let serial = u64::from_be_bytes(bytes[8..16].try_into().expect("eight bytes"));
    Some(Ok((serial, serde_cbor::from_slice(body).ok()?)))
}

/// Makes a slot's checksum right, for a fuzzer that wants to get past it.
#[cfg(feature = "rig")]
pub(super) fn seal(slot: &mut [u8]) {
    let length = u32::from_be_bytes(slot[16..20].try_into().expect("four bytes")) as usize;
    if let Some(body) = slot[HEADER_LEN..].get(..length) {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..20]), body);
        slot[20..24].copy_from_slice(&crc.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::books::{LaneBook, Outcome};
    use super::*;
    use crate::record::LaneId;

    fn state(epoch: u64) -> State {
        State {
            journal: JournalId(7),
            epoch,
            high: 3,
            fingerprint: 0,
            machine: Machine::default(),
            run: 11,
            open_acks: Some(OpenAcks { session: 1, through: 3, open: vec![2] }),
            last_good_s: Some(5),
            lanes: vec![],
        }
    }

    fn reopen(path: &Path) -> (StateFile, Found) {
        StateFile::open(path).unwrap()
    }

    #[test]
    fn the_newest_state_is_found_again_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let (mut file, found) = reopen(&path);
        assert!(matches!(found, Found::Nothing));
        for epoch in 1..=5 {
            file.write(fit(|_| state(epoch)).unwrap()).unwrap();
        }
        assert!(matches!(reopen(&path).1, Found::State(found) if found == state(5)));
        let newest = (file.serial % 2) * SLOT_LEN as u64;
        file.file.write_all_at(&[0xff; 100], newest + 30).unwrap();
        assert!(matches!(reopen(&path).1, Found::State(found) if found == state(4)));
        file.file.write_all_at(&[0; 2 * SLOT_LEN], 0).unwrap();
        assert!(matches!(reopen(&path).1, Found::Damaged));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        reopen(&path).0.write(fit(|_| state(1)).unwrap()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let slot = &mut bytes[SLOT_LEN..];
        slot[7] = 2;
        let length = u32::from_be_bytes(slot[16..20].try_into().unwrap()) as usize;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..20]), &slot[HEADER_LEN..HEADER_LEN + length]);
        slot[20..24].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(StateFile::open(&path), Err(StateError::Newer { format: 2, .. })));
    }

    #[test]
    fn many_settled_intervals_are_cut_to_fit_the_slot() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = LaneBook::new(LaneId(0), "main".into(), 1);
        book.next = 40_001;
        for position in (2..40_000).step_by(2) {
            book.settle(position, Outcome::Accepted);
        }
        let (mut file, _) = reopen(&dir.path().join("state"));
        let make = |room| State { lanes: vec![LaneState::of(&book, room)], ..state(1) };
        let written = file.write(fit(make).unwrap()).unwrap();
        assert!(written.lanes[0].clone().into_book().unwrap().ledger.accepted >= 64);
    }
}
