//! Builds of our own package, for what runs its binaries: with the cargo that we came from, telling what came of it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A build of `targets` (`--bin NAME`, `--example NAME` …) of the package in `package`; its standard output is for
/// [`executable`].
pub(crate) fn build(cargo: &Path, package: &Path, targets: &[&str], profile: &str) -> Command {
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet"]).args(targets).args(["--profile", profile]);
    command.arg("--message-format=json-render-diagnostics").current_dir(package);
    // What cargo tells us about our package, build scripts (ring's) would take for a change.
    let told = |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(told)) {
        command.env_remove(name);
    }
    command
}

/// The executable of the target called `name` of a kind (`bin`, `example`), from what cargo said.
pub(crate) fn executable(said: &[u8], name: &str, kind: &str) -> Option<PathBuf> {
    String::from_utf8_lossy(said).lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == kind;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    })
}
