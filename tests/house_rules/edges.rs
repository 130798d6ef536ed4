//! The edges by folder, and the shape of files. What clippy.toml bans by type, this finds in whatever form it is written.

use super::{files, none, text};

/// A text that may stand in code only where one of the paths begins so.
struct Edge {
    text: &'static str,
    owners: &'static [&'static str],
    instead: &'static str,
}

const EDGES: &[Edge] = &[
    Edge { text: "sled::", owners: &["src/journal/generation/active/mod.rs"], instead: "crate::journal::Journal" },
    // A batch holds its buffer open, and promises what tidegate does not need.
    Edge { text: "apply_batch", owners: &[], instead: "plain inserts and one flush" },
    Edge { text: ".transaction(", owners: &[], instead: "plain inserts and one flush" },
    Edge { text: "no_range_sync::", owners: &["src/journal/"], instead: "crate::journal::Journal" },
    Edge {
        text: "serde_cbor::",
        owners: &[
            "src/internals.rs",
            "src/journal/",
            "src/record/codec.rs",
            "src/record/pack.rs",
            "src/mqtt/cache/mod.rs",
        ],
        instead: "crate::record::codec",
    },
    Edge { text: "rumqttc", owners: &["src/mqtt/"], instead: "crate::mqtt::Intake" },
    Edge { text: "aws_sdk_", owners: &["src/sqs/"], instead: "crate::sqs::BatchSender" },
    Edge { text: "aws_config", owners: &["src/sqs/"], instead: "crate::sqs::credentials" },
    Edge { text: "aws_credential_types", owners: &["src/sqs/"], instead: "crate::sqs::credentials" },
    Edge { text: "aws_smithy_", owners: &["src/sqs/"], instead: "crate::sqs::connector" },
    Edge { text: "SystemTime::now", owners: &["src/clock.rs"], instead: "crate::clock::Clock" },
    Edge { text: "now_utc", owners: &["src/clock.rs"], instead: "crate::clock::Clock" },
    Edge { text: "tokio::spawn", owners: &["src/agent/stages.rs"], instead: "a future that src/agent/stages.rs runs" },
    Edge { text: "thread::spawn", owners: &["src/agent/stages.rs"], instead: "a body that src/agent/stages.rs runs" },
    // The watchdog of flushes serves whatever journals there are, in commands, too, and has nothing to end.
    Edge {
        text: "thread::Builder",
        owners: &["src/agent/stages.rs", "src/journal/generation/watchdog.rs"],
        instead: "a body that src/agent/stages.rs runs",
    },
];

/// Code without its comments and without what is in quotes on the same line: enough to tell a use from a mention.
pub(super) fn code(line: &str) -> String {
    let line = line.split("//").next().unwrap_or_default();
    line.split('"').step_by(2).collect()
}

/// The code of a source without comments, texts and the tests at its end, line by line.
pub(super) fn product(source: &str) -> String {
    source.lines().take_while(|line| *line != "mod tests {").map(code).collect::<Vec<_>>().join("\n")
}

pub(super) fn is_of_tests(path: &str) -> bool {
    path.contains("/tests/") || ["tests.rs", "testing.rs", "samples.rs"].iter().any(|end| path.ends_with(end))
}

fn breaches(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for edge in EDGES.iter().filter(|edge| !edge.owners.iter().any(|owner| path.starts_with(owner))) {
        // Tests stand in for the agent's owners of tasks and threads; every other edge binds them, too.
        if edge.text.contains("spawn") && is_of_tests(path) {
            continue;
        }
        for (index, line) in source.lines().enumerate().filter(|(_, line)| code(line).contains(edge.text)) {
            found.push(format!("{path}:{}: {}: use {}", index + 1, line.trim(), edge.instead));
        }
    }
    found
}

#[test]
fn each_outside_world_is_spoken_to_in_its_own_folder() {
    let found: Vec<String> = files("src", ".rs").iter().flat_map(|path| breaches(path, &text(path))).collect();
    none(&found);
}

#[test]
fn a_breach_is_seen_and_a_mention_is_not() {
    let of = |path: &str, line: &str| breaches(path, line).len();
    assert_eq!(of("src/drain/task.rs", "use rumqttc as broker;"), 1);
    assert_eq!(of("src/drain/task.rs", "    let at = std::time::SystemTime::now();"), 1);
    assert_eq!(of("src/journal/tests/mod.rs", "let db = sled::open(path);"), 1, "not in the journal's tests either");
    assert_eq!(of("src/mqtt/connection.rs", "use rumqttc::Event;"), 0);
    assert_eq!(of("src/drain/task.rs", "// rumqttc would do this"), 0);
    assert_eq!(of("src/config/queues.rs", r#"    "aws_chain" => "tokio::spawn","#), 0);
    assert_eq!(of("src/sqs/testing.rs", "tokio::spawn(async {})"), 0);
}

#[test]
fn every_owner_is_there_and_does_what_it_owns() {
    let all = files("src", ".rs");
    let idle =
        EDGES.iter().flat_map(|edge| edge.owners.iter().map(move |owner| (edge, owner))).filter(|(edge, owner)| {
            let owned = all.iter().filter(|path| path.starts_with(**owner));
            !owned.into_iter().any(|path| text(path).lines().any(|line| code(line).contains(edge.text)))
        });
    // The clock needs one way to read the time, and src/agent/stages.rs one way to start a task: those may stay unused.
    let idle = idle.filter(|(edge, _)| !["now_utc", "tokio::spawn", "thread::spawn"].contains(&edge.text));
    none(&idle.map(|(edge, owner)| format!("{owner} owns {} and does not use it", edge.text)).collect::<Vec<_>>());
}

#[test]
fn the_agent_has_no_unsafe_code() {
    for path in ["src/lib.rs", "src/main.rs", "crates/testkit/src/lib.rs"] {
        assert!(text(path).contains("#![forbid(unsafe_code)]"), "{path}");
    }
}

fn sources() -> Vec<String> {
    ["src", "tests", "crates"].iter().flat_map(|folder| files(folder, ".rs")).chain(["build.rs".to_owned()]).collect()
}

#[test]
fn every_file_says_at_its_top_what_it_is() {
    let bare = sources().into_iter().filter(|path| !text(path).starts_with("//! "));
    none(&bare.map(|path| format!("{path}: begin with a line `//! …`")).collect::<Vec<_>>());
}

/// Lines above which a file is too much to read at once.
const LONG: usize = 400;
/// Files that are longer: a list to be worked off.
const LONGER: &[&str] = &["src/journal/tests/mod.rs"];

#[test]
fn files_that_are_too_long_are_listed_and_no_others() {
    let long: Vec<String> = sources().into_iter().filter(|path| text(path).lines().count() > LONG).collect();
    let new = long.iter().filter(|path| !LONGER.contains(&path.as_str()));
    let gone = LONGER.iter().filter(|path| !long.iter().any(|long| long == *path));
    let new = new.map(|path| format!("{path} has more than {LONG} lines: split it by what is read together"));
    none(&new.chain(gone.map(|path| format!("{path} is short enough now: take it off the list"))).collect::<Vec<_>>());
}

/// Lines of tests that a file may have at its end; more have a file beside it.
const TESTS: usize = 100;

/// Lines from the head of the tests within a file to its end.
fn lines_of_tests(source: &str) -> usize {
    source.lines().skip_while(|line| *line != "mod tests {").count()
}

#[test]
fn long_tests_have_a_file_beside_the_code() {
    let long = sources().into_iter().filter(|path| lines_of_tests(&text(path)) > TESTS + 2);
    let said =
        |path: String| format!("{path} has more than {TESTS} lines of tests: move them to a file `tests.rs` below it");
    none(&long.map(said).collect::<Vec<_>>());
    assert_eq!(lines_of_tests("use a;\nmod tests {\n    use b;\n}"), 3);
}

/// Words of a function's name, at most: those of tests say claim and condition.
const WORDS: usize = 10;

fn long_names(source: &str) -> Vec<String> {
    let names =
        source.lines().filter_map(|line| code(line).split_once("fn ")?.1.split(['(', '<']).next().map(str::to_owned));
    names.filter(|name| name.split('_').count() > WORDS).collect()
}

#[test]
fn no_name_of_a_function_has_more_than_ten_words() {
    let of = |path: String| {
        long_names(&text(&path)).into_iter().map(move |name| format!("{path}: {name} is too long to read"))
    };
    none(&sources().into_iter().flat_map(of).collect::<Vec<_>>());
    assert_eq!(long_names("    async fn a_b_c_d_e_f_g_h_i_j_k<T>() {}").len(), 1);
    assert!(long_names("fn a_b_c_d_e_f_g_h_i_j() {}").is_empty());
}
