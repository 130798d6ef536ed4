//! Disks that misbehave: a small one that can be filled or made read-only, and a library that comes between the agent
//! and its journal's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use testkit::agent::AgentConfig;
use testkit::small_disk::SmallDisk;

/// A small disk of its own at `path`, or nothing where we may not mount: the test is skipped.
pub(crate) async fn small_disk(path: &Path, mib: u32) -> Option<SmallDisk> {
    let mounted = SmallDisk::mount(path, mib).await;
    let why = |error| testkit::skipped(&format!("a small disk cannot be mounted here, run as root: {error}"));
    mounted.map_err(why).ok()
}

/// Orders for the library between one agent and its journal; `tests/agent/support/bad_disk.c` says how it works.
pub(crate) struct BadDisk {
    orders: tempfile::NamedTempFile,
}

impl BadDisk {
    /// Puts the library into the environment of the agent to be started.
    pub(crate) fn under(config: &mut AgentConfig) -> BadDisk {
        let disk = BadDisk { orders: tempfile::NamedTempFile::new().unwrap() };
        let mut set = |name: &str, value: &Path| {
            config.environment.push((name.to_owned(), value.to_string_lossy().into_owned()));
        };
        set("LD_PRELOAD", library());
        set("BAD_DISK_ORDERS", disk.orders.path());
        set("BAD_DISK_UNDER", Path::new("/journal"));
        disk
    }

    /// Each sync takes so long.
    pub(crate) fn slow(&self, ms: u32) {
        self.order(&format!("{ms} 0 0"));
    }

    /// Everything that changes something is refused so.
    pub(crate) fn refuse_writes(&self, error: rustix::io::Errno) {
        self.order(&format!("0 {} 0", error.raw_os_error()));
    }

    /// Reads are refused so.
    pub(crate) fn refuse_reads(&self, error: rustix::io::Errno) {
        self.order(&format!("0 0 {}", error.raw_os_error()));
    }

    /// Each read of a record takes so long.
    pub(crate) fn slow_reads(&self, ms: u32) {
        self.order(&format!("0 0 0 {ms}"));
    }

    /// Where it says that a read waits.
    pub(crate) fn stalled(&self) -> PathBuf {
        let mut path = self.orders.path().as_os_str().to_owned();
        path.push(".stalled");
        path.into()
    }

    /// A disk as it should be.
    pub(crate) fn mend(&self) {
        self.order("0 0 0");
    }

    fn order(&self, text: &str) {
        fs::write(self.orders.path(), text).unwrap();
    }
}

/// The library, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/support/bad_disk.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bad_disk.{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler, as the README asks for");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        library
    })
}
