//! The judge of messages without any identity: a bare number on a topic, often equal to the one before.
//!
//! Nobody can tell a redelivery that does not say so from a new reading, so how often a reading arrives too much is no
//! offence. But one must never be taken for a repeat of another: each must arrive at least as often as the broker
//! acknowledged it, and for the first time after the one before it.

use super::{DETAILS, Item, Published};
use crate::consumer::Delivered;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What was delivered from topics that begin with `prefix`, in its order.
fn documents(delivered: &[Delivered], prefix: &str) -> Vec<Value> {
    let documents = delivered.iter().filter_map(|message| serde_json::from_str::<Value>(&message.body).ok());
    documents.filter(|event| event["mqtttopic"].as_str().is_some_and(|topic| topic.starts_with(prefix))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Adds to `published` what arrived from topics that begin with `prefix`, as if published under the ids that the agent
/// gave, and gives the documents: for messages that carry no identity of their own.
pub fn adopt(published: &mut Published, delivered: &[Delivered], prefix: &str) -> Vec<Value> {
    let odd = documents(delivered, prefix);
    let mut known = HashSet::new();
    let item = |event: &Value| Item { id: text(&event["id"]), group: text(&event["partitionkey"]), confirmed: true };
    // What was delivered again stands where it came first.
    published.items.extend(odd.iter().map(item).filter(|item| known.insert(item.id.clone())));
    odd
}

/// Judges `delivered` on topics below `prefix` against what was published there, its items' ids being
/// `{topic}={payload}`. Gives the offences in words.
pub fn judge_bare(published: &Published, delivered: &[Delivered], prefix: &str) -> Vec<String> {
    let documents = documents(delivered, prefix);
    let readings: Vec<_> =
        documents.iter().map(|event| (text(&event["mqtttopic"]), event["data"].to_string())).collect();
    judge_readings(published, &readings)
}

fn judge_readings(published: &Published, delivered: &[(String, String)]) -> Vec<String> {
    let (mut missing, mut order) = (BTreeMap::<&str, i64>::new(), Vec::new());
    for item in &published.items {
        if !missing.contains_key(&*item.id) {
            order.push(item);
        }
        *missing.entry(&*item.id).or_default() += i64::from(item.confirmed);
    }
    let (mut first, mut offences) = (HashMap::new(), Vec::new());
    for (at, (topic, reading)) in delivered.iter().enumerate() {
        let id = format!("{topic}={reading}");
        match missing.get_mut(&*id) {
            Some(missing) => {
                *missing -= 1;
                first.entry(id).or_insert(at);
            }
            None => offences.push(format!("nobody published {id}")),
        }
    }
    let lost = missing.iter().filter(|(_, missing)| **missing > 0);
    offences.extend(lost.take(DETAILS).map(|(id, missing)| format!("{id} arrived {missing} times too seldom")));
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for item in order {
        let Some(&at) = first.get(&*item.id) else { continue };
        if latest.insert(&item.group, at).is_some_and(|before| before > at) {
            offences.push(format!("{} came before the one before it", item.id));
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(readings: &[u32]) -> Published {
        let item = |n: &u32| Item { id: format!("bare/a={n}"), group: "bare/a".into(), confirmed: true };
        Published { items: readings.iter().map(item).collect() }
    }

    fn judged(wanted: &[u32], got: &[u32]) -> Vec<String> {
        let got: Vec<_> = got.iter().map(|n| ("bare/a".to_owned(), n.to_string())).collect();
        judge_readings(&published(wanted), &got)
    }

    #[test]
    fn repeats_are_forgiven_and_a_merged_or_early_reading_is_not() {
        assert_eq!(judged(&[1, 1, 1, 2, 2], &[1, 1, 1, 1, 2, 1, 2]), [""; 0]);
        assert_eq!(judged(&[1, 1, 1, 2], &[1, 1, 2]), ["bare/a=1 arrived 1 times too seldom"]);
        assert_eq!(judged(&[1, 2], &[2, 1]), ["bare/a=2 came before the one before it"]);
        assert_eq!(judged(&[1], &[1, 9]), ["nobody published bare/a=9"]);
    }
}
