//! One generation of the row, and reading in it.
//!
//! It owns its index and the open files; a reader only registers with it. So the files are let go of when the generation
//! is deleted, however long a reader stays where it is. While the generation is written to, its index is the writer's,
//! which enters what it has flushed; readers keep using that index when the generation is closed.
//!
//! A reader that goes back keeps the generations that it read in last ([`Readings`]): a batch in strict order takes its
//! records from as many of them as it has records, and an index that was dropped each time was made from all of the file
//! each time. What an index takes is computed: 32 bytes a frame, so 16 KB for a generation of a flood (eight records to a
//! frame), 110 KB for one of slow traffic (a frame for each record). [`KEPT_BYTES`] hold some fifty of the one kind, or all
//! that a window of 16,384 records spans of the other; [`KEPT_MOST`] bounds the open files.

use crate::journal::disk::{files, refusal};
use crate::journal::error::JournalError;
use crate::journal::generation::active::ActiveGeneration;
use crate::journal::generation::bytes::{self, GenerationBytes};
use crate::journal::generation::manifest::Manifest;
use crate::journal::generation::value::Value;
use crate::journal::log::aside;
use crate::record::{Number, Record};
use crate::sync::locked;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// Memory for the indexes and values of a reader that goes back, in bytes: a fifth of what a lagging lane may take.
const KEPT_BYTES: usize = 1024 * 1024;
/// Generations that it keeps, whatever they take: two that it goes back and forth between, and the next one.
const KEPT_LEAST: usize = 3;
/// And at most.
const KEPT_MOST: usize = 64;

/// One generation of the row.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) first: Number,
    /// First number of the next generation; `u64::MAX` while this one is active. Set before a record of the next one can
    /// be durable, so that no reader takes its numbers for missing ones of this one.
    pub(crate) end: AtomicU64,
    pub(crate) dir: PathBuf,
    /// Bytes on disk once the writer is done with it; 0: the writer may not be, or no look has measured them since.
    pub(crate) bytes: AtomicU64,
    pub(crate) manifest: Option<Manifest>,
    /// Held while the bytes are scanned, which may take seconds: intake must only ever try it.
    closed: Mutex<Indexed>,
    /// This run writes its records.
    pub(crate) own: AtomicBool,
    /// Filled once it was set aside: its folder is not here any more.
    pub(crate) aside: OnceLock<Arc<GenerationBytes>>,
    /// It is deleted: no reader may read in it any more.
    pub(crate) gone: AtomicBool,
}

/// The index of a generation, with its open files.
#[derive(Debug, Default)]
struct Indexed {
    /// Kept for as long as a reader is in it, and until the generation is deleted: an open file keeps its space.
    kept: Option<Arc<GenerationBytes>>,
    /// The writer's while it is written to; otherwise that of the callers that have it for a moment.
    made: Weak<GenerationBytes>,
    readers: usize,
}

/// A generation to read from. Which numbers it can hold, and how it is read, is asked each time: an active one may have
/// been closed meanwhile, a closed one deleted. It holds no file itself: those are the generation's, which lets go of
/// them when the generation is deleted, however long a reader stays where it is.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) generation: Arc<Generation>,
    /// The value that was read last: the next record is in it as a rule.
    value: Option<Value>,
    /// What the index took when it was used last, in bytes.
    index_bytes: usize,
}

impl Reading {
    pub(crate) fn of(generation: Arc<Generation>) -> Reading {
        locked(&generation.closed).readers += 1;
        Reading { generation, value: None, index_bytes: 0 }
    }

    /// Whether `number` belongs to this generation, and it is still there.
    pub(crate) fn covers(&self, number: Number) -> bool {
        (self.generation.first..self.generation.end()).contains(&number) && !self.is_gone()
    }

    /// Lets go of it, and has the next reader in it look through all of its bytes again. While it is written to, that is
    /// done here: the index is the writer's.
    pub(crate) fn look_anew(self) {
        let mut indexed = locked(&self.generation.closed);
        match &indexed.kept {
            // What the medium says to it, the next read will say.
            Some(kept) if !self.generation.is_closed() => _ = kept.look_again(&[]),
            _ => (indexed.kept, indexed.made) = (None, Weak::new()),
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.generation.gone.load(SeqCst)
    }

    /// Whether it was set aside: no record of it can be read.
    pub(crate) fn is_aside(&self) -> bool {
        self.generation.aside.get().is_some()
    }

    /// A record; `None` when it is missing or damaged. Scans where the writer has let go meanwhile.
    pub(crate) fn read(&mut self, number: Number) -> Result<Option<Arc<Record>>, JournalError> {
        if self.value.as_ref().is_none_or(|value| !value.covers(number)) {
            self.value = self.value_of(number)?;
        }
        Ok(self.value.as_ref().and_then(|value| value.record(number)))
    }

    fn value_of(&mut self, number: Number) -> Result<Option<Value>, JournalError> {
        let closed = self.generation.closed()?;
        self.index_bytes = closed.index().memory();
        closed.value(number).map_err(|error| JournalError::io(&self.generation.dir, error))
    }

    /// What it takes in memory, in bytes, about.
    fn memory(&self) -> usize {
        self.index_bytes + self.value.as_ref().map_or(0, Value::memory)
    }
}

/// The generations that were read in last.
#[derive(Debug)]
pub(crate) struct Readings {
    /// The last one is where the last look was, unless that was before the first generation.
    kept: Vec<Reading>,
    /// At least so many are kept, and at most.
    bounds: (usize, usize),
    is_nowhere: bool,
}

impl Readings {
    /// For a reader that only goes forward: keeps the one that it is in.
    pub(crate) fn forward() -> Readings {
        Readings { kept: Vec::new(), bounds: (1, 1), is_nowhere: false }
    }

    /// For a reader that goes back: keeps those that it used last.
    pub(crate) fn to_and_fro() -> Readings {
        Readings { bounds: (KEPT_LEAST, KEPT_MOST), ..Readings::forward() }
    }

    /// Where the last look was; `None`: in no generation, or nowhere yet.
    pub(crate) fn current(&self) -> Option<&Reading> {
        self.kept.last().filter(|_| !self.is_nowhere)
    }

    /// Turns to the generation that holds `number`: one that is kept, or what `find` gives. `None`: there is none.
    pub(crate) fn turn_to(
        &mut self,
        number: Number,
        find: impl FnOnce() -> Result<Option<Reading>, JournalError>,
    ) -> Result<Option<&mut Reading>, JournalError> {
        self.kept.retain(|reading| !reading.is_gone());
        let reading = match self.kept.iter().rposition(|reading| reading.covers(number)) {
            Some(index) => Some(self.kept.remove(index)),
            None => {
                // Room is made first: what goes need not be in memory while another index is made.
                self.make_room();
                find()?
            }
        };
        self.is_nowhere = reading.is_none();
        self.kept.extend(reading);
        Ok(self.kept.last_mut().filter(|_| !self.is_nowhere))
    }

    /// Lets go of what was used longest ago, until one more fits: values first, because reading one again costs 4 KB as a
    /// rule, and making an index costs the whole file.
    fn make_room(&mut self) {
        let (least, most) = self.bounds;
        let mut bytes: usize = self.kept.iter().map(Reading::memory).sum();
        for reading in &mut self.kept {
            if bytes <= KEPT_BYTES {
                break;
            }
            bytes -= reading.value.take().map_or(0, |value| value.memory());
        }
        while self.kept.len() >= most || self.kept.len() >= least && bytes > KEPT_BYTES {
            bytes -= self.kept.remove(0).memory();
        }
    }

    /// Lets go of the current one, which has refused.
    pub(crate) fn drop_current(&mut self) -> Option<Reading> {
        if self.is_nowhere { None } else { self.kept.pop() }
    }

    /// Nothing is to be read for now: what was read last need not be in memory.
    pub(crate) fn rest(&mut self) {
        self.kept.retain(|reading| !reading.is_gone());
        self.kept.iter_mut().for_each(|reading| reading.value = None);
    }

    /// Lets go of all.
    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut indexed = locked(&self.generation.closed);
        indexed.readers -= 1;
        if indexed.readers == 0 {
            indexed.kept = None;
        }
    }
}

impl Generation {
    /// One of which this run writes the records.
    pub(crate) fn written(
        first: Number,
        dir: PathBuf,
        manifest: Manifest,
        active: &ActiveGeneration,
    ) -> Arc<Generation> {
        let generation = Generation::new(first, dir, Some(manifest));
        generation.own.store(true, Relaxed);
        locked(&generation.closed).made = Arc::downgrade(active.bytes());
        generation
    }

    pub(crate) fn new(first: Number, dir: PathBuf, manifest: Option<Manifest>) -> Arc<Generation> {
        Arc::new(Generation {
            first,
            end: AtomicU64::new(u64::MAX),
            dir,
            bytes: AtomicU64::new(0),
            manifest,
            closed: Mutex::default(),
            own: AtomicBool::new(false),
            aside: OnceLock::new(),
            gone: AtomicBool::new(false),
        })
    }

    pub(crate) fn end(&self) -> Number {
        Number(self.end.load(Acquire))
    }

    /// Whether the writer appends nothing to it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.end() != Number::MAX
    }

    /// The index: the writer's while it has the generation open, otherwise made once the writer is done with it.
    pub(crate) fn closed(&self) -> Result<Arc<GenerationBytes>, JournalError> {
        let mut indexed = locked(&self.closed);
        if let Some(closed) = self.aside.get() {
            return Ok(closed.clone());
        }
        let closed = match indexed.made.upgrade() {
            Some(closed) => closed,
            None => match GenerationBytes::closed(&self.dir) {
                Ok(closed) => Arc::new(closed),
                Err(why) if !self.gone.load(SeqCst) && refusal::is_believed(&self.dir, &why) => {
                    let journal = self.dir.parent().and_then(Path::parent).expect("it lies in the log of a journal");
                    aside::set_aside(journal, &self.dir, &why);
                    return Ok(self.aside.get_or_init(|| Arc::new(GenerationBytes::set_aside())).clone());
                }
                Err(source) => return Err(JournalError::io(&self.dir, source)),
            },
        };
        refusal::is_well(&self.dir);
        indexed.made = Arc::downgrade(&closed);
        indexed.kept = (indexed.readers > 0).then(|| closed.clone());
        drop(indexed);
        // A thread that deleted it while the lock was held here could not take the index away.
        if self.gone.load(SeqCst) {
            locked(&self.closed).kept = None;
        }
        Ok(closed)
    }

    /// It is deleted: lets go of its files. Does not wait: a reader at this moment lets go after its read.
    pub(crate) fn let_go(&self) {
        if let Ok(mut indexed) = self.closed.try_lock() {
            indexed.kept = None;
        }
    }

    /// Bytes on disk. Each call looks at them, until the database is really gone: sled writes until then.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let known = self.bytes.load(Relaxed);
        if known > 0 || self.aside.get().is_some() {
            return known;
        }
        // Asked before the look, so that nothing is written after it.
        let still = self.is_closed() && bytes::is_gone(&self.dir).unwrap_or(false);
        let bytes = files::disk_bytes(&self.dir);
        if still {
            self.bytes.store(bytes, Relaxed);
        }
        bytes
    }
}
