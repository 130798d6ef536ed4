//! The tail of the log: what its newest generation tells, from which the next number and every lane's next position follow.

use crate::journal::error::JournalError;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::log::Log;
use crate::journal::recovery::lanes::Traces;
use crate::journal::writer::anew::Newest;
use crate::record::{Epoch, JournalId, LaneId, Number, Position, Record};
use std::collections::HashMap;
use std::sync::Arc;

/// What the tail of the log tells.
#[derive(Default)]
pub(crate) struct LogTail {
    pub(crate) newest: Newest,
    pub(crate) missing: u64,
    pub(crate) in_doubt: u64,
    pub(crate) epoch: Epoch,
    pub(crate) journal: Option<JournalId>,
    pub(crate) next: HashMap<LaneId, Position>,
    pub(crate) lanes: Traces,
    pub(crate) bytes: u64,
    /// Nothing says that the sync of its last commit ever succeeded.
    pub(crate) unproven: bool,
}

impl LogTail {
    fn take(&mut self, record: &Record, bytes: usize) {
        self.newest.last = self.newest.last.max(record.number);
        self.epoch = self.epoch.max(record.epoch);
        self.journal = Some(record.journal);
        self.bytes += bytes as u64;
        self.newest.records += 1;
        self.lanes.take(record);
        for slot in &record.slots {
            self.newest.begin.entry(slot.lane).or_insert(slot.position);
        }
        self.stand_at_least(ends(record));
    }

    /// Takes in positions behind which each lane goes on.
    fn stand_at_least(&mut self, ends: impl Iterator<Item = (LaneId, Position)>) {
        for (lane, end) in ends {
            let next = self.next.entry(lane).or_default();
            *next = (*next).max(end);
        }
    }
}

/// Where the lanes of a record go on behind it.
fn ends(record: &Record) -> impl Iterator<Item = (LaneId, Position)> {
    record.slots.iter().map(|slot| (slot.lane, slot.position.next()))
}

/// While the newest generations hold fewer records, the one before them is looked at too, for the key index.
const TAIL_MIN: u64 = 2_000;
/// Generations that are looked at for it at most: with payloads so large a start would take too long.
const TAIL_GENERATIONS: usize = 16;

/// A generation as it was found, and the number at which what counts of it ends.
pub(crate) type Counted = (Arc<GenerationBytes>, Number);

/// `high`: the recorded high water, unless the state is lost; `proven`: what the disk itself says of it.
pub(crate) fn read_tail(
    log: &Log,
    high: Option<Number>,
    proven: Number,
) -> Result<(LogTail, Vec<Counted>), JournalError> {
    let mut tail = LogTail { newest: Newest { first: Number(1), ..Newest::default() }, ..LogTail::default() };
    let firsts = log.firsts();
    let Some(&first) = firsts.last() else { return Ok((tail, Vec::new())) };
    tail.newest.first = first;
    tail.newest.last = first.before();
    match log.manifest(first) {
        Some(manifest) => {
            tail.epoch = manifest.epoch;
            tail.stand_at_least(manifest.lanes.iter().map(|lane| (lane.id, lane.next)));
        }
        None => stood_before(log, &firsts, &mut tail)?,
    }
    let closed = log.closed(first)?.expect("it is in the row");
    if let Some(version) = closed.newer() {
        return Err(JournalError::Newer(format!("written by a newer tidegate (frames of version {version})")));
    }
    // Without a state it is unknown what was durable, so nothing is left out.
    let end = high.and_then(|high| closed.breaks_off_at(high.max(first.before()))).unwrap_or(Number::MAX);
    if end != Number::MAX {
        tracing::warn!(from = end.0, "the last commit was cut off and is left out: nothing of it was acknowledged");
    }
    tail.in_doubt = high.map_or(0, |high| closed.in_doubt(high.max(first.before())));
    // Numbers and positions follow from it: what cannot be read now is waited for, not taken for missing.
    for read in closed.records(Number(0), end) {
        let (record, bytes) = read.map_err(JournalError::newest)?;
        tail.take(&record, bytes);
    }
    tail.unproven = tail.newest.records > 0 && tail.newest.last > closed.proven(proven.max(first.before()));
    tail.missing = (tail.newest.last.next() - first).saturating_sub(tail.newest.records);
    let mut newest = vec![(closed, end)];
    let mut records = tail.newest.records;
    for pair in firsts.windows(2).rev().take(TAIL_GENERATIONS - 1) {
        if records >= TAIL_MIN {
            break;
        }
        // For the key index alone: whatever is wrong with it waits for its reader.
        let Some(closed) = log.closed(pair[0]).ok().flatten() else { break };
        records += closed.numbers().count() as u64;
        newest.push((closed, pair[1]));
    }
    newest.reverse();
    Ok((tail, newest))
}

/// The id that the newest record has, whichever generation it is in.
pub(crate) fn journal_of(log: &Log) -> Result<Option<JournalId>, JournalError> {
    for first in log.firsts().into_iter().rev() {
        let Some(closed) = log.closed(first)? else { continue };
        if let Some(read) = closed.records(Number(0), Number::MAX).next() {
            return Ok(Some(read.map_err(JournalError::newest)?.0.journal));
        }
    }
    Ok(None)
}

/// Where the lanes stood when the newest generation was begun, whose note is lost: what the generations before it hold says so,
/// back to one that has a note.
fn stood_before(log: &Log, firsts: &[Number], tail: &mut LogTail) -> Result<(), JournalError> {
    for first in firsts.iter().rev().skip(1) {
        let closed = log.closed(*first)?.expect("it is in the row");
        for read in closed.records(Number(0), Number::MAX) {
            let (record, _) = read.map_err(JournalError::newest)?;
            tail.stand_at_least(ends(&record));
        }
        if let Some(manifest) = log.manifest(*first) {
            tail.stand_at_least(manifest.lanes.iter().map(|lane| (lane.id, lane.next)));
            break;
        }
    }
    Ok(())
}
