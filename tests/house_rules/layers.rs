//! Layers: a module of the agent imports from those above it in `src/lib.rs` alone, a part of the journal from those below it;
//! tests excepted.

use super::edges::{code, is_of_tests};
use super::{files, none, text};

const FOLDER: &str = "src/journal/";
/// From the bottom up; modules of one line may not import each other.
const LAYERS: &[&[&str]] = &[
    &["limits", "random"],
    &["disk"],
    &["generation"],
    &["ledger"],
    &["checkpoint"],
    &["error"],
    &["log"],
    &["quarantine"],
    &["handle"],
    &["reader", "writer", "stats"],
    &["chain", "marking", "reread", "set_aside"],
    &["recovery"],
    &["inspect"],
];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&name))
}

/// The part of the journal that a file belongs to; none for the interface above all of them, and for tests.
fn part(path: &str) -> Option<&str> {
    let name = path.strip_prefix(FOLDER)?.split('/').next()?.trim_end_matches(".rs");
    (name != "mod" && !is_of_tests(path)).then_some(name)
}

/// What a line of code names of the journal: `crate::journal::NAME`.
fn named(line: &str) -> Vec<String> {
    let code = code(line);
    let names = code.split("crate::journal::").skip(1);
    names
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned())
        .collect()
}

fn breaches(path: &str, source: &str) -> Vec<String> {
    let Some(own) = part(path) else { return Vec::new() };
    let Some(mine) = layer(own) else { return vec![format!("{path}: {own} stands in no layer")] };
    // Tests within a file come last, and may look at anything.
    let product = source.lines().take_while(|line| *line != "mod tests {");
    let mut found = Vec::new();
    for (index, line) in product.enumerate() {
        let up = named(line).into_iter().filter(|name| name != own && layer(name).is_none_or(|other| other >= mine));
        found.extend(up.map(|name| format!("{path}:{}: {own} imports {name}, which is not below it", index + 1)));
        if line.contains("super::super::") {
            found.push(format!("{path}:{}: say crate::journal::…", index + 1));
        }
    }
    found
}

#[test]
fn the_journals_layers_import_downwards_only() {
    none(&files("src/journal", ".rs").iter().flat_map(|path| breaches(path, &text(path))).collect::<Vec<_>>());
}

#[test]
fn an_arrow_upwards_is_seen() {
    let of = |path: &str, line: &str| breaches(path, line).len();
    assert_eq!(of("src/journal/disk/frame/mod.rs", "use crate::journal::log::Log;"), 1);
    assert_eq!(of("src/journal/reader.rs", "use crate::journal::writer::Writer;"), 1, "side by side");
    assert_eq!(of("src/journal/log/mod.rs", "    crate::journal::JournalError::reading(text)"), 1, "by another name");
    assert_eq!(of("src/journal/made_up.rs", ""), 1);
    assert_eq!(of("src/journal/log/entry.rs", "use crate::journal::log::aside;"), 0);
    assert_eq!(of("src/journal/log/mod.rs", "use crate::journal::disk::frame; // not crate::journal::writer"), 0);
    assert_eq!(of("src/journal/log/mod.rs", "mod tests {\nuse crate::journal::writer::Writer;"), 0);
}

/// The modules of the agent, from the bottom up: `src/lib.rs` in paragraphs, whose modules may not import each other.
fn paragraphs() -> Vec<Vec<String>> {
    let source = text("src/lib.rs");
    let name = |line: &str| Some(line.split_once("mod ")?.1.strip_suffix(';')?.to_owned());
    let modules = source.split("\n\n").map(|paragraph| paragraph.lines().filter_map(name).collect::<Vec<_>>());
    modules.filter(|modules| !modules.is_empty()).collect()
}

/// What a line of code names of the agent: `crate::NAME`.
fn named_modules(line: &str) -> Vec<String> {
    let rests = code(line).split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>();
    let name = |rest: &String| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
    rests.iter().map(name).collect()
}

fn against_the_order(path: &str, source: &str, paragraphs: &[Vec<String>]) -> Vec<String> {
    let place = |name: &str| paragraphs.iter().position(|modules| modules.iter().any(|module| module == name));
    let own = path.strip_prefix("src/").and_then(|path| path.split('/').next()).unwrap_or_default();
    let own = own.trim_end_matches(".rs");
    let Some(mine) = place(own).filter(|_| !is_of_tests(path)) else { return Vec::new() };
    let product = source.lines().take_while(|line| *line != "mod tests {").enumerate();
    let up = |name: &String| name != own && place(name).is_some_and(|other| other >= mine);
    let named = product.flat_map(|(index, line)| named_modules(line).into_iter().map(move |name| (index + 1, name)));
    let named = named.filter(|(_, name)| up(name));
    named
        .map(|(line, name)| format!("{path}:{line}: {own} imports {name}, which is not above it in src/lib.rs"))
        .collect()
}

#[test]
fn the_agents_modules_import_in_the_order_of_lib_rs() {
    let paragraphs = paragraphs();
    assert!(paragraphs.len() > 5, "{paragraphs:?}");
    let found = files("src", ".rs").into_iter().flat_map(|path| against_the_order(&path, &text(&path), &paragraphs));
    none(&found.collect::<Vec<_>>());
}

#[test]
fn an_import_against_the_order_is_seen() {
    let paragraphs = paragraphs();
    let wrong = |path: &str, line: &str| against_the_order(path, line, &paragraphs).len();
    assert_eq!(wrong("src/config/queue_url/mod.rs", "use crate::sqs::limits::ID_CHARS;"), 1);
    assert_eq!(wrong("src/journal/disk/mod.rs", "    let how = crate::sqs::x();"), 1, "beside it");
    assert_eq!(wrong("src/sqs/mod.rs", "use crate::config::QueueConfig;"), 0);
    assert_eq!(wrong("src/config/tests/mod.rs", "use crate::sqs::limits::ID_CHARS;"), 0, "a test");
    assert_eq!(wrong("src/topic/mod.rs", "// crate::sqs"), 0, "a comment");
}

/// What the fuzzers take apart is open to their doors, and to no other module.
#[test]
fn only_journal_and_internals_name_the_journals_parts() {
    let inner = ["checkpoint", "disk", "generation", "handle", "ledger", "limits", "recovery"];
    let outside = |path: &String| !path.starts_with(FOLDER) && path != "src/internals.rs" && !is_of_tests(path);
    let mut found = Vec::new();
    for path in files("src", ".rs").into_iter().filter(outside) {
        let source = text(&path);
        let product = source.lines().take_while(|line| *line != "mod tests {").enumerate();
        let names = product.flat_map(|(index, line)| named(line).into_iter().map(move |name| (index + 1, name)));
        let names = names.filter(|(_, name)| inner.contains(&name.as_str()));
        found.extend(names.map(|(line, name)| format!("{path}:{line}: journal::{name} is the journal's own")));
    }
    none(&found);
}
