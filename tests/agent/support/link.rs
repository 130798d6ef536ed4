//! A link of `scripts/slow-link.py`, and a network of a test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use testkit::skipped;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A link, for as long as it is kept.
pub(crate) struct SlowLink {
    pub(crate) addr: SocketAddr,
    /// Its standard input's end ends it.
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) bit_s: u32,
    pub(crate) rtt_ms: u32,
    pub(crate) loss_percent: u32,
}

impl SlowLink {
    pub(crate) async fn to(target: SocketAddr, shape: Shape) -> SlowLink {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slow-link.py");
        let mut child = Command::new(script)
            .args(["--target", &target.to_string(), "--rate", &shape.bit_s.to_string()])
            .args(["--rtt", &shape.rtt_ms.to_string(), "--loss", &shape.loss_percent.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next_line().await.unwrap().unwrap_or_default();
        SlowLink { addr: first.parse().expect("the link's address"), child, lines }
    }

    /// Changes it, by a word of the script's.
    pub(crate) async fn tell(&mut self, word: &str) {
        let input = self.child.stdin.as_mut().expect("kept open");
        input.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        assert_eq!(self.lines.next_line().await.unwrap().as_deref(), Some(word));
    }

    pub(crate) async fn end(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().await.unwrap();
    }
}

/// A machine on which a link can be made.
pub(crate) fn can_shape() -> bool {
    let there = Path::new("/dev/net/tun").exists() && rustix::process::geteuid().is_root();
    if !there {
        skipped("a link of its own needs root and /dev/net/tun");
    }
    there
}

/// Whether this is a process with a network of its own, in which addresses may come and go. Otherwise the test `name` runs in one.
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
        own.arg("--net").arg(program).args(["--exact", name, "--include-ignored", "--nocapture"]).env(INSIDE, "1");
        let output = own.output().expect("unshare of util-linux");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        let passed = output.status.success() && said.contains("1 passed");
        assert!(passed, "{}", String::from_utf8_lossy(&output.stderr));
    }
    false
}
