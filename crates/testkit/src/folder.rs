//! Folders, as tests and benches hand them on.

use std::io;
use std::path::Path;

/// Copies a folder with all that is in it; `to` is made where it is not there. Sockets and other files that are no data are left out.
///
/// # Errors
/// Something cannot be read, or cannot be written.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
