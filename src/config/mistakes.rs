//! The mistakes that people make, with the full texts that they are shown, and the shipped defaults against the code.

use super::*;
use crate::record::identity::Grouping;
use std::collections::BTreeSet;

const MINIMAL: &str = r#"
[queues.main]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo"
credentials_file = "credentials.csv"

[[routes]]
profile = "chirpstack-v4"
queue = "main"
"#;

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::parse(text, Path::new("tidegate.toml"), &environment)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn parse(text: &str) -> Result<Config, String> {
    parse_with(text, &[])
}

/// What is said of the minimal file with a text in front.
fn said_of(front: &str) -> String {
    parse(&format!("{front}{MINIMAL}")).expect_err("a mistake")
}

/// What is said of the minimal file with one text in the place of another.
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
fn the_minimal_file_is_complete() {
    let config = parse(MINIMAL).expect("a configuration");
    assert_eq!(config.queues[0].region, "eu-west-1");
    assert_eq!(config.queues[0].credentials, CredentialsSource::CsvFile("credentials.csv".into()));
    assert_eq!(config.routes[0].topics, ["application/+/device/+/event/+"]);
    assert_eq!(config.mqtt.client_id, format!("tidegate-{}", config.gateway.id));
}

#[test]
fn relative_paths_count_from_the_files_folder() {
    let config =
        Config::parse(MINIMAL, Path::new("/etc/tidegate/tidegate.toml"), &BTreeMap::new()).expect("a configuration");
    assert_eq!(config.queues[0].credentials, CredentialsSource::CsvFile("/etc/tidegate/credentials.csv".into()));
}

#[test]
fn line_ends_tabs_and_a_byte_order_mark_are_taken() {
    let text = format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n").replace(" = ", "\t=\t"));
    parse(&text).expect("a configuration");
}

#[test]
fn every_syntax_mistake_is_shown_at_once_and_nothing_else() {
    check(&[(
        said_of("[mqtt]\nurl = “mqtt://127.0.0.1”\nkeep_alive = 30 s\n[journal]\nmax_bytes =\n"),
        r#"
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
   → write the value, or put # before the line"#,
    )]);
}
