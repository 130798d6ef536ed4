//! Why a journal cannot be used, in words for people.

use crate::journal::checkpoint::state::StateError;
use crate::journal::disk::{beside, reserve};
use crate::journal::generation::active::GenerationError;
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
    /// The disk or the system refused something.
    #[error("journal {}: {source}", path.display())]
    Io {
        /// The file or folder that was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another user put something on the way, or in the folder.
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

    /// The newest records cannot be read at an opening.
    pub(crate) fn newest(error: io::Error) -> JournalError {
        JournalError::Generation(format!("its newest records cannot be read now: {error}"))
    }

    /// Whether the disk has no space left.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if reserve::is_full(source))
    }

    /// Whether it is a matter of a moment: sled's threads have not let go yet.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the file system as a whole cannot be written.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if beside::is_read_only(source))
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> JournalError {
        JournalError::Io { path: path.to_owned(), source }
    }
}

impl From<GenerationError> for JournalError {
    fn from(error: GenerationError) -> JournalError {
        match error {
            GenerationError::Io { path, source } | GenerationError::Unsynced { path, source } => {
                JournalError::Io { path, source }
            }
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
