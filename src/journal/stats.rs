//! What `status` shows of the journal: one look, made when a caller asks for it.

use crate::histogram::Histogram;
use crate::journal::checkpoint::state_loss::StateLoss;
use crate::journal::handle::Journal;
use crate::journal::handle::health::WriterHealth;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::ledger::chain::Chain;
use crate::journal::quarantine::QuarantineCounts;
use crate::record::{Epoch, Number, Position};
use crate::sync::locked;
use serde::Serialize;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// What `status` shows of one lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneStats {
    /// Name of the queue whose lane this is.
    pub name: String,
    /// Records appended to the lane since the journal was made.
    pub appended: u64,
    /// Positions that SQS accepted.
    pub accepted: u64,
    /// Waiting: the lane's depth.
    pub waiting: u64,
    /// Positions evicted at a bound.
    pub evicted: u64,
    /// Positions whose record went to the quarantine.
    pub quarantined: u64,
    /// Positions whose record could not be read back.
    pub damaged: u64,
    /// Lowest unsettled position; all below have an outcome.
    pub cursor: Position,
    /// Lost records that no durable gap record announces yet.
    pub unannounced: u64,
    /// The running hash over all that was sent; `None` while no queue sends from the lane.
    pub chain: Option<ChainStats>,
}

/// What a reader holds its own sum against ([`crate::record::chain`]).
#[derive(Clone, Debug, Serialize)]
pub struct ChainStats {
    /// The first position of the sum.
    pub since: Position,
    /// The position behind its last one.
    pub next: Position,
    /// The sum, 64 hex digits.
    pub value: String,
    /// How often the sum began anew because not all of it could be had any more.
    pub restarts: u64,
}

impl ChainStats {
    fn of(chain: &Chain) -> Option<ChainStats> {
        let value = hex::encode(chain.value);
        let stats = ChainStats { since: chain.since, next: chain.next, value, restarts: chain.restarts };
        (chain.settings != 0).then_some(stats)
    }
}

impl LaneStats {
    pub(crate) fn of(book: &LaneLedger) -> LaneStats {
        LaneStats {
            name: book.name.clone(),
            appended: book.appended(),
            accepted: book.ledger.accepted,
            waiting: book.waiting(),
            evicted: book.ledger.evicted,
            quarantined: book.ledger.quarantined,
            damaged: book.ledger.damaged,
            cursor: book.cursor,
            unannounced: book.holes.all().iter().map(|hole| hole.count).sum(),
            chain: ChainStats::of(&book.chain),
        }
    }
}

/// What `status` shows of an eviction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EvictionStats {
    /// The bound that was reached, as the configuration spells it.
    pub bound: &'static str,
    /// Seconds since the eviction.
    pub ago_s: u64,
}

/// What `status` shows of a state that was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct StateLossStats {
    /// Epoch of the start that found it lost.
    pub epoch: Epoch,
    /// Which records below this number had an outcome is not known.
    pub before: Number,
    /// Records that were not on disk any more: they count as accepted, and nothing proves it.
    pub presumed: u64,
}

impl StateLossStats {
    fn of(loss: StateLoss) -> StateLossStats {
        let StateLoss { epoch, before, presumed } = loss;
        StateLossStats { epoch, before, presumed }
    }
}

/// What `status` shows of the journal.
#[derive(Clone, Debug, Serialize)]
pub struct JournalStats {
    /// Journal id, 16 hex digits.
    pub journal_id: String,
    /// Count of opens since the journal was made.
    pub epoch: Epoch,
    /// Highest number on stable storage.
    pub durable: Number,
    /// Count of generations on disk.
    pub generations: usize,
    /// Bytes of the generations on disk.
    pub bytes: u64,
    /// Bound for the bytes on disk.
    pub max_bytes: u64,
    /// Bound for the age of what waits, in seconds, if there is one.
    pub max_age_s: Option<u64>,
    /// Bytes that stay free on the file system.
    pub min_free: u64,
    /// Whether the reserve for a full disk is there.
    pub reserve: bool,
    /// The last eviction since the start, if there was one.
    pub evicted: Option<EvictionStats>,
    /// What the writer does now.
    pub writer: WriterHealth,
    /// Whether the journal's folder is the one that was opened: it may be moved, replaced or unmounted under an agent that runs.
    pub in_place: bool,
    /// Parts of the journal that the disk no longer gives back, and that were set aside.
    pub set_aside: usize,
    /// Generations of other journals that lay in its folder, and were set aside.
    pub foreign: usize,
    /// The last loss of its state, if there was one since it was made.
    pub state_loss: Option<StateLossStats>,
    /// Its disk is read-only: what came before is drained, and new messages stay with the broker.
    pub read_only: bool,
    /// How often the writer panicked since the start, and was started again.
    pub writer_panics: u64,
    /// Commits since the start that the database did not just append. None has been seen so far.
    pub not_appended: u64,
    /// How long commits took since the start, from the first attempt to stable storage.
    #[serde(skip)]
    pub commits: Histogram,
    /// Quarantined records and oversize messages on disk.
    pub quarantine: QuarantineCounts,
    /// Every lane, configured or not.
    pub lanes: Vec<LaneStats>,
}

impl Journal {
    /// A snapshot of the books and of what is on disk, of this moment.
    pub fn stats(&self) -> JournalStats {
        let (durable, lanes) = {
            let books = locked(&self.0.books);
            (*self.0.durable.borrow(), books.iter().map(LaneStats::of).collect())
        };
        let (set_aside, foreign) = crate::journal::log::aside::counts(&self.0.path);
        JournalStats {
            journal_id: self.id().to_string(),
            epoch: self.epoch(),
            durable,
            generations: self.0.log.firsts().len(),
            bytes: self.0.log.disk_bytes(),
            max_bytes: self.0.bounds.max_bytes,
            max_age_s: self.0.bounds.max_age.map(|age| age.as_secs()),
            min_free: self.0.bounds.min_free,
            reserve: self.0.reserve.is_there(),
            evicted: locked(&self.0.evicted).map(|(bound, at)| {
                let ago_ms = self.0.clock.now().boottime_ms.saturating_sub(at);
                EvictionStats { bound, ago_s: ago_ms / 1000 }
            }),
            writer: locked(&self.0.health).clone(),
            in_place: is_same_file(&self.0.lock, &self.0.path.join("lock")),
            set_aside,
            foreign,
            state_loss: self.0.loss.map(StateLossStats::of),
            read_only: self.0.beside.load(Relaxed),
            writer_panics: self.0.panics.load(Relaxed),
            not_appended: self.0.log.strays(),
            commits: locked(&self.0.commits).clone(),
            quarantine: self.0.quarantine.counts(),
            lanes,
        }
    }
}

/// Whether the path leads to this open file. A path that the system does not let us look at says nothing.
fn is_same_file(open: &File, path: &Path) -> bool {
    match (open.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        (_, Err(error)) => error.kind() != ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_moved_or_replaced_is_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, moved) = (folder.path().join("journal"), folder.path().join("moved"));
        std::fs::create_dir(&journal).expect("made");
        let lock = File::create(journal.join("lock")).expect("made");
        let is_there = || is_same_file(&lock, &journal.join("lock"));
        assert!(is_there());
        std::fs::rename(&journal, &moved).expect("moved");
        assert!(!is_there());
        std::fs::create_dir(&journal).expect("made");
        File::create(journal.join("lock")).expect("made");
        assert!(!is_there(), "another journal in its place");
        std::fs::remove_dir_all(&journal).expect("removed");
        std::fs::rename(&moved, &journal).expect("put back");
        assert!(is_there());
    }
}
