//! What must hold of the quarantine, and of what gap records announce. Pure.

use super::Expected;
use crate::marks::{Entry, LANES, Told, Way};
use std::collections::BTreeSet;
use tidegate::journal::LaneStats;

/// Ranges of a gap record; with so many, two of them may have become one.
const RANGES_MAX: usize = 64;

/// What the outside world knows of the quarantine.
#[derive(Clone, Debug, Default)]
pub(super) struct Quarantine {
    /// A drain, or the writer with a head, tried to put these there: they may be there.
    tried: BTreeSet<Entry>,
    /// The journal said that it keeps these.
    kept: BTreeSet<Entry>,
    /// The person asked for these to leave: they may be gone.
    leaving: BTreeSet<Entry>,
    /// The person asked for these to be dropped: they need not be anywhere.
    dropped: BTreeSet<Entry>,
    /// The journal said that these have left; a drain may put one there again.
    left: BTreeSet<Entry>,
}

impl Quarantine {
    pub(super) fn tries(&mut self, entry: Entry) {
        self.tried.insert(entry);
        self.left.remove(&entry);
    }

    /// Notes that the journal keeps the entry, if it was tried. Returns whether it was.
    pub(super) fn keeps(&mut self, entry: Entry) -> bool {
        // The person may have had it out again before the drain could mark that it was kept.
        if self.tried.contains(&entry) && !self.left.contains(&entry) {
            self.kept.insert(entry);
        }
        self.tried.contains(&entry)
    }

    pub(super) fn leaving(&mut self, entry: Entry, way: Way) {
        self.leaving.insert(entry);
        if way == Way::Dropped {
            self.dropped.insert(entry);
        }
    }

    /// Asked back into their lanes, and not reported as gone from the quarantine: a commit of them may be there in part.
    pub(super) fn under_way(&self) -> u64 {
        self.leaving.difference(&self.dropped).count() as u64
    }

    pub(super) fn left(&mut self, entry: Entry) {
        self.kept.remove(&entry);
        self.leaving.remove(&entry);
        self.left.insert(entry);
    }

    /// What is there, whatever became of the requests.
    pub(super) fn surely(&self) -> impl Iterator<Item = &Entry> {
        self.kept.difference(&self.leaving)
    }
}

impl Expected {
    /// Finds what was put into quarantine and is missing there, what is there twice, and what was said to have left.
    pub(crate) fn check_quarantine(&self, entries: &[Entry], wrong: &mut Vec<String>) {
        // Nothing says of two heads that they are of one message.
        let at: Vec<&Entry> = entries.iter().filter(|entry| matches!(entry, Entry::At { .. })).collect();
        let once: BTreeSet<&Entry> = at.iter().copied().collect();
        if once.len() != at.len() {
            wrong.push(format!("{} of {} things are in quarantine twice", at.len() - once.len(), at.len()));
        }
        let there: BTreeSet<Entry> = entries.iter().copied().collect();
        for entry in self.quarantine.surely().filter(|entry| !there.contains(entry)) {
            wrong.push(format!("{} is not in quarantine", name(*entry)));
        }
        for entry in self.quarantine.kept.intersection(&self.quarantine.leaving) {
            let known = there.contains(entry) || self.quarantine.dropped.contains(entry);
            if !known && !self.bounds.can_evict() && !self.is_back(*entry) {
                wrong
                    .push(format!("{} was to be requeued, and is neither in quarantine nor in its lane", name(*entry)));
            }
        }
        for entry in there.difference(&self.quarantine.tried) {
            wrong.push(format!("{} is in quarantine, and nobody put it there", name(*entry)));
        }
        for entry in there.intersection(&self.quarantine.left).filter(|entry| matches!(entry, Entry::At { .. })) {
            wrong.push(format!("{} has left the quarantine, and is there", name(*entry)));
        }
    }

    /// Whether what was kept was sent once more; where this cannot be told, it is taken for that.
    fn is_back(&self, entry: Entry) -> bool {
        let Entry::At { lane, position } = entry else { return true };
        let sent = &self.lanes[lane].sent;
        let Some(n) = sent.get(&position).and_then(|seen| seen.n) else { return true };
        sent.values().any(|seen| seen.requeued && seen.n == Some(n))
    }

    /// What gap records break of their promise: they tell the truth, what they announce is gone, and whatever is gone was
    /// announced once, or is to be. Asked when all was read and settled.
    pub(crate) fn check_told(&self, lane: usize, facts: &LaneStats, wrong: &mut Vec<String>) {
        let known = &self.lanes[lane];
        let mut say = |text: String| wrong.push(format!("{}: {text}", LANES[lane]));
        // What came out of quarantine again was announced before it went there.
        let first = known.sent.iter().filter(|(_, seen)| !seen.requeued);
        let announcements = first.filter_map(|(position, seen)| Some((position, seen.told.as_ref()?)));
        for (position, told) in announcements.clone() {
            if let Some(why) = self.untrue(lane, *position, told) {
                say(format!("the gap record at {position} says {told:?}: {why}"));
            }
        }
        // Without a state the books begin anew, so nothing can be said of how much was lost.
        if self.state_was_lost {
            return;
        }
        let all: Vec<u64> =
            announcements.flat_map(|(_, told)| &told.ranges).flat_map(|(from, to)| *from..=*to).collect();
        let told: BTreeSet<u64> = all.iter().copied().collect();
        // One that was evicted before it was sent for certain goes with the next one.
        if told.len() < all.len() && !self.bounds.can_evict() && !self.some_was_lost {
            say(format!("{} positions were announced as lost more than once", all.len() - told.len()));
        }
        let is_gap = |position: &u64| known.sent.get(position).is_some_and(|seen| seen.n.is_none());
        let refused =
            |entry: &&Entry| matches!(entry, Entry::At { lane: of, position } if *of == lane && is_gap(position));
        // A gap record that the queue refused is not announced by another one.
        let silent = self.quarantine.tried.iter().filter(refused).count() as u64;
        let (told, lost) = (told.len() as u64, facts.evicted + facts.quarantined + facts.damaged);
        // What was sent and not settled may have been given up since, and what it announced is announced once more.
        let to_come = if self.bounds.can_evict() { 0 } else { facts.unannounced };
        // Beyond so many ranges neighbours are joined, and what lies between them was not lost.
        let is_exact =
            known.sent.values().filter_map(|seen| seen.told.as_ref()).all(|told| told.ranges.len() < RANGES_MAX);
        let too_many = told + to_come > lost && is_exact && !self.some_was_lost;
        if told + facts.unannounced + silent < lost || too_many {
            say(format!("{told} positions were announced as lost, and the books say {facts:?}"));
        }
    }

    /// What is not true of an announcement in the gap record at `position`.
    fn untrue(&self, lane: usize, position: u64, told: &Told) -> Option<&'static str> {
        let Told { reason, bound, ranges, count } = told;
        let all: u64 = ranges.iter().map(|(from, to)| to.saturating_sub(*from) + 1).sum();
        let whole = ranges.len() < RANGES_MAX;
        let mut positions = ranges.iter().flat_map(|(from, to)| *from..=*to);
        let refused = |position| self.quarantine.tried.contains(&Entry::At { lane, position });
        match &**reason {
            _ if whole && all != *count || all < *count => Some("count and ranges differ"),
            _ if ranges.iter().any(|(from, to)| from > to) => Some("a range runs backwards"),
            _ if ranges.windows(2).any(|pair| pair[1].0 <= pair[0].1.saturating_add(1)) => Some("ranges touch"),
            _ if ranges.last().is_none_or(|(_, last)| *last >= position) => Some("it speaks of what comes after it"),
            "evicted" if bound.as_deref().is_some_and(|bound| self.bounds.keys().contains(&bound)) => None,
            "evicted" => Some("there is no such bound"),
            _ if bound.is_some() => Some("no bound has to do with it"),
            "quarantined" if whole && !positions.all(refused) => Some("not all of them were refused"),
            "quarantined" => None,
            "damaged" if self.may_be_damaged() > 0 || self.state_was_lost => None,
            _ => Some("nothing was lost that way"),
        }
    }
}

fn name(entry: Entry) -> String {
    match entry {
        Entry::At { lane, position } => format!("{}: position {position}", LANES[lane]),
        Entry::Head { n } => format!("the head of message {n}"),
    }
}
