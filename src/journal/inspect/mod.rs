//! A journal's folder as it lies on disk, looked at and never touched: for commands, beside a running agent or without one.
//!
//! No lock is taken: an agent that starts at this very moment must not find its journal held. So an agent may write
//! meanwhile. What it appends shows up to the last commit that is whole in the file; a generation that it deletes was
//! drained; its state file lags behind by half a minute at most, so what was accepted meanwhile may still count as waiting.

mod verified;

use crate::journal::checkpoint::lane_state::LaneState;
use crate::journal::checkpoint::state::{self, Found, State};
use crate::journal::disk::files;
use crate::journal::error::JournalError;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::generation::manifest::is_complete;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::log::begun::take_begun;
use crate::journal::log::listing::{Folder, list};
use crate::journal::log::spent::Spent;
use crate::journal::quarantine::{self, Quarantined};
use crate::journal::recovery::format::check_readable;
use crate::journal::stats::LaneStats;
use crate::record::{Epoch, LaneId, Number, Record};
use serde::Serialize;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
pub use verified::{Soundness, Verified};

/// A look at a journal.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    /// Journal id and epoch, where the state file tells.
    origin: Option<(String, Epoch)>,
    /// Highest number that the state file calls durable.
    high: Number,
    books: Vec<LaneLedger>,
    /// First number and folder of each generation, ascending.
    folders: Vec<(Number, PathBuf)>,
    /// What went out of turn.
    spent: Spent,
    /// Nothing was ever written to the state file.
    blank: bool,
}

/// What there is, without reading all of it.
#[derive(Clone, Debug, Serialize)]
pub struct ViewStats {
    /// The journal's folder, as given.
    pub path: PathBuf,
    /// Journal id, 16 hex digits; absent when the state file is damaged.
    pub journal_id: Option<String>,
    /// Count of opens; absent without a sound state file.
    pub epoch: Option<Epoch>,
    /// Count of generations on disk.
    pub generations: usize,
    /// Bytes on disk of the whole folder.
    pub bytes: u64,
    /// Count of things in quarantine.
    pub quarantine: usize,
    /// Every lane; empty when the state file is damaged.
    pub lanes: Vec<LaneStats>,
    /// It is only just being made: no state was written yet, and no record.
    #[serde(skip)]
    pub just_made: bool,
}

impl View {
    /// Looks at the folder of a journal.
    ///
    /// # Errors
    /// There is no journal, a newer tidegate wrote it, or the disk refuses.
    pub fn open(path: &Path) -> Result<View, JournalError> {
        check_readable(path)?;
        let found = state::look(&path.join("state"))?;
        let blank = matches!(found, Found::Nothing);
        let state = if let Found::State { state, .. } = found { Some(*state) } else { None };
        let origin = state.as_ref().map(|state| (state.journal.to_string(), state.epoch));
        let high = state.as_ref().map_or(Number(0), |state| state.high);
        let mut books = state.map(books_of).unwrap_or_default();
        let log = path.join("log");
        let folders = folders(&log)?;
        // Behind the folders: what went meanwhile is in it.
        let spent = Spent::read(&log).map_err(|source| JournalError::io(&log, source))?;
        spent.settle_in(&mut books);
        Ok(View { path: path.to_owned(), origin, high, books, folders, spent, blank })
    }

    /// Whether it is only just being made: no state was written yet, and no record.
    pub fn is_just_made(&self) -> bool {
        self.blank && self.folders.is_empty()
    }

    /// What there is. Reads what was appended after the state file was last written.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn stats(&self) -> Result<ViewStats, JournalError> {
        let lanes = self.caught_up()?.iter().map(LaneStats::of).collect();
        Ok(ViewStats {
            path: self.path.clone(),
            journal_id: self.origin.as_ref().map(|(id, _)| id.clone()),
            epoch: self.origin.as_ref().map(|(_, epoch)| *epoch),
            generations: self.folders.len(),
            bytes: files::disk_bytes(&self.path),
            quarantine: self.quarantined().map_or(0, |all| all.len()),
            lanes,
            just_made: self.is_just_made(),
        })
    }

    /// The books with what the state file does not know yet.
    fn caught_up(&self) -> Result<Vec<LaneLedger>, JournalError> {
        let mut books = self.books.clone();
        if books.is_empty() {
            return Ok(books);
        }
        self.each(self.high.next(), &mut |record| {
            for slot in &record.slots {
                if let Some(book) = books.iter_mut().find(|book| book.id == slot.lane) {
                    book.next = book.next.max(slot.position.next());
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(books)
    }

    /// Numbers from the first that is still there to the newest that the state file knows.
    pub fn span(&self) -> (Number, Number) {
        let first = self.folders.first().map_or(Number(1), |(first, _)| *first);
        (first, self.high.max(first.before()))
    }

    /// The name of a lane's queue.
    pub fn lane_name(&self, lane: LaneId) -> Option<&str> {
        self.books.iter().find(|book| book.id == lane).map(|book| book.name.as_str())
    }

    /// The lane of a queue.
    pub fn lane(&self, name: &str) -> Option<LaneId> {
        self.books.iter().find(|book| book.name == name).map(|book| book.id)
    }

    /// The names of all lanes.
    pub fn lane_names(&self) -> Vec<&str> {
        self.books.iter().map(|book| book.name.as_str()).collect()
    }

    /// Whether a record waits in a lane. Without a state file everything on disk waits; with one, a lane that it does not
    /// name was forgotten, because nothing waited in it.
    pub fn waits(&self, record: &Record, lane: LaneId) -> bool {
        let Some(position) = record.position(lane) else { return false };
        let book = self.books.iter().find(|book| book.id == lane);
        book.map_or(self.origin.is_none(), |book| !book.is_settled(position))
    }

    /// Shows every record from number `from` on, oldest first, until told to stop.
    ///
    /// # Errors
    /// The disk refuses. A generation that went meanwhile is not an error.
    pub fn each(&self, from: Number, show: &mut dyn FnMut(&Record) -> ControlFlow<()>) -> Result<(), JournalError> {
        for (index, (_, dir)) in self.folders.iter().enumerate() {
            let next = self.folders.get(index + 1).map_or(Number::MAX, |(next, _)| *next);
            if next <= from {
                continue;
            }
            let Some(closed) = self.scan(dir)? else { continue };
            let end = self.end(&closed, next);
            for read in closed.records(from, Number(end)) {
                let (record, _) = read.map_err(|source| JournalError::io(dir, source))?;
                if show(&record).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What is in quarantine.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn quarantined(&self) -> io::Result<Vec<Quarantined>> {
        quarantine::look(&self.path.join("quarantine"))
    }

    /// `None`: it went meanwhile, so it was drained.
    fn scan(&self, dir: &Path) -> Result<Option<GenerationBytes>, JournalError> {
        match GenerationBytes::as_it_is(dir) {
            Ok(closed) => Ok(Some(closed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(JournalError::io(dir, source)),
        }
    }

    /// Where what counts of a generation ends: at the next one, or where the last commit breaks off.
    fn end(&self, closed: &GenerationBytes, next: Number) -> u64 {
        let newest = next == Number::MAX && self.origin.is_some();
        let first = closed.numbers().next().unwrap_or(Number(1));
        let breaks = newest.then(|| closed.breaks_off_at(self.high.max(first.before()))).flatten();
        breaks.unwrap_or(next).0
    }
}

/// The books of a state; a lane that contradicts itself makes a state damaged, and is in none.
fn books_of(state: State) -> Vec<LaneLedger> {
    let books: Result<Vec<LaneLedger>, _> = state.lanes.into_iter().map(LaneState::into_book).collect();
    books.unwrap_or_default()
}

/// The generations that count, ascending; of two with one first number the newer.
fn folders(log: &Path) -> Result<Vec<(Number, PathBuf)>, JournalError> {
    let io = |source| JournalError::io(log, source);
    let listing = match list(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(io)?,
    };
    let mut found: Vec<(Number, bool, Folder)> = Vec::new();
    for folder in listing.generations {
        found.push((folder.first, is_complete(&folder.path).map_err(io)?, folder));
    }
    // A half-made folder counts only where there is no whole one: then its note is lost, and its records are not.
    found.sort();
    found.reverse();
    found.dedup_by_key(|(first, ..)| *first);
    found.reverse();
    let mut found: Vec<Folder> = found.into_iter().map(|(.., folder)| folder).collect();
    // What cannot be read now is reported by the code that reads it.
    let _ = take_begun(&mut found, |folder| Ok(GenerationBytes::as_it_is(folder).ok()));
    Ok(found.into_iter().map(|Folder { first, path, .. }| (first, path)).collect())
}
