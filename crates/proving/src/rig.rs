//! What can be done to an agent from outside that no peer does: its clocks moved, its disk slow, its disk full.
//!
//! Clocks and slowness go through the file that a rigged agent reads (`TIDEGATE_RIG_CLOCK`, see the agent's `src/failpoints.rs`);
//! a build that ships does not know it. A full disk is a real one: a small file system in memory, mounted where the
//! journal lies and filled by somebody else.

use crate::{Error, Result, process};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The clocks of one agent, and how long its syncs take.
#[derive(Clone, Debug)]
pub struct RigClock {
    file: PathBuf,
    /// Milliseconds added to the wall clock.
    pub wall_ms: i64,
    /// Milliseconds added to the time since boot.
    pub boottime_ms: u64,
    /// Number of the boot; 0: the machine's own.
    pub boot: u8,
    /// Milliseconds that each commit's sync takes longer.
    pub sync_ms: u64,
}

impl RigClock {
    /// Clocks that are not moved yet, by way of `file`.
    pub fn new(file: PathBuf) -> Result<RigClock> {
        let clock = RigClock { file, wall_ms: 0, boottime_ms: 0, boot: 0, sync_ms: 0 };
        clock.set()?;
        Ok(clock)
    }

    /// The environment of the agent that is to read it.
    pub fn environment(&self) -> (String, String) {
        ("TIDEGATE_RIG_CLOCK".into(), self.file.display().to_string())
    }

    /// Puts what the fields say in force, at once.
    pub fn set(&self) -> Result<()> {
        let what = || format!("writing {}", self.file.display());
        let fresh = self.file.with_extension("new");
        let RigClock { wall_ms, boottime_ms, boot, sync_ms, .. } = self;
        fs::write(&fresh, format!("{wall_ms} {boottime_ms} {boot} {sync_ms}\n")).map_err(Error::io(what()))?;
        fs::rename(&fresh, &self.file).map_err(Error::io(what()))
    }
}

/// A small file system in memory; gone when dropped. Needs root.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB on `folder`, which is made if need be.
    pub async fn mount(folder: &Path, mib: u32) -> Result<SmallDisk> {
        fs::create_dir_all(folder).map_err(Error::io(format!("making {}", folder.display())))?;
        let (size, path) = (format!("size={mib}m,mode=0700"), folder.display().to_string());
        let args = ["-t", "tmpfs", "-o", &size, "tidegate-proving", &path];
        process::run("mount", &args, Duration::from_secs(10)).await?;
        Ok(SmallDisk { folder: folder.to_owned() })
    }

    /// Fills it to the last byte, as somebody else's file; gives how many bytes that took.
    pub fn fill(&self) -> Result<u64> {
        let path = self.folder.join("somebody-elses-file");
        let mut file = File::options().create(true).append(true).open(&path).map_err(Error::io("filling the disk"))?;
        let mut taken = 0;
        for piece in [1 << 20, 4096, 1] {
            loop {
                match file.write_all(&vec![0; piece]) {
                    Ok(()) => taken += piece as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(Error::io("filling the disk")(error)),
                }
            }
        }
        Ok(taken)
    }

    /// Takes away what [`SmallDisk::fill`] put there.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.folder.join("somebody-elses-file")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("freeing the disk")(error)),
            _ => Ok(()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever has a file open there may keep it; the name is free at once. A failure leaves the mount to its
        // folder's owner, and there is nobody to tell.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
