//! Disks that misbehave: a file system of its own that can be filled or made read-only, and a library that stands between
//! the agent and its journal's files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use testkit::agent::AgentConfig;

/// A small file system in memory, mounted for one test.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB at `path`, which is created. `None`, with the reason printed: we may not mount.
    pub(crate) fn mount(path: &Path, mib: u32) -> Option<SmallDisk> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk { path: path.to_owned() }),
            other => {
                testkit::skipped(&format!("a file system of its own cannot be mounted here, run as root: {other:?}"));
                None
            }
        }
    }

    /// Read-only, or not any more. Works while nobody has a file open for writing.
    pub(crate) fn read_only(&self, yes: bool) {
        let options = if yes { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", options]).arg(&self.path).status().unwrap();
        assert!(done.success(), "{options}");
    }

    /// Fills all that is free, but for so many bytes, with a file of somebody else's.
    pub(crate) fn fill(&self, but: u64) {
        let mut file = fs::File::create(self.path.join("somebody-elses")).unwrap();
        // Piece by piece: others write, too.
        let piece = vec![1; 64 * 1024];
        while free(&self.path) > but && file.write_all(&piece).is_ok() {}
    }

    /// Removes that file.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.path.join("somebody-elses")).unwrap();
    }

    pub(crate) fn free(&self) -> u64 {
        free(&self.path)
    }
}

fn free(path: &Path) -> u64 {
    let facts = rustix::fs::statvfs(path).unwrap();
    facts.f_bavail * facts.f_frsize
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the agent may still be at work in it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
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
