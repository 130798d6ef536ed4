//! The batcher: which waiting records go into the next batch. Pure.
//!
//! What keeps a group in order: **a message group is in at most one flight at a time**, and what is taken from it is
//! always its lowest waiting position. With [`Ordering::Strict`] a batch holds at most one record of a group, so no
//! partial failure can let a later record overtake. With [`Ordering::Packed`] consecutive records share a batch; after
//! a partial failure the group goes strictly for its next [`STRICT_AFTER_FAILURE`] records.
//!
//! A group here is what order is kept within ([`order_key`](crate::profile::order_key)): the record's own, or for
//! records of an earlier release the one that it has today.
//!
//! Records that may have been sent already go before all others. A group that waits (in flight, held back after a
//! refusal, or behind a suspect) holds back no other one: the window counts the records that are in it, not the positions
//! that it spans, and where it is full, groups that wait give up what lies behind their first record
//! ([`Batcher::leave_behind`]). That stays in the journal until the group goes on.
//!
//! A *suspect* ([`Batcher::suspect`]) travels with no other record ([`crate::drain::suspects`]).

use crate::config::Ordering;
use crate::record::Position;
use crate::sqs::limits::BATCH_ENTRIES;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::time::Instant;

/// Records in the window at most.
pub const WINDOW: usize = 16_384;
/// Records of a group that go strictly after a batch of the group failed in part.
pub const STRICT_AFTER_FAILURE: u32 = 100;
/// Groups passed over because their next record is too large for what is left of the batch.
const SKIPS_MAX: usize = 16;

/// Bounds of one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// Most entries; at most ten.
    pub entries: usize,
    /// Most bytes; a larger record travels alone.
    pub bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    group: Arc<str>,
    bytes: usize,
    urgent: bool,
    /// It travels with no other record, and did so this many times; `None`: no suspect.
    suspect: Option<u32>,
}

/// When a group's turn is, by its lowest waiting record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Turn {
    /// Not urgent last, then by position.
    With { calm: bool, lowest: Position },
    /// The one that was tried least first.
    Alone { tries: u32, lowest: Position },
}

#[derive(Debug, Default)]
struct Group {
    waiting: BTreeSet<Position>,
    in_flight: usize,
    strict_left: u32,
    held_until: Option<Instant>,
    /// Its place among those that may be taken from.
    turn: Option<Turn>,
}

/// Records read and not settled, by position.
#[derive(Debug)]
pub struct Batcher {
    ordering: Ordering,
    records: BTreeMap<Position, Waiting>,
    groups: HashMap<Arc<str>, Group>,
    /// Groups that may be taken from.
    ready: BTreeSet<(Turn, Arc<str>)>,
    /// Those of them whose first record is a suspect.
    suspects: BTreeSet<(Turn, Arc<str>)>,
    holds: BTreeSet<(Instant, Arc<str>)>,
}

/// What a group gave up, lowest first.
pub type Left = (Arc<str>, Vec<Position>);

impl Batcher {
    /// An empty one.
    pub fn new(ordering: Ordering) -> Batcher {
        Batcher {
            ordering,
            records: BTreeMap::new(),
            groups: HashMap::new(),
            ready: BTreeSet::new(),
            suspects: BTreeSet::new(),
            holds: BTreeSet::new(),
        }
    }

    /// Adds a record that was read. `urgent`: it may have been sent already.
    pub fn push(&mut self, position: Position, group: &str, bytes: usize, urgent: bool) {
        let group: Arc<str> = self.groups.get_key_value(group).map_or_else(|| group.into(), |(known, _)| known.clone());
        self.records.insert(position, Waiting { group: group.clone(), bytes, urgent, suspect: None });
        self.change(&group, |group| {
            group.waiting.insert(position);
        });
    }

    /// Takes the next batch: positions in the order to send them, and no suspects. Empty when no group is ready.
    pub fn next(&mut self, limits: BatchLimits, now: Instant) -> Vec<Position> {
        self.release_holds(now);
        let most = limits.entries + SKIPS_MAX;
        let candidates: Vec<Arc<str>> = self.ready.iter().take(most).map(|(_, group)| group.clone()).collect();
        self.take(candidates, limits)
    }

    /// Takes the suspects that were tried least, of as many groups as the limits allow. Empty when none is ready.
    pub fn next_suspects(&mut self, limits: BatchLimits, now: Instant) -> Vec<Position> {
        self.release_holds(now);
        let most = limits.entries + SKIPS_MAX;
        let candidates: Vec<Arc<str>> = self.suspects.iter().take(most).map(|(_, group)| group.clone()).collect();
        let batch = self.take(candidates, limits);
        for position in &batch {
            let tries = self.records.get_mut(position).and_then(|record| record.suspect.as_mut());
            tries.into_iter().for_each(|tries| *tries = tries.saturating_add(1));
        }
        batch
    }

    fn take(&mut self, candidates: Vec<Arc<str>>, limits: BatchLimits) -> Vec<Position> {
        let mut batch = Vec::new();
        let mut left = limits.bytes;
        let mut skips = 0;
        for group in candidates {
            if batch.len() >= limits.entries.min(BATCH_ENTRIES) || skips > SKIPS_MAX {
                break;
            }
            let take = self.fitting(&group, limits.entries - batch.len(), left, batch.is_empty());
            skips += usize::from(take.is_empty());
            for position in take {
                left = left.saturating_sub(self.records[&position].bytes);
                batch.push(position);
                self.change(&group, |group| {
                    group.waiting.remove(&position);
                    group.in_flight += 1;
                    group.strict_left = group.strict_left.saturating_sub(1);
                });
            }
        }
        batch
    }

    /// What records that were taken weigh, in bytes; also those that are to be read again.
    pub fn bytes_of(&self, positions: &[Position]) -> usize {
        positions.iter().filter_map(|position| self.records.get(position)).map(|record| record.bytes).sum()
    }

    /// The positions that a group can give to a batch with so much room.
    fn fitting(&self, group: &Arc<str>, entries: usize, bytes: usize, empty: bool) -> Vec<Position> {
        let state = &self.groups[group];
        let most = if self.ordering == Ordering::Packed && state.strict_left == 0 { entries } else { 1 };
        let mut left = bytes;
        let mut take = Vec::new();
        for &position in state.waiting.iter().take(most) {
            let record = &self.records[&position];
            let alone = empty && take.is_empty();
            if record.bytes > left && !alone || record.suspect.is_some() && !take.is_empty() {
                break;
            }
            left = left.saturating_sub(record.bytes);
            take.push(position);
            if record.suspect.is_some() {
                break;
            }
        }
        take
    }

    /// A position in flight came back settled. Gives its group when nothing of that is left in the window.
    pub fn done(&mut self, position: Position) -> Option<Arc<str>> {
        let record = self.records.remove(&position)?;
        self.change(&record.group, |group| group.in_flight -= 1);
        (self.len_of(&record.group) == 0).then_some(record.group)
    }

    /// A position in flight came back unsettled: it goes again, before anything newer of its group. `urgent`: it may
    /// have been accepted. `hold`: its group waits until then.
    pub fn again(&mut self, position: Position, urgent: bool, hold: Option<Instant>) {
        let Some(record) = self.records.get_mut(&position) else { return };
        record.urgent |= urgent;
        let group = record.group.clone();
        self.change(&group, |group| {
            group.in_flight -= 1;
            group.waiting.insert(position);
            group.held_until = group.held_until.max(hold);
        });
        if let Some(until) = hold {
            self.holds.insert((until, group));
        }
    }

    /// A batch of this position's group failed in part: it goes strictly for a while.
    pub fn go_strictly(&mut self, position: Position) {
        if let Some(record) = self.records.get(&position) {
            let group = record.group.clone();
            self.change(&group, |group| group.strict_left = STRICT_AFTER_FAILURE);
        }
    }

    /// From now on this record travels with no other one.
    pub fn suspect(&mut self, position: Position) {
        self.judge(position, |suspect| _ = suspect.get_or_insert(0));
    }

    /// The record is not a suspect any more.
    pub fn acquit(&mut self, position: Position) {
        self.judge(position, |suspect| *suspect = None);
    }

    fn judge(&mut self, position: Position, change: impl FnOnce(&mut Option<u32>)) {
        if let Some(record) = self.records.get_mut(&position) {
            change(&mut record.suspect);
            let group = record.group.clone();
            self.change(&group, |_| {});
        }
    }

    /// Forgets waiting positions below `cursor` and returns them: they were evicted. Those in flight come back by
    /// themselves.
    pub fn forget_below(&mut self, cursor: Position) -> Vec<Position> {
        let gone: Vec<Position> = self.records.range(..cursor).map(|(position, _)| *position).collect();
        gone.into_iter().filter(|position| self.forget(*position)).collect()
    }

    /// Forgets a position that waits. Returns whether it did: one in flight comes back by itself.
    pub fn forget(&mut self, position: Position) -> bool {
        let Some(group) = self.records.get(&position).map(|record| record.group.clone()) else { return false };
        if !self.groups[&group].waiting.contains(&position) {
            return false;
        }
        self.change(&group, |group| _ = group.waiting.remove(&position));
        self.records.remove(&position);
        true
    }

    /// Groups that wait (held back, or behind a suspect) give up all records behind their first one, the newest first, as long
    /// as `may_leave`. Those leave the window.
    pub fn leave_behind(&mut self, may_leave: impl Fn(Position) -> bool) -> Vec<Left> {
        let held = self.holds.iter().map(|(_, group)| group);
        let waiting: BTreeSet<Arc<str>> = held.chain(self.suspects.iter().map(|(_, group)| group)).cloned().collect();
        let mut all = Vec::new();
        for group in waiting {
            let Some(state) = self.groups.get(&group) else { continue };
            let behind = state.waiting.iter().skip(1).rev().take_while(|position| may_leave(**position));
            let mut left: Vec<Position> = behind.copied().collect();
            left.reverse();
            if !left.is_empty() {
                left.iter().for_each(|position| _ = self.forget(*position));
                all.push((group, left));
            }
        }
        all
    }

    /// Whether so many records are in the window that no more are read.
    pub fn is_full(&self, window: usize) -> bool {
        self.records.len() >= window
    }

    /// The group of the lowest position: the one that is to blame when the window is full.
    pub fn lowest_group(&self) -> Option<&str> {
        self.records.first_key_value().map(|(_, record)| &*record.group)
    }

    /// Lowest position that is not settled.
    pub fn lowest(&self) -> Option<Position> {
        self.records.keys().next().copied()
    }

    /// Groups that could be taken from now, without suspects.
    pub fn ready_groups(&self) -> usize {
        self.ready.len()
    }

    /// Records in the window, in flight or not.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Records of a group in the window, in flight or not.
    pub fn len_of(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, |group| group.waiting.len() + group.in_flight)
    }

    /// Whether nothing waits and nothing flies.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// When the next held group may be taken from.
    pub fn next_release(&self) -> Option<Instant> {
        self.holds.first().map(|(until, _)| *until)
    }

    /// Ends every hold: groups that were held back may be taken from at once.
    pub fn release_all(&mut self) {
        for (_, group) in std::mem::take(&mut self.holds) {
            self.change(&group, |group| group.held_until = None);
        }
    }

    fn release_holds(&mut self, now: Instant) {
        while let Some((until, group)) = self.holds.first().filter(|(until, _)| *until <= now).cloned() {
            self.holds.remove(&(until, group.clone()));
            self.change(&group, |group| {
                if group.held_until.is_some_and(|held| held <= now) {
                    group.held_until = None;
                }
            });
        }
    }

    /// Changes a group and keeps the ready sets in step with it.
    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(name.clone()).or_default();
        change(group);
        let free = group.in_flight == 0 && group.held_until.is_none();
        let turn = group.waiting.first().filter(|_| free).map(|&lowest| {
            let record = &self.records[&lowest];
            match record.suspect {
                None => Turn::With { calm: !record.urgent, lowest },
                Some(tries) => Turn::Alone { tries, lowest },
            }
        });
        let before = std::mem::replace(&mut group.turn, turn);
        let gone =
            group.waiting.is_empty() && group.in_flight == 0 && group.held_until.is_none() && group.strict_left == 0;
        if before != turn {
            before.into_iter().for_each(|turn| _ = self.turns(turn).remove(&(turn, name.clone())));
            turn.into_iter().for_each(|turn| _ = self.turns(turn).insert((turn, name.clone())));
        }
        if gone {
            self.groups.remove(name);
        }
    }

    fn turns(&mut self, turn: Turn) -> &mut BTreeSet<(Turn, Arc<str>)> {
        match turn {
            Turn::With { .. } => &mut self.ready,
            Turn::Alone { .. } => &mut self.suspects,
        }
    }
}

#[cfg(test)]
mod tests;
