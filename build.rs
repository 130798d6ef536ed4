//! Notes the build time: the earliest instant that a running binary can be in, and so the floor of its clock.
#![allow(clippy::disallowed_methods, reason = "runs where the agent is built, whose clock is believed")]

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let seconds = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("cargo:rustc-env=TIDEGATE_BUILD_TIME={seconds}");
}
