//! What ships: the agent without failpoints and internals, and without a crate that only tests it.

use super::{files, none, text};
use toml::Table;

/// Crates that test the agent, and are never linked into it.
const TESTING: [&str; 4] = ["fuzz-targets", "power-cut", "testkit", "trials"];

/// What a manifest brings into a plain build that belongs into none.
fn breaches(path: &str, manifest: &Table) -> Vec<String> {
    let mut found = Vec::new();
    if manifest.get("features").is_some_and(|features| features.get("default").is_some()) {
        found.push(format!("{path}: a default feature is part of every build"));
    }
    for kind in ["dependencies", "build-dependencies"] {
        let names = manifest.get(kind).and_then(toml::Value::as_table).into_iter().flat_map(Table::keys);
        let names = names.filter(|name| TESTING.contains(&name.as_str()));
        found.extend(names.map(|name| format!("{path}: {name} only tests the agent, and is among the {kind}")));
    }
    found
}

fn manifest(path: &str) -> Table {
    text(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_plain_build_has_no_feature_and_no_testing_crate() {
    let agent = manifest("Cargo.toml");
    let linked = agent["dependencies"].as_table().expect("a table").values();
    let linked = linked.filter_map(|dependency| Some(format!("{}/Cargo.toml", dependency.get("path")?.as_str()?)));
    let linked: Vec<String> = linked.collect();
    assert!(linked.len() > 3, "{linked:?}");
    let all = linked.into_iter().chain(["Cargo.toml".to_owned()]);
    none(&all.flat_map(|path| breaches(&path, &manifest(&path))).collect::<Vec<_>>());
}

#[test]
fn no_script_turns_a_feature_on() {
    let scripts = files("scripts", ".sh").into_iter().chain([".ci/run", ".ci/full"].map(str::to_owned));
    let on = scripts.filter(|path| ["--features", "--all-features"].iter().any(|option| text(path).contains(option)));
    none(&on.map(|path| format!("{path} builds with features: what it builds might ship")).collect::<Vec<_>>());
}

#[test]
fn what_must_not_ship_is_seen() {
    let of = |manifest: &str| breaches("", &manifest.parse().expect("a manifest")).len();
    assert_eq!(of("[features]\ndefault = [\"internals\"]"), 1);
    assert_eq!(of("[dependencies]\nfuzz-targets = { path = \"crates/fuzz-targets\" }"), 1);
    assert_eq!(of("[features]\ninternals = []\n[dev-dependencies]\ntestkit = { path = \"crates/testkit\" }"), 0);
}
