//! Where the keys come from, asked at every attempt.
//!
//! The SDK's own identity cache is not used: it compares a far expiry with a local clock that may show 1970, and it
//! cannot be told to forget. So [`file`](CsvKeys) looks at the file's stamp each time, which costs one `stat`, and
//! [`chain`](ChainKeys) keeps what it got for as long as the service's time says.
//!
//! Secrets stay inside [`AccessKey`] and the SDK's type; neither shows them in `Debug`, and no error repeats what is in
//! a file. The SDK's type shows the id, whatever it is: [`AccessKey::shown`] is what may be printed.

mod chain;
mod csv;
#[cfg(test)]
mod tests;

pub(super) use chain::AnchoredTime;
pub use chain::{ChainKeys, Unrenewed};
pub use csv::{AccessKey, CsvError, parse_csv};

use crate::sync::locked;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fmt, fs, io};

/// More than any key file has; a device file or a log must not fill the memory.
const MOST_BYTES: u64 = 64 * 1024;

/// A credentials file that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the credentials file {path}: {why}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// It does not hold a key.
    #[error("credentials file {path}: {why}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: CsvError,
    },
}

/// Reads the access key from a file as the IAM console gives it.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub fn read_csv(path: &Path) -> std::result::Result<AccessKey, FileError> {
    let unreadable = |error: io::Error| FileError::Unreadable { path: path.into(), why: error.to_string() };
    let about = fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() || about.len() > MOST_BYTES {
        return Err(FileError::Content { path: path.into(), why: CsvError::NotAFile });
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    parse_csv(&bytes).map_err(|why| FileError::Content { path: path.into(), why })
}

/// Keys from the IAM console's `.csv`; cheap to clone, all clones share what was read.
///
/// The file is read again when its stamp has changed, so a rotated key counts from the next attempt on. A changed file
/// that cannot be used (it may be half written) leaves the former key in force, with a warning: if that key has been
/// revoked the service will say so.
#[derive(Clone)]
pub struct CsvKeys(Arc<CsvInner>);

struct CsvInner {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of the file that was read last, whatever came of it; `None` makes the next attempt read it.
    stamp: Option<Stamp>,
    /// The key was refused: the next attempt reads the file again, though that alone causes no attempt.
    refused: bool,
    key: Option<Credentials>,
    error: Option<FileError>,
    /// What a look at a changed file found, which no attempt has read yet.
    looked: Option<(Option<Stamp>, Option<FileError>)>,
}

/// What tells one content of a file from the next without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    /// Of the inode: moves with permissions and owner too, and no program can set it back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(about: &Metadata) -> Stamp {
        let modified = (about.mtime(), about.mtime_nsec());
        let changed = (about.ctime(), about.ctime_nsec());
        Stamp { device: about.dev(), inode: about.ino(), len: about.len(), modified, changed }
    }

    fn of_file(path: &Path) -> Option<Stamp> {
        fs::metadata(path).ok().as_ref().map(Stamp::of)
    }
}

impl CsvKeys {
    /// Keys from the file at `path`; nothing is read yet.
    pub fn new(path: &Path) -> CsvKeys {
        CsvKeys(Arc::new(CsvInner { path: path.into(), seen: Mutex::default() }))
    }

    /// The key in force.
    ///
    /// # Errors
    /// When no usable key has been seen yet.
    pub fn current(&self) -> std::result::Result<Credentials, FileError> {
        let mut seen = locked(&self.0.seen);
        // Taken before reading: a file replaced meanwhile has another stamp and is read again next time.
        let stamp = Stamp::of_file(&self.0.path);
        if stamp.is_none() || stamp != seen.stamp || seen.refused {
            self.read(&mut seen);
            (seen.stamp, seen.refused) = (stamp, false);
        }
        match (&seen.key, &seen.error) {
            (Some(key), _) => Ok(key.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => unreachable!("a file that was read left a key or an error"),
        }
    }

    fn read(&self, seen: &mut Seen) {
        let former = seen.error.take();
        match read_csv(&self.0.path) {
            Ok(key) => {
                let new = seen.key.as_ref().is_none_or(|old| old.access_key_id() != key.id());
                if new && seen.key.is_some() {
                    tracing::info!(key = key.shown(), "credentials file has a new key");
                }
                seen.key = Some(key.into_credentials());
            }
            Err(error) => {
                if seen.key.is_some() && former.as_ref() != Some(&error) {
                    tracing::warn!(%error, "credentials file cannot be used, the former key stays in force");
                }
                seen.error = Some(error);
            }
        }
    }

    /// Whether the file is another than the one read last.
    pub fn changed(&self) -> bool {
        let seen = locked(&self.0.seen);
        seen.stamp != Stamp::of_file(&self.0.path)
    }

    /// Why the file cannot be used now, while a former key of it is in force. It looks and takes nothing: to an attempt, and to
    /// [`CsvKeys::changed`], the file is as new as before. Blocks: a stat, and a read where the file has changed.
    pub(super) fn trouble(&self) -> Option<String> {
        let stamp = Stamp::of_file(&self.0.path);
        let mut seen = locked(&self.0.seen);
        seen.key.as_ref()?;
        if stamp.is_some() && stamp == seen.stamp {
            return seen.error.as_ref().map(FileError::to_string);
        }
        let known = seen.looked.as_ref().is_some_and(|(of, _)| stamp.is_some() && *of == stamp);
        if !known {
            seen.looked = Some((stamp, read_csv(&self.0.path).err()));
        }
        seen.looked.as_ref().and_then(|(_, error)| error.as_ref()).map(FileError::to_string)
    }

    /// Makes the next attempt read the file, whatever its stamp.
    pub fn forget(&self) {
        locked(&self.0.seen).stamp = None;
    }

    /// The key was refused: the next attempt reads the file, whatever its stamp, and until then it has not changed by that.
    pub(super) fn refused(&self) {
        locked(&self.0.seen).refused = true;
    }
}

impl fmt::Debug for CsvKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvKeys").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl ProvideCredentials for CsvKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let result: Result = self.current().map_err(CredentialsError::invalid_configuration);
        future::ProvideCredentials::ready(result)
    }
}

/// The keys of one queue, whatever their source.
#[derive(Clone, Debug)]
pub enum Keys {
    /// From the IAM console's `.csv`.
    Csv(CsvKeys),
    /// From the standard AWS chain.
    Chain(ChainKeys),
}

impl Keys {
    /// Makes the next attempt ask the source.
    pub fn forget(&self) {
        match self {
            Keys::Csv(keys) => keys.forget(),
            Keys::Chain(keys) => keys.forget(),
        }
    }

    /// What the source gave was refused: it is asked again at the next attempt.
    pub(super) fn refused(&self) {
        match self {
            Keys::Csv(keys) => keys.refused(),
            Keys::Chain(keys) => keys.forget(),
        }
    }

    /// Why a file of keys cannot be used now, while a former key of it is in force. Blocks.
    pub(super) fn file_trouble(&self) -> Option<String> {
        match self {
            Keys::Csv(keys) => keys.trouble(),
            Keys::Chain(_) => None,
        }
    }

    /// Whether the source holds other keys than those that were just refused. Asks it.
    pub(super) async fn has_others(&self) -> bool {
        match self {
            Keys::Csv(keys) => keys.changed(),
            Keys::Chain(keys) => keys.has_others().await,
        }
    }

    /// Whether the source is known to hold something that was not tried yet.
    pub fn changed(&self) -> bool {
        match self {
            Keys::Csv(keys) => keys.changed(),
            Keys::Chain(_) => false,
        }
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self {
            Keys::Csv(keys) => keys.provide_credentials(),
            Keys::Chain(keys) => keys.provide_credentials(),
        }
    }
}
