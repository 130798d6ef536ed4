//! After an import into systemd's store: the configuration's reference to the plain file, and that file itself.
//!
//! The quoted value alone is replaced, and only where both texts are configurations that differ in nothing else; everything
//! that is not sure is left to a person, with the line. The plain file goes when no queue reads it any more and the store has
//! the same key: a running agent keeps its key in memory.

use crate::cli::credentials::at_rest::{HANDED_OVER, NAME};
use crate::cli::new_file::{NewFile, Owner};
use crate::config::{Config, CredentialsSource};
use crate::sqs::credentials::{AccessKey, read_csv};
use rustix::fs::{Gid, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// As the configuration names what systemd hands over.
pub(super) fn as_credential() -> String {
    format!("$CREDENTIALS_DIRECTORY/{NAME}")
}

/// What is to become of a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// No queue reads a plain file.
    Nothing,
    /// To be written instead: with it these queues read what systemd hands over, and these files no longer.
    Change { text: String, queues: Vec<String>, files: BTreeSet<PathBuf> },
    /// A person has to, at these lines, and then remove these files.
    ByHand { why: String, lines: Vec<String>, files: BTreeSet<PathBuf> },
}

/// Decides it. `holds_it` says whether a plain file has the key that was imported: of several files only those are meant.
/// `text` is the configuration at `path`. Pure but for `holds_it`.
pub(super) fn plan(text: &str, path: &Path, holds_it: impl Fn(&Path) -> bool) -> Plan {
    let by_hand = |why: &str, queues: &[String], files: BTreeSet<PathBuf>| {
        let lines = queues.iter().map(|queue| line_of(text, path, queue)).collect();
        Plan::ByHand { why: why.to_owned(), lines, files }
    };
    // As the file says it by itself: what the environment overrides is not to be written down here.
    let parse = |text: &str| Config::parse(text, path, &BTreeMap::new());
    let Ok(config) = parse(text) else {
        return by_hand("it has mistakes (tidegate config show)", &[], BTreeSet::new());
    };
    let plain: Vec<(String, PathBuf)> = config.queues.iter().filter_map(plain_file).collect();
    let files: BTreeSet<PathBuf> = plain.iter().map(|(_, file)| file.clone()).collect();
    let meant: BTreeSet<PathBuf> = match files.len() {
        0 => return Plan::Nothing,
        1 => files.clone(),
        _ => files.iter().filter(|file| holds_it(file)).cloned().collect(),
    };
    let queues = |of: &dyn Fn(&PathBuf) -> bool| -> Vec<String> {
        plain.iter().filter(|(_, file)| of(file)).map(|(queue, _)| queue.clone()).collect()
    };
    if meant.is_empty() {
        return by_hand("its queues read several files, and none of them has this key", &queues(&|_| true), files);
    }
    let queues = queues(&|file| meant.contains(file));
    let Some(changed) = replaced(text, &queues) else {
        return by_hand("the value was not found there", &queues, meant);
    };
    let same_otherwise = parse(&changed).is_ok_and(|mut new| {
        let handed_over = |queue: &_| plain_file(queue).is_none_or(|(name, _)| !queues.contains(&name));
        let all_changed = new.queues.iter().all(handed_over);
        for (new, old) in new.queues.iter_mut().zip(&config.queues).filter(|(new, _)| queues.contains(&new.name)) {
            new.credentials = old.credentials.clone();
        }
        all_changed && format!("{new:?}") == format!("{config:?}")
    });
    match same_otherwise {
        true => Plan::Change { text: changed, queues, files: meant },
        false => by_hand("changing it there would change more", &queues, meant),
    }
}

/// Name and file of a queue that reads its keys from a file that systemd does not make.
fn plain_file(queue: &crate::config::QueueConfig) -> Option<(String, PathBuf)> {
    match &queue.credentials {
        CredentialsSource::CsvFile(file) if !file.starts_with(HANDED_OVER) => Some((queue.name.clone(), file.clone())),
        _ => None,
    }
}

/// The range of the quoted value in `text`.
fn value_of(text: &str, queue: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let queue = document.get_ref().get("queues")?.get_ref().as_table()?.get(queue)?;
    let value = queue.get_ref().as_table()?.get("credentials_file")?;
    let quoted = matches!(value.get_ref(), DeValue::String(_)) && text.get(value.span())?.starts_with(['"', '\'']);
    quoted.then(|| value.span())
}

/// The text with the values of these queues replaced.
fn replaced(text: &str, queues: &[String]) -> Option<String> {
    let mut places: Vec<Range<usize>> = queues.iter().map(|queue| value_of(text, queue)).collect::<Option<_>>()?;
    places.sort_by_key(|place| std::cmp::Reverse(place.start));
    let mut text = text.to_owned();
    for place in places {
        text.replace_range(place, &format!("\"{}\"", as_credential()));
    }
    Some(text)
}

/// For a person: where a queue names its file.
fn line_of(text: &str, path: &Path, queue: &str) -> String {
    let line = value_of(text, queue).and_then(|place| Some(text.get(..place.start)?.matches('\n').count() + 1));
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    format!("{}{line}: [queues.{queue}]", path.display())
}

/// Writes a configuration over the one whose text is `old`: beside it and renamed, with owner and mode kept.
///
/// # Errors
/// It is a link or another special file, was changed meanwhile, or cannot be written.
pub(super) fn rewrite(path: &Path, old: &str, new: &str) -> io::Result<()> {
    let about = std::fs::symlink_metadata(path)?;
    let owner = Owner { user: Some(Uid::from_raw(about.uid())), group: Some(Gid::from_raw(about.gid())) };
    let mut file = NewFile::beside(path, about.permissions().mode() & 0o7777, owner)?;
    file.write_all(new.as_bytes())?;
    if std::fs::read(path)? != old.as_bytes() {
        return Err(io::Error::other("another program changed it just now"));
    }
    file.put()
}

/// What became of a plain file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plain {
    /// It was not there.
    Absent,
    /// It had the same key, and is gone.
    Removed,
    /// It stays, and why.
    Stays(String),
}

/// Removes a plain file that has this key. A link or a file with another key stays.
pub(super) fn remove_plain(file: &Path, key: &AccessKey) -> Plain {
    match std::fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Plain::Absent,
        Err(error) => return Plain::Stays(error.to_string()),
        Ok(about) if !about.is_file() => return Plain::Stays("it is a link".to_owned()),
        Ok(_) => {}
    }
    match read_csv(file) {
        Ok(held) if held == *key => match std::fs::remove_file(file) {
            Ok(()) => Plain::Removed,
            Err(error) => Plain::Stays(error.to_string()),
        },
        Ok(_) => Plain::Stays("it holds another key than the imported one".to_owned()),
        Err(error) => Plain::Stays(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
