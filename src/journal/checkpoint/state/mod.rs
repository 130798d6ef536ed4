//! The state file: two slots of 4 KB, written in turn, each numbered and checksummed.
//!
//! One slot holds all that must survive beside the records: journal id, epoch, last good time, and every lane's
//! cursor, settled intervals, marks and ledger. A write goes to the slot that does not hold the newest state and ends
//! in one fdatasync: a power cut in the middle of it leaves the other slot, which is the state of the write before.
//! What the file lags behind is repeated, never lost: cursors only ever move up. While the disk is read-only the state can
//! go beside it ([`crate::journal::disk::beside`]).
//!
//! A start may find either slot alone. So nothing is deleted that one of the two still needs, and where one of them is not
//! sound, though it was written once, it may have held a mark that the other lacks: the opening reports that to its caller.

use crate::clock::BootId;
use crate::failpoints::Failpoint;
use crate::journal::checkpoint::lane_state::{LaneState, Room};
use crate::journal::checkpoint::machine::Machine;
use crate::journal::checkpoint::state_loss::StateLoss;
use crate::journal::disk::beside::{Beside, is_read_only};
use crate::journal::disk::files;
use crate::journal::disk::twoslot::{self, BODY_MAX, FORMAT, SLOT_LEN};
use crate::record::{Epoch, JournalId, Number, OpenAcks};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Why the state file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: written by a newer tidegate (state format {format}, this program reads {FORMAT})", path.display())]
    Newer { path: PathBuf, format: u32 },
    #[error("{0} queues are more than the state file holds; configure fewer, or with shorter names")]
    TooManyLanes(usize),
}

/// What one slot holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    #[serde(rename = "j")]
    pub(crate) journal: JournalId,
    /// Count of opens since the journal was made; never reused.
    #[serde(rename = "e")]
    pub(crate) epoch: Epoch,
    /// Highest number known to be durable.
    #[serde(rename = "h")]
    pub(crate) high: Number,
    /// What 0.1.0 told the machine by; it takes 0 for "unknown".
    #[serde(rename = "f")]
    pub(crate) fingerprint: u64,
    /// The marks that tell this machine from others.
    #[serde(rename = "o", default)]
    pub(crate) machine: Machine,
    /// Random bits of the newest open.
    #[serde(rename = "u", default)]
    pub(crate) run: u64,
    /// Whose acks are open.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) open_acks: Option<OpenAcks>,
    /// Last good time, seconds since 1970.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_good_s: Option<i64>,
    /// The lowest lane id that was never given; 0: the state's writer kept no count.
    #[serde(rename = "n", default)]
    pub(crate) lane_ids: u32,
    /// Ids that the journal had before this one; absent in what earlier builds wrote.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(crate) former: Option<Vec<JournalId>>,
    /// The last loss of a state before this one.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<StateLoss>,
    #[serde(rename = "l")]
    pub(crate) lanes: Vec<LaneState>,
}

impl State {
    /// Whether every lane of it makes a ledger without contradiction.
    fn is_sound(&self) -> bool {
        let wrong = self.lanes.iter().find_map(|lane| lane.clone().into_book().err());
        if let Some(reason) = wrong {
            tracing::warn!(reason, "a state contradicts itself, taken as damaged");
        }
        wrong.is_none()
    }

    /// First number that a lane needs by it.
    pub(crate) fn needed_from(&self) -> Number {
        self.lanes.iter().map(LaneState::needed_from).min().unwrap_or_default()
    }
}

/// The open file, and which write is next.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    file: File,
    /// Whether it could be opened for writing.
    writable: bool,
    serial: u64,
    /// The slot on the disk with the newest state there.
    slot: usize,
    /// First number that each slot on the disk needs; `u64::MAX`: no start can continue from that slot.
    needed: [Number; 2],
    /// What the disk's own newest state calls durable.
    disk_high: Option<Number>,
    beside: Option<Beside>,
    #[cfg(test)]
    refusals: u32,
}

/// Where a state's writer needs it to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// On the disk, and nowhere else.
    Disk,
    /// Beside it will do where it is read-only: it outlives the process, and not the boot.
    DiskOrBoot,
}

/// A state that was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) state: State,
    /// Whether it is on the disk, not only beside it.
    pub(crate) on_disk: bool,
}

/// What was found in the file.
#[derive(Debug)]
pub(crate) enum Found {
    /// The newest sound state. `lost`: the other slot held something once, which may have been newer.
    State { state: Box<State>, lost: bool },
    /// No file, or nothing was ever written to it.
    Nothing,
    /// Neither slot is sound.
    Damaged,
}

/// What a slot holds.
#[derive(Debug)]
enum StateSlot {
    Sound(u64, Box<State>),
    Blank,
    /// Damaged, torn, or it cannot be read.
    Unsound,
}

impl StateFile {
    /// Opens or makes the file and reads its newest sound slot, or a newer one that this boot has beside it, in `runtime`.
    pub(crate) fn open(path: &Path, runtime: Option<(&Path, BootId)>) -> Result<(StateFile, Found), StateError> {
        let io = |source| StateError::Io { path: path.to_owned(), source };
        // What cannot be looked at now is there nevertheless, and must not be written over.
        let (file, writable) = match files::writing().read(true).create(true).truncate(false).open(path) {
            Err(error) if is_read_only(&error) && runtime.is_some() => {
                (File::open(path).map_err(|_| io(error))?, false)
            }
            opened => (opened.map_err(io)?, true),
        };
        let length = file.metadata().map_err(io)?.len();
        if length == 0 {
            // Allocated once and only overwritten afterwards, so that a later fdatasync has no metadata to write.
            let made = file.write_all_at(&[0; 2 * SLOT_LEN], 0).and_then(|()| file.sync_all());
            let made = made.and_then(|()| path.parent().map_or(Ok(()), files::sync_dir));
            // The next attempt would find it, and take its name for certain.
            made.inspect_err(|_| drop(std::fs::remove_file(path))).map_err(io)?;
        }
        let slots = slots(&file, path)?;
        let needed = slots.each_ref().map(|slot| match slot {
            StateSlot::Sound(_, state) => state.needed_from(),
            StateSlot::Blank | StateSlot::Unsound => Number::MAX,
        });
        let newest = newest(&slots).map(|(slot, serial, state)| (slot, serial, state.journal, state.high));
        let (slot, serial) = newest.map_or((0, 0), |(slot, serial, ..)| (slot, serial));
        let disk_high = newest.map(|(.., high)| high);
        let journal = newest.map_or(JournalId(0), |(.., journal, _)| journal);
        let beside = runtime.map(|(folder, boot)| Beside::new(folder, journal, boot));
        #[rustfmt::skip]
        let mut opened = StateFile {
            path: path.to_owned(), file, writable, serial, slot, needed, disk_high, beside, #[cfg(test)] refusals: 0
        };
        let found = match newest {
            Some(_) => opened.newer_beside()?.unwrap_or_else(|| found(slots)),
            None => found(slots),
        };
        Ok((opened, found))
    }

    /// A newer state that this boot has beside the disk.
    fn newer_beside(&mut self) -> Result<Option<Found>, StateError> {
        let Some(beside) = &mut self.beside else { return Ok(None) };
        let file = beside.open().map_err(|source| StateError::Io { path: beside.path().to_owned(), source })?;
        let Some(file) = file else { return Ok(None) };
        let slots = slots(&file, beside.path())?;
        let Some((_, serial, state)) = newest(&slots).filter(|(_, serial, _)| *serial > self.serial) else {
            return Ok(None);
        };
        self.serial = serial;
        // The run that wrote it knew all that the disk's slots held.
        Ok(Some(Found::State { state: Box::new(state.clone()), lost: false }))
    }

    /// What the disk itself calls durable, whatever is beside it: that can say no more than what this boot saw.
    pub(crate) fn disk_high(&self) -> Option<Number> {
        self.disk_high
    }

    /// First number that is needed by whichever slot a start may have to continue from.
    pub(crate) fn needed_from(&self) -> Number {
        self.needed.into_iter().min().unwrap_or_default()
    }

    /// Whether a slot that is blank may be one that was never written: until a write has replaced the very first one.
    pub(crate) fn is_young(&self) -> bool {
        self.serial < 3
    }

    /// The next so many writes fail, as on a disk that refuses.
    #[cfg(test)]
    pub(crate) fn refuse(&mut self, times: u32) {
        self.refusals = times;
    }

    #[cfg(test)]
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// Writes a prepared state durably.
    pub(crate) fn write(&mut self, Prepared { state, body }: Prepared, home: Home) -> Result<Written, StateError> {
        #[cfg(test)]
        if let Some(left) = self.refusals.checked_sub(1) {
            self.refusals = left;
            return Err(StateError::Io { path: self.path.clone(), source: rustix::io::Errno::IO.into() });
        }
        let serial = self.serial + 1;
        let slot = twoslot::encode(serial, &body);
        let refused = match self.write_slot(&slot) {
            Ok(()) => {
                (self.serial, self.disk_high) = (serial, Some(state.high));
                // After a write that failed it keeps its value: too low at worst.
                self.needed[self.slot] = state.needed_from();
                self.beside.iter_mut().for_each(|beside| beside.end(state.journal));
                return Ok(Written { state, on_disk: true });
            }
            Err(error) => error,
        };
        match &mut self.beside {
            Some(beside) if is_read_only(&refused) && home == Home::DiskOrBoot => {
                let written = beside.write(&slot, (serial % 2) * SLOT_LEN as u64);
                written.map_err(|source| StateError::Io { path: beside.path().to_owned(), source })?;
                self.serial = serial;
                Ok(Written { state, on_disk: false })
            }
            _ => Err(StateError::Io { path: self.path.clone(), source: refused }),
        }
    }

    /// Writes the slot on the disk that does not hold the newest state there.
    fn write_slot(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            self.file = files::writing().read(true).open(&self.path)?;
            self.writable = true;
        }
        let slot = 1 - self.slot;
        self.file.write_all_at(bytes, (slot * SLOT_LEN) as u64)?;
        self.file.sync_data()?;
        self.slot = slot;
        Ok(())
    }
}

/// Reads a state file without opening it for writing.
pub(crate) fn look(path: &Path) -> Result<Found, StateError> {
    match File::open(path) {
        Ok(file) => Ok(found(slots(&file, path)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(source) => Err(StateError::Io { path: path.to_owned(), source }),
    }
}

fn slots(file: &File, path: &Path) -> Result<[StateSlot; 2], StateError> {
    let slots = twoslot::read(file, path).map_err(|source| StateError::Io { path: path.to_owned(), source })?;
    let newer = |format| StateError::Newer { path: path.to_owned(), format };
    let [first, second] = slots.map(|slot| taken(slot).map_err(newer));
    Ok([first?, second?])
}

/// What a slot holds, its body decoded.
///
/// # Errors
/// The later format that it has.
fn taken(slot: twoslot::Slot) -> Result<StateSlot, u32> {
    Ok(match slot {
        twoslot::Slot::Sound(serial, body) => match parse(&body) {
            Some(state) => StateSlot::Sound(serial, Box::new(state)),
            None => StateSlot::Unsound,
        },
        twoslot::Slot::Blank => StateSlot::Blank,
        twoslot::Slot::Unsound => StateSlot::Unsound,
        twoslot::Slot::Newer(format) => return Err(format),
    })
}

/// The newest sound slot: which it is, its serial number and its state.
fn newest(slots: &[StateSlot; 2]) -> Option<(usize, u64, &State)> {
    let sound = slots.iter().enumerate().filter_map(|(at, slot)| match slot {
        StateSlot::Sound(serial, state) => Some((at, *serial, &**state)),
        StateSlot::Blank | StateSlot::Unsound => None,
    });
    sound.max_by_key(|(_, serial, _)| *serial)
}

fn found(slots: [StateSlot; 2]) -> Found {
    match slots {
        [StateSlot::Sound(one, first), StateSlot::Sound(other, second)] => {
            let first_counts = (one > other) != crate::failpoints::is_armed(Failpoint::StaleSlot);
            Found::State { state: if first_counts { first } else { second }, lost: false }
        }
        [StateSlot::Sound(serial, state), other] | [other, StateSlot::Sound(serial, state)] => {
            // The second write goes to the other slot: it is blank only before that.
            Found::State { state, lost: serial > 1 || matches!(other, StateSlot::Unsound) }
        }
        [StateSlot::Blank, StateSlot::Blank] => Found::Nothing,
        _ => Found::Damaged,
    }
}

/// A state that fits a slot.
#[derive(Debug)]
pub(crate) struct Prepared {
    state: State,
    body: Vec<u8>,
}

/// Asks `make` for the state in so much room per lane, and again in less until it fits: about ten lanes of the longest
/// names always do.
///
/// # Errors
/// [`StateError::TooManyLanes`]: even the least of everything does not.
pub(crate) fn fit(make: impl Fn(Room) -> State) -> Result<Prepared, StateError> {
    let mut room = Room::FULL;
    loop {
        let state = make(room);
        let body = serde_cbor::to_vec(&state).expect("numbers and short names encode");
        if body.len() <= BODY_MAX {
            return Ok(Prepared { state, body });
        }
        room = room.less().ok_or(StateError::TooManyLanes(state.lanes.len()))?;
    }
}

/// The state that a slot's body holds; `None`: it holds none, or one that contradicts itself.
pub(crate) fn parse(body: &[u8]) -> Option<State> {
    serde_cbor::from_slice(body).ok().filter(State::is_sound)
}

#[cfg(test)]
mod tests;
