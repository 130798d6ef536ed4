//! What must hold after a cut, from what the outside world was told before it. Pure.
//!
//! Nothing is assumed of the journal's inner order: whatever was acknowledged, sent or settled at the moment of the cut is
//! held against what an open journal shows. A record that was never acknowledged may be there or not, but not with a hole
//! before it.

mod accounts;

use crate::draft::goes_to;
use crate::faults::Lost;
use crate::marks::{Entry, LANES, Mark, Recorded, Seen, Way};
use crate::session::{Bounds, Read};
use crate::{chain, coming};
use accounts::Quarantine;
use power_cut::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use tidegate::journal::LaneStats;

/// One lane, as the outside world knows it.
#[derive(Clone, Debug, Default)]
struct Known {
    sent: BTreeMap<u64, Seen>,
    place: HashMap<u64, u64>,
    /// Which records came back out of quarantine, for certain.
    requeued: BTreeSet<u64>,
    settling: BTreeSet<u64>,
    /// Of these, what was to go into quarantine.
    refused: BTreeSet<u64>,
    trimmed: u64,
}

/// What was told before a cut.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    seed: u64,
    epoch: u64,
    epochs: BTreeSet<u64>,
    id: Option<String>,
    boot: u8,
    /// The latest that it was.
    minute: u64,
    /// The highest number that was ever handed over.
    highest: u64,
    submitted: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    given: HashMap<(u64, u64), Option<u64>>,
    quarantine: Quarantine,
    bounds: Bounds,
    /// What was lost of the state file before this open.
    just_lost: Option<Lost>,
    /// Some of it was lost, now or before an earlier open: what was settled by then may be settled in another way.
    some_was_lost: bool,
    /// All of it was: the log alone tells what there was.
    state_was_lost: bool,
    /// Records found missing that were never acknowledged.
    gone: u64,
    /// Those of them that were evicted perhaps, in a generation that is there for the other lane: without a state file, that
    /// generation alone tells of them, and they wait again.
    hidden: BTreeSet<u64>,
    lanes: [Known; 2],
    coming: coming::Known,
}

/// What an open journal shows of itself.
pub(crate) struct Opening {
    pub(crate) epoch: u64,
    pub(crate) id: String,
    pub(crate) state_lost: bool,
    pub(crate) slot_lost: bool,
    /// What this opening had to notice of the state file.
    pub(crate) lost: Option<Lost>,
    /// No lane has anything that waits.
    pub(crate) empty: bool,
    pub(crate) missing: u64,
    pub(crate) quarantined: u64,
}

impl Expected {
    pub(crate) fn new(seed: u64, bounds: Bounds) -> Expected {
        Expected {
            seed,
            epoch: 0,
            epochs: BTreeSet::new(),
            id: None,
            boot: 0,
            minute: 0,
            highest: 0,
            submitted: BTreeSet::new(),
            acked: BTreeSet::new(),
            given: HashMap::new(),
            quarantine: Quarantine::default(),
            bounds,
            just_lost: None,
            some_was_lost: false,
            state_was_lost: false,
            gone: 0,
            hidden: BTreeSet::new(),
            lanes: Default::default(),
            coming: coming::Known::default(),
        }
    }

    /// Takes the next mark.
    pub(crate) fn take(&mut self, mark: &Mark) {
        match mark {
            Mark::StateLost(lost) => {
                // Until an opening has returned, what an earlier cut took is lost still.
                if self.just_lost != Some(Lost::All) {
                    self.just_lost = Some(*lost);
                }
                self.some_was_lost = true;
                self.state_was_lost |= *lost == Lost::All;
                if *lost != Lost::Older {
                    // It said more than what is left of it.
                    self.lanes.iter_mut().for_each(|lane| lane.trimmed = 0);
                }
            }
            Mark::Opening => {}
            Mark::Opened { epoch, id, boot, minute } => {
                self.boot = *boot;
                self.it_is(*minute);
                self.epoch = *epoch;
                self.epochs.insert(*epoch);
                self.id = Some(id.clone());
                self.just_lost = None;
            }
            Mark::Submitted { n } => {
                self.it_is(*n);
                self.highest = self.highest.max(*n);
                self.submitted.insert(*n);
            }
            Mark::Head { n } => {
                self.highest = self.highest.max(*n);
                self.quarantine.tries(Entry::Head { n: *n });
            }
            Mark::Acked { n } if self.quarantine.keeps(Entry::Head { n: *n }) => {}
            Mark::Acked { n } => drop(self.acked.insert(*n)),
            Mark::Sent { lane, seen } => {
                self.given.insert((seen.epoch, seen.number), seen.n);
                self.lanes[*lane].sent.insert(seen.position, seen.clone());
                if let Some(n) = seen.n.filter(|_| !seen.requeued) {
                    self.lanes[*lane].place.insert(n, seen.position);
                }
            }
            Mark::Settling { lane, position } => drop(self.lanes[*lane].settling.insert(*position)),
            Mark::Refused { lane, position } => {
                self.lanes[*lane].settling.insert(*position);
                self.lanes[*lane].refused.insert(*position);
                self.quarantine.tries(Entry::At { lane: *lane, position: *position });
            }
            Mark::Quarantined { lane, position } => {
                self.quarantine.keeps(Entry::At { lane: *lane, position: *position });
            }
            Mark::Leaving { entry, way } => self.quarantine.leaving(*entry, *way),
            Mark::Left { entry, way } => {
                self.quarantine.left(*entry);
                if let (Entry::At { lane, position }, Way::Requeued) = (entry, way) {
                    let lane = &mut self.lanes[*lane];
                    lane.requeued.extend(lane.sent.get(position).and_then(|seen| seen.n));
                }
            }
            Mark::Trimmed { lane, cursor } => {
                let trimmed = &mut self.lanes[*lane].trimmed;
                *trimmed = (*trimmed).max(*cursor);
            }
            Mark::SubmittedToComing { n } => drop(self.coming.submitted.insert(*n)),
            Mark::SentToComing { n } => drop(self.coming.sent.insert(*n)),
            Mark::SettlingOfComing { n } => drop(self.coming.settling.insert(*n)),
            Mark::Gone { n, evicted } if self.submitted.remove(n) => {
                self.gone += 1;
                self.hidden.extend(evicted.then_some(*n));
            }
            Mark::Gone { .. } => {}
        }
    }

    /// Takes the marks among these events.
    pub(crate) fn take_all(&mut self, recorded: &Recorded, events: Range<usize>) {
        for event in &recorded.trace[events] {
            if let Event::Mark(index) = event {
                self.take(&recorded.marks[*index as usize]);
            }
        }
    }

    /// Whether an open had returned.
    pub(crate) fn was_opened(&self) -> bool {
        self.id.is_some()
    }

    /// It is this minute now, or a later one.
    pub(crate) fn it_is(&mut self, minute: u64) {
        self.minute = self.minute.max(minute);
    }

    /// The boot that it was opened in last.
    pub(crate) fn boot(&self) -> u8 {
        self.boot
    }

    /// The next number that no record had.
    pub(crate) fn next(&self) -> u64 {
        self.highest + 1
    }

    /// Records handed over, not acknowledged, and not among these: they will not come any more.
    pub(crate) fn gone(&self, reads: [&[Read]; 2]) -> Vec<u64> {
        let there: BTreeSet<u64> = reads.iter().flat_map(|reads| reads.iter().filter_map(|read| read.seen.n)).collect();
        let known = |n: &u64| self.lanes.iter().any(|lane| lane.place.contains_key(n));
        self.submitted.difference(&self.acked).filter(|n| !there.contains(n) && !known(n)).copied().collect()
    }

    /// What an open that has just returned breaks.
    pub(crate) fn check_opening(&self, opening: &Opening, wrong: &mut Vec<String>) {
        let Opening { epoch, id, state_lost, slot_lost, lost, empty, missing, quarantined } = opening;
        let all_lost = self.just_lost == Some(Lost::All);
        // A journal that never took anything may be made again.
        let blank = all_lost && self.acked.is_empty();
        // Where all was lost the next one is drawn, above what the log tells.
        let again = if all_lost { self.epochs.contains(epoch) } else { *epoch <= self.epoch };
        if again && !blank {
            wrong.push(format!("epoch {epoch} was given before (the last one was {})", self.epoch));
        }
        // Nothing in the log says whose it is where it holds nothing.
        if let Some(was) = self.id.as_ref().filter(|was| *was != id && !(all_lost && *empty)) {
            wrong.push(format!("journal {was} became {id}"));
        }
        if *state_lost && self.id.is_some() && !all_lost {
            wrong.push("the state file was lost".into());
        }
        let noticed = match lost {
            Some(Lost::All) => *state_lost || blank,
            // Before the first opening has returned there is nothing that a half could lack; nor is there in what an opening
            // that did not return has made in the place of a state that was lost.
            Some(_) => *slot_lost || self.id.is_none() || all_lost,
            None => true,
        };
        if !noticed {
            wrong.push(format!("nobody noticed that of the state file was lost: {lost:?}"));
        }
        // Without a state the open cannot leave out a commit that was torn: what it lacks is missing from then on.
        if *missing > 0 && !self.state_was_lost {
            wrong.push(format!("{missing} records below the durable high water are missing, says the open"));
        }
        let expected = self.quarantine.surely().count() as u64;
        if *quarantined < expected {
            wrong.push(format!("{quarantined} of {expected} quarantined records are there"));
        }
    }

    /// What a freshly read lane breaks of the promise that whatever may have been sent says so.
    pub(crate) fn check_maybe_sent(&self, lane: usize, epoch: u64, reads: &[Read], wrong: &mut Vec<String>) {
        // Whatever is lost of the state file may have held a mark: then all that is there says so.
        let before = |read: &&Read| read.seen.epoch < epoch;
        let may_be = |read: &&Read| {
            self.just_lost.is_some() && before(read) || self.lanes[lane].sent.contains_key(&read.seen.position)
        };
        for read in reads.iter().filter(|read| !read.maybe_sent).filter(may_be) {
            wrong.push(format!("{}: {} may have been sent and does not say so", LANES[lane], name(&read.seen)));
        }
    }

    /// What the lane that comes and goes breaks, freshly read.
    pub(crate) fn check_coming(&self, reads: &[Read], epoch: u64, wrong: &mut Vec<String>) {
        self.coming.check(reads, &self.acked, epoch, !self.bounds.can_evict(), wrong);
    }

    /// What a lane breaks, given all that was read and is not settled yet, and its facts.
    pub(crate) fn check_lane(&self, lane: usize, reads: &[&Read], facts: &LaneStats, wrong: &mut Vec<String>) {
        let mut say = |text: String| wrong.push(format!("{}: {text}", LANES[lane]));
        let known = &self.lanes[lane];
        let sum = facts.accepted + facts.waiting + facts.evicted + facts.quarantined + facts.damaged;
        if facts.appended != sum || facts.damaged > self.may_be_damaged() || reads.len() as u64 != facts.waiting {
            say(format!("{} were read, and the books say {facts:?}", reads.len()));
        }
        // Without a state what is gone counts as accepted, and some of it may have been evicted.
        let unknown = self.state_was_lost && self.bounds.can_evict();
        if facts.accepted + facts.quarantined > known.settling.len() as u64 && !unknown {
            say(format!("{} were settled, and the books say {facts:?}", known.settling.len()));
        }
        if facts.cursor.0 < known.trimmed {
            say(format!("trimmed up to {} for certain, and the cursor is back at {}", known.trimmed, facts.cursor));
        }
        self.check_order(known, reads, facts, &mut say);
        self.check_presence(lane, reads, facts, &mut say);
        self.check_chain(lane, facts, wrong);
    }

    /// What a lane's chain breaks. The checker does not know which positions were evicted or are damaged.
    pub(crate) fn check_chain(&self, lane: usize, facts: &LaneStats, wrong: &mut Vec<String>) {
        let Some(chain) = facts.chain.as_ref().filter(|_| facts.evicted + facts.damaged == 0) else { return };
        let known = &self.lanes[lane];
        let broken = chain::check(chain, &known.settling, &known.refused).err();
        wrong.extend(broken.map(|text| format!("{}: {text}", LANES[lane])));
    }

    /// Positions that may be booked as damaged: without a state the open cannot know that a commit was torn before it was
    /// acknowledged, or before what it puts back has left the quarantine, and what it lacks counts as lost.
    fn may_be_damaged(&self) -> u64 {
        let open = self.submitted.difference(&self.acked).count() as u64 + self.quarantine.under_way();
        if self.state_was_lost { self.gone + open } else { 0 }
    }

    fn check_order(&self, known: &Known, reads: &[&Read], facts: &LaneStats, say: &mut dyn FnMut(String)) {
        let mut expected = facts.cursor.0;
        let mut last = 0;
        let mut damaged = facts.damaged;
        let mut hole_in = |range: Range<u64>| {
            let mut holes = range.filter(|position| !known.settling.contains(position));
            let booked = holes.by_ref().take(damaged as usize).count();
            damaged -= booked as u64;
            holes.next()
        };
        for read in reads {
            let seen = &read.seen;
            if let Some(hole) = hole_in(expected..seen.position) {
                say(format!("position {hole} is neither settled nor there, before {}", name(seen)));
            }
            if seen.position < expected {
                say(format!("{} stands below the cursor or comes again", name(seen)));
            }
            expected = expected.max(seen.position + 1);
            if let Some(n) = seen.n {
                let hidden = self.state_was_lost && self.hidden.contains(&n);
                if !self.submitted.contains(&n) && !hidden {
                    say(format!("{} was missing at an earlier open, and is back", name(seen)));
                }
                if n <= last && !seen.requeued {
                    say(format!("{} comes after record {last}", name(seen)));
                }
                last = if seen.requeued { last } else { n };
            }
            if !read.faithful {
                say(format!("{} is not what was handed over", name(seen)));
            }
            match (self.given.get(&(seen.epoch, seen.number)), known.sent.get(&seen.position)) {
                (Some(n), _) if *n != seen.n => say(format!("{}: its number and epoch were {n:?}'s", name(seen))),
                (_, Some(sent)) if sent != seen => say(format!("{} stands where {} was sent", name(seen), name(sent))),
                _ => {}
            }
        }
        if let Some(hole) = hole_in(expected..facts.appended + 1) {
            say(format!("position {hole} is neither settled nor there, at the end"));
        }
    }

    fn check_presence(&self, lane: usize, reads: &[&Read], facts: &LaneStats, say: &mut dyn FnMut(String)) {
        let known = &self.lanes[lane];
        let of = |requeued: bool| reads.iter().filter(move |read| read.seen.requeued == requeued);
        let there: BTreeSet<u64> = of(false).filter_map(|read| read.seen.n).collect();
        let here = |n: &u64| goes_to(self.seed, *n)[lane];
        let top = self.acked.iter().rev().find(|n| here(n)).max(there.last()).copied().unwrap_or(0);
        let settled = |n: &u64| known.place.get(n).is_some_and(|position| known.settling.contains(position));
        // What is not there and not settled must have been evicted: the oldest, and as many as the books say.
        let torn = |n: &u64| self.state_was_lost && !self.acked.contains(n);
        let absent = self.submitted.range(..=top).filter(|n| here(n) && !there.contains(n) && !settled(n) && !torn(n));
        let absent: Vec<u64> = absent.copied().collect();
        if let (Some(most), ["journal.max_age"]) = (self.bounds.max_age_minutes, &self.bounds.keys()[..]) {
            let young = |n: &&u64| **n + most > self.minute;
            if let Some(n) = absent.iter().find(young) {
                say(format!("record {n} is not there, and not too old in minute {}", self.minute));
            }
        }
        let positions: BTreeSet<u64> = reads.iter().map(|read| read.seen.position).collect();
        let unsettled = known.sent.iter().filter(|(position, _)| !known.settling.contains(position));
        let other = |seen: &Seen| seen.n.is_none() || seen.requeued;
        let gaps = unsettled.filter(|(position, seen)| other(seen) && !positions.contains(position)).count();
        let sent = |n: &u64| known.sent.values().any(|seen| seen.requeued && seen.n == Some(*n));
        let back = |n: &u64| of(true).any(|read| read.seen.n == Some(*n)) || sent(n);
        let lost: Vec<u64> = known.requeued.iter().filter(|n| !back(n)).copied().collect();
        let within = absent.last() < there.first() || there.is_empty() || absent.is_empty();
        let counted = (absent.len() + gaps + lost.len()) as u64 <= facts.evicted
            || self.state_was_lost && self.bounds.can_evict();
        if counted && within {
            return;
        }
        for n in absent.iter().take(3) {
            let acked = if self.acked.contains(n) { "acknowledged" } else { "never acknowledged" };
            let sent = if known.place.contains_key(n) { "sent" } else { "not sent" };
            say(format!("record {n} ({acked}, {sent}) is not there; {} such, {facts:?}", absent.len()));
        }
        if absent.is_empty() {
            say(format!("{gaps} gap or requeued records that were sent are not there; {facts:?}"));
        }
        for n in lost {
            say(format!("record {n} was requeued, and is not there; {facts:?}"));
        }
    }
}

fn name(seen: &Seen) -> String {
    let Seen { position, number, epoch, n, .. } = seen;
    match n {
        Some(n) => format!("record {n} (position {position}, number {number} of epoch {epoch})"),
        None => format!("a gap record (position {position}, number {number} of epoch {epoch})"),
    }
}
