//! A link of `scripts/slow-link.py`, and a network of a test's own.

pub(crate) use testkit::link::{Shape, SlowLink};
use testkit::{link, skipped};

/// A machine on which a link can be made.
pub(crate) fn can_shape() -> bool {
    let there = link::can_shape();
    if !there {
        skipped(link::NEEDS);
    }
    there
}

/// Whether this is a process with a network and mounts of its own, in which addresses and files may come and go. Otherwise the test
/// `name` runs in one.
pub(crate) fn has_own_network(name: &str) -> bool {
    const INSIDE: &str = "TIDEGATE_TEST_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip of iproute2");
        assert!(up.success());
        return true;
    }
    if can_shape() {
        let program = std::env::current_exe().unwrap();
        let mut own = std::process::Command::new("unshare");
        own.args(["--net", "--mount"])
            .arg(program)
            .args(["--exact", name, "--include-ignored", "--nocapture"])
            .env(INSIDE, "1");
        let output = own.output().expect("unshare of util-linux");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        let passed = output.status.success() && said.contains("1 passed");
        assert!(passed, "{}", String::from_utf8_lossy(&output.stderr));
    }
    false
}
