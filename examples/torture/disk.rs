//! What lies in a folder, and how much of the disk it takes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes in the blocks of all files below a folder.
pub(crate) fn on_disk(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { on_disk(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}

/// What lies in a folder, each with its bytes.
pub(crate) fn folders(log: &Path) -> std::io::Result<String> {
    let mut told = Vec::new();
    for entry in std::fs::read_dir(log)? {
        let entry = entry?;
        told.push(format!("{} {}", entry.file_name().display(), on_disk(&entry.path())?));
    }
    told.sort();
    Ok(told.join(", "))
}
