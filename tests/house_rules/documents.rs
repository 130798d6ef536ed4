//! Documents against the tree: they name files that exist, show a configuration that is one, and exit codes that are.

use super::{files, none, root, text};
use std::collections::BTreeMap;
use std::path::Path;
use tidegate::cli::ExitCode;
use tidegate::config::Config;

fn documents() -> Vec<String> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned);
    top.into_iter().chain(files("docs", ".md")).collect()
}

/// The text between single backquotes, fenced blocks left out.
fn quoted(document: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The body of the fenced block that begins with ```` ```kind ````.
fn fenced<'a>(document: &'a str, kind: &str) -> Vec<&'a str> {
    let open = format!("```{kind}\n");
    document.match_indices(&open).map(|(at, _)| document[at + open.len()..].split("```").next().unwrap()).collect()
}

/// Folders of the tree, so that a quoted path is told from a topic or a path on the gateway.
const FOLDERS: [&str; 11] = [
    "src/",
    "tests/",
    "crates/",
    "docs/",
    "scripts/",
    "systemd/",
    "examples/",
    "benches/",
    "deploy/",
    ".ci/",
    ".cargo/",
];

fn names_a_file(quoted: &str) -> bool {
    let plain = quoted.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "clippy.toml",
        "deny.toml",
        "cross.toml",
        "Cargo.toml",
    ];
    plain && (FOLDERS.iter().any(|folder| quoted.starts_with(folder)) || top.contains(&quoted))
}

#[test]
fn documents_name_only_files_that_exist() {
    let mut checked = 0;
    let mut complaints = Vec::new();
    for document in documents() {
        for path in quoted(&text(&document)).into_iter().filter(|quoted| names_a_file(quoted)) {
            checked += 1;
            if !root().join(&path).exists() {
                complaints.push(format!("{document}: {path} does not exist"));
            }
        }
    }
    none(&complaints);
    assert!(checked > 30, "only {checked} paths were found");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    for document in documents() {
        let folder = Path::new(&document).parent().unwrap().to_owned();
        let body = text(&document);
        let targets = body.match_indices("](").map(|(at, _)| body[at + 2..].split(')').next().unwrap());
        for target in targets.filter(|target| !target.starts_with("http") && !target.starts_with('#')) {
            if !root().join(&folder).join(target.split('#').next().unwrap()).exists() {
                complaints.push(format!("{document}: the link to {target} leads nowhere"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_configurations_that_are_shown_are_some() {
    let document = text("docs/configuration.md");
    let shown = fenced(&document, "toml");
    assert!(shown.len() > 1);
    for config in shown {
        let path = Path::new("/etc/tidegate/tidegate.toml");
        let config = Config::parse(config, path, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(config.journal.path, Path::new("/var/lib/tidegate/journal"), "as the README and the unit say");
    }
}

#[test]
fn the_policy_allows_two_actions_and_no_more() {
    let document = text("docs/aws.md");
    let policy: serde_json::Value = serde_json::from_str(fenced(&document, "json")[0]).expect("JSON");
    let statement = policy["Statement"].as_array().expect("statements");
    assert_eq!(statement.len(), 1);
    assert_eq!(statement[0]["Action"], serde_json::json!(["sqs:SendMessage", "sqs:SendMessageBatch"]));
    assert!(statement[0]["Resource"].as_str().is_some_and(|arn| arn.starts_with("arn:aws:sqs:")));
}

#[test]
fn exit_codes_are_the_same_in_document_unit_and_code() {
    let codes = [
        ExitCode::Done,
        ExitCode::Failed,
        ExitCode::Usage,
        ExitCode::Configuration,
        ExitCode::JournalHeld,
        ExitCode::JournalNewer,
        ExitCode::NotRunning,
        ExitCode::CheckFailed,
        ExitCode::JournalDamaged,
        ExitCode::Waiting,
        ExitCode::Act,
    ];
    let document = text("docs/troubleshooting.md");
    let rows: Vec<u8> =
        document.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(rows, codes.map(|code| code as u8));
    let unit = text("systemd/tidegate.service");
    let prevented =
        [ExitCode::Configuration, ExitCode::JournalHeld, ExitCode::JournalNewer].map(|code| (code as u8).to_string());
    assert!(unit.contains(&format!("RestartPreventExitStatus={}\n", prevented.join(" "))), "{unit}");
}
