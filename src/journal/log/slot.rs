//! One generation of the row, and reading in it.
//!
//! The slot owns the index of a closed generation and its open files; whoever reads in it only registers with it. So the
//! files are let go of when the generation is deleted, however long a reader stays where it is.

use crate::journal::disk::{files, refusal};
use crate::journal::error::JournalError;
use crate::journal::generation::active::Generation;
use crate::journal::generation::closed;
use crate::journal::generation::closed::ClosedGeneration;
use crate::journal::generation::manifest::Facts;
use crate::journal::generation::value::Value;
use crate::journal::log::aside;
use crate::record::Record;
use crate::sync::locked;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// One generation of the row.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) first: u64,
    /// First number of the next generation; `u64::MAX` while this one is active. Set before a record of the next one can be
    /// durable, so that nobody takes its numbers for missing ones of this one.
    pub(crate) end: AtomicU64,
    pub(crate) dir: PathBuf,
    /// Bytes on disk once nobody writes to it any more; 0: somebody may, or nobody has looked since.
    pub(crate) bytes: AtomicU64,
    pub(crate) facts: Option<Facts>,
    pub(crate) active: Mutex<Weak<Generation>>,
    /// Held while the bytes are scanned, which may take seconds: intake must only ever try it.
    closed: Mutex<Indexed>,
    /// Filled once it was set aside: its folder is not here any more.
    pub(crate) aside: OnceLock<Arc<ClosedGeneration>>,
    /// It is deleted: nobody reads in it any more.
    pub(crate) gone: AtomicBool,
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
pub(crate) struct Reading {
    pub(crate) slot: Arc<Slot>,
    /// The value that was read last: the next record is in it as a rule.
    value: Option<Value>,
}

impl Reading {
    pub(crate) fn of(slot: Arc<Slot>) -> Reading {
        locked(&slot.closed).readers += 1;
        Reading { slot, value: None }
    }

    /// Whether `number` belongs to this generation, and it is still there.
    pub(crate) fn covers(&self, number: u64) -> bool {
        (self.slot.first..self.slot.end()).contains(&number) && !self.is_gone()
    }

    /// Lets go of it, and has whoever reads in it next look through all of its bytes again.
    pub(crate) fn look_anew(self) {
        let mut indexed = locked(&self.slot.closed);
        (indexed.kept, indexed.made) = (None, Weak::new());
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.slot.gone.load(SeqCst)
    }

    /// Whether it was set aside: no record of it can be read.
    pub(crate) fn is_aside(&self) -> bool {
        self.slot.aside.get().is_some()
    }

    /// A record; `None` when it is missing or damaged. Scans where the writer has let go meanwhile.
    pub(crate) fn read(&mut self, number: u64) -> Result<Option<Arc<Record>>, JournalError> {
        if self.value.as_ref().is_none_or(|value| !value.covers(number)) {
            self.value = self.value_of(number)?;
        }
        Ok(self.value.as_ref().and_then(|value| value.record(number)))
    }

    fn value_of(&self, number: u64) -> Result<Option<Value>, JournalError> {
        if let Some(generation) = self.slot.open() {
            return Ok(generation.value(number)?);
        }
        self.slot.closed()?.value(number).map_err(|error| JournalError::io(&self.slot.dir, error))
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

impl Slot {
    pub(crate) fn new(first: u64, dir: PathBuf, facts: Option<Facts>) -> Arc<Slot> {
        Arc::new(Slot {
            first,
            end: AtomicU64::new(u64::MAX),
            dir,
            bytes: AtomicU64::new(0),
            facts,
            active: Mutex::new(Weak::new()),
            closed: Mutex::default(),
            aside: OnceLock::new(),
            gone: AtomicBool::new(false),
        })
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Acquire)
    }

    /// Whether the writer appends nothing to it any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.end() != u64::MAX
    }

    /// The writer's database, for one read; `None` once the writer has let go of it.
    pub(crate) fn open(&self) -> Option<Arc<Generation>> {
        locked(&self.active).upgrade().filter(|_| !self.is_closed())
    }

    /// The index of a generation that nobody writes to any more.
    pub(crate) fn closed(&self) -> Result<Arc<ClosedGeneration>, JournalError> {
        let mut indexed = locked(&self.closed);
        if let Some(closed) = self.aside.get() {
            return Ok(closed.clone());
        }
        let closed = match indexed.made.upgrade() {
            Some(closed) => closed,
            None => match ClosedGeneration::closed(&self.dir) {
                Ok(closed) => Arc::new(closed),
                Err(why) if !self.gone.load(SeqCst) && refusal::is_believed(&self.dir, &why) => {
                    let journal = self.dir.parent().and_then(Path::parent).expect("it lies in the log of a journal");
                    aside::set_aside(journal, &self.dir, &why);
                    return Ok(self.aside.get_or_init(|| Arc::new(ClosedGeneration::set_aside())).clone());
                }
                Err(source) => return Err(JournalError::io(&self.dir, source)),
            },
        };
        refusal::is_well(&self.dir);
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
    pub(crate) fn let_go(&self) {
        if let Ok(mut indexed) = self.closed.try_lock() {
            indexed.kept = None;
        }
    }

    /// Bytes on disk. They are looked at each time, until the database is really gone: sled writes until then.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let known = self.bytes.load(Relaxed);
        if known > 0 || self.aside.get().is_some() {
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
