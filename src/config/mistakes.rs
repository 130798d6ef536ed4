//! The mistakes that people make, with the full texts that they are shown.

use super::*;
use crate::config::tests::{MINIMAL, parse, parse_with};

/// The problems of the minimal file with a text in front.
fn said_of(front: &str) -> String {
    parse(&format!("{front}{MINIMAL}")).expect_err("a mistake")
}

/// The problems of the minimal file with one text in the place of another.
fn said_after(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from}");
    parse(&MINIMAL.replace(from, to)).expect_err("a mistake")
}

/// Mistakes and their texts, separated so that each can be read as it is shown.
fn check(cases: &[(String, &str)]) {
    for (said, expected) in cases {
        assert_eq!(said, expected.trim_start_matches('\n').trim_end(), "\n--- said:\n{said}\n---");
    }
}

#[test]
fn every_syntax_mistake_is_shown_at_once_and_nothing_else() {
    check(&[(
        said_of("[mqtt]\nurl = “mqtt://127.0.0.1”\nkeep_alive = 30 s\n[journal]\nmax_bytes =\n"),
        r##"
tidegate.toml:2:7: typographic quotes
 2 | url = “mqtt://127.0.0.1”
   |       ^^^^^^^^^^^^^^^^^^
   → use the straight quote " of a plain text editor
tidegate.toml:3:14: a text without quotes
 3 | keep_alive = 30 s
   |              ^^^^
   → put the value in quotes: key = "value"
tidegate.toml:5:12: no value behind the equals sign
 5 | max_bytes =
   |            ^
   → write the value, or put # before the line"##,
    )]);
}

#[test]
fn mistakes_in_sections_and_keys_are_told_with_place_and_remedy() {
    check(&[
        (
            said_of("[mqtt]\nkeepalive = \"30 s\"\nqos = 1\npassword = \"hunter2\"\n"),
            r##"
tidegate.toml:2:1: mqtt: unknown key "keepalive"
 2 | keepalive = "30 s"
   | ^^^^^^^^^
   → did you mean "keep_alive"?
tidegate.toml:3:1: mqtt: unknown key "qos"
 3 | qos = 1
   | ^^^
   → the agent always subscribes with QoS 1
tidegate.toml:4:1: mqtt: unknown key "password"
 4 | password = …
   | ^^^^^^^^
   → put the password into a file and name it in "password_file""##,
        ),
        (
            said_of("[sqs]\nurl = \"x\"\n"),
            r##"
tidegate.toml:1:2: unknown section "sqs"
 1 | [sqs]
   |  ^^^
   → a queue is a section [queues.NAME], such as [queues.main]"##,
        ),
        (
            said_of("[journl]\n"),
            r##"
tidegate.toml:1:2: unknown section "journl"
 1 | [journl]
   |  ^^^^^^
   → did you mean "journal"?"##,
        ),
        (
            said_of("colour = \"red\"\n"),
            r##"
tidegate.toml:1:1: unknown key "colour"
 1 | colour = "red"
   | ^^^^^^
   → known sections: gateway, mqtt, journal, queues, records, routes, status"##,
        ),
        (
            said_of("[[journal]]\n"),
            r##"
tidegate.toml:1:1: journal: [[journal]] is a list of sections; expected one section [journal]
 1 | [[journal]]
   | ^^^^^^^^^^^"##,
        ),
        (
            said_after("profile = \"chirpstack-v4\"", "profile = \"chirpstack-v4\"\ntopic = \"a/b\""),
            r##"
tidegate.toml:8:1: route 1: unknown key "topic"
 8 | topic = "a/b"
   | ^^^^^
   → did you mean "topics"?"##,
        ),
        (
            said_after("credentials_file = \"credentials.csv\"", "aws_secret_access_key = \"hunter2\""),
            r##"
tidegate.toml:2:9: queues.main: credentials_file is missing; expected the IAM console's .csv as downloaded, or credentials = "aws-chain"
 2 | [queues.main]
   |         ^^^^
   → credentials_file = "/etc/tidegate/credentials.csv"
tidegate.toml:4:1: queues.main: unknown key "aws_secret_access_key"
 4 | aws_secret_access_key = …
   | ^^^^^^^^^^^^^^^^^^^^^
   → keys do not stand here: name the IAM console's .csv with credentials_file"##,
        ),
    ]);
}

#[test]
fn mistakes_in_values_are_told_with_place_and_remedy() {
    check(&[
        (
            said_of(
                "[mqtt]\nurl = \"127.0.0.1:1883\"\nkeep_alive = 30\nmax_payload_bytes = \"1 MiB\"\nclient_id = 7\n",
            ),
            r##"
tidegate.toml:2:7: mqtt.url: found "127.0.0.1:1883"; expected "mqtt://host:1883", "mqtts://host:8883" for TLS, or "unix:///path"
 2 | url = "127.0.0.1:1883"
   |       ^^^^^^^^^^^^^^^^
   → did you mean "mqtt://127.0.0.1:1883"?
tidegate.toml:3:14: mqtt.keep_alive: found 30; expected a time with its unit, such as "30 s", "500 ms" or "5 min"
 3 | keep_alive = 30
   |              ^^
   → did you mean "30 s"?
tidegate.toml:4:21: mqtt.max_payload_bytes: found "1 MiB"; expected 1 KiB to 700 KiB
 4 | max_payload_bytes = "1 MiB"
   |                     ^^^^^^^
tidegate.toml:5:13: mqtt.client_id: found 7; expected text in quotes
 5 | client_id = 7
   |             ^
   → did you mean "7"?"##,
        ),
        (
            said_of("[mqtt]\nurl = \"mqtt://me:hunter2@broker\"\n"),
            r##"
tidegate.toml:2:7: mqtt.url: the URL holds a user name or a password
 2 | url = …
   |       ^
   → set mqtt.username and mqtt.password_file instead"##,
        ),
        (
            said_of("[mqtt]\nurl = \"ws://broker:9001\"\n"),
            r##"
tidegate.toml:2:7: mqtt.url: found "ws://broker:9001"; expected "mqtt://host:1883", "mqtts://host:8883" for TLS, or "unix:///path"
 2 | url = "ws://broker:9001"
   |       ^^^^^^^^^^^^^^^^^^
   → websockets are not supported: use the broker's plain or TLS port"##,
        ),
        (
            said_of("[journal]\nmax_bytes = \"512 MB\"\non_full = \"drop_oldest\"\nlinger = \"2 s\"\n"),
            r##"
tidegate.toml:2:13: journal.max_bytes: found "512 MB"; expected a size such as "512 MiB" or "64 KiB", or a number of bytes
 2 | max_bytes = "512 MB"
   |             ^^^^^^^^
   → did you mean "512 MiB"?
tidegate.toml:3:11: journal.on_full: found "drop_oldest"; expected "drop-oldest" or "stop"
 3 | on_full = "drop_oldest"
   |           ^^^^^^^^^^^^^
   → did you mean "drop-oldest"?
tidegate.toml:4:10: journal.linger: found "2 s"; expected 0 s to 1 s
 4 | linger = "2 s"
   |          ^^^^^"##,
        ),
        (
            said_of("[journal]\nmax_bytes = 1048576\npath = \"~/journal\"\n"),
            r##"
tidegate.toml:2:13: journal.max_bytes: found 1048576; expected 16 MiB to 1024 GiB
 2 | max_bytes = 1048576
   |             ^^^^^^^
tidegate.toml:3:8: journal.path: found "~/journal"; expected a path; "~" has no meaning here
 3 | path = "~/journal"
   |        ^^^^^^^^^^^
   → write the whole path"##,
        ),
        (
            said_after("\"credentials.csv\"", "\"$HOME/credentials.csv\""),
            r##"
tidegate.toml:4:20: queues.main.credentials_file: found "$HOME/credentials.csv"; expected a path; $CREDENTIALS_DIRECTORY is the only variable known here
 4 | credentials_file = "$HOME/credentials.csv"
   |                    ^^^^^^^^^^^^^^^^^^^^^^^
   → $CREDENTIALS_DIRECTORY/credentials.csv"##,
        ),
        (
            said_of("[gateway]\nid = \"HQ Tower Roof\"\nsite = \"\"\n"),
            r##"
tidegate.toml:2:6: gateway.id: found "HQ Tower Roof"; expected 1 to 64 letters, digits, ".", "_" or "-"
 2 | id = "HQ Tower Roof"
   |      ^^^^^^^^^^^^^^^
   → did you mean "hq-tower-roof"?
tidegate.toml:3:8: gateway.site: found ""; expected a text that is not empty
 3 | site = ""
   |        ^^"##,
        ),
        (
            said_of("[status]\nlisten = \"0.0.0.0:8377\"\n"),
            r##"
tidegate.toml:2:10: status.listen: found "0.0.0.0:8377"; expected a loopback address, or status.token_file beside it: others can reach this one
 2 | listen = "0.0.0.0:8377"
   |          ^^^^^^^^^^^^^^
   → did you mean "127.0.0.1:8377"?"##,
        ),
        (
            said_of("[status]\nlisten = 8377\n"),
            r##"
tidegate.toml:2:10: status.listen: found 8377; expected an address and a port such as "127.0.0.1:8377", or "" to switch the page off
 2 | listen = 8377
   |          ^^^^
   → did you mean "127.0.0.1:8377"?"##,
        ),
        (
            said_of("[records]\ntype_prefix = \"com.example.\"\n"),
            r##"
tidegate.toml:2:15: records.type_prefix: found "com.example."; expected words of letters, digits and "-" with dots between, such as "com.example"
 2 | type_prefix = "com.example."
   |               ^^^^^^^^^^^^^^"##,
        ),
        (
            said_after("queue = \"main\"", "queue = \"main\"\ngroup = \"sensor\""),
            r##"
tidegate.toml:9:9: route 1: group: found "sensor"; expected "device", "topic", "gateway" or "application"
 9 | group = "sensor"
   |         ^^^^^^^^"##,
        ),
        (
            said_after(
                "url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"",
                "url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\nmax_in_flight = 64\nbody = \"raw \"\nallow_plain_http = \"yes\"\nbatch_bytes = \"2 MiB\"",
            ),
            r##"
tidegate.toml:4:17: queues.main.max_in_flight: found 64; expected a number from 1 to 32
 4 | max_in_flight = 64
   |                 ^^
tidegate.toml:5:8: queues.main.body: found "raw "; expected a text without spaces at its ends
 5 | body = "raw "
   |        ^^^^^^
   → did you mean "raw"?
tidegate.toml:6:20: queues.main.allow_plain_http: found "yes"; expected true or false, without quotes
 6 | allow_plain_http = "yes"
   |                    ^^^^^
tidegate.toml:7:15: queues.main.batch_bytes: found "2 MiB"; expected 1 KiB to 1023 KiB
 7 | batch_bytes = "2 MiB"
   |               ^^^^^^^"##,
        ),
    ]);
}

#[test]
fn mistakes_in_what_does_not_fit_together_are_told_with_place_and_remedy() {
    check(&[
        (
            said_of("[mqtt]\nurl = \"mqtts://broker\"\nclient_cert_file = \"client.pem\"\npassword_file = \"pw\"\n"),
            r##"
tidegate.toml:3:20: mqtt.client_cert_file: stands without client_key_file
 3 | client_cert_file = "client.pem"
   |                    ^^^^^^^^^^^^
   → set mqtt.client_key_file too, or neither
tidegate.toml:4:17: mqtt.password_file: a password without a user name
 4 | password_file = "pw"
   |                 ^^^^
   → set mqtt.username too"##,
        ),
        (
            said_of("[mqtt]\nca_file = \"ca.pem\"\n"),
            r##"
tidegate.toml:2:11: mqtt.ca_file: has no effect: the broker's url is not mqtts://
 2 | ca_file = "ca.pem"
   |           ^^^^^^^^
   → set mqtt.url to "mqtts://host:8883""##,
        ),
        (
            said_of("[mqtt]\nmax_unacked_bytes = \"128 KiB\"\n"),
            r##"
tidegate.toml:2:21: mqtt.max_unacked_bytes: 128 KiB is less than one payload may have; expected at least max_payload_bytes, 700 KiB
 2 | max_unacked_bytes = "128 KiB"
   |                     ^^^^^^^^^"##,
        ),
        (
            said_after(
                "credentials_file = \"credentials.csv\"",
                "credentials_file = \"credentials.csv\"\ncredentials = \"aws-chain\"",
            ),
            r##"
tidegate.toml:4:20: queues.main.credentials_file: both credentials and credentials_file are set
 4 | credentials_file = "credentials.csv"
   |                    ^^^^^^^^^^^^^^^^^
   → keep one of them"##,
        ),
        (
            said_after("credentials_file = \"credentials.csv\"", "credentials = \"/etc/tidegate/credentials.csv\""),
            r##"
tidegate.toml:4:15: queues.main.credentials: found a value that is not shown; expected "aws-chain", the standard AWS chain
 4 | credentials = …
   |               ^
   → a file is named with credentials_file"##,
        ),
        (
            said_after("credentials_file = \"credentials.csv\"", "credentials = \"AKIAEXAMPLE\""),
            r##"
tidegate.toml:4:15: queues.main.credentials: found a value that is not shown; expected "aws-chain", the standard AWS chain
 4 | credentials = …
   |               ^
   → keys do not stand here: name the downloaded .csv with credentials_file"##,
        ),
        (
            said_after("credentials_file = \"credentials.csv\"\n", ""),
            r##"
tidegate.toml:2:9: queues.main: credentials_file is missing; expected the IAM console's .csv as downloaded, or credentials = "aws-chain"
 2 | [queues.main]
   |         ^^^^
   → credentials_file = "/etc/tidegate/credentials.csv""##,
        ),
        (
            said_after("site.fifo\"", "site\"\nordering = \"packed\""),
            r##"
tidegate.toml:4:12: queues.main.ordering: has no meaning on a Standard queue, which keeps no order
 4 | ordering = "packed"
   |            ^^^^^^^^
   → remove it, or use a queue whose name ends in .fifo"##,
        ),
        (
            said_after(
                "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"",
                "http://queues.example/123456789012/site.fifo\"",
            ),
            r##"
tidegate.toml:2:9: queues.main: region is missing; expected the queue's region, which its URL does not tell
 2 | [queues.main]
   |         ^^^^
   → region = "eu-west-1"
tidegate.toml:3:7: queues.main.url: plain http would send every record readable over the network
 3 | url = "http://queues.example/123456789012/site.fifo"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   → use https://, or say allow_plain_http = true if you mean it"##,
        ),
        (
            said_after(
                "site.fifo\"",
                "site.fifo\"\nregion = \"us-east-1\"\nendpoint = \"http://10.0.0.7:4566\"\nconnect_timeout = \"30 s\"\nattempt_timeout = \"20 s\"",
            ),
            r##"
tidegate.toml:4:10: queues.main.region: "us-east-1" contradicts the queue's URL, which says "eu-west-1"
 4 | region = "us-east-1"
   |          ^^^^^^^^^^^
   → leave region out
tidegate.toml:5:12: queues.main.endpoint: plain http would send every record readable over the network
 5 | endpoint = "http://10.0.0.7:4566"
   |            ^^^^^^^^^^^^^^^^^^^^^^
   → use https://, or say allow_plain_http = true if you mean it
tidegate.toml:7:19: queues.main.attempt_timeout: 20 s is shorter than connect_timeout; expected at least 30 s
 7 | attempt_timeout = "20 s"
   |                   ^^^^^^"##,
        ),
    ]);
}

#[test]
fn mistakes_in_queues_and_routes_are_told_with_place_and_remedy() {
    check(&[
        (
            parse("").expect_err("a mistake"),
            r##"
tidegate.toml: no queue; expected at least one section [queues.NAME]
   → add [queues.main] with url and credentials_file
tidegate.toml: no route: no message would be taken; expected at least one section [[routes]] with profile and queue"##,
        ),
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
   → did you mean "chirpstack-v4"?"##,
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
tidegate.toml:8:11: route 1: topics: found "a/#/b"; expected a topic filter: "#" stands alone in the last level
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
   → make them disjoint; to send a topic to several queues, use queues = [..] on one route
tidegate.toml:13:36: route 2: topics: "application/#" and "application/+/device/+/event/+" in line 7 can match the same topic
 13 | topics = ["site/+/x", "site/hq/#", "application/#"]
    |                                    ^^^^^^^^^^^^^^^
   → make them disjoint; to send a topic to several queues, use queues = [..] on one route"##,
        ),
        (
            said_after("[[routes]]", "[routes]"),
            r##"
tidegate.toml:6:1: routes: routes is not a list of sections
 6 | [routes]
   | ^^^^^^^^
   → write [[routes]], with two brackets, above each route"##,
        ),
        (
            said_after("[queues.main]", "[[queues]]"),
            r##"
tidegate.toml:2:1: queues: queues is not a set of named sections
 2 | [[queues]]
   | ^^^^^^^^^^
   → write [queues.main] instead of [[queues]]"##,
        ),
        (
            said_after("[queues.main]", "[queues]"),
            r##"
tidegate.toml:3:1: queues.url: not a section
 3 | url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"
   | ^^^
   → a queue is a section of its own: write [queues.main] above its url
tidegate.toml:4:1: queues.credentials_file: not a section
 4 | credentials_file = "credentials.csv"
   | ^^^^^^^^^^^^^^^^
   → a queue is a section of its own: write [queues.main] above its url"##,
        ),
    ]);
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    let variables = [
        ("TIDEGATE_JOURNAL_MAX_BYTE", "128 MiB"),
        ("TIDEGATE_MQTT_KEEP_ALIVE", "30"),
        ("TIDEGATE_QUEUES_AUDIT_ENDPOINT", "http://127.0.0.1"),
    ];
    check(&[(
        parse_with(MINIMAL, &variables).expect_err("mistakes"),
        r##"
environment variable TIDEGATE_MQTT_KEEP_ALIVE: mqtt.keep_alive: found "30"; expected a time with its unit, such as "30 s", "500 ms" or "5 min"
   → did you mean "30 s"?
environment variable TIDEGATE_JOURNAL_MAX_BYTE: names no key
   → did you mean TIDEGATE_JOURNAL_MAX_BYTES?
environment variable TIDEGATE_QUEUES_AUDIT_ENDPOINT: names no key
   → only queues of the file have variables: add [queues.NAME] there"##,
    )]);
}

#[test]
fn no_problem_shows_a_secret() {
    for text in [
        "[mqtt]\npassword = \"hunter2\"\n",
        "[mqtt]\npassword = hunter2\n",
        "[mqtt]\nurl = \"mqtt://me:hunter2@broker\"\n",
        "[mqtt]\nurl = mqtt://me:hunter2@broker\n",
        "[queues.x]\nsecret_access_key = \"hunter2\"\ncredentials = \"hunter2\"\n",
        "[queues]\nx = { url = 1, aws_secret_access_key = \"hunter2\" }\n",
    ] {
        let said = said_of(text);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_the_next_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let load = |path: &Path| Config::load(path).expect_err("no configuration").to_string();
    let missing = folder.path().join("tidegate.toml");
    assert!(
        load(&missing).ends_with("create it with `tidegate init`, or name another with --config"),
        "{}",
        load(&missing)
    );
    assert!(load(folder.path()).ends_with("name the file, not its folder"), "{}", load(folder.path()));
    std::fs::write(&missing, b"\xff\xfe[\0m\0").expect("a file");
    assert!(load(&missing).ends_with("it is UTF-16 text; save it as UTF-8 text"), "{}", load(&missing));
    std::fs::write(&missing, b"[gateway]\nid = \"B\xfcro\"\n").expect("a file");
    assert!(load(&missing).ends_with("line 2 is not UTF-8 text; save it as UTF-8 text"), "{}", load(&missing));
    std::fs::write(&missing, "[gateway]\nid = \"B\"\n").expect("a file");
    assert!(load(&missing).ends_with("\n\n2 problems in the configuration"), "{}", load(&missing));
}

proptest::proptest! {
    #[test]
    fn any_damaged_file_is_judged_and_told(at: proptest::sample::Index, cut in 0_usize..40, noise in "[a-z\"'=\\[\\]{}#.,“\t\r\né0-9]{0,6}") {
        let chars: Vec<char> = crate::config::DEFAULT_TOML.chars().collect();
        let at = at.index(chars.len());
        let rest = chars.iter().skip(at + cut);
        let text: String = chars[..at].iter().chain(&noise.chars().collect::<Vec<_>>()).chain(rest).collect();
        // The url and the credentials are missing in any case.
        proptest::prop_assert!(!parse(&text).expect_err("problems").is_empty());
    }
}
