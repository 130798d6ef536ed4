//! What lies in a folder, and how much of the disk it takes.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes in the blocks of all files below a folder. The journal may remove some of them meanwhile: what is gone takes nothing.
pub(crate) fn on_disk(folder: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(about) if about.is_dir() => bytes += on_disk(&entry.path())?,
            Ok(about) => bytes += about.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// What lies in a folder, each with its bytes.
pub(crate) fn folders(log: &Path) -> io::Result<String> {
    let mut told = Vec::new();
    for entry in std::fs::read_dir(log)? {
        let entry = entry?;
        told.push(format!("{} {}", entry.file_name().display(), on_disk(&entry.path())?));
    }
    told.sort();
    Ok(told.join(", "))
}
