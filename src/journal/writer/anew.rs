//! A generation written anew, into another file: at an opening, and after a sync that failed. [`crate::journal::log`] says why a file
//! of which a sync failed is never trusted again.

use crate::journal::disk::frame::FRAME_VERSION;
use crate::journal::disk::reserve::Reserve;
use crate::journal::error::JournalError;
use crate::journal::generation::active::ActiveGeneration;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::generation::manifest::{Manifest, ManifestLane};
use crate::journal::handle::Journal;
use crate::journal::handle::append::Ticket;
use crate::journal::handle::options::JournalOptions;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::log::Log;
use crate::journal::writer::Writer;
use crate::record::{Epoch, LaneId, Number, Position};
use crate::sync::locked;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The newest generation, as an opening found it.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    /// The generation's first number.
    pub(crate) first: Number,
    /// The last one that counts; before `first` where there is none.
    pub(crate) last: Number,
    /// Count of the records that count.
    pub(crate) records: u64,
    /// First position of each lane in it.
    pub(crate) begin: HashMap<LaneId, Position>,
}

/// A small newest generation in a fresh database, so that it can be gone on in.
pub(crate) fn carry_over(
    journal: &Journal,
    first: Number,
    closed: &GenerationBytes,
    last: Number,
) -> Result<Option<Arc<ActiveGeneration>>, JournalError> {
    let log = &journal.0.log;
    // Without its manifest nothing is known of its lanes: it is closed as it is.
    let Some(manifest) = log.manifest(first) else { return Ok(None) };
    let manifest = carried(manifest, journal.epoch(), &locked(&journal.0.books));
    Ok(Some(log.carry_over(manifest, closed, last)?))
}

/// The newest generation in another file, synced: whether what it holds is on stable storage can be known in no other way.
/// `None`: the disk has no room for it, and takes the sync of the file as it is.
///
/// # Errors
/// The disk refuses: what cannot be made sure of is not counted, and a redelivery of it is not acknowledged.
pub(crate) fn made_sure(
    log: &Log,
    tail: &Newest,
    closed: &GenerationBytes,
    epoch: Epoch,
    books: &[LaneLedger],
    options: &JournalOptions,
) -> Result<Option<Arc<ActiveGeneration>>, JournalError> {
    if tail.records == 0 {
        return Ok(None);
    }
    let begin = |book: &LaneLedger| ManifestLane {
        id: book.id,
        name: book.name.clone(),
        next: tail.begin.get(&book.id).copied().unwrap_or(book.next),
    };
    let noted =
        || Manifest { format: FRAME_VERSION, first: tail.first, epoch, lanes: books.iter().map(begin).collect() };
    let manifest = log.manifest(tail.first).map_or_else(noted, |manifest| carried(manifest, epoch, books));
    match log.carry_over(manifest, closed, tail.last).map_err(JournalError::from) {
        Ok(generation) => Ok(Some(generation)),
        // With the reserve given up already. Only draining makes room here, and for that it has to be open.
        Err(error)
            if error.is_full()
                && !log.is_distrusted(tail.first)
                && !Reserve::new(&options.path, options.reserve_bytes.max(1)).is_there() =>
        {
            tracing::warn!(%error, "disk full: the last commit is not written anew, its sync is believed");
            Ok(None)
        }
        // What is there is drained; nothing is acknowledged before the writer has made sure of it.
        Err(error) if error.is_read_only() && options.runtime.is_some() => {
            log.distrust_newest();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl<T: Ticket> Writer<T> {
    /// Before anything is taken: the state is on the disk again, and so is all that was found at the opening.
    pub(crate) fn make_sure(&mut self) -> Result<(), JournalError> {
        if self.journal.0.beside.load(Relaxed) {
            self.journal.0.write_state()?;
        }
        if !self.sure
            && self.active.is_none()
            && let Some(generation) = self.written_anew()?
        {
            self.active = Some(generation);
        }
        self.sure = true;
        Ok(())
    }

    /// The newest generation in another file, where one of its syncs failed; `None`: nothing of it has to be taken along.
    pub(crate) fn written_anew(&self) -> Result<Option<Arc<ActiveGeneration>>, JournalError> {
        let log = &self.journal.0.log;
        let Some(first) = log.firsts().last().copied().filter(|first| *first < self.next) else { return Ok(None) };
        let Some(manifest) = log.manifest(first).filter(|_| log.is_distrusted(first)) else { return Ok(None) };
        let closed = match log.closed(first) {
            // Nothing is lost by leaving it where it is, and intake need not wait for a file that only lanes read.
            Err(error) if self.sure && !error.passes() => {
                tracing::warn!(%error, first = first.0, "a file of which a sync failed cannot be read now, and stays as it is");
                return Ok(None);
            }
            closed => closed?,
        };
        let Some(closed) = closed else { return Ok(None) };
        if !closed.numbers().take_while(|number| *number < self.next).eq(first.until(self.next)) {
            // It stays where it is, for a time when it can be read whole again.
            return Ok(None);
        }
        let manifest = Manifest { format: FRAME_VERSION, epoch: self.journal.epoch(), ..manifest };
        let generation = log.carry_over(manifest, &closed, self.next.before())?;
        tracing::info!(first = first.0, "records of a file of which a sync failed are written into another one");
        Ok(Some(generation))
    }
}

/// What is noted of a generation that this start carries over: the lanes that it has added, too, whose first record it
/// will hold; and without their names those that are forgotten.
fn carried(mut manifest: Manifest, epoch: Epoch, books: &[LaneLedger]) -> Manifest {
    // What is carried over is written anew, whatever it was.
    (manifest.epoch, manifest.format) = (epoch, FRAME_VERSION);
    for lane in &mut manifest.lanes {
        if !books.iter().any(|book| book.id == lane.id) {
            lane.name.clear();
        }
    }
    let added = books.iter().filter(|book| !manifest.lanes.iter().any(|lane| lane.id == book.id));
    let added: Vec<ManifestLane> =
        added.map(|book| ManifestLane { id: book.id, name: book.name.clone(), next: Position::FIRST }).collect();
    manifest.lanes.extend(added);
    manifest
}
