//! What can go wrong with a peer, with enough context to print it and continue.

use std::io;
use std::time::Duration;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A peer could not do what a test asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// The step that was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something awaited did not happen in time.
    #[error("{what}: not within {after:?}{detail}")]
    Timeout {
        /// The event that was awaited.
        what: String,
        /// How long it was awaited.
        after: Duration,
        /// What is known about it (the end of a log, say); empty or starting on a new line.
        detail: String,
    },
    /// A process ended that should have run on.
    #[error("{what} ended ({status}){detail}")]
    Exited {
        /// Name of the process.
        what: String,
        /// Its exit status in words.
        status: String,
        /// The end of its output; empty or starting on a new line.
        detail: String,
    },
    /// A peer answered something that is not an answer to the question.
    #[error("{what}: {text}")]
    Peer {
        /// The question to the peer.
        what: String,
        /// What the peer answered.
        text: String,
    },
    /// A program that is needed is not installed.
    #[error("{what} is not installed: {remedy}")]
    Missing {
        /// Name of the program.
        what: String,
        /// What to do about it.
        remedy: String,
    },
}

impl Error {
    /// For `map_err`: the system refused `what`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// A peer's answer `text` to `what`.
    pub(crate) fn peer(what: impl Into<String>, text: impl std::fmt::Display) -> Error {
        Error::Peer { what: what.into(), text: text.to_string() }
    }
}
