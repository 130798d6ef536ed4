//! The layers of `src/journal`: each imports from those below it alone, tests excepted.

use super::edges::{code, is_of_tests};
use super::{files, none, text};

const FOLDER: &str = "src/journal/";
/// From the bottom up; what stands in one line may not import each other.
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
    &["recovery"],
    &["inspect"],
    &["fuzz"],
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
