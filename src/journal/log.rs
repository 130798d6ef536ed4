//! The log: generations in a row, `log/gen-<first number>.<epoch>/`, of which the last one may be active.
//!
//! A closed generation holds exactly the numbers from its first to the next one's first; what it should hold and does
//! not is damaged. The active one is read through the writer's handle, a closed one from its bytes by an index that
//! lives as long as a lane reads it, and no longer than the generation. Nobody but the writer keeps a database open between two reads: whoever let go of it last
//! would have sled write into a file that others already read ([`super::closed`]). A folder without its note of facts and without records was not complete when the
//! power went, and holds nothing that was acknowledged; of two folders with one first number, the older is left from a
//! carry-over that the newer one completed.

use super::JournalError;
use super::closed::{self, ClosedGeneration};
use super::files;
use super::frame;
use super::generation::{Facts, Frames, Generation, GenerationError, is_complete, read_facts};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Records per commit while they are carried over.
const CARRY_COMMIT: usize = 256;

/// One generation of the row.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) first: u64,
    /// First number of the next generation; `u64::MAX` while this one is active. Set before a record of the next one can be
    /// durable, so that nobody takes its numbers for missing ones of this one.
    end: AtomicU64,
    dir: PathBuf,
    /// Bytes on disk once nobody writes to it any more; 0: somebody may, or nobody has looked since.
    bytes: AtomicU64,
    facts: Option<Facts>,
    active: Mutex<Weak<Generation>>,
    /// Held while the bytes are scanned, which may take seconds: intake must only ever try it.
    closed: Mutex<Indexed>,
    /// It is deleted: nobody reads in it any more.
    gone: AtomicBool,
}

/// The index of a closed generation, with its open files.
#[derive(Debug, Default)]
struct Indexed {
    /// Kept for as long as somebody reads in it, and until the generation is deleted: an open file keeps its space.
    kept: Option<Arc<ClosedGeneration>>,
    /// For whoever has it for a moment.
    made: Weak<ClosedGeneration>,
    readers: usize,
}

/// A generation to read from. Which numbers it can hold, and how it is read, is asked each time: an active one may have been
/// closed meanwhile, a closed one deleted. It holds no file of its own: those are the slot's, which lets go of them when the
/// generation is deleted, however long a reader stays where it is.
#[derive(Debug)]
pub(super) struct Reading {
    slot: Arc<Slot>,
}

impl Reading {
    fn of(slot: Arc<Slot>) -> Reading {
        locked(&slot.closed).readers += 1;
        Reading { slot }
    }

    /// Whether `number` belongs to this generation, and it is still there.
    pub(super) fn covers(&self, number: u64) -> bool {
        (self.slot.first..self.slot.end()).contains(&number) && !self.is_gone()
    }

    /// Lets go of it, and has whoever reads in it next look through all of its bytes again.
    pub(super) fn look_anew(self) {
        let mut indexed = locked(&self.slot.closed);
        (indexed.kept, indexed.made) = (None, Weak::new());
    }

    fn is_gone(&self) -> bool {
        self.slot.gone.load(SeqCst)
    }

    /// The envelope of a record; `None` when it is missing or damaged. Scans where the writer has let go meanwhile.
    pub(super) fn read(&self, number: u64) -> Result<Option<Vec<u8>>, JournalError> {
        if let Some(generation) = self.slot.open() {
            return Ok(generation.read(number)?);
        }
        self.slot.closed()?.read(number).map_err(|error| JournalError::io(&self.slot.dir, error))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut indexed = locked(&self.slot.closed);
        indexed.readers -= 1;
        if indexed.readers == 0 {
            indexed.kept = None;
        }
    }
}

/// All generations.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    row: Mutex<BTreeMap<u64, Arc<Slot>>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole, so a panic elsewhere is no reason to stop.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Finds the generations in `path/log`.
    pub(super) fn open(path: &Path) -> Result<Log, JournalError> {
        let dir = path.join("log");
        let io = |source| JournalError::io(&dir, source);
        files::create_dir(&dir).map_err(io)?;
        let mut found: Vec<(u64, u64, PathBuf)> = Vec::new();
        let mut bare: Vec<(u64, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io)?.flatten() {
            let name = entry.file_name();
            match name.to_str().and_then(parse_name) {
                Some((first, epoch)) if is_complete(&entry.path()) => found.push((first, epoch, entry.path())),
                Some((first, epoch)) => bare.push((first, epoch, entry.path())),
                // Half-removed by a run that was cut.
                None => drop(fs::remove_dir_all(entry.path())),
            }
        }
        for (first, epoch, folder) in bare {
            // Half-made, it holds nothing, or copies of what another folder holds; otherwise its note is lost, and what is
            // in it was acknowledged.
            let copied = found.iter().any(|(other, ..)| *other == first);
            // What cannot be read now is not empty.
            let empty = ClosedGeneration::closed(&folder).is_ok_and(|closed| closed.numbers().next().is_none());
            if !copied && !empty {
                tracing::warn!(folder = %folder.display(), "generation without its note: its records are read all the same");
                found.push((first, epoch, folder));
            } else {
                drop(fs::remove_dir_all(folder));
            }
        }
        found.sort();
        if let Some((_, _, newest)) = found.last() {
            // A killed process leaves bytes and names that only the page cache holds. They are made certain before they are
            // counted, sent, or taken as the reason to remove an older folder: the power may go next.
            if let Err(error) = files::sync_tree(newest).and_then(|()| files::sync_dir(&dir)) {
                tracing::warn!(%error, "newest generation cannot be synced, it is used as it is");
            }
        }
        let mut row: BTreeMap<u64, Arc<Slot>> = BTreeMap::new();
        for (first, _, folder) in found {
            // A note of another generation says nothing about this one.
            let facts = read_facts(&folder).filter(|facts| facts.first == first);
            if let Some(older) = enter(&mut row, Slot::new(first, folder, facts)) {
                let _ = fs::remove_dir_all(&older.dir);
            }
        }
        Ok(Log { dir, row: Mutex::new(row) })
    }

    /// How many generations are held open by anyone.
    #[cfg(test)]
    pub(super) fn open_generations(&self) -> usize {
        locked(&self.row).values().filter(|slot| locked(&slot.active).strong_count() > 0).count()
    }

    #[cfg(test)]
    pub(super) fn newest_is_closed(&self) -> bool {
        locked(&self.row).last_key_value().is_some_and(|(_, slot)| slot.is_closed())
    }

    /// First numbers of all generations, ascending.
    pub(super) fn firsts(&self) -> Vec<u64> {
        locked(&self.row).keys().copied().collect()
    }

    /// Ends the newest generation: the next one will begin at `next`, whenever it is started.
    pub(super) fn end(&self, next: u64) {
        if let Some((_, newest)) = locked(&self.row).last_key_value() {
            newest.end.store(next, Release);
        }
    }

    /// Makes a new generation, the active one.
    pub(super) fn start(&self, facts: Facts) -> Result<Arc<Generation>, GenerationError> {
        self.make(facts, std::iter::empty())
    }

    /// Makes the generation at `facts.first` anew, with the records of the closed one up to `last`, so that it can be gone on in:
    /// otherwise every restart would leave a small generation behind. The old folder goes last.
    pub(super) fn carry_over(
        &self,
        facts: Facts,
        closed: &ClosedGeneration,
        last: u64,
    ) -> Result<Arc<Generation>, GenerationError> {
        let numbers: Vec<u64> = closed.numbers().take_while(|number| *number <= last).collect();
        // All of it is read before anything is made: the old folder goes only when nothing of it is left behind.
        let read = |number: &u64| match closed.read(*number)? {
            Some(envelope) => Ok((*number, envelope)),
            None => Err(std::io::Error::other(format!("record {number} was there a moment ago"))),
        };
        let records: Result<Vec<_>, _> = numbers.iter().map(read).collect();
        let records = records.map_err(|source| GenerationError::Io { path: self.dir.clone(), source })?;
        let commits = records
            .chunks(CARRY_COMMIT)
            .map(|records| records.iter().flat_map(|(number, envelope)| framed(*number, None, envelope)).collect());
        let old = locked(&self.row).get(&facts.first).map(|slot| slot.dir.clone());
        let generation = self.make(facts, commits)?;
        if let Some(old) = old {
            let _ = fs::remove_dir_all(old);
        }
        Ok(generation)
    }

    fn make(&self, facts: Facts, carried: impl Iterator<Item = Frames>) -> Result<Arc<Generation>, GenerationError> {
        let dir = self.dir.join(format!("gen-{:020}.{:010}", facts.first, facts.epoch));
        if dir.exists() {
            // Left by an attempt of this epoch that failed half-way, or whose first commit did: nothing was acknowledged.
            fs::remove_dir_all(&dir).map_err(|source| GenerationError::Io { path: dir.clone(), source })?;
        }
        let generation = Arc::new(Generation::create(&dir, &facts, carried)?);
        let slot = Slot::new(facts.first, dir, Some(facts));
        *locked(&slot.active) = Arc::downgrade(&generation);
        enter(&mut locked(&self.row), slot);
        Ok(generation)
    }

    /// The generation that holds `number`. `None`: before the first one. May scan for seconds; never called where intake
    /// would wait for it.
    ///
    /// # Errors
    /// It cannot be scanned now. Said here, once, and not by each read of a record in it.
    pub(super) fn reading(&self, number: u64) -> Result<Option<Reading>, JournalError> {
        let slot = locked(&self.row).range(..=number).next_back().map(|(_, slot)| slot.clone());
        let Some(slot) = slot else { return Ok(None) };
        let reading = Reading::of(slot);
        if reading.slot.open().is_none() {
            reading.slot.closed()?;
        }
        Ok(Some(reading))
    }

    /// The envelope of a record, read in the generation that `kept` has from the call before where that one holds it;
    /// `None` when it is missing or damaged, or before the first generation, and then `kept` is `None`.
    ///
    /// # Errors
    /// Its generation cannot be read now; the next call looks anew.
    pub(super) fn read(&self, kept: &mut Option<Reading>, number: u64) -> Result<Option<Vec<u8>>, JournalError> {
        loop {
            if kept.as_ref().is_none_or(|reading| !reading.covers(number)) {
                // Let go of the last one first: two indexes would be in memory while this one is made.
                *kept = None;
                *kept = self.reading(number)?;
            }
            let Some(reading) = kept else { return Ok(None) };
            match reading.read(number) {
                // Deleted at this very moment: then it is another's turn.
                Err(_) if reading.is_gone() => {}
                read => return read.inspect_err(|_| *kept = None),
            }
        }
    }

    /// What was noted when a generation was made; `None` when that is damaged.
    pub(super) fn facts(&self, first: u64) -> Option<Facts> {
        locked(&self.row).get(&first)?.facts.clone()
    }

    /// The index of a closed generation.
    pub(super) fn closed(&self, first: u64) -> Result<Option<Arc<ClosedGeneration>>, JournalError> {
        let slot = locked(&self.row).get(&first).cloned();
        slot.map(|slot| slot.closed()).transpose()
    }

    /// Deletes a generation that every lane is past; the durable cursors must say so already. `false`: it is the last
    /// one, or cannot be removed.
    pub(super) fn delete(&self, first: u64) -> bool {
        let mut row = locked(&self.row);
        let Some(slot) = row.get(&first).filter(|_| row.len() > 1).cloned() else { return false };
        // Renamed first: a cut in the middle of the removal must not leave half a generation under its name.
        let trash = self.dir.join(format!("trash-{first:020}"));
        slot.gone.store(true, SeqCst);
        if let Err(error) = files::rename(&slot.dir, &trash) {
            slot.gone.store(false, SeqCst);
            tracing::warn!(first, %error, "drained generation cannot be removed, its space stays taken");
            return false;
        }
        row.remove(&first);
        drop(row);
        slot.let_go();
        let _ = fs::remove_dir_all(&trash);
        true
    }

    /// Bytes on disk of all generations.
    pub(super) fn disk_bytes(&self) -> u64 {
        let row: Vec<Arc<Slot>> = locked(&self.row).values().cloned().collect();
        row.iter().map(|slot| slot.disk_bytes()).sum()
    }
}

impl Slot {
    fn new(first: u64, dir: PathBuf, facts: Option<Facts>) -> Arc<Slot> {
        Arc::new(Slot {
            first,
            end: AtomicU64::new(u64::MAX),
            dir,
            bytes: AtomicU64::new(0),
            facts,
            active: Mutex::new(Weak::new()),
            closed: Mutex::default(),
            gone: AtomicBool::new(false),
        })
    }

    fn end(&self) -> u64 {
        self.end.load(Acquire)
    }

    /// Whether the writer appends nothing to it any more.
    fn is_closed(&self) -> bool {
        self.end() != u64::MAX
    }

    /// The writer's database, for one read; `None` once the writer has let go of it.
    fn open(&self) -> Option<Arc<Generation>> {
        locked(&self.active).upgrade().filter(|_| !self.is_closed())
    }

    /// The index of a generation that nobody writes to any more.
    fn closed(&self) -> Result<Arc<ClosedGeneration>, JournalError> {
        let mut indexed = locked(&self.closed);
        let closed = match indexed.made.upgrade() {
            Some(closed) => closed,
            None => {
                let closed = ClosedGeneration::closed(&self.dir);
                Arc::new(closed.map_err(|source| JournalError::io(&self.dir, source))?)
            }
        };
        indexed.made = Arc::downgrade(&closed);
        indexed.kept = (indexed.readers > 0).then(|| closed.clone());
        drop(indexed);
        // Whoever deleted it while the lock was held here could not take the index away.
        if self.gone.load(SeqCst) {
            locked(&self.closed).kept = None;
        }
        Ok(closed)
    }

    /// It is deleted: lets go of its files. Waits for nobody: who reads at this moment lets go after that.
    fn let_go(&self) {
        if let Ok(mut indexed) = self.closed.try_lock() {
            indexed.kept = None;
        }
    }

    /// Bytes on disk. They are looked at each time, until the database is really gone: sled writes until then.
    fn disk_bytes(&self) -> u64 {
        let known = self.bytes.load(Relaxed);
        if known > 0 {
            return known;
        }
        // Asked before the look, so that nothing is written after it.
        let still = self.is_closed() && closed::is_gone(&self.dir).unwrap_or(false);
        let bytes = files::disk_bytes(&self.dir);
        if still {
            self.bytes.store(bytes, Relaxed);
        }
        bytes
    }
}

/// Enters the newest generation in the row: the one before it ends where it begins. Returns the one that it replaces,
/// which holds nothing any more.
fn enter(row: &mut BTreeMap<u64, Arc<Slot>>, slot: Arc<Slot>) -> Option<Arc<Slot>> {
    let first = slot.first;
    let replaced = row.insert(first, slot);
    for before in row.range(..first).next_back().map(|(_, before)| before).into_iter().chain(&replaced) {
        before.end.store(first, Release);
    }
    replaced
}

/// A record's frames as the generation takes them.
pub(super) fn framed(number: u64, previous: Option<u64>, envelope: &[u8]) -> Frames {
    let parts = frame::split(number, previous, envelope).into_iter().enumerate();
    parts.map(|(part, value)| (number, part as u16, value)).collect()
}

/// First number and epoch that a generation's folder is named for.
pub(super) fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, epoch) = name.strip_prefix("gen-")?.split_once('.')?;
    Some((first.parse().ok()?, epoch.parse().ok()?))
}
