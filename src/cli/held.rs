//! Journals that other processes of this machine hold, as far as `/proc` shows them to this user. Nothing is locked: an agent
//! that starts at this moment must not find its journal held.
//!
//! Root sees every process. Another user sees its own ones, and of others only that a tidegate runs. What runs in a container
//! or on another machine is not seen.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file by which a journal is held.
const LOCK: &str = "lock";

/// What is seen.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Folders of journals that are held.
    pub(super) journals: Vec<PathBuf>,
    /// A process that runs an agent, and whose files this user may not see.
    pub(super) hidden: Option<u32>,
}

/// Looks through the processes.
pub(super) fn held() -> Held {
    let mut found = Held::default();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if process == std::process::id() {
            continue;
        }
        match fs::read_dir(entry.path().join("fd")) {
            Ok(files) => {
                let open = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
                found.journals.extend(open.filter_map(|path| journal_of(&path)));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied && runs_agent(&entry.path()) => {
                found.hidden = Some(process);
            }
            Err(_) => {}
        }
    }
    if let Some(folder) = crate::failpoints::agents_below() {
        found.journals.retain(|journal| journal.starts_with(&folder));
        found.hidden = None;
    }
    found.journals.sort();
    found.journals.dedup();
    found
}

/// The journal whose lock this file is.
fn journal_of(open: &Path) -> Option<PathBuf> {
    let folder = open.parent().filter(|_| open.file_name() == Some(OsStr::new(LOCK)))?;
    // Other programs have locks of this name.
    folder.join("format").exists().then(|| folder.to_owned())
}

/// Whether a process whose files are hidden calls itself an agent.
fn runs_agent(process: &Path) -> bool {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = words.next().unwrap_or_default();
    Path::new(&*program).file_name() == Some(OsStr::new("tidegate")) && words.any(|word| word == "run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_a_journals_only_beside_its_format() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join(LOCK);
        assert_eq!(journal_of(&lock), None);
        fs::write(folder.path().join("format"), "1").expect("written");
        assert_eq!(journal_of(&lock).as_deref(), Some(folder.path()));
        assert_eq!(journal_of(&folder.path().join("state")), None);
    }
}
