//! Proposals of routes: every message that was counted finds one.

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
    let shown: Vec<_> = routes.iter().map(|one| (one.profile, one.topics.len(), one.fallback, one.messages)).collect();
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
