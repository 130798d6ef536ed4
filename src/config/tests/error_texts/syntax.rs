//! What is not TOML, and sections and keys that do not exist.

use super::{check, said_after, said_of};

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
fn mistakes_in_sections_and_keys_name_place_and_remedy() {
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
