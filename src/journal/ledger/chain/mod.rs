//! The chain of a lane, as far as it has come: the sum ([`crate::record::chain`]) over its positions from `since` to before
//! `next`. Pure.
//!
//! It follows the cursor: a position counts once all before it are settled, with the digest of what was accepted, or as a hole.
//! What is settled out of turn waits here. Of the digests the lowest [`DIGESTS_MAX`] are kept; which positions are holes is
//! kept exactly, as runs. What is neither was accepted and is not at hand: it is read from the journal again, and rendered again,
//! once the chain has come there ([`crate::journal::chain`]). So a reader of all messages and gap records has the same
//! sum.
//!
//! The state file has the chain in one picture with the cursor ([`crate::journal::checkpoint::lane_state`]), without the digests. What
//! a crash takes back is settled again, and sums up to the same: the same record under the same settings has the same digest,
//! and one that another run may have sent otherwise has none ([`crate::sqs::entry::RecordDigest`]).
//!
//! **It never holds anything up and never fails.** Where a digest cannot be had any more, the sum begins anew behind that, and
//! counts that it did. A reader finds another `since`, and no sum that is wrong. It begins anew, too, where the settings are others
//! than those that the records before were sent under: at the first position that was surely not sent under them, which may lie
//! above the cursor. There it waits, and is empty until then.

use crate::record::chain::{Digest, HOLE, START, link};
use crate::record::{Number, Position};
use std::collections::BTreeMap;

/// Digests of what was accepted out of turn that are kept, the lowest ones: some 300 KB.
pub(crate) const DIGESTS_MAX: usize = 4_096;
/// Runs of holes that are kept: with more, the chain begins anew in their middle.
pub(crate) const HOLES_MAX: usize = 4_096;
/// Positions that are summed up in one go, while others wait for the books: less than a millisecond on a slow gateway.
pub(crate) const STEPS: usize = 256;
/// Turns of so many steps that a caller waits for: 16,384 positions.
pub(crate) const TURNS: usize = 64;

/// One lane's chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    /// What the digests depend on beside the records; 0: the chain is not kept, and only follows the cursor.
    pub(crate) settings: u64,
    /// The first position of the sum.
    pub(crate) since: Position,
    /// Behind its last one. Above the cursor only while the sum is empty.
    pub(crate) next: Position,
    pub(crate) value: Digest,
    /// How often it began anew because a digest could not be had.
    pub(crate) restarts: u64,
    /// So many of them were logged.
    told: u64,
    /// The record at `next` has this number or a later one; means something only while `next` lies below the cursor.
    from: Number,
    /// What could be had of positions below was read: what is not at hand of them cannot be had.
    looked: Position,
    /// And so was every number below.
    upto: Number,
    digests: BTreeMap<Position, Digest>,
    /// Ends of the runs, by their first positions; none touching the next.
    pub(crate) holes: BTreeMap<Position, Position>,
}

/// What the chain needs to come on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// Nothing: it is at the cursor.
    Nothing,
    /// Time: more is at hand.
    Time,
    /// Records that lie from this number on, up to before this position.
    Records(Number, Position),
}

impl Chain {
    /// One that is not kept yet.
    pub(crate) fn at(cursor: Position) -> Chain {
        Chain {
            settings: 0,
            since: cursor,
            next: cursor,
            value: START,
            restarts: 0,
            told: 0,
            from: Number(0),
            looked: Position(0),
            upto: Number(0),
            digests: BTreeMap::new(),
            holes: BTreeMap::new(),
        }
    }

    /// As it was before a restart. `from`: where its records lie, at the earliest.
    pub(crate) fn restored(mut self, restarts: u64, from: Number) -> Chain {
        (self.restarts, self.told, self.from) = (restarts, restarts, from);
        self
    }

    /// From here on records are sent under these settings. `fresh`: the first position that none before can have been sent
    /// under others.
    pub(crate) fn keep(&mut self, settings: u64, fresh: Position) {
        if self.settings == settings {
            return;
        }
        if self.settings != 0 && self.next > self.since {
            self.restarts += 1;
        }
        self.settings = settings;
        self.begin(fresh);
    }

    /// A position is about to be booked as accepted.
    pub(crate) fn accept(&mut self, position: Position, digest: Digest) {
        if self.settings == 0 || position < self.next {
            return;
        }
        self.digests.insert(position, digest);
        // What was read again goes on at once.
        if self.digests.len() > DIGESTS_MAX
            && self.digests.last_key_value().is_some_and(|(last, _)| *last >= self.looked)
        {
            self.digests.pop_last();
        }
    }

    /// Positions in `from..end` are about to be booked as anything else.
    pub(crate) fn lose(&mut self, from: Position, end: Position) {
        let (mut from, mut end) = (from.max(self.next), end);
        if self.settings == 0 || from >= end {
            return;
        }
        if let Some((before, stop)) = self.holes.range(..from).next_back().map(|(before, stop)| (*before, *stop))
            && stop >= from
        {
            (from, end) = (before, end.max(stop));
        }
        while let Some((next, stop)) = self.holes.range(from..=end).next().map(|(next, stop)| (*next, *stop)) {
            self.holes.remove(&next);
            end = end.max(stop);
        }
        self.holes.insert(from, end);
        if self.holes.len() > HOLES_MAX {
            let middle = self.holes.keys().nth(HOLES_MAX / 2).copied();
            self.begin_anew(middle.unwrap_or(end));
        }
    }

    /// The cursor was at `before`, whose record has the number `from` or a later one, and now is at `cursor`.
    pub(crate) fn follow(&mut self, before: Position, from: Number, cursor: Position) {
        if self.next >= before {
            self.from = from;
        }
        if self.settings == 0 {
            self.begin(self.next.max(cursor));
        } else {
            self.sum(cursor, STEPS);
        }
    }

    /// Comes on by so many steps, and says what it needs to come on further.
    pub(crate) fn go_on(&mut self, cursor: Position, steps: usize) -> Need {
        self.sum(cursor, steps);
        if self.next >= cursor {
            return Need::Nothing;
        }
        if self.at_hand().is_none() {
            if self.next >= self.looked {
                return Need::Records(self.from.max(self.upto), cursor);
            }
            let known = self.digests.keys().next().into_iter().chain(self.holes.keys().next());
            let next = known.copied().min().map_or(self.looked, |known| known.min(self.looked));
            self.begin_anew(next);
        }
        Need::Time
    }

    /// Whether the digest of a position is to be had from its record.
    pub(crate) fn lacks(&self, position: Position) -> bool {
        position >= self.next && !self.digests.contains_key(&position) && !self.is_hole(position)
    }

    /// Records were read again under these settings, up to `upto`; all that can be had below `looked` is among them.
    pub(crate) fn take(&mut self, settings: u64, read: Vec<(Position, Digest)>, upto: Number, looked: Position) {
        if self.settings != settings {
            return;
        }
        for (position, digest) in read {
            if self.lacks(position) {
                self.digests.insert(position, digest);
            }
        }
        (self.upto, self.looked) = (self.upto.max(upto), self.looked.max(looked));
    }

    /// Whether it lies behind the cursor.
    pub(crate) fn lags(&self, cursor: Position) -> bool {
        self.next < cursor
    }

    /// The lowest number whose record it may have to read, now or after a restart, in which no digest is at hand.
    pub(crate) fn reads_from(&self, cursor: Position) -> Option<Number> {
        let within = |(from, end): (&Position, &Position)| (*end).min(cursor) - (*from).max(self.next);
        let holes: u64 = self.holes.range(..cursor).map(within).sum();
        (holes < cursor - self.next).then_some(self.from)
    }

    /// What it would have to read of the numbers below `end` is given up, to make room. What is at hand is summed up first.
    pub(crate) fn forgo(&mut self, cursor: Position, end: Number) {
        for _ in 0..TURNS {
            if self.go_on(cursor, STEPS) != Need::Time {
                break;
            }
        }
        if self.reads_from(cursor).is_some_and(|from| from < end) {
            self.begin_anew(cursor);
        }
    }

    /// A digest cannot be had: the sum begins at `at`.
    pub(crate) fn begin_anew(&mut self, at: Position) {
        let holds_sum = self.next > self.since;
        if self.settings != 0 && (at > self.next || at == self.next && holds_sum) {
            self.restarts += 1;
            self.begin(at);
        }
    }

    /// Where it has begun anew, if that was not logged yet.
    pub(crate) fn news(&mut self) -> Option<Position> {
        let news = self.restarts > self.told;
        self.told = self.restarts;
        news.then_some(self.since)
    }

    fn begin(&mut self, at: Position) {
        (self.since, self.next, self.value) = (at, at, START);
        self.let_go();
    }

    fn sum(&mut self, cursor: Position, steps: usize) {
        for _ in 0..steps {
            let Some(digest) = self.at_hand().filter(|_| self.next < cursor) else { return };
            self.value = link(&self.value, &digest);
            self.next = self.next.next();
            self.let_go();
        }
    }

    /// What the next position counts as, if that is known here.
    fn at_hand(&self) -> Option<Digest> {
        let of_next = || self.digests.first_key_value().filter(|(first, _)| **first == self.next);
        if self.is_hole(self.next) { Some(HOLE) } else { of_next().map(|(_, digest)| *digest) }
    }

    fn is_hole(&self, position: Position) -> bool {
        self.holes.range(..=position).next_back().is_some_and(|(_, end)| position < *end)
    }

    /// Lets go of what it is past.
    fn let_go(&mut self) {
        while self.digests.first_key_value().is_some_and(|(first, _)| *first < self.next) {
            self.digests.pop_first();
        }
        while self.holes.first_key_value().is_some_and(|(_, end)| *end <= self.next) {
            self.holes.pop_first();
        }
        // Not before: after a crash it is read once more.
        if self.next >= self.looked {
            self.from = self.from.max(self.upto);
        }
    }
}

#[cfg(test)]
mod tests;
