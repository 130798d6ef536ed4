//! The judge of messages without any identity: a bare number on a topic, a lamp that is switched within one second; often
//! equal to the one before.
//!
//! Here no id tells readings apart, so each topic is judged by order and count. What was put on the wire is a row of
//! sendings; the broker has every acknowledged one, and any of the others. What was delivered is a row of records. The
//! judge looks for the cheapest way to explain the second row by the first, left to right in both:
//!
//! - a record is the delivery of an equal sending, and each sending has one record: a reading counts once, however equal;
//! - an acknowledged sending without a record is lost, one that was never acknowledged may be missing;
//! - a record that is the delivery of no sending must say that it may be a redelivery, and something equal must have been
//!   sent before; a record that says so may still be the first of its reading, because an agent in doubt marks.
//!
//! A reading that is lost in one place and too much in another is out of order. A queue's own repeats (one id twice) are
//! judged where ids are ([`super::judge`]): here the first of them counts.

use super::{DETAILS, Item, Published};
use crate::consumer::Delivered;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// One reading on the wire, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sending {
    /// Topic that it was published on.
    pub topic: String,
    /// Payload, as JSON text.
    pub payload: String,
    /// The broker acknowledged this very one.
    pub confirmed: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BareVerdict {
    /// Sendings that the broker acknowledged.
    pub confirmed: usize,
    /// Records that say that they may be a redelivery.
    pub marked: usize,
    /// Acknowledged by the broker, and taken for something else or never delivered.
    pub lost: usize,
    /// Records that no sending explains and that do not say so.
    pub duplicated: usize,
    /// Readings that came at another place of their row.
    pub out_of_order: usize,
    /// Records of what no publisher sent.
    pub strangers: usize,
    /// The first few offences in words.
    pub details: Vec<String>,
}

impl BareVerdict {
    /// Whether there was no offence.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order + self.strangers == 0
    }

    /// Adds another one's counts and details.
    pub fn add(&mut self, other: BareVerdict) {
        self.confirmed += other.confirmed;
        self.marked += other.marked;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.strangers += other.strangers;
        self.details.extend(other.details);
        self.details.truncate(DETAILS);
    }
}

/// What was delivered from topics that begin with `prefix`, in its order.
fn documents(delivered: &[Delivered], prefix: &str) -> Vec<Value> {
    let documents = delivered.iter().filter_map(|message| serde_json::from_str::<Value>(&message.body).ok());
    documents.filter(|event| event["mqtttopic"].as_str().is_some_and(|topic| topic.starts_with(prefix))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Adds to `published` what arrived from topics that begin with `prefix`, as if published under the ids that the agent
/// gave, and gives the documents: for messages that carry no identity.
pub fn adopt(published: &mut Published, delivered: &[Delivered], prefix: &str) -> Vec<Value> {
    let odd = documents(delivered, prefix);
    let mut known = HashSet::new();
    let item = |event: &Value| Item { id: text(&event["id"]), group: text(&event["partitionkey"]), confirmed: true };
    // What was delivered again counts at the place where it came first.
    published.items.extend(odd.iter().map(item).filter(|item| known.insert(item.id.clone())));
    odd
}

/// Judges what was delivered on topics below `prefix` against what was sent there. `ordered`: the way to the queue keeps
/// order; else only the counts of equal readings are held against each other.
pub fn judge_bare(sent: &[Sending], delivered: &[Delivered], prefix: &str, ordered: bool) -> BareVerdict {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for sending in sent {
        let payload = normal(serde_json::from_str(&sending.payload).unwrap_or_default());
        rows.entry(&sending.topic).or_default().sent.push((payload, sending.confirmed));
    }
    let mut verdict = BareVerdict::default();
    let mut seen = HashSet::new();
    for event in documents(delivered, prefix) {
        if !seen.insert(text(&event["id"])) {
            continue;
        }
        let marked = event["possibleduplicate"] == true && event["duplicatekind"] == "redelivery";
        match rows.get_mut(event["mqtttopic"].as_str().unwrap_or_default()) {
            Some(row) => row.came.push((normal(event["data"].clone()), marked)),
            None => verdict.strangers += 1,
        }
    }
    for (topic, row) in rows {
        verdict.add(row.judge(topic, ordered));
    }
    verdict
}

/// One text for one value, however it was written.
fn normal(value: Value) -> String {
    value.to_string()
}

/// One topic: what was sent on it, and whether that was acknowledged; what came of it, and whether that says that it may be
/// a redelivery.
#[derive(Debug, Default)]
struct Row {
    sent: Vec<(String, bool)>,
    came: Vec<(String, bool)>,
}

impl Row {
    fn judge(&self, topic: &str, ordered: bool) -> BareVerdict {
        let (lost, extra) = if ordered { self.in_order() } else { self.by_count() };
        let mut balance: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        lost.iter().for_each(|payload| balance.entry(payload).or_default().0 += 1);
        extra.iter().for_each(|payload| balance.entry(payload).or_default().1 += 1);
        let mut verdict = BareVerdict {
            confirmed: self.sent.iter().filter(|(_, confirmed)| *confirmed).count(),
            marked: self.came.iter().filter(|(_, marked)| *marked).count(),
            ..BareVerdict::default()
        };
        for (payload, (lost, extra)) in balance {
            let moved = lost.min(extra);
            verdict.out_of_order += moved;
            verdict.lost += lost - moved;
            match self.sent.iter().any(|(sent, _)| sent == payload) {
                true => verdict.duplicated += extra - moved,
                false => verdict.strangers += extra - moved,
            }
            if verdict.details.len() < DETAILS {
                verdict.details.push(format!("{topic}: {payload} {lost} times missing, {extra} times too much"));
            }
        }
        verdict
    }

    /// The cheapest explanation: what is lost, and what came too much.
    fn in_order(&self) -> (Vec<&str>, Vec<&str>) {
        let (sent, came) = (&self.sent, &self.came);
        let width = came.len() + 1;
        // Cost of explaining the rest of `came` by the rest of `sent`, from the end.
        let mut rest = vec![0u32; (sent.len() + 1) * width];
        for i in (0..=sent.len()).rev() {
            for k in (0..=came.len()).rev().filter(|k| (i, *k) != (sent.len(), came.len())) {
                let steps = self.steps(i, k).map(|(cost, i, k)| cost + rest[i * width + k]);
                rest[i * width + k] = steps.min().unwrap_or_default();
            }
        }
        let (mut i, mut k, mut lost, mut extra) = (0, 0, Vec::new(), Vec::new());
        while let Some((cost, to, next)) = self.steps(i, k).min_by_key(|(cost, i, k)| cost + rest[i * width + k]) {
            match (to > i, next > k) {
                (true, false) if cost > 0 => lost.push(&*sent[i].0),
                (false, true) if cost > 0 => extra.push(&*came[k].0),
                _ => {}
            }
            (i, k) = (to, next);
        }
        (lost, extra)
    }

    /// What may be done with the next sending and the next record: its cost, and the two indexes after it.
    fn steps(&self, i: usize, k: usize) -> impl Iterator<Item = (u32, usize, usize)> {
        let (sent, came) = (self.sent.get(i), self.came.get(k));
        let delivered = sent.zip(came).filter(|(sent, came)| sent.0 == came.0).map(|_| (0, i + 1, k + 1));
        let missing = sent.map(|(_, confirmed)| (u32::from(*confirmed), i + 1, k));
        let again = came.map(|(payload, marked)| {
            let excused = *marked && self.sent[..i].iter().any(|(sent, _)| sent == payload);
            (u32::from(!excused), i, k + 1)
        });
        [delivered, missing, again].into_iter().flatten()
    }

    /// What is lost and what came too much, whatever the order.
    fn by_count(&self) -> (Vec<&str>, Vec<&str>) {
        // Confirmed sendings, all sendings, unmarked records, all records.
        let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        for (payload, confirmed) in &self.sent {
            let count = counts.entry(payload).or_default();
            (count[0], count[1]) = (count[0] + usize::from(*confirmed), count[1] + 1);
        }
        for (payload, marked) in &self.came {
            let count = counts.entry(payload).or_default();
            (count[2], count[3]) = (count[2] + usize::from(!*marked), count[3] + 1);
        }
        let times = |most: fn(&[usize; 4]) -> usize| {
            counts.iter().flat_map(move |(payload, count)| std::iter::repeat_n(*payload, most(count))).collect()
        };
        let extra = |c: &[usize; 4]| if c[1] == 0 { c[3] } else { c[2].saturating_sub(c[1]) };
        (times(|c| c[0].saturating_sub(c[3])), times(extra))
    }
}

#[cfg(test)]
mod tests;
