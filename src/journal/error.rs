//! Why a journal cannot be used, in words for people.

use super::beside;
use super::generation::GenerationError;
use super::reserve;
use super::state::StateError;
use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

/// Why the journal could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process holds the journal.
    #[error("journal {} is held by another process; is a second tidegate running? stop it, or give this one a journal.path of its own", .0.display())]
    Locked(PathBuf),
    /// A newer tidegate wrote it.
    #[error("journal was {0}; install that version again, or give this one a new journal.path (nothing was changed)")]
    Newer(String),
    /// The process would not sync for real.
    #[error("journal not opened: {0}; this binary was linked wrongly, install the package as published")]
    NotSynced(String),
    /// The disk said no.
    #[error("journal {}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else put something on the way, or in the folder.
    #[error("journal not opened, because another user could have it write elsewhere: {0}")]
    Planted(String),
    /// A generation could not be used.
    #[error("journal: {0}")]
    Generation(String),
}

impl JournalError {
    pub(crate) fn reading(text: &str) -> JournalError {
        JournalError::Generation(text.to_owned())
    }

    /// Whether the disk has no space left.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if reserve::is_full(source))
    }

    /// Whether it is a matter of a moment: sled's threads have not let go yet.
    pub(super) fn passes(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the file system as a whole cannot be written.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if beside::is_read_only(source))
    }

    pub(super) fn io(path: &Path, source: io::Error) -> JournalError {
        JournalError::Io { path: path.to_owned(), source }
    }
}

impl From<GenerationError> for JournalError {
    fn from(error: GenerationError) -> JournalError {
        match error {
            GenerationError::Io { path, source } => JournalError::Io { path, source },
            other => JournalError::Generation(other.to_string()),
        }
    }
}

impl From<StateError> for JournalError {
    fn from(error: StateError) -> JournalError {
        match error {
            StateError::Io { path, source } => JournalError::Io { path, source },
            newer @ StateError::Newer { .. } => JournalError::Newer(newer.to_string()),
            many @ StateError::TooManyLanes(_) => JournalError::Generation(many.to_string()),
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
