//! An example's binary, for a test that runs it: cargo builds examples for a test run of everything, but not for one of a
//! single test crate.

use crate::cargo;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Builds example `name` of the package at `manifest_dir` in the profile of `sibling` (a binary of the same build, or a
/// test's own) with the cargo at `program`, and names its executable.
///
/// # Panics
/// When it does not build: the test that needs it cannot continue.
pub fn example(name: &str, program: &str, manifest_dir: &str, sibling: &Path) -> PathBuf {
    let folder =
        |path: &Path| path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).map(str::to_owned);
    // A test's own binary lies in a folder below the profile's.
    let profile = folder(sibling).and_then(|own| if own == "deps" { folder(sibling.parent()?) } else { Some(own) });
    let profile = profile.filter(|name| name != "debug").unwrap_or_else(|| "dev".to_owned());
    let mut build = cargo::build(Path::new(program), Path::new(manifest_dir), &["--example", name], &profile);
    let output = build.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "example {name} does not build");
    cargo::executable(&output.stdout, name, "example").expect("cargo names the example's executable")
}
