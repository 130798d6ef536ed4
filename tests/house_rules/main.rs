//! The house rules that no compiler keeps: who may speak to which outside world, what documents may claim, and which
//! known faults of others we may link. Reads the tree, touches nothing.

mod advisories;
mod causes;
mod circles;
mod documents;
mod edges;
mod generated;
mod layers;
mod monitoring;
mod options;
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};

/// The tree.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the tree as text.
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder of the tree whose name ends so, as paths from the root, sorted.
fn files(folder: &str, end: &str) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.expect("listed").path()) {
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let from_root = |path: PathBuf| path.strip_prefix(root()).expect("below the root").to_str().map(str::to_owned);
    let mut found: Vec<String> = found.into_iter().filter_map(from_root).filter(|path| path.ends_with(end)).collect();
    found.sort();
    assert!(!found.is_empty(), "no file in {folder} ends with {end}");
    found
}

/// Fails with every complaint, one per line.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
