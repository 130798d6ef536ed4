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
mod tests {
    use super::*;
    use crate::cli::init::file::{BrokerKeys, Keys, QueueKeys, text};
    use crate::config::Config;
    use proptest::prelude::*;

    fn message(topic: &str, payload: &str, qos: u8) -> Message {
        let payload = payload.as_bytes().to_vec().into();
        Message { topic: topic.to_owned(), payload, qos, retain: false, dup: false, packet_id: 0 }
    }

    fn all() -> Vec<String> {
        vec!["#".to_owned()]
    }

    fn of(seen: &[(&str, &str)]) -> Vec<Proposal> {
        let seen: Vec<Message> = seen.iter().map(|(topic, payload)| message(topic, payload, 1)).collect();
        propose(&seen, &all())
    }

    /// The configuration of these routes.
    fn configured(routes: &[Proposal]) -> Config {
        let broker = BrokerKeys { url: "mqtt://127.0.0.1".into(), username: None, password_file: None };
        let queue = QueueKeys::told_by("https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo", "/c.csv");
        let text = text(&Keys { gateway: None, broker: &broker, journal: None, queue: &queue, routes });
        Config::parse(&text, std::path::Path::new("t.toml"), &BTreeMap::new()).unwrap_or_else(|problems| {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}\n{text}", said.join("\n"))
        })
    }

    #[test]
    fn init_names_servers_and_takes_other_topics_by_first_level() {
        let seen = [
            message("application/1/device/02f1e2d3c4b5a601/event/up", "{\"deduplicationId\":\"x\"}", 0),
            message("application/1/device/02f1e2d3c4b5a602/event/up", "{\"deduplicationId\":\"y\"}", 1),
            message("building/4/temperature", "21.5", 1),
            message("building/5/temperature", "22", 1),
            message("building/6/temperature", "22", 1),
        ];
        let routes = propose(&seen, &all());
        assert_eq!((routes[0].profile, routes[0].messages, routes[0].qos0), ("chirpstack-v4", 2, 1));
        assert!(routes[0].topics.is_empty(), "its own");
        assert_eq!((routes[1].profile, &*routes[1].topics), ("plain", &["building/#".to_owned()][..]));
        assert!(!routes[1].fallback, "they do not meet");
        assert_eq!(propose(&[], &all()), []);
        // As RabbitMQ gives it to a filter with dots.
        let routes = of(&[("spBv1/0/G/NDATA/N", "")]);
        assert_eq!((routes[0].profile, routes[0].topics.len()), ("sparkplug-b", 0), "its own filters take it");
    }

    /// Its default filters meet those of Zigbee2MQTT and Tasmota: it was left out without a word.
    #[test]
    fn a_profile_with_overlapping_filters_is_proposed_as_fallback() {
        let routes = of(&[
            ("zigbee2mqtt/lamp", "{}"),
            ("zigbee2mqtt/lamp2", "{}"),
            ("shellyplus1-a8032ab1/events/rpc", "{\"src\":\"shellyplus1-a8032ab1\"}"),
        ]);
        let shown: Vec<_> =
            routes.iter().map(|one| (one.profile, one.topics.len(), one.fallback, one.messages)).collect();
        assert_eq!(shown, [("zigbee2mqtt", 0, false, 2), ("shelly", 0, true, 1)]);
        configured(&routes);
    }

    #[test]
    fn topics_beside_a_profiles_own_filters_get_a_route() {
        let routes = of(&[
            ("application/1/device/02f1e2d3c4b5a601/event/up", "{}"),
            ("site/application/1/device/02f1e2d3c4b5a601/event/up", "{}"),
            ("application/1/note", "hello"),
        ]);
        let shown: Vec<_> = routes.iter().map(|one| (one.profile, one.topics.join(" "), one.fallback)).collect();
        assert_eq!(
            shown,
            [
                ("chirpstack-v4", String::new(), false),
                ("chirpstack-v4", "site/#".into(), false),
                ("plain", "application/#".into(), true)
            ]
        );
        configured(&routes);
    }

    #[test]
    fn auto_reads_topics_that_two_servers_share() {
        let routes = of(&[
            ("application/1/device/02f1e2d3c4b5a601/rx", "{\"data_encode\":\"base64\"}"),
            ("application/1/device/02f1e2d3c4b5a602/rx", "{\"devEUI\":\"02f1e2d3c4b5a602\"}"),
        ]);
        assert_eq!((routes.len(), routes[0].profile, routes[0].messages), (1, "auto", 2));
        let topics = configured(&routes).routes[0].topics.clone();
        assert!(topics.contains(&"application/+/device/+/rx".to_owned()), "{topics:?}");
    }

    #[test]
    fn init_proposes_no_filter_wider_than_the_broker_allowed() {
        let seen: Vec<Message> = (0..20).map(|n| message(&format!("hall{n}/temperature"), "21", 1)).collect();
        assert_eq!(propose(&seen, &all())[0].topics, ["#"]);
        let routes = propose(&seen, &["application/#".into(), "+/temperature".into()]);
        assert_eq!((routes.len(), &*routes[0].topics), (1, &["+/temperature".to_owned()][..]));
    }

    proptest! {
        #[test]
        fn proposed_routes_take_and_read_every_seen_message_correctly(
            topics in prop::collection::vec(
                "(application/1/device/02f1e2d3c4b5a601/(event/up|rx|join)|zigbee2mqtt/[a-c]|zigbee2mqtt/online|tele/[a-c]/STATE|shelly[ab]/(online|status/x|events/rpc)|[a-c/]{1,6})", 0..20),
            payload in "(\\{\\}|\\{\"devEUI\":\"02f1e2d3c4b5a602\"(,\"fCnt\":1)?\\}|\\{\"timestamp\":1\\}|21)",
            other in "(\\{\\}|\\{\"devEUI\":\"02f1e2d3c4b5a602\"(,\"fCnt\":1)?\\}|\\{\"timestamp\":1\\}|21)",
            wide: bool,
        ) {
            let payloads = [payload, other];
            let seen: Vec<Message> =
                topics.iter().enumerate().map(|(n, topic)| message(topic, &payloads[n % 2], 1)).collect();
            let asked = if wide { all() } else { vec!["+".into(), "+/+/#".into()] };
            let routes = propose(&seen, &asked);
            prop_assert_eq!(routes.iter().map(|route| route.messages).sum::<usize>(), seen.len());
            if seen.is_empty() {
                return Ok(());
            }
            let config = configured(&routes);
            let auto = Profile::named("auto", ProfileOptions::default()).expect("a profile");
            for message in &seen {
                let route = route_of(config.routes.iter().map(|route| &route.topics), &message.topic);
                let reader = config.routes[route.expect("a route")].profile.of(message).name();
                let name = auto.of(message).name();
                prop_assert!(reader == name || name == "plain", "{} is {name} and read as {reader}", message.topic);
            }
        }
    }
}
