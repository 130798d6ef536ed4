//! The journal keeps its promises through power cuts, and the machine that says so is worth something: each sabotage is
//! caught. A short form of `cargo torture`; a seed that failed is printed by it, and `TIDEGATE_SEED=…` replays it.
#![allow(clippy::print_stdout, reason = "verdicts and seeds for a person")]

use std::process::Command;
use testkit::random::fresh_seed;

/// Where it keeps the traces of what broke, under `target/`.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Runs it to its end, which it always comes to; the exit status, and all that it said.
fn torture(arguments: &[&str]) -> (Option<i32>, String) {
    let seed = std::env::var("TIDEGATE_SEED").unwrap_or_else(|_| fresh_seed().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    let output = command.args(arguments).args(["--seed", &seed]).current_dir(ROOT).output().expect("it runs");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{said}");
    (output.status.code(), said)
}

/// A run under this sabotage is caught within so many cuts.
#[track_caller]
fn assert_caught(sabotage: &str, cuts: &str) {
    let (status, said) = torture(&["--cuts", cuts, "--sabotage", sabotage]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(&format!("CAUGHT {sabotage}")), "{said}");
}

#[test]
fn forty_power_cuts_break_no_promise() {
    let (status, said) = torture(&["--cuts", "40"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("KEPT: 0 of 40 cuts"), "{said}");
}

#[test]
fn sleds_own_flush_is_caught() {
    assert_caught("stock-flush", "200");
}

#[test]
fn folders_that_are_not_synced_are_caught() {
    assert_caught("no-dir-sync", "100");
}

#[test]
fn a_cursor_that_runs_ahead_is_caught() {
    assert_caught("cursor-first", "100");
}

#[test]
fn frames_in_payloads_that_count_are_caught() {
    assert_caught("forged-frame", "60");
}

#[test]
fn a_start_from_the_older_state_is_caught() {
    assert_caught("stale-slot", "60");
}

#[test]
fn holes_that_a_crash_forgets_are_caught() {
    assert_caught("forget-holes", "100");
}

#[test]
fn what_it_does_not_understand_it_does_not_run() {
    let (status, said) = torture(&["--sabotage", "gently"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("stock-flush, no-dir-sync, cursor-first, forged-frame, stale-slot, forget-holes"), "{said}");
}
