//! Queues: none at all, in a wrong form, and settings of one that contradict each other.

use super::{check, said_after};
use crate::config::tests::parse;

#[test]
fn malformed_queues_are_told_with_place_and_remedy() {
    check(&[
        (
            parse("").expect_err("a mistake"),
            r##"
tidegate.toml: no queue; expected at least one section [queues.NAME]
   → add [queues.main] with url and credentials_file
tidegate.toml: no route: no message would be taken; expected at least one section [[routes]] with profile and queue"##,
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
fn contradicting_queue_settings_are_told_with_place_and_remedy() {
    check(&[
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
