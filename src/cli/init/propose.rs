//! What was seen at the broker, turned into routes. Pure.

use crate::profile::{Profile, ProfileOptions, REGISTRY};
use crate::record::Message;
use crate::topic::{intersect, matches_delivered};
use std::collections::BTreeMap;

/// A route to propose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Proposal {
    /// The profile's name.
    pub(super) profile: &'static str,
    /// Its filters: empty for the profile's own.
    pub(super) topics: Vec<String>,
    /// Messages that spoke for it.
    pub(super) messages: usize,
    /// Of them with QoS 0.
    pub(super) qos0: usize,
    /// One of their topics.
    pub(super) example: String,
}

/// Routes for what was seen, most messages first, their filters disjoint. What is read as plain values is taken by its
/// topic's first level. Empty when nothing was seen.
pub(super) fn propose(seen: &[Message]) -> Vec<Proposal> {
    let auto = Profile::named("auto", ProfileOptions::default()).expect("a name of the registry");
    let mut by_profile: BTreeMap<&'static str, Vec<&Message>> = BTreeMap::new();
    for message in seen {
        by_profile.entry(auto.of(message).name()).or_default().push(message);
    }
    let mut all: Vec<Proposal> = by_profile.into_iter().map(|(name, messages)| of_profile(name, &messages)).collect();
    // Named network servers before plain values, which would take anything.
    all.sort_by_key(|proposal| (proposal.profile == "plain", std::cmp::Reverse(proposal.messages)));
    disjoint(all)
}

fn of_profile(profile: &'static str, messages: &[&Message]) -> Proposal {
    let own = filters_of(profile);
    let covered = |message: &&&Message| own.iter().any(|filter| matches_delivered(filter, &message.topic));
    let topics = match !own.is_empty() && messages.iter().filter(covered).count() > 0 {
        true => Vec::new(),
        false => {
            let mut firsts: Vec<String> = messages.iter().map(|message| below_first_level(&message.topic)).collect();
            firsts.sort();
            firsts.dedup();
            firsts
        }
    };
    Proposal {
        profile,
        topics,
        messages: messages.len(),
        qos0: messages.iter().filter(|message| message.qos == 0).count(),
        example: messages.first().map(|message| message.topic.clone()).unwrap_or_default(),
    }
}

/// Everything at and below the first level.
fn below_first_level(topic: &str) -> String {
    format!("{}/#", topic.split('/').next().unwrap_or_default())
}

/// The default filters of a profile.
pub(super) fn filters_of(profile: &str) -> &'static [&'static str] {
    REGISTRY.iter().find(|info| info.name == profile).map_or(&[], |info| info.default_topics)
}

/// Leaves out what an earlier route takes already.
fn disjoint(all: Vec<Proposal>) -> Vec<Proposal> {
    let mut taken: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for mut proposal in all {
        let free = |filter: &str, taken: &[String]| taken.iter().all(|other| !intersect(other, filter));
        if proposal.topics.is_empty() {
            let own = filters_of(proposal.profile);
            if !own.iter().all(|filter| free(filter, &taken)) {
                continue;
            }
            taken.extend(own.iter().map(|filter| (*filter).to_owned()));
        } else {
            proposal.topics.retain(|filter| free(filter, &taken));
            if proposal.topics.is_empty() {
                continue;
            }
            taken.extend(proposal.topics.iter().cloned());
        }
        out.push(proposal);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(topic: &str, payload: &str, qos: u8) -> Message {
        let payload = payload.as_bytes().to_vec().into();
        Message { topic: topic.to_owned(), payload, qos, retain: false, dup: false, packet_id: 0 }
    }

    #[test]
    fn servers_are_named_and_the_rest_is_taken_by_its_first_level() {
        let seen = [
            message("application/1/device/02f1e2d3c4b5a601/event/up", "{\"deduplicationId\":\"x\"}", 0),
            message("application/1/device/02f1e2d3c4b5a602/event/up", "{\"deduplicationId\":\"y\"}", 1),
            message("building/4/temperature", "21.5", 1),
            message("building/5/temperature", "22", 1),
            message("building/6/temperature", "22", 1),
        ];
        let routes = propose(&seen);
        assert_eq!((routes[0].profile, routes[0].messages, routes[0].qos0), ("chirpstack-v4", 2, 1));
        assert!(routes[0].topics.is_empty(), "its own");
        assert_eq!((routes[1].profile, &*routes[1].topics), ("plain", &["building/#".to_owned()][..]));
        assert_eq!(propose(&[]), []);
        // As RabbitMQ gives it to a filter with dots.
        let routes = propose(&[message("spBv1/0/G/NDATA/N", "", 0)]);
        assert_eq!((routes[0].profile, routes[0].topics.len()), ("sparkplug-b", 0), "its own filters take it");
    }

    proptest! {
        #[test]
        fn whatever_was_seen_the_filters_are_disjoint_and_legal(
            topics in prop::collection::vec("(application/1/device/02f1e2d3c4b5a601/(event/up|rx)|zigbee2mqtt/[a-c]|tele/[a-c]/STATE|[a-c/]{1,6})", 0..20),
        ) {
            let seen: Vec<Message> = topics.iter().map(|topic| message(topic, "{}", 1)).collect();
            let mut all: Vec<String> = Vec::new();
            for proposal in propose(&seen) {
                let own = filters_of(proposal.profile).iter().map(|filter| (*filter).to_owned());
                let filters = if proposal.topics.is_empty() { own.collect() } else { proposal.topics };
                for filter in filters {
                    prop_assert_eq!(crate::topic::filter_problem(&filter), None, "{}", filter);
                    prop_assert!(all.iter().all(|other| !intersect(other, &filter)), "{filter} and {all:?}");
                    all.push(filter);
                }
            }
        }
    }
}
