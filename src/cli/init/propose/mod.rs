//! What was seen at the broker, turned into routes. Pure.
//!
//! The routes take every message that was seen, and read each as it speaks for itself: a route has the profile of what it takes,
//! or `auto` where topics do not tell two profiles apart. Network servers come first, plain values last; a route whose filters meet
//! those of an earlier one is a fallback.

use crate::profile::{Profile, ProfileOptions, REGISTRY};
use crate::record::Message;
use crate::topic::{covers, intersect, matches_delivered, route_of};
use std::collections::BTreeMap;

/// First levels of topics in one route; for more, `#` is shorter, and devices that come later are among them.
const FIRST_LEVELS: usize = 8;

/// A route to propose.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Proposal {
    /// The profile's name.
    pub(super) profile: &'static str,
    /// Its filters: empty for the profile's own.
    pub(super) topics: Vec<String>,
    /// Whether it takes what earlier ones leave.
    pub(super) fallback: bool,
    /// Messages that it takes of those seen.
    pub(super) messages: usize,
    /// Of them with QoS 0.
    pub(super) qos0: usize,
    /// One of their topics.
    pub(super) example: String,
}

impl Proposal {
    /// A route with this profile, of which nothing was seen.
    pub(super) fn unseen(profile: &'static str, topics: Vec<String>) -> Proposal {
        Proposal { profile, topics, ..Proposal::default() }
    }

    /// Its filters, the profile's own if it names none.
    pub(super) fn filters(&self) -> Vec<String> {
        if self.topics.is_empty() { own_filters(self.profile) } else { self.topics.clone() }
    }
}

/// The default filters of a profile.
pub(super) fn own_filters(profile: &str) -> Vec<String> {
    let info = REGISTRY.iter().find(|info| info.name == profile);
    info.map_or(&[][..], |info| info.default_topics).iter().map(|filter| (*filter).to_owned()).collect()
}

/// Filters that one profile is to read.
#[derive(Clone, Debug)]
struct Draft {
    profile: &'static str,
    filters: Vec<String>,
}

/// Routes for what was seen under the filters that were asked for. Empty when nothing was seen.
pub(super) fn propose(seen: &[Message], asked: &[String]) -> Vec<Proposal> {
    let auto = Profile::named("auto", ProfileOptions::default()).expect("a name of the registry");
    let names: Vec<&'static str> = seen.iter().map(|message| auto.of(message).name()).collect();
    let mut drafts = drafts(seen, &names, asked);
    while let Some((one, other)) = misread(&drafts, seen, &names) {
        merge(&mut drafts, one, other);
    }
    counted(routes(drafts), seen)
}

/// Each profile with its own filters, and with others for what those do not match.
fn drafts(seen: &[Message], names: &[&'static str], asked: &[String]) -> Vec<Draft> {
    let mut by_name: BTreeMap<&'static str, Vec<&Message>> = BTreeMap::new();
    for (message, name) in seen.iter().zip(names) {
        by_name.entry(name).or_default().push(message);
    }
    let mut groups: Vec<_> = by_name.into_iter().collect();
    groups.sort_by_key(|(name, messages)| (*name == "plain", std::cmp::Reverse(messages.len())));
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (profile, messages) in groups {
        let filters = own_filters(profile);
        let takes = |message: &&&Message| filters.iter().any(|filter| matches_delivered(filter, &message.topic));
        let (inside, beside): (Vec<&Message>, Vec<&Message>) = messages.iter().partition(takes);
        if !beside.is_empty() {
            others.push(Draft { profile, filters: around(&beside, asked) });
        }
        if !inside.is_empty() {
            own.push(Draft { profile, filters });
        }
    }
    own.extend(others);
    own
}

/// Filters around topics: everything below their first levels, where the broker lets us read everything; else those under
/// which they came.
fn around(messages: &[&Message], asked: &[String]) -> Vec<String> {
    let all = asked.iter().any(|filter| filter == "#");
    let around = |message: &&Message| match asked.iter().find(|filter| matches_delivered(filter, &message.topic)) {
        Some(filter) if !all => filter.clone(),
        _ => format!("{}/#", message.topic.split('/').next().unwrap_or_default()),
    };
    let mut filters: Vec<String> = messages.iter().map(around).collect();
    filters.sort();
    filters.dedup();
    if all && filters.len() > FIRST_LEVELS { vec!["#".to_owned()] } else { filters }
}

/// Two drafts, where a message of the one's profile would be read by the other. Plain values are read alike by all.
fn misread(drafts: &[Draft], seen: &[Message], names: &[&'static str]) -> Option<(&'static str, &'static str)> {
    seen.iter().zip(names).filter(|(_, name)| **name != "plain").find_map(|(message, name)| {
        let by = drafts[route_of(drafts.iter().map(|draft| &draft.filters), &message.topic)?].profile;
        (by != *name && by != "auto").then_some((*name, by))
    })
}

/// Has `auto` read what either profile's drafts take, in the place of the first of them.
fn merge(drafts: &mut Vec<Draft>, one: &str, other: &str) {
    let both = |draft: &Draft| [one, other].contains(&draft.profile);
    let place = drafts.iter().position(both).unwrap_or_default();
    let filters = drafts.iter().filter(|draft| both(draft)).flat_map(|draft| draft.filters.clone()).collect();
    let before = drafts[..place].to_vec();
    let behind: Vec<Draft> = drafts[place..].iter().filter(|draft| !both(draft)).cloned().collect();
    *drafts = before.into_iter().chain([Draft { profile: "auto", filters }]).chain(behind).collect();
}

/// Drafts as routes: each filter that an earlier route leaves something of, and those of a route disjoint.
fn routes(drafts: Vec<Draft>) -> Vec<Proposal> {
    let mut taken: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for Draft { profile, filters } in drafts {
        let mut left = filters;
        let own = left == own_filters(profile);
        loop {
            let (picked, rest) = pick(left, &taken);
            if picked.is_empty() {
                break;
            }
            // All of its own are written as none, those among them that an earlier route covers.
            let (topics, written) = if own && rest.is_empty() {
                (Vec::new(), own_filters(profile))
            } else {
                (picked.clone(), picked.clone())
            };
            let fallback = written.iter().any(|filter| taken.iter().any(|other| intersect(other, filter)));
            out.push(Proposal { fallback, ..Proposal::unseen(profile, topics) });
            taken.extend(picked);
            left = rest;
        }
    }
    out
}

/// Of the filters that none taken covers, some that are disjoint, wide ones first; and the rest.
fn pick(mut filters: Vec<String>, taken: &[String]) -> (Vec<String>, Vec<String>) {
    filters.retain(|filter| taken.iter().all(|other| !covers(other, filter)));
    let all = filters.clone();
    filters.retain(|filter| all.iter().all(|other| other == filter || !covers(other, filter)));
    let (mut picked, mut rest) = (Vec::new(), Vec::new());
    for filter in filters {
        let free = !picked.contains(&filter) && picked.iter().all(|other| !intersect(other, &filter));
        if free { picked.push(filter) } else { rest.push(filter) }
    }
    (picked, rest)
}

/// Counts what each route takes; one that takes nothing goes.
fn counted(mut routes: Vec<Proposal>, seen: &[Message]) -> Vec<Proposal> {
    let filters: Vec<Vec<String>> = routes.iter().map(Proposal::filters).collect();
    for message in seen {
        let Some(index) = route_of(filters.iter(), &message.topic) else { continue };
        let route = &mut routes[index];
        if route.messages == 0 {
            route.example.clone_from(&message.topic);
        }
        route.messages += 1;
        route.qos0 += usize::from(message.qos == 0);
    }
    routes.retain(|route| route.messages > 0);
    routes
}

#[cfg(test)]
mod tests;
