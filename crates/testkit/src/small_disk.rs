//! A small disk of its own, for real: a file system in memory, mounted where the journal lies, filled by another program or
//! made read-only.

use crate::{Error, Result, process};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mount may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
        process::run("mount", &["-t", "tmpfs", "-o", &size, "tidegate-tests", &path], PATIENCE).await?;
        Ok(SmallDisk { folder: folder.to_owned() })
    }

    /// Makes it read-only, or writable again; the kernel refuses while a process has a file open for writing.
    pub async fn read_only(&self, yes: bool) -> Result<()> {
        let options = if yes { "remount,ro" } else { "remount,rw" };
        process::run("mount", &["-o", options, &self.folder.display().to_string()], PATIENCE).await.map(drop)
    }

    /// Fills it with another program's file until no more than `but` bytes are free.
    pub fn fill(&self, but: u64) -> Result<()> {
        let mut file =
            File::options().create(true).append(true).open(self.filling()).map_err(Error::io("filling the disk"))?;
        // Piece by piece: others write, too.
        let piece = vec![1; 64 << 10];
        while self.free_bytes()? > but {
            match file.write_all(&piece) {
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                written => written.map_err(Error::io("filling the disk"))?,
            }
        }
        Ok(())
    }

    /// Takes away what [`SmallDisk::fill`] put there.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_file(self.filling()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("freeing the disk")(error)),
            _ => Ok(()),
        }
    }

    /// What is free for everybody.
    pub fn free_bytes(&self) -> Result<u64> {
        let facts = rustix::fs::statvfs(&self.folder).map_err(|error| Error::io("asking the disk")(error.into()))?;
        Ok(facts.f_bavail * facts.f_frsize)
    }

    fn filling(&self) -> PathBuf {
        self.folder.join("somebody-elses-file")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process may keep the files that it has open there; the name is free at once. A failure leaves the
        // mount to its folder's owner: a drop cannot report it.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
