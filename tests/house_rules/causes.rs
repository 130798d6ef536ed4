//! Each row of the trouble table is caused by a test: in a running agent, and held against the command, its exit code and the metrics
//! (`tests/agent/support/found.rs`).

use super::{files, none, text};
use tidegate::status::findings::codes::CODES;

/// The codes that the tests of a file cause: the first text in a call of `until_found` or `until_told`. Tests that are left out of an
/// ordinary run cause none.
fn caused(source: &str) -> Vec<&str> {
    let tests = source.split("#[tokio::test").filter(|test| !test.contains("#[ignore"));
    let calls = |call: &'static str| tests.clone().flat_map(move |test| test.split(call).skip(1));
    calls("until_found(&").chain(calls("until_told(&")).filter_map(|rest| rest.split('"').nth(1)).collect()
}

#[test]
fn each_trouble_table_row_is_caused_by_a_test() {
    let sources: Vec<String> = files("tests/agent", ".rs").iter().map(|path| text(path)).collect();
    let all: Vec<&str> = sources.iter().flat_map(|source| caused(source)).collect();
    let bare = CODES.iter().filter(|row| !all.contains(&row.word));
    none(&bare.map(|row| format!("{}: no test of tests/agent/ causes it", row.word)).collect::<Vec<_>>());
    let known = |word: &&str| CODES.iter().any(|row| row.word == *word);
    assert!(all.iter().all(known), "{all:?}");
}

#[test]
fn a_test_that_is_left_out_causes_nothing() {
    let call = "    until_found(&mut agent,\n        \"journal_full\", \"act\").await;\n";
    assert_eq!(caused(&format!("#[tokio::test]\nasync fn a() {{\n{call}}}\n")), ["journal_full"]);
    assert_eq!(caused(&format!("#[tokio::test]\n#[ignore = \"long\"]\nasync fn a() {{\n{call}}}\n")), [""; 0]);
}
