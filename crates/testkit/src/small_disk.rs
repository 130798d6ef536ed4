//! A full disk, for real: a small file system in memory, mounted where the journal lies and filled by another program.

use crate::{Error, Result, process};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
        let args = ["-t", "tmpfs", "-o", &size, "tidegate-tests", &path];
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
