//! The judge: what was published against what was delivered. Pure; it knows nothing of how either came about.
//!
//! One record id is one record, however often the broker carried it. Order is judged per message group, on the first
//! occurrence of each id. Every further delivery of an id is a duplicate; it is forgiven only when it says so
//! (`possibleduplicate`). Positions are judged apart from ids: within a gateway they must be contiguous, and what is
//! missing must have been announced by a gap record. So a loss shows twice, once to us who know what was published and
//! once to a consumer who does not.

mod bare;
mod reading;

pub use bare::{BareVerdict, Sending, adopt, judge_bare};
pub use reading::Reading;

use crate::consumer::Delivered;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

/// Most offences that a verdict describes in words.
const DETAILS: usize = 12;

/// One record that was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Record id as the consumer will see it.
    pub id: String,
    /// Message group that it must keep its order in.
    pub group: String,
    /// The broker acknowledged it. One that was sent without an answer may be delivered or not.
    pub confirmed: bool,
}

/// Everything published, in the order of publishing within each group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Published {
    /// The records, in the order of publishing.
    pub items: Vec<Item>,
}

impl Published {
    /// Adds what another source published; their groups must not overlap.
    pub fn extend(&mut self, other: Published) {
        self.items.extend(other.items);
    }

    /// Records that the broker acknowledged.
    pub fn confirmed(&self) -> usize {
        self.items.iter().filter(|item| item.confirmed).count()
    }
}

/// What to hold the delivery against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Order within groups is promised (a FIFO queue).
    pub ordered: bool,
    /// Position that each gateway's lane begins at; `None`: that of the first delivered one.
    pub first_position: Option<u64>,
}

impl Rules {
    /// A FIFO queue that was read from its beginning.
    pub const FIFO: Rules = Rules { ordered: true, first_position: Some(1) };
    /// A Standard queue that was read from its beginning.
    pub const STANDARD: Rules = Rules { ordered: false, first_position: Some(1) };
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Records published and acknowledged by the broker, or published without an answer and delivered nevertheless.
    pub published: usize,
    /// Records of these that were delivered, each counted once.
    pub delivered: usize,
    /// Acknowledged by the broker and never delivered.
    pub lost: usize,
    /// Further deliveries of an id that do not say so.
    pub duplicated: usize,
    /// Further deliveries of an id that say so.
    pub duplicated_marked: usize,
    /// First occurrences that came after a later one of their group.
    pub out_of_order: usize,
    /// Missing positions that no gap record announced.
    pub holes: usize,
    /// Missing positions that a gap record announced.
    pub announced: usize,
    /// Two records on the same epoch and position of one gateway.
    pub clashes: usize,
    /// Delivered ids that no publisher sent, gap records apart.
    pub strangers: usize,
    /// Deliveries that do not say which record they are.
    pub unreadable: usize,
    /// The first few offences in words.
    pub details: Vec<String>,
    ordered: bool,
}

impl Verdict {
    /// Nothing lost, nothing reordered (where order is promised), no unmarked duplicate, no unannounced hole, nothing
    /// that does not belong.
    pub fn is_clean(&self) -> bool {
        let offences = self.lost + self.duplicated + self.holes + self.clashes + self.strangers + self.unreadable;
        offences == 0 && (self.out_of_order == 0 || !self.ordered)
    }

    /// Whether order was to be kept.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    fn tell(&mut self, offence: impl FnOnce() -> String) {
        if self.details.len() < DETAILS {
            self.details.push(offence());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { published, delivered, lost, duplicated, out_of_order, .. } = self;
        write!(
            f,
            "published {published}, delivered {delivered}, lost {lost}, duplicated {duplicated}, out of order {out_of_order}"
        )
    }
}

/// Judges a delivery by `rules`.
pub fn judge(published: &Published, delivered: &[Delivered], rules: Rules) -> Verdict {
    let mut verdict = Verdict { ordered: rules.ordered, ..Verdict::default() };
    let mut readings = Vec::with_capacity(delivered.len());
    for (index, message) in delivered.iter().enumerate() {
        match Reading::of(message) {
            Ok(reading) => readings.push(reading),
            Err(why) => {
                verdict.unreadable += 1;
                verdict.tell(|| format!("delivery {index} is unreadable: {why}"));
            }
        }
    }
    judge_records(published, &readings, &mut verdict);
    judge_positions(&readings, rules, &mut verdict);
    verdict
}

/// Lost, duplicated, out of order, strangers.
fn judge_records(published: &Published, readings: &[Reading], verdict: &mut Verdict) {
    let known: HashMap<&str, usize> = published.items.iter().enumerate().map(|(i, item)| (&*item.id, i)).collect();
    let mut seen: HashMap<&str, Occurrences> = HashMap::new();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for reading in readings {
        let occurrences = seen.entry(&reading.id).or_default();
        if occurrences.count > 0 {
            occurrences.repeat(reading, verdict);
            continue;
        }
        *occurrences = Occurrences { count: 1, first_marked: reading.possible_duplicate };
        if reading.is_gap() {
            continue;
        }
        let Some(&index) = known.get(&*reading.id) else {
            verdict.strangers += 1;
            verdict.tell(|| format!("nobody published {}", reading.id));
            continue;
        };
        let group = published.items[index].group.as_str();
        match latest.get(group) {
            Some(&before) if before > index => {
                verdict.out_of_order += 1;
                verdict.tell(|| format!("{} of group {group} came after {}", reading.id, published.items[before].id));
            }
            _ => drop(latest.insert(group, index)),
        }
    }
    // An id that was published twice is one record: it is counted once.
    let mut counted = HashSet::new();
    for item in published.items.iter().filter(|item| counted.insert(&*item.id)) {
        let arrived = seen.contains_key(&*item.id);
        verdict.delivered += usize::from(arrived);
        verdict.published += usize::from(arrived || item.confirmed);
        if item.confirmed && !arrived {
            verdict.lost += 1;
            verdict.tell(|| format!("{} of group {} was never delivered", item.id, item.group));
        }
    }
}

/// What is known about the deliveries of one id.
#[derive(Default)]
struct Occurrences {
    count: usize,
    first_marked: bool,
}

impl Occurrences {
    /// Judges a further delivery. A Standard queue keeps no order, so there the marked resend may come before what it
    /// repeats: one unmarked delivery per id is right, whichever comes first.
    fn repeat(&mut self, reading: &Reading, verdict: &mut Verdict) {
        self.count += 1;
        let forgiven = reading.possible_duplicate || (!reading.fifo && std::mem::take(&mut self.first_marked));
        if forgiven {
            verdict.duplicated_marked += 1;
        } else {
            verdict.duplicated += 1;
            verdict.tell(|| {
                format!("{} was delivered again ({} times so far) and does not say so", reading.id, self.count)
            });
        }
    }
}

/// Holes and clashes, per gateway.
fn judge_positions(readings: &[Reading], rules: Rules, verdict: &mut Verdict) {
    let mut lanes: BTreeMap<&str, Lane<'_>> = BTreeMap::new();
    for reading in readings {
        let lane = lanes.entry(&reading.gateway).or_default();
        lane.announced.extend(&reading.announced);
        let Some((epoch, position)) = reading.sequence else { continue };
        lane.seen.insert(position);
        let holder = *lane.holders.entry((epoch, position)).or_insert(&reading.id);
        if holder != reading.id {
            verdict.clashes += 1;
            verdict.tell(|| format!("{holder} and {} both stand on {epoch}-{position}", reading.id));
        }
    }
    for (gateway, lane) in lanes {
        let (Some(&lowest), Some(&highest)) = (lane.seen.first(), lane.seen.last()) else { continue };
        let is_announced = |p: u64| lane.announced.iter().any(|&(first, last)| (first..=last).contains(&p));
        let mut next = rules.first_position.unwrap_or(lowest);
        for &position in lane.seen.iter().chain([&(highest + 1)]) {
            for missing in next..position {
                if is_announced(missing) {
                    verdict.announced += 1;
                } else {
                    verdict.holes += 1;
                    verdict.tell(|| format!("position {missing} of gateway '{gateway}' is missing and not announced"));
                }
            }
            next = next.max(position + 1);
        }
    }
}

/// The positions of one gateway.
#[derive(Default)]
struct Lane<'a> {
    seen: BTreeSet<u64>,
    holders: HashMap<(u64, u64), &'a str>,
    announced: Vec<(u64, u64)>,
}

#[cfg(test)]
mod tests;
