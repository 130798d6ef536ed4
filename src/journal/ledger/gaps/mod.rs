//! PendingGaps in a lane, until the gap records that announce them ([`crate::journal::ledger::gap_record`]) are durable.
//!
//! A hole is noted in the lane's book under the same lock that books the loss, so one picture of the state file holds
//! both or neither. It leaves the book when the record that announces it is durable. The order that makes this safe:
//! booked and noted → state file → gap record committed → taken out of the book. A crash before the state file finds the
//! records where they were, to be lost and booked again; a crash after it finds the hole in the state, unannounced; a crash
//! after the commit finds the gap record above the recorded high water, and [`crate::journal::recovery::announced::forget_announced`] takes the hole out. So a
//! hole is never silently missing, and is announced once. A gap record that is evicted before it was sent is taken apart
//! again: what it announced goes with the next one. Only one that is damaged takes its announcements with it; its own
//! position is announced like any other.

use crate::clock::{BootId, Moment};
use crate::record::{Position, Receipt, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Groups named in a gap record; further ones are counted.
pub(crate) const GROUPS_MAX: usize = 20;
/// Ranges of one hole; beyond, the two nearest become one, and the count says how many positions in them are missing.
pub(crate) const RANGES_MAX: usize = 64;

/// Why records of a lane are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// Evicted at the bound in bytes.
    #[serde(rename = "b")]
    MaxBytes,
    /// Evicted because they were too old.
    #[serde(rename = "t")]
    MaxAge,
    /// Evicted because the file system's free space fell below the floor.
    #[serde(rename = "f")]
    MinFree,
    /// They cannot be read back.
    #[serde(rename = "d")]
    Damaged,
    /// Set aside: they can never be sent.
    #[serde(rename = "q")]
    Quarantined,
    /// Written by a later release.
    #[serde(other, rename = "?")]
    Other,
}

impl Reason {
    pub(crate) const ALL: [Reason; 6] =
        [Reason::MaxBytes, Reason::MaxAge, Reason::MinFree, Reason::Damaged, Reason::Quarantined, Reason::Other];

    /// What the ledger calls it.
    pub(crate) fn outcome(self) -> &'static str {
        match self {
            Reason::MaxBytes | Reason::MaxAge | Reason::MinFree => "evicted",
            Reason::Damaged => "damaged",
            Reason::Quarantined => "quarantined",
            Reason::Other => "other",
        }
    }

    /// The bound that was reached, as the configuration spells it.
    pub(crate) fn bound(self) -> Option<&'static str> {
        match self {
            Reason::MaxBytes => Some("journal.max_bytes"),
            Reason::MaxAge => Some("journal.max_age"),
            Reason::MinFree => Some("journal.min_free"),
            _ => None,
        }
    }
}

/// Positions of one lane that are gone for one reason, and what is known of their records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PendingGap {
    /// Why the records are gone.
    #[serde(rename = "w")]
    pub(crate) reason: Reason,
    /// Where: ascending, disjoint, both ends included.
    #[serde(rename = "r")]
    pub(crate) ranges: Vec<(Position, Position)>,
    /// Positions in the ranges that are gone; all of them unless the ranges were too many.
    #[serde(rename = "n")]
    pub(crate) count: u64,
    /// What is known of the records.
    #[serde(flatten)]
    pub(crate) about: About,
}

/// What is known of records that are gone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct About {
    /// Not received before: ms since 1970, where it is sure.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_ms: Option<i64>,
    /// Not received after: ms since 1970, where it is sure.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_ms: Option<i64>,
    /// Their groups; a hole keeps at most [`GROUPS_MAX`] names.
    #[serde(rename = "g", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) groups: BTreeSet<String>,
    /// At most so many further groups.
    #[serde(rename = "o", default)]
    pub(crate) further: u64,
}

impl About {
    /// Takes in one record. All names are kept until a hole is made of it: so the further ones are counted once.
    pub(crate) fn record(&mut self, record: &Record, present: (BootId, Moment)) {
        self.received(sure_ms(record, present));
        if !self.groups.contains(&record.draft.identity.group) {
            self.groups.insert(record.draft.identity.group.clone());
        }
    }

    /// Takes in a time between which and the others the records were received.
    pub(crate) fn received(&mut self, ms: Option<i64>) {
        self.first_ms = [self.first_ms, ms].into_iter().flatten().min();
        self.last_ms = self.last_ms.max(ms);
    }

    fn merge(&mut self, other: About) {
        self.received(other.first_ms);
        self.received(other.last_ms);
        self.further = self.further.saturating_add(other.further);
        self.groups.extend(other.groups);
    }
}

/// A time of receipt that a gap record may name: only one that is sure.
pub(crate) fn sure_ms(record: &Record, present: (BootId, Moment)) -> Option<i64> {
    Receipt::of(record, Some(present)).sure_ms()
}

impl PendingGap {
    /// A hole of the positions in `ranges`.
    pub(crate) fn new(reason: Reason, ranges: Vec<(Position, Position)>, about: About) -> PendingGap {
        let mut hole = PendingGap { reason, ranges, count: 0, about };
        hole.count = hole.covered();
        hole.shorten(RANGES_MAX, GROUPS_MAX);
        hole
    }

    /// Takes in another hole of the same reason. They may overlap: one position is announced by two gap records where one of
    /// these was requeued out of quarantine, and both may be evicted before they were sent.
    fn merge(&mut self, other: PendingGap) {
        let whole = self.count == self.covered() && other.count == other.covered();
        let sum = self.count.saturating_add(other.count);
        self.about.merge(other.about);
        self.ranges.extend(other.ranges);
        self.tidy();
        // Where ranges hold more than what is gone, how much of it is in both cannot be known.
        self.count = if whole { self.covered() } else { sum.min(self.covered()) };
        self.shorten(RANGES_MAX, GROUPS_MAX);
    }

    /// Positions in the ranges.
    fn covered(&self) -> u64 {
        self.ranges.iter().map(|(from, to)| (*to - *from).saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// Ranges ascending and disjoint, whatever was read of them.
    pub(crate) fn tidy(&mut self) {
        self.ranges.retain(|(from, to)| from <= to);
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, before| {
            let touches = next.0 <= before.1.next();
            if touches {
                before.1 = before.1.max(next.1);
            }
            touches
        });
    }

    /// At most so many ranges and names: what is beyond is covered, respectively counted.
    pub(crate) fn shorten(&mut self, ranges: usize, groups: usize) {
        let surplus = self.ranges.len().saturating_sub(ranges.max(1));
        if surplus > 0 {
            // Closing one space changes no other: so the smallest of them are known beforehand, and closed in one go.
            let space = |at: usize| (self.ranges[at].0 - self.ranges[at - 1].1, at);
            let mut spaces: Vec<(u64, usize)> = (1..self.ranges.len()).map(space).collect();
            let widest = *spaces.select_nth_unstable(surplus - 1).1;
            let mut at = 0;
            self.ranges.dedup_by(|next, before| {
                at += 1;
                let closes = (next.0 - before.1, at) <= widest;
                if closes {
                    before.1 = next.1;
                }
                closes
            });
        }
        while self.about.groups.len() > groups {
            self.about.groups.pop_last();
            self.about.further += 1;
        }
    }

    /// What stays the same however much it is shortened: tells whether a gap record announces this hole.
    pub(crate) fn mark(&self) -> (&'static str, Option<&'static str>, Position, Position, u64) {
        let first = self.ranges.first().map_or(Position(0), |range| range.0);
        let last = self.ranges.last().map_or(Position(0), |range| range.1);
        (self.reason.outcome(), self.reason.bound(), first, last, self.count)
    }
}

/// The holes of one lane that no durable gap record announces yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PendingGaps {
    all: Vec<PendingGap>,
    /// So many, from the first one on, are in a commit on its way and must not change.
    leaving: usize,
    /// The queue takes no gap records, so none of them is kept.
    silent: bool,
}

impl PendingGaps {
    /// Those that an earlier run left.
    pub(crate) fn restore(mut all: Vec<PendingGap>) -> PendingGaps {
        all.iter_mut().for_each(PendingGap::tidy);
        PendingGaps { all, ..PendingGaps::default() }
    }

    /// Whether the lane's queue takes gap records; a lane without a queue keeps them for the day when it has one.
    pub(crate) fn set_silent(&mut self, silent: bool) {
        self.silent = silent;
        if silent {
            self.all.clear();
        }
    }

    /// Notes a hole; joins it to one of the same reason that is still here.
    pub(crate) fn note(&mut self, hole: PendingGap) {
        if self.silent || hole.count == 0 {
            return;
        }
        match self.all[self.leaving..].iter_mut().find(|other| other.reason == hole.reason) {
            Some(other) => other.merge(hole),
            None => self.all.push(hole),
        }
    }

    /// What is to be announced, oldest first.
    pub(crate) fn all(&self) -> &[PendingGap] {
        &self.all
    }

    /// All of them leave with the next commit: they do not change until [`PendingGaps::announced`].
    pub(crate) fn leave(&mut self) -> &[PendingGap] {
        self.leaving = self.all.len();
        &self.all
    }

    /// Takes out the hole that a durable gap record announces.
    pub(crate) fn forget(&mut self, told: &PendingGap) {
        self.all.retain(|hole| hole.mark() != told.mark());
    }

    /// Those that left are announced durably.
    pub(crate) fn announced(&mut self) {
        self.all.drain(..std::mem::take(&mut self.leaving));
    }
}

#[cfg(test)]
mod tests;
