//! Tests that cannot run everywhere.

/// A test cannot run here, because of `why`: it says so, and fails where none may be left out (`TIDEGATE_TESTS=strict`).
#[allow(clippy::print_stdout, reason = "read by the person who runs the tests")]
pub fn skipped(why: &str) {
    println!("SKIPPED: {why}");
    assert!(std::env::var_os("TIDEGATE_TESTS").is_none_or(|value| value != "strict"), "skipped: {why}");
}
