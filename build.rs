//! Notes the build time: the earliest instant that a running binary can be in, and so the floor of its clock. And for support
//! what the binary is built from and for.
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
    // Set by the scripts that build what ships. Asking git here would build the agent anew at each commit.
    println!("cargo:rerun-if-env-changed=TIDEGATE_COMMIT");
    let commit = std::env::var("TIDEGATE_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo:rustc-env=TIDEGATE_COMMIT={commit}");
    println!("cargo:rustc-env=TIDEGATE_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
