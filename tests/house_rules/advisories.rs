//! The advisories that are excepted: `docs/advisories.md` against `Cargo.lock` and `deny.toml`, without any network.

use super::{none, text};
use std::collections::BTreeSet;

type Version = [u64; 3];

/// A line of the table.
#[derive(Debug)]
struct Advisory {
    id: String,
    package: String,
    /// First version without it; `None`: there is none.
    mended: Option<Version>,
}

impl Advisory {
    fn affects(&self, version: Version) -> bool {
        self.mended.is_none_or(|mended| version < mended)
    }
}

fn version(text: &str) -> Version {
    // A pre-release or build tail does not matter at this precision.
    let mut numbers = text.split(['-', '+']).next().unwrap_or_default().split('.').map(|part| part.parse());
    let mut next = || numbers.next().unwrap_or(Ok(0)).unwrap_or_else(|_| panic!("not a version: {text}"));
    [next(), next(), next()]
}

fn excepted() -> Vec<Advisory> {
    let document = text("docs/advisories.md");
    let lines = document.lines().filter(|line| line.starts_with("| RUSTSEC-"));
    let advisories = lines.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let mended = Some(cells[3]).filter(|text| *text != "never").map(version);
        Advisory { id: cells[1].to_owned(), package: cells[2].to_owned(), mended }
    });
    advisories.collect()
}

/// Name and version of every crate in the lock file.
fn locked() -> Vec<(String, Version)> {
    let lock: toml::Table = text("Cargo.lock").parse().expect("a lock file");
    let packages = lock["package"].as_array().expect("packages").iter();
    let field = |package: &toml::Value, name: &str| package[name].as_str().expect("a text").to_owned();
    packages.map(|package| (field(package, "name"), version(&field(package, "version")))).collect()
}

fn ignored() -> BTreeSet<String> {
    let deny: toml::Table = text("deny.toml").parse().expect("deny.toml");
    let list = deny["advisories"]["ignore"].as_array().expect("a list").iter();
    list.map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
}

/// Ids that affect something in `lock`.
fn affecting(advisories: &[Advisory], lock: &[(String, Version)]) -> BTreeSet<String> {
    let hit = |advisory: &&Advisory| lock.iter().any(|(name, at)| *name == advisory.package && advisory.affects(*at));
    advisories.iter().filter(hit).map(|advisory| advisory.id.clone()).collect()
}

#[test]
fn each_exception_has_a_reason_and_still_affects_us() {
    let excepted = excepted();
    let affecting = affecting(&excepted, &locked());
    let idle = excepted.iter().filter(|advisory| !affecting.contains(&advisory.id));
    let mut complaints: Vec<String> =
        idle.map(|advisory| format!("{} is excepted and affects nothing any more", advisory.id)).collect();
    let explained: BTreeSet<String> = excepted.iter().map(|advisory| advisory.id.clone()).collect();
    complaints.extend(
        ignored()
            .symmetric_difference(&explained)
            .map(|id| format!("{id}: deny.toml and docs/advisories.md do not agree about it")),
    );
    none(&complaints);
    assert!(!excepted.is_empty(), "the table is read");
}

#[test]
fn a_crate_is_affected_only_below_the_mended_version() {
    let advisory = |mended| Advisory { id: "A".to_owned(), package: "ring".to_owned(), mended };
    let lock = |text| [("ring".to_owned(), version(text)), ("other".to_owned(), version("0.1.0"))];
    let affects = |mended, at| !affecting(&[advisory(mended)], &lock(at)).is_empty();
    assert!(affects(Some([0, 17, 12]), "0.17.9"));
    assert!(!affects(Some([0, 17, 12]), "0.17.12+build"));
    assert!(!affects(Some([0, 17, 12]), "1.0.0-rc.1"));
    assert!(affects(None, "99.0.0"));
}

#[test]
fn what_deny_bans_is_not_in_the_lock_file() {
    // cargo-deny judges the graph; these must not even be resolved.
    let banned = ["aws-lc-sys", "aws-lc-rs", "openssl", "openssl-sys", "native-tls"];
    let lock = locked();
    let found = |name: &str, below: Version| lock.iter().any(|(locked, at)| locked == name && *at < below);
    assert!(lock.iter().any(|(name, _)| name == "ring"), "the lock file is read");
    none(
        &banned
            .iter()
            .filter(|name| found(name, [u64::MAX; 3]))
            .map(|name| format!("{name} is banned"))
            .collect::<Vec<_>>(),
    );
    assert!(!found("rustls", [0, 23, 0]) && !found("hyper", [1, 0, 0]));
}
