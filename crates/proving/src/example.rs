//! An example's binary, for a test that runs it: cargo builds examples for a test run of everything, but not for one of a
//! single test crate.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds example `name` of the package at `manifest_dir` in the profile of `sibling` (a binary of the same build, or a
/// test's own) and names its executable.
///
/// # Panics
/// When it does not build: the test that needs it cannot go on.
pub fn example(name: &str, cargo: &str, manifest_dir: &str, sibling: &Path) -> PathBuf {
    let folder =
        |path: &Path| path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).map(str::to_owned);
    // A test's own binary lies in a folder below the profile's.
    let profile = folder(sibling).and_then(|own| if own == "deps" { folder(sibling.parent()?) } else { Some(own) });
    let profile = profile.filter(|name| name != "debug").unwrap_or_else(|| "dev".to_owned());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--example", name, "--profile", &profile]);
    build.arg("--message-format=json-render-diagnostics").current_dir(manifest_dir);
    // What cargo tells us about our package, build scripts (ring's) would take for a change.
    let told = |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        build.env_remove(name);
    }
    let output = build.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "example {name} does not build");
    let messages = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().filter(|_| message["target"]["name"] == name).map(PathBuf::from)
    });
    executable.expect("cargo names the example's executable")
}
