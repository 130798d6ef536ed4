//! The log: generations in a row, `log/gen-<first number>.<epoch>/`, of which the last one may be active.
//!
//! A closed generation holds exactly the numbers from its first to the next one's first, or to what went out of turn in
//! between ([`spent`]); what it should hold and does not is damaged. It is read from its bytes, by an index: the active one by the writer's, which grows with each flush, a
//! closed one by one that lives as long as a lane reads it, and no longer than the generation. Only the writer has a
//! database open: another holder that let go of it last would have sled write into a file that others already read
//! ([`crate::journal::generation::bytes`]). A folder without its manifest and without records was not complete when the
//! power went, and holds nothing that was acknowledged; of two folders with one first number, the older is left from a
//! carry-over that the newer one completed.
//!
//! **After a failed sync a file is never trusted again.** The kernel marks the pages that it could not write as clean, tells
//! one caller, and says OK to the next sync, about pages that are only in its cache. So what such a file holds is written
//! into another one, and counts when that one is synced ([`Log::carry_over`]). While the agent runs, that is the whole
//! generation, and not the failed commit alone: each commit was synced before the next one began, but a page at the seam
//! holds the end of the one and the beginning of the other, and a medium that fails while it writes a page may lose all of
//! it. At an opening it is the newest generation, where the sync fails now, or where nothing says that the sync of its last
//! commit ever succeeded: the run before may have been told that it failed, and did not live to write it again.

pub(crate) mod aside;
pub(crate) mod begun;
pub(crate) mod entry;
pub(crate) mod foreign;
pub(crate) mod left;
pub(crate) mod listing;
pub(crate) mod removal;
pub(crate) mod spent;
pub(crate) mod sums;

use crate::journal::disk::refusal::is_believed;
use crate::journal::disk::{files, frame};
use crate::journal::error::JournalError;
use crate::journal::generation::active::{ActiveGeneration, Frames, GenerationError};
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::generation::manifest::{Manifest, is_complete, read_manifest};
use crate::journal::log::begun::take_begun;
use crate::journal::log::entry::{Generation, Reading, Readings};
use crate::journal::log::left::Left;
use crate::journal::log::listing::{Folder, Listing, list};
use crate::journal::log::spent::SpentFile;
use crate::journal::log::sums::Sums;
use crate::record::{JournalId, Number, Record, pack};
use crate::sync::locked;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Mutex, OnceLock};

/// Folders of which a sync failed in this process; they go when the folder does.
static DISTRUSTED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Records per commit while they are carried over.
const CARRY_COMMIT: usize = 256;

/// All generations, by first number.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    row: Mutex<BTreeMap<Number, Arc<Generation>>>,
    /// Counts commits that sled did not just append.
    strays: Arc<AtomicU64>,
    sums: Sums,
    left: Left,
    spent: SpentFile,
    /// Ids that the journal has and had; filled once the opening knows.
    known: OnceLock<Vec<JournalId>>,
}

impl Log {
    /// Finds the generations in `path/log`.
    pub(crate) fn open(path: &Path) -> Result<Log, JournalError> {
        let dir = path.join("log");
        let io = |source| JournalError::io(&dir, source);
        let listed = || match list(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                files::create_dir_within(&dir)?;
                list(&dir)
            }
            listed => listed,
        };
        let Listing { generations, trash } = aside::patiently(path, &dir, listed).map_err(io)?;
        let left = Left::default();
        trash.iter().for_each(|folder| left.remove(folder));
        let (mut found, mut bare) = (Vec::new(), Vec::new());
        for folder in generations {
            let whole = is_complete(&folder.path).map_err(io)?;
            if whole { found.push(folder) } else { bare.push(folder) }
        }
        for folder in bare {
            // Half-made, it holds nothing, or copies of what another folder holds; otherwise its note is lost, and what is
            // in it was acknowledged.
            let copied = found.iter().any(|whole| whole.first == folder.first);
            if copied {
                left.remove(&folder.path);
                continue;
            }
            let empty = match GenerationBytes::closed(&folder.path) {
                Ok(bytes) => bytes.is_empty(),
                // Lanes that need it wait for it; whether it holds anything they will see.
                Err(_) if found.iter().any(|whole| whole.first > folder.first) => false,
                Err(why) if is_believed(&folder.path, &why) => {
                    aside::set_aside(path, &folder.path, &why);
                    continue;
                }
                // The newest may hold something or nothing: an empty one that counted would hide the lanes' positions.
                Err(source) => return Err(JournalError::io(&folder.path, source)),
            };
            if !empty {
                tracing::warn!(folder = %folder.path.display(), "generation without its note: its records are read");
                found.push(folder);
            } else {
                left.remove(&folder.path);
            }
        }
        found.sort();
        let scan = |folder: &Path| match GenerationBytes::closed(folder) {
            // The first reader that needs it sets it aside.
            Err(why) if is_believed(folder, &why) => Ok(None),
            scanned => scanned.map(Some),
        };
        for Folder { path: folder, .. } in take_begun(&mut found, scan)? {
            tracing::info!(folder = %folder.display(), "a generation that was only begun is removed");
            left.remove(&folder);
        }
        if let Some(Folder { path: newest, .. }) = found.last() {
            // A killed process leaves bytes and names that only the page cache holds. They are made certain before they are
            // counted, sent, or taken as the reason to remove an older folder: the power may go next.
            if let Err(error) = files::sync_tree(newest).and_then(|()| files::sync_dir(&dir)) {
                tracing::error!(%error, "the newest generation cannot be synced: it is written anew before it counts");
                locked(&DISTRUSTED).insert(newest.clone());
            }
        }
        let mut row: BTreeMap<Number, Arc<Generation>> = BTreeMap::new();
        for Folder { first, path: folder, .. } in found {
            // A note of another generation says nothing about this one.
            let manifest = read_manifest(&folder).map_err(io)?.filter(|manifest| manifest.first == first);
            if let Some(manifest) = manifest.as_ref().filter(|manifest| manifest.format > frame::FRAME_VERSION) {
                let text = format!("written by a newer tidegate ({}: format {})", folder.display(), manifest.format);
                return Err(JournalError::Newer(text));
            }
            let newer_counts = !locked(&DISTRUSTED).contains(&folder);
            match enter(&mut row, Generation::new(first, folder, manifest)) {
                Some(older) if foreign::differ(&older.dir, &row[&first].dir) => {
                    aside::set_foreign_aside(path, &older.dir).map_err(io)?;
                }
                Some(older) if newer_counts => left.remove(&older.dir),
                Some(older) => left.leave(&older.dir),
                None => {}
            }
        }
        let spent = SpentFile::open(&dir, row.keys().next().copied()).map_err(io)?;
        for generation in row.values().filter(|generation| generation.is_closed()) {
            generation.end.store(spent.end_of(generation).0, Release);
        }
        let sums = Sums::default();
        row.values().for_each(|generation| sums.found(generation));
        Ok(Log { dir, row: Mutex::new(row), strays: Arc::default(), sums, left, spent, known: OnceLock::new() })
    }

    /// Commits in this run that sled did not just append. None has been seen so far.
    pub(crate) fn strays(&self) -> u64 {
        self.strays.load(Relaxed)
    }

    /// How many databases are open.
    #[cfg(test)]
    pub(crate) fn open_generations(&self) -> usize {
        locked(&self.row)
            .values()
            .filter(|generation| !crate::journal::generation::bytes::is_gone(&generation.dir).unwrap())
            .count()
    }

    #[cfg(test)]
    pub(crate) fn newest_is_closed(&self) -> bool {
        locked(&self.row).last_key_value().is_some_and(|(_, generation)| generation.is_closed())
    }

    /// First numbers of all generations, ascending.
    pub(crate) fn firsts(&self) -> Vec<Number> {
        locked(&self.row).keys().copied().collect()
    }

    /// Ends the newest generation: the next one will begin at `next`, whenever it is started.
    pub(crate) fn end(&self, next: Number) {
        if let Some((_, newest)) = locked(&self.row).last_key_value() {
            newest.end.store(next.0, Release);
        }
    }

    /// The folder of all generations.
    pub(crate) fn folder(&self) -> &Path {
        &self.dir
    }

    /// A sync of the newest generation failed.
    pub(crate) fn distrust_newest(&self) {
        if let Some((_, generation)) = locked(&self.row).last_key_value() {
            locked(&DISTRUSTED).insert(generation.dir.clone());
        }
    }

    /// Whether a sync of the generation at `first` failed, as far as this process knows.
    pub(crate) fn is_distrusted(&self, first: Number) -> bool {
        locked(&self.row).get(&first).is_some_and(|generation| locked(&DISTRUSTED).contains(&generation.dir))
    }

    /// Makes a new generation, the active one.
    pub(crate) fn start(&self, manifest: Manifest) -> Result<Arc<ActiveGeneration>, GenerationError> {
        // One at the same number was left by an attempt whose first commit failed, or by a run that nothing came in: nothing in it
        // was acknowledged. It goes last, on a full disk too: the reserve has given its room, and the log is never without a
        // generation, which tells how far the numbers have come.
        self.make(manifest, std::iter::empty())
    }

    /// Makes the generation at `manifest.first` anew, with the records of the closed one up to `last`, so that it can be gone on in:
    /// otherwise every restart would leave a small generation behind, and a file of which a sync failed would stay. The old
    /// folder goes last.
    pub(crate) fn carry_over(
        &self,
        manifest: Manifest,
        closed: &GenerationBytes,
        last: Number,
    ) -> Result<Arc<ActiveGeneration>, GenerationError> {
        // All of it is read before anything is made: the old folder goes only when nothing of it is left behind.
        let io = |source| GenerationError::Io { path: self.dir.clone(), source };
        let records = closed.records(Number(0), last.next()).map(|read| read.map(|(record, _)| record));
        let records: Vec<Arc<Record>> = records.collect::<Result<_, _>>().map_err(io)?;
        let known = closed.numbers().take_while(|number| *number <= last).count();
        if records.len() != known {
            return Err(io(std::io::Error::other(format!("{} of {known} records can be read", records.len()))));
        }
        let commits = records.chunks(CARRY_COMMIT).map(|records| framed(records, None).0);
        self.make(manifest, commits)
    }

    /// A name for a generation: of those with one first number the newest has the highest count. That is the epoch,
    /// unless a folder is there that has it, or a higher one: what is copied from, or left by an attempt that failed and
    /// of which even the removal did. A start that finds several continues in the highest.
    fn free_name(&self, first: Number, epoch: u64) -> std::io::Result<PathBuf> {
        let known: Vec<PathBuf> = locked(&self.row).values().map(|generation| generation.dir.clone()).collect();
        let mut count = epoch;
        for folder in list(&self.dir)?.generations.into_iter().filter(|folder| folder.first == first) {
            count = count.max(folder.count.saturating_add(1));
            if !known.contains(&folder.path) && !is_complete(&folder.path)? {
                // Left by an attempt that failed half-way: nothing in it was acknowledged.
                self.left.remove(&folder.path);
            }
        }
        let name = self.dir.join(listing::name(first, count));
        self.left.forget(&name);
        Ok(name)
    }

    /// Makes a generation, and only then removes the one that it replaces.
    fn make(
        &self,
        manifest: Manifest,
        carried: impl Iterator<Item = Frames>,
    ) -> Result<Arc<ActiveGeneration>, GenerationError> {
        let name = self.free_name(manifest.first, manifest.epoch.0);
        let dir = name.map_err(|source| GenerationError::Io { path: self.dir.clone(), source })?;
        let made = ActiveGeneration::create(&dir, &manifest, carried, self.strays.clone());
        let active = Arc::new(made.inspect_err(|_| self.give_up(&dir))?);
        let generation = Generation::written(manifest.first, dir.clone(), manifest, &active);
        self.sums.made(&generation);
        let replaced = enter(&mut locked(&self.row), generation);
        if let Some(replaced) = replaced {
            self.sums.gone(&replaced);
            // Its folder may have gone by itself, and the new one have its name.
            if replaced.dir != dir {
                self.left.remove(&replaced.dir);
            }
        }
        Ok(active)
    }

    /// The first number of the next generation above `number`.
    pub(crate) fn next_first(&self, number: Number) -> Option<Number> {
        locked(&self.row).range(number.next()..).next().map(|(first, _)| *first)
    }

    /// The generation that holds `number`. `None`: none does, it went or was before the first one. May scan for seconds; never called where intake
    /// would wait for it.
    ///
    /// # Errors
    /// It cannot be scanned now. This reports it once, and not each read of a record in it.
    pub(crate) fn reading(&self, number: Number) -> Result<Option<Reading>, JournalError> {
        let generation = locked(&self.row).range(..=number).next_back().map(|(_, generation)| generation.clone());
        let Some(generation) = generation.filter(|generation| number < generation.end()) else { return Ok(None) };
        let reading = Reading::of(generation);
        reading.generation.closed()?;
        Ok(Some(reading))
    }

    /// A record, read in a generation of `kept` where one of them holds it; `None` when it is missing or damaged, or in no
    /// generation, which [`Readings::current`] tells.
    ///
    /// # Errors
    /// Its generation cannot be read now; the next call looks anew.
    pub(crate) fn read(&self, kept: &mut Readings, number: Number) -> Result<Option<Arc<Record>>, JournalError> {
        loop {
            let Some(reading) = kept.turn_to(number, || self.reading(number))? else { return Ok(None) };
            match reading.read(number) {
                // Deleted at this very moment: then it is another's turn.
                Err(_) if reading.is_gone() => {}
                read => return read.inspect_err(|_| drop(kept.drop_current())),
            }
        }
    }

    /// What was noted when a generation was made; `None` when that is damaged.
    pub(crate) fn manifest(&self, first: Number) -> Option<Manifest> {
        locked(&self.row).get(&first)?.manifest.clone()
    }

    /// The index of a closed generation.
    pub(crate) fn closed(&self, first: Number) -> Result<Option<Arc<GenerationBytes>>, JournalError> {
        let generation = locked(&self.row).get(&first).cloned();
        generation.map(|generation| generation.closed()).transpose()
    }

    /// Bytes on disk of all generations. Looks at what was not looked at since the opening.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.sums.measure();
        self.disk_bytes_at_most()
    }

    /// Bytes on disk of all generations, or somewhat more: cheap, however many there are.
    pub(crate) fn disk_bytes_at_most(&self) -> u64 {
        self.sums.at_most() + self.left.bytes() + self.spent.bytes()
    }
}

/// Enters the newest generation in the row: the one before it ends where it begins. Returns the one that it replaces,
/// which holds nothing any more.
fn enter(row: &mut BTreeMap<Number, Arc<Generation>>, generation: Arc<Generation>) -> Option<Arc<Generation>> {
    let first = generation.first;
    let replaced = row.insert(first, generation);
    for before in row.range(..first).next_back().map(|(_, before)| before).into_iter().chain(&replaced) {
        // It may end before: where one went in between.
        before.end.fetch_min(first.0, Release);
    }
    replaced
}

/// Consecutive records as the generation takes them, and their bytes. `previous`: of the commit that they are.
pub(crate) fn framed(records: &[Arc<Record>], previous: Option<Number>) -> (Frames, u64) {
    let mut frames = Frames::new();
    let mut bytes = 0;
    // Numbers that are missing in between begin another pack.
    for row in records.chunk_by(|one, next| one.number + 1 == next.number) {
        for pack in pack::pack(row.iter().map(|record| &**record), frame::BODY_MAX) {
            let previous = previous.filter(|_| frames.is_empty());
            let parts = frame::split(pack.first, pack.count, previous, &pack.bytes).into_iter().enumerate();
            frames.extend(parts.map(|(part, value)| (pack.first, part as u16, value)));
            bytes += pack.bytes.len() as u64;
        }
    }
    (frames, bytes)
}
