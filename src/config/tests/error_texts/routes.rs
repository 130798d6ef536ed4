//! Routes: their queues, profiles, topics and groups.

use super::{check, said_after};
use crate::config::tests::{MINIMAL, parse};

#[test]
fn mistakes_in_routes_are_told_with_place_and_remedy() {
    check(&[
        (
            said_after("queue = \"main\"", "queue = \"mian\""),
            r##"
tidegate.toml:8:9: route 1: queue: there is no queue "mian"
 8 | queue = "mian"
   |         ^^^^^^
   → did you mean "main"?"##,
        ),
        (
            said_after("queue = \"main\"", "queues = [\"main\", \"audit\", \"main\"]"),
            r##"
tidegate.toml:8:19: route 1: queues: there is no queue "audit"
 8 | queues = ["main", "audit", "main"]
   |                   ^^^^^^^
   → add a section [queues.audit]
tidegate.toml:8:28: route 1: queues: the queue "main" is named twice
 8 | queues = ["main", "audit", "main"]
   |                            ^^^^^^"##,
        ),
        (
            said_after("queue = \"main\"", ""),
            r##"
tidegate.toml:6:1: route 1: queue is missing; expected the name of a queue, or queues = [..] for several
 6 | [[routes]]
   | ^^^^^^^^^^
   → queue = "main""##,
        ),
        (
            said_after("profile = \"chirpstack-v4\"", "profile = \"chirpstack\""),
            r##"
tidegate.toml:7:11: route 1: profile: found "chirpstack"; expected "chirpstack-v4", "chirpstack-v3", "chirpstack-gateway", "tts-v3", "multitech", "rak", "milesight", "kerlink", "thingpark", "loriot", "tektelic", "zigbee2mqtt", "tasmota", "shelly", "sparkplug-b", "homie", "enocean", "microshare", "plain", "generic" or "auto"
 7 | profile = "chirpstack"
   |           ^^^^^^^^^^^^
   → write one of "chirpstack-v4" (ChirpStack 4 application events, JSON or protobuf), "chirpstack-v3" (ChirpStack 3 application events, JSON), "chirpstack-gateway" (ChirpStack gateway bridge and MQTT forwarder, JSON or protobuf); or "auto", which tells them apart"##,
        ),
        (
            said_after("profile = \"chirpstack-v4\"", "profile = \"generic\"\ntime = \"ts\"\ndevice = \"topic:0\""),
            r##"
tidegate.toml:6:1: route 1: topics is missing; expected topic filters: the profile "generic" has none of its own
 6 | [[routes]]
   | ^^^^^^^^^^
   → topics = ["site/+/sensor/#"]
tidegate.toml:8:8: route 1: time: found "ts"; expected a JSON pointer, which starts with "/", such as "/ts"
 8 | time = "ts"
   |        ^^^^
tidegate.toml:9:10: route 1: device: found "topic:0"; expected a level of the topic, counted from 1: "topic:3" is "c" in "a/b/c"
 9 | device = "topic:0"
   |          ^^^^^^^^^"##,
        ),
        (
            said_after("profile = \"chirpstack-v4\"", "profile = \"chirpstack-v4\"\ntime = \"/time\""),
            r##"
tidegate.toml:8:8: route 1: time: has no effect: the profile "chirpstack-v4" knows its payloads
 8 | time = "/time"
   |        ^^^^^^^
   → remove it, or use profile = "generic""##,
        ),
        (
            said_after("profile = \"chirpstack-v4\"", "profile = \"chirpstack-v4\"\ntopics = \"application/#\""),
            r##"
tidegate.toml:8:10: route 1: topics: found "application/#"; expected a list of topic filters such as ["site/+/sensor/#"]
 8 | topics = "application/#"
   |          ^^^^^^^^^^^^^^^
   → write it in brackets: ["application/#"]"##,
        ),
        (
            said_after(
                "profile = \"chirpstack-v4\"",
                "profile = \"generic\"\ntopics = [\"a/#/b\", \"$share/g/c/#\", \"$SYS/#\", 7]\ngroup = \"application\"",
            ),
            r##"
tidegate.toml:8:11: route 1: topics: found "a/#/b"; expected a topic filter: "#" must be alone in the last level
 8 | topics = ["a/#/b", "$share/g/c/#", "$SYS/#", 7]
   |           ^^^^^^^
tidegate.toml:8:20: route 1: topics: found "$share/g/c/#"; expected a plain topic filter: a shared subscription would tear a device's messages apart
 8 | topics = ["a/#/b", "$share/g/c/#", "$SYS/#", 7]
   |                    ^^^^^^^^^^^^^^
   → did you mean "c/#"?
tidegate.toml:8:36: route 1: topics: found "$SYS/#"; expected topics of devices: $SYS is the broker's own, which the agent watches by itself
 8 | topics = ["a/#/b", "$share/g/c/#", "$SYS/#", 7]
   |                                    ^^^^^^^^
tidegate.toml:8:46: route 1: topics: found 7; expected text in quotes
 8 | topics = ["a/#/b", "$share/g/c/#", "$SYS/#", 7]
   |                                              ^
   → did you mean "7"?
tidegate.toml:9:9: route 1: group: the profile "generic" knows no applications; expected "device", "topic" or "gateway"
 9 | group = "application"
   |         ^^^^^^^^^^^^^"##,
        ),
        (
            said_after(
                "queue = \"main\"",
                "queue = \"main\"\n\n[[routes]]\nprofile = \"generic\"\nqueue = \"main\"\ntopics = [\"site/+/x\", \"site/hq/#\", \"application/#\"]",
            ),
            r##"
tidegate.toml:13:23: route 2: topics: "site/hq/#" and "site/+/x" in line 13 can match the same topic
 13 | topics = ["site/+/x", "site/hq/#", "application/#"]
    |                       ^^^^^^^^^^^
   → make them disjoint: some brokers deliver a message once for each filter that matches it
tidegate.toml:13:36: route 2: topics: "application/#" and "application/+/device/+/event/+" in line 7 can match the same topic
 13 | topics = ["site/+/x", "site/hq/#", "application/#"]
    |                                    ^^^^^^^^^^^^^^^
   → make them disjoint, or write fallback = true in the later route: it takes what the earlier one leaves; to send a topic to several queues, use queues = [..] on one route"##,
        ),
        (
            said_after("[[routes]]", "[routes]"),
            r##"
tidegate.toml:6:1: routes: routes is not a list of sections
 6 | [routes]
   | ^^^^^^^^
   → write [[routes]], with two brackets, above each route"##,
        ),
    ]);
}

#[test]
fn a_fallback_takes_what_is_left_and_something_is() {
    let with = |second: &str| MINIMAL.to_owned() + "\n[[routes]]\nqueue = \"main\"\nfallback = true\n" + second;
    let config = parse(&with("profile = \"chirpstack-v3\"")).expect("a configuration");
    assert_eq!(config.routes[1].topics, ["application/+/device/+/rx"], "the other filter is route 1's");
    let config = parse(&with("profile = \"plain\"\ntopics = [\"#\"]")).expect("a configuration");
    assert!(config.routes[1].fallback && !config.routes[0].fallback);
    // Nothing meets the first one, whatever it says of itself.
    parse(&MINIMAL.replace("[[routes]]", "[[routes]]\nfallback = true")).expect("a configuration");
    check(&[
        (
            parse(&with("profile = \"auto\"\ntopics = [\"application/1/device/2/event/up\", \"a/#\", \"a/+\"]"))
                .expect_err("mistakes"),
            r##"
tidegate.toml:14:11: route 2: topics: "application/1/device/2/event/up" takes nothing: "application/+/device/+/event/+" in line 7 takes it all before
 14 | topics = ["application/1/device/2/event/up", "a/#", "a/+"]
    |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   → remove it, or put this route above the other one
tidegate.toml:14:53: route 2: topics: "a/+" and "a/#" in line 14 can match the same topic
 14 | topics = ["application/1/device/2/event/up", "a/#", "a/+"]
    |                                                     ^^^^^
   → make them disjoint: some brokers deliver a message once for each filter that matches it"##,
        ),
        (
            parse(&with("profile = \"chirpstack-v4\"")).expect_err("a mistake"),
            r##"
tidegate.toml:12:12: route 2: fallback: nothing is left for this route: earlier ones take all topics of its profile
 12 | fallback = true
    |            ^^^^
   → put it above them, or give it topics of its own"##,
        ),
    ]);
}
