//! Options: a stage has options of its own, which the agent fills. Of the configuration it imports values, never a section.

use super::edges::{code, is_of_tests, product};
use super::{files, none, text};

const STAGES: &[&str] = &["src/drain/", "src/journal/", "src/mqtt/", "src/sqs/", "src/status/"];

/// What a stage may name of the configuration, and why: all of them are values that know no section.
const VALUES: &[(&str, &str)] = &[
    ("BodyFormat", "the form of a body, which the SQS stage renders"),
    ("BrokerAddress", "what an address of a broker is: the intake compares two, and proposes another one"),
    ("CredentialsSource", "a file or the chain: the sender makes its keys of it"),
    ("GivenNames", "which names a person gave: the intake's rule of names begins with them"),
    ("OnFull", "evict or stop: the journal decides by it"),
    ("Ordering", "strict or packed: the drain makes batches by it"),
    ("queue_url::is_loopback_host", "one rule which host is this machine, for URLs, proxies and requests alike"),
];

/// The paths of a tree of imports at the beginning of `text`: of `a::{b, c::d} …`, `a::b` and `a::c::d`.
pub(super) fn paths(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return members(group).into_iter().flat_map(paths).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest).into_iter().map(|path| format!("{name}::{path}")).collect(),
        None => vec![name.to_owned()],
    }
}

/// What stands between the commas of a group, up to its end.
fn members(group: &str) -> Vec<&str> {
    let (mut found, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                found.push(&group[from..at]);
                from = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|member| !member.trim().is_empty());
    found
}

/// What product code names of the configuration, each with its line.
fn named(source: &str) -> Vec<(usize, String)> {
    let product = product(source);
    let mut found = Vec::new();
    for (at, root) in product.match_indices("crate::").chain(product.match_indices("super::config")) {
        let tree = if root == "crate::" { &product[at + root.len()..] } else { &product[at + "super::".len()..] };
        let line = product[..at].matches('\n').count() + 1;
        let of_config = |path: String| match path.split_once("::") {
            Some(("config", name)) => Some(name.to_owned()),
            None if path == "config" => Some("self".to_owned()),
            _ => None,
        };
        found.extend(paths(tree).into_iter().filter_map(of_config).map(|name| (line, name)));
    }
    found
}

fn is_value(name: &str, value: &str) -> bool {
    name.strip_prefix(value).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_of_stage(path: &str) -> bool {
    STAGES.iter().any(|stage| path.starts_with(stage)) && !is_of_tests(path)
}

fn breaches(path: &str, source: &str) -> Vec<String> {
    if !is_of_stage(path) {
        return Vec::new();
    }
    let other = named(source).into_iter().filter(|(_, name)| VALUES.iter().all(|(value, _)| !is_value(name, value)));
    let instead = "take it as an option, which src/agent/options.rs fills";
    other
        .map(|(line, name)| format!("{path}:{line}: config::{name} is no value that stages share: {instead}"))
        .collect()
}

#[test]
fn a_stage_imports_no_section_of_the_configuration() {
    none(&files("src", ".rs").iter().flat_map(|path| breaches(path, &text(path))).collect::<Vec<_>>());
}

#[test]
fn a_section_in_a_stage_is_seen() {
    let of = |source: &str| breaches("src/drain/task.rs", source).len();
    assert_eq!(of("use crate::config::QueueConfig;"), 1);
    assert_eq!(of("use crate::config::{BodyFormat, MqttConfig, Ordering, RecordsConfig};"), 2);
    assert_eq!(of("use crate::config::{\n    BodyFormat,\n    queue_url::{QueueUrl, is_loopback_host},\n};"), 1);
    assert_eq!(of("use crate::{clock::Clock, config::Config};"), 1, "behind another name");
    assert_eq!(of("use crate::config;"), 1, "by the module");
    assert_eq!(of("use crate::config::*;"), 1, "with all the others");
    assert_eq!(of("use crate::config::{self, Ordering};"), 1, "beside a value");
    assert_eq!(of("use super::super::config::Config;"), 1, "by another way");
    assert_eq!(of("fn of(config: &crate::config::JournalConfig) {}"), 1, "without an import");
    assert_eq!(of("use crate::config::OrderingRules;"), 1, "a name that only begins so");
    assert_eq!(
        of("use crate::config::{BodyFormat, Ordering as Order};\nuse crate::config::queue_url::is_loopback_host;"),
        0
    );
    assert_eq!(of("    let strict = crate::config::Ordering::Strict;"), 0);
    assert_eq!(of("// crate::config::Config\n#[cfg(test)]\nmod tests {\n    use crate::config::Config;"), 0);
    assert!(breaches("src/drain/tests/mod.rs", "use crate::config::Config;").is_empty(), "a test");
    assert!(breaches("src/agent/options.rs", "use crate::config::Config;").is_empty(), "where options are filled");
}

#[test]
fn each_value_is_used_by_a_stage_and_imports_nothing() {
    let stages = files("src", ".rs").into_iter().filter(|path| is_of_stage(path));
    let all: Vec<String> = stages.flat_map(|path| named(&text(&path))).map(|(_, name)| name).collect();
    let idle = VALUES.iter().filter(|(value, _)| all.iter().all(|name| !is_value(name, value)));
    none(&idle.map(|(value, _)| format!("no stage uses config::{value}: take it off the list")).collect::<Vec<_>>());
    let values = text("src/config/values.rs");
    assert!(!values.lines().any(|line| code(line).contains("crate::")), "src/config/values.rs imports nothing of ours");
}
