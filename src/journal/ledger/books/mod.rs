//! The books: what each lane has appended, settled and may have sent. Pure; no disk, no clock.
//!
//! Positions in a lane are contiguous from 1, and each gets exactly one outcome, the first one that is booked. So
//! `appended = accepted + evicted + quarantined + damaged + waiting` holds at every instant, by construction. The state
//! file gets one consistent copy of this: when not all settled intervals fit, those left out are counted as waiting
//! there, and so are only repeated after a crash, never lost and never counted twice.
//!
//! Only positions that were appended can be settled: that one bound holds here and for what the state file says, so what is
//! written can always be read. Numbers and positions that were read from a disk may be anything: sums with them saturate.

use crate::clock::BootId;
use crate::journal::ledger::chain::Chain;
use crate::journal::ledger::gaps::PendingGaps;
pub use crate::journal::ledger::outcome::{Outcome, OutcomeCounts};
use crate::journal::ledger::seen::Seen;
use crate::journal::ledger::settled::Settled;
use crate::record::chain::Digest;
use crate::record::{Epoch, LaneId, Number, Position};
use serde::{Deserialize, Serialize};

/// 'Attempted up to here, not before this time.' Durable before the first attempt of any position it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptMark {
    /// Last position that may have been attempted.
    #[serde(rename = "u")]
    pub upto: Position,
    /// Epoch of the attempts; records of later epochs cannot have been meant.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// Boot of the attempts.
    #[serde(rename = "b", with = "boot_bytes")]
    pub boot: BootId,
    /// Earliest time of an attempt, in milliseconds of that boot.
    #[serde(rename = "t")]
    pub since_ms: u64,
}

impl AttemptMark {
    /// One mark for both: the earlier time and, where they differ, the older boot, of which nothing is known.
    pub(crate) fn after(self, oldest: AttemptMark) -> AttemptMark {
        AttemptMark { upto: self.upto.max(oldest.upto), epoch: self.epoch, ..oldest }
    }
}

mod boot_bytes {
    use crate::clock::BootId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(boot: &BootId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&boot.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BootId, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(from)?;
        let bytes = bytes.as_slice().try_into().map_err(|_| serde::de::Error::custom("a boot id has 16 bytes"))?;
        Ok(BootId(bytes))
    }
}

/// Positions that one mark runs ahead of the first one it is made for: a state write then costs next to nothing.
pub const MARK_STRIDE: u64 = 1_000;
/// A mark older than this is not used for further first attempts: its time would be too early for them.
pub const MARK_AGE_MS: u64 = 60_000;
/// Marks kept; the two oldest become one (with the earlier time) when there are more.
pub(crate) const MARKS_MAX: usize = 8;

/// One lane's books: positions, outcomes and attempt marks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneLedger {
    /// The lane's id in records.
    pub id: LaneId,
    /// The queue's name in the configuration.
    pub name: String,
    /// Position of the next record appended.
    pub next: Position,
    /// `next` as this open found it: what is below is on disk, or missing there.
    pub found: Position,
    /// Lowest unsettled position; all below have an outcome.
    pub cursor: Position,
    /// Number to read from: every record of this lane below it is settled. It may be lower than it could be ([`Seen`]).
    pub read_from: Number,
    /// Positions above the cursor that are settled already.
    pub(crate) settled: Settled,
    /// Positions read, with their numbers, from the cursor on.
    seen: Seen,
    /// Attempt marks, oldest first; at most `MARKS_MAX`.
    pub(crate) marks: Vec<AttemptMark>,
    /// The newest mark is not on disk yet, as far as is known.
    unwritten: bool,
    /// Highest position attempted in this epoch.
    attempted: Position,
    /// The queue takes nothing twice within five minutes: what it accepted may lack in the state file for a while.
    pub absorbed: bool,
    /// Counts of settled positions.
    pub ledger: OutcomeCounts,
    /// Losses in the ledger that no durable gap record announces yet.
    pub(crate) holes: PendingGaps,
    /// The sum over all that was sent.
    pub(crate) chain: Chain,
}

impl LaneLedger {
    /// A new lane whose first record will be at or after `number`.
    pub fn new(id: LaneId, name: String, number: Number) -> LaneLedger {
        LaneLedger {
            id,
            name,
            next: Position::FIRST,
            found: Position::FIRST,
            cursor: Position::FIRST,
            read_from: number,
            settled: Settled::default(),
            seen: Seen::default(),
            marks: Vec::new(),
            unwritten: false,
            attempted: Position(0),
            absorbed: false,
            ledger: OutcomeCounts::default(),
            holes: PendingGaps::default(),
            chain: Chain::at(Position::FIRST),
        }
    }

    /// Records appended so far.
    pub fn appended(&self) -> u64 {
        self.next.before().0
    }

    /// Records without an outcome.
    pub fn waiting(&self) -> u64 {
        (self.next - self.cursor).saturating_sub(self.settled.count())
    }

    /// A lane with nothing waiting needs nothing up to the durable high water, and must not hold generations back.
    /// Only right when every durable record is in the books, which the writer sees to.
    pub fn idle_up_to(&mut self, high: Number) {
        if self.waiting() == 0 {
            self.read_from = self.read_from.max(high.next());
        }
    }

    /// Whether a position has an outcome.
    pub fn is_settled(&self, position: Position) -> bool {
        position < self.cursor || self.settled.contains(position)
    }

    /// The unsettled positions in `from..end`, as ranges with both ends. What was not appended is none.
    pub fn unsettled(&self, from: Position, end: Position) -> Vec<(Position, Position)> {
        self.settled.between(from.max(self.cursor), end.min(self.next))
    }

    /// Notes that the record at `position` was read and has `number`; called in order of position.
    pub fn saw(&mut self, position: Position, number: Number) {
        self.seen.add(position, number);
        self.advance();
    }

    /// Books an outcome; the first one of a position counts. Returns whether this was the first.
    pub fn settle(&mut self, position: Position, outcome: Outcome) -> bool {
        debug_assert!(position < self.next, "only appended positions can be settled");
        !self.settle_between(position, position.next(), outcome).is_empty()
    }

    /// Books a position as accepted; `digest`: what the chain has of it as it was sent, where that is sure.
    pub(crate) fn accept(&mut self, position: Position, digest: Option<Digest>) -> bool {
        if let Some(digest) = digest.filter(|_| !self.is_settled(position)) {
            self.chain.accept(position, digest);
        }
        self.settle(position, Outcome::Accepted)
    }

    /// Books every unsettled position in `from..end` with one outcome. Returns them, as ranges with both ends.
    pub fn settle_between(&mut self, from: Position, end: Position, outcome: Outcome) -> Vec<(Position, Position)> {
        let ranges = self.unsettled(from, end);
        for &(from, to) in &ranges {
            if outcome != Outcome::Accepted {
                self.chain.lose(from, to.next());
            }
            self.settled.add(from, to.next(), outcome);
            *self.ledger.of(outcome) += to.next() - from;
        }
        self.advance();
        ranges
    }

    /// Books every unsettled position below `end` with one outcome, in one go; reading continues at `number`. Returns how
    /// many positions that were.
    pub fn settle_below(&mut self, end: Position, number: Number, outcome: Outcome) -> u64 {
        let (cursor, end) = (self.cursor, end.min(self.next));
        let ranges = self.settle_between(cursor, end, outcome);
        if end >= cursor {
            self.read_from = self.read_from.max(number);
        }
        ranges.iter().map(|(from, to)| to.next() - *from).sum()
    }

    /// The settled positions that hold all of `from..end`, with how they ended; `None`: one of these has no outcome. How those
    /// below the cursor ended is not known one by one: they count as accepted.
    pub(crate) fn settled_run(&self, from: Position, end: Position) -> Option<(Position, Position, OutcomeCounts)> {
        if end > self.cursor {
            return self.settled.run_of(from, end);
        }
        Some((from, end, OutcomeCounts { accepted: end - from, ..OutcomeCounts::default() }))
    }

    /// Settles what is not settled of `from..end`, which ended like this; so much was appended, if that is not known.
    pub(crate) fn take_settled(&mut self, from: Position, end: Position, ended: OutcomeCounts) {
        self.next = self.next.max(end);
        let mut left = ended;
        for (from, to) in self.unsettled(from, end) {
            let how = left.some(to.next() - from);
            left = left.without(how).unwrap_or_default();
            if how.accepted == 0 {
                self.chain.lose(from, to.next());
            } else {
                // Which of them is not known, and their records may be gone.
                self.chain.begin_anew(to.next());
            }
            self.settled.add_run(from, to.next(), how);
            self.ledger = self.ledger.with(how);
        }
        self.advance();
    }

    fn advance(&mut self) {
        let (before, from) = (self.cursor, self.read_from);
        self.cursor = self.settled.pass(self.cursor);
        self.chain.follow(before, from, self.cursor);
        if let Some(number) = self.seen.pass(self.cursor) {
            self.read_from = self.read_from.max(number);
        }
    }

    /// The book as a state file has it: at `cursor`, with what is settled above it. `None`: that does not add up.
    pub(crate) fn restored(mut self, cursor: Position, settled: Settled, ledger: OutcomeCounts) -> Option<LaneLedger> {
        (self.cursor, self.settled, self.ledger) = (cursor, settled, ledger);
        self.advance();
        (self.ledger.total() == self.appended() - self.waiting()).then_some(self)
    }

    /// Whether `position` must wait for a durable mark before it is attempted: it lacks one, or the one that covers it is
    /// still being written for another caller.
    pub fn needs_mark(&self, position: Position, epoch: Epoch, now_ms: u64) -> bool {
        self.unwritten || self.lacks_mark(position, epoch, now_ms)
    }

    /// Whether no mark covers a first attempt of `position` in this epoch.
    pub fn lacks_mark(&self, position: Position, epoch: Epoch, now_ms: u64) -> bool {
        let current = self.marks.last().filter(|mark| mark.epoch == epoch);
        !current.is_some_and(|mark| {
            let covers = position <= mark.upto;
            let fresh = position <= self.attempted || now_ms.saturating_sub(mark.since_ms) < MARK_AGE_MS;
            covers && fresh
        })
    }

    /// Adds a mark for `position` and a stride beyond it. It must be durable before the attempt: until
    /// [`LaneLedger::marks_written`] it lets no attempt pass.
    pub fn mark(&mut self, position: Position, epoch: Epoch, boot: BootId, now_ms: u64) {
        // What an older mark of this epoch covered but no send attempted belongs to the new one, with its later time.
        if let Some(last) = self.marks.last_mut().filter(|mark| mark.epoch == epoch) {
            last.upto = last.upto.min(self.attempted);
        }
        self.marks.push(AttemptMark { upto: position + (MARK_STRIDE - 1), epoch, boot, since_ms: now_ms });
        self.unwritten = true;
        let cursor = self.cursor;
        self.marks.retain(|mark| mark.upto >= cursor);
        if self.marks.len() > MARKS_MAX {
            let oldest = self.marks.remove(0);
            self.marks[0] = self.marks[0].after(oldest);
        }
    }

    /// Whether a mark was added that is not known to be on disk.
    pub fn has_unwritten_mark(&self) -> bool {
        self.unwritten
    }

    /// All marks are on disk.
    pub fn marks_written(&mut self) {
        self.unwritten = false;
    }

    /// Takes a mark for granted: the lane's history is lost, and anything may have been sent.
    pub(crate) fn presume(&mut self, mark: AttemptMark) {
        self.marks.push(mark);
    }

    /// Notes an attempt, so that later marks leave its mark in force.
    pub fn attempted(&mut self, position: Position) {
        self.attempted = self.attempted.max(position);
    }

    /// Highest position attempted in this epoch; 0 when none was.
    pub fn attempted_upto(&self) -> Position {
        self.attempted
    }

    /// The mark under which an epoch before `epoch` may have attempted a record; `None`: certainly never sent by one.
    pub fn maybe_sent(&self, position: Position, record_epoch: Epoch, epoch: Epoch) -> Option<AttemptMark> {
        let earlier = |mark: &&AttemptMark| mark.epoch < epoch && mark.epoch >= record_epoch && position <= mark.upto;
        self.marks.iter().find(earlier).copied()
    }
}

impl LaneLedger {
    /// From here on records are sent under these settings, and the chain is kept.
    pub(crate) fn keep_chain(&mut self, settings: u64) {
        let fresh = self.fresh();
        self.chain.keep(settings, fresh);
    }

    /// The first position that no earlier run may have sent, or has settled.
    pub(crate) fn fresh(&self) -> Position {
        let attempted = self.marks.iter().map(|mark| mark.upto.next().min(self.next)).max();
        let settled = self.settled.runs().last().map(|(_, end, _)| end);
        attempted.into_iter().chain(settled).fold(self.cursor, Position::max)
    }
}

#[cfg(test)]
mod tests;
