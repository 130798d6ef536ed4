//! The window: what a lane has read and not settled.
//!
//! It is read ahead as long as it holds too few groups to fill the flights. Its records are bounded in number, and those that
//! are kept in memory in bytes; what it lacks is read again when its turn comes. A window that is full of groups that wait makes room
//! ([`crate::drain::look_back`]).

use crate::drain::duplicate::SendHistory;
use crate::drain::send;
use crate::drain::task::{Drain, Event, Held};
use crate::journal::{JournalError, ReadRecord, Reader};
use crate::profile::order_key;
use crate::record::Position;
use crate::sqs::BatchSender;
use crate::sqs::limits::BATCH_ENTRIES;
use futures_util::FutureExt;
use std::time::Duration;
use tokio::time::Instant;

/// Records read in one go, off the runtime's threads.
pub(super) const READ_RECORDS: usize = 256;
pub(super) const READ_BYTES: usize = 512 * 1024;
/// Runs of settled positions between such as wait, above which the lane reads no further: some 4 MB in memory.
const RUNS_MAX: usize = 65_536;
/// Bytes of records kept in memory for the window; the rest is read again when its turn comes.
const KEEP_BYTES: usize = 1024 * 1024;
/// Between attempts to read a journal that refuses.
const READ_RETRY: Duration = Duration::from_secs(2);

impl<S: BatchSender> Drain<S> {
    /// Reads when the window has too few groups to fill the flights: what is still in memory at once, and the rest off the
    /// runtime's threads.
    pub(super) fn read_ahead(&mut self) {
        while self.wants_more() {
            let Some(mut reader) = self.reader.take() else { return };
            let Some(records) = reader.read_from_memory(READ_RECORDS, READ_BYTES) else {
                return self.read_from_disk(reader);
            };
            self.take_in(&reader, records);
            self.reader = Some(reader);
        }
    }

    fn wants_more(&mut self) -> bool {
        let wanted = self.governor.allowed() * BATCH_ENTRIES;
        if self.at_end || self.reading_waits() || self.batcher.ready_groups() >= wanted {
            return false;
        }
        !self.reaches_too_far() && (!self.batcher.is_full(self.window) || self.leave_behind())
    }

    /// Whether a refusal of the disk puts the next attempt to read off.
    pub(super) fn reading_waits(&self) -> bool {
        self.read_after.is_some_and(|after| Instant::now() < after)
    }

    /// Whether so much is settled in so many places above the cursor that the lane reads no further.
    pub(super) fn reaches_too_far(&self) -> bool {
        // Without records left behind the window is the bound.
        !self.back.left.is_empty() && self.context.lane.settled_runs() >= RUNS_MAX
    }

    fn read_from_disk(&mut self, mut reader: Reader) {
        let read = tokio::task::spawn_blocking(move || {
            let read = reader.read(READ_RECORDS, READ_BYTES);
            (reader, read)
        });
        let lane = self.context.lane.clone();
        let read = read.map(move |joined| match joined {
            Ok((reader, read)) => Event::Read(reader, read),
            // The reader went down with a panic; a new one starts at the cursor, and settled positions are passed over.
            Err(error) => Event::Read(lane.reader(), Err(JournalError::reading(&error.to_string()))),
        });
        self.events.push(read.boxed());
    }

    pub(super) fn could_not_read(&mut self, error: &JournalError) {
        if self.cannot_read.is_none() {
            tracing::warn!(queue = self.lane_name(), %error, "journal cannot be read now");
        }
        self.cannot_read = Some(error.to_string());
        self.read_after = Some(Instant::now() + READ_RETRY);
    }

    pub(super) fn take_in(&mut self, reader: &Reader, records: Vec<ReadRecord>) {
        self.cannot_read = None;
        self.read_after = None;
        self.at_end = records.is_empty();
        self.read_upto = self.read_upto.max(reader.place().position);
        for read in records {
            // Read twice (a reader was made anew at the cursor), or behind what its group has left in the journal.
            if !self.held.contains_key(&read.position) && !self.back.left.has(&order_key(&read.record)) {
                self.take_one(read);
            }
        }
    }

    /// A record that was read comes into the window.
    pub(super) fn take_one(&mut self, read: ReadRecord) {
        let (boot, now) = (self.context.clock.boot(), self.context.clock.now().boottime_ms);
        let history = SendHistory::from_marks(read.maybe_sent);
        let bytes = send::estimate(&read.record);
        let keep = self.kept_bytes + bytes <= KEEP_BYTES;
        self.kept_bytes += if keep { bytes } else { 0 };
        let record = &read.record;
        // A record of another boot is at least as old as this one.
        let received_ms = if record.boot == boot { record.draft.received.boottime_ms } else { 0 };
        self.batcher.push(read.position, &order_key(record), bytes, history != SendHistory::None);
        let held = Held {
            number: record.number,
            received_ms: received_ms.min(now),
            history,
            refusals: 0,
            failures: 0,
            suspicion: None,
            record: keep.then(|| read.record.clone()),
        };
        self.held.insert(read.position, held);
    }

    /// A position is settled: it leaves the window.
    pub(super) fn release(&mut self, position: Position) {
        if let Some(group) = self.batcher.done(position) {
            self.back.left.want(&group);
        }
        self.forget(position);
    }

    /// What the journal has evicted, and what a person has put into quarantine, leaves the window.
    pub(super) fn forget_evicted(&mut self) {
        let mut gone = self.batcher.forget_below(self.context.lane.cursor());
        if std::mem::take(&mut self.withdrawn) {
            let settled = self.held.keys().copied().filter(|position| self.context.lane.is_settled(*position));
            gone.extend(settled.filter(|position| self.batcher.forget(*position)));
        }
        if !gone.is_empty() {
            gone.into_iter().for_each(|position| self.forget(position));
            self.back.left.want_all(|group| self.batcher.len_of(group));
        }
    }

    pub(super) fn forget(&mut self, position: Position) {
        let Some(held) = self.held.remove(&position) else { return };
        if held.suspicion.is_some() {
            self.suspected.remove(&position);
        }
        if let Some(record) = held.record {
            self.kept_bytes = self.kept_bytes.saturating_sub(send::estimate(&record));
        }
    }
}
