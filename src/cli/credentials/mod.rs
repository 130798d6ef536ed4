//! `tidegate credentials import`: puts the IAM console's download where only the agent can read it.
//!
//! As a systemd credential ([`at_rest`]) the file belongs to root alone, and the agent's user sees a copy in memory that
//! systemd makes at each start: an attacker who breaks out of the agent's sandbox finds no key on the disk. So the
//! configuration is made to read that copy, and the plain file goes ([`mod@reference`]).

pub(super) mod at_rest;
mod reference;
mod token;

use crate::cli::ExitCode;
use crate::cli::new_file::{self, Owner};
use crate::cli::output::{complain, note, say};
use crate::config::{Config, CredentialsSource};
use crate::sqs::credentials::{AccessKey, parse_csv, read_csv};
use at_rest::{DEFAULT_PLACE, HANDED_OVER, Places, Stored};
use reference::{Plain, Plan};
use rustix::fs::{Gid, Uid};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
pub(super) use token::token;

/// The user that the package's unit runs as.
const SERVICE_USER: &str = "tidegate";
/// A download has one line of header and one of keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Names standard input.
const STDIN: &str = "-";
/// What cures a place that cannot be written to, in words of the command.
const ANOTHER_PLACE: &str = "name another place with --to";

/// Checks `file` (`-`: standard input) and writes it to `to`, or to where the configuration's first queue reads it, or into
/// systemd's store (also where the configuration reads what comes from there).
pub(super) fn import(file: &Path, to: Option<&Path>, config: &Path, systemd: bool) -> ExitCode {
    let from_stdin = file == Path::new(STDIN);
    let name = if from_stdin { "standard input".to_owned() } else { file.display().to_string() };
    let bytes = match if from_stdin { read(io::stdin().lock()) } else { File::open(file).and_then(read) } {
        Ok(bytes) => bytes,
        Err(error) => {
            complain!("cannot read {name}: {error}; name the .csv as the IAM console gave it");
            return ExitCode::Failed;
        }
    };
    let key = match parse_csv(&bytes) {
        Ok(key) => key,
        Err(error) => {
            complain!("{name}: {error}");
            return ExitCode::Failed;
        }
    };
    let place = match to.map_or_else(|| configured(config), |to| Ok(to.to_owned())) {
        Ok(place) => place,
        Err(why) => {
            complain!("nothing is changed: {why}");
            return ExitCode::Failed;
        }
    };
    let systemd = systemd || to.is_none() && place.starts_with(HANDED_OVER);
    // Only systemd can hand it over: without systemd the agent would have no key.
    if let Some(why) = systemd.then(at_rest::no_systemd).flatten() {
        complain!("nothing is changed: {why}; import it without --systemd, with --to {DEFAULT_PLACE}");
        return ExitCode::Failed;
    }
    let done = if systemd {
        into_store(&Places::of_system(), &bytes, &key, config)
    } else {
        place_file(&place, &bytes, service_user()).map_err(|error| (place.clone(), error)).map(|()| {
            let running = "A running agent takes it within seconds. `tidegate check` says whether the queue does.";
            vec![
                format!("access key {} is in {} (readable by its owner alone)", key.shown(), place.display()),
                running.into(),
            ]
        })
    };
    match done {
        Ok(lines) => lines.iter().for_each(|line| say!("{line}")),
        Err((place, error)) => {
            complain!("{}", new_file::unwritable(&place, &error, ANOTHER_PLACE));
            return ExitCode::Failed;
        }
    }
    if let Some(chars) = key.odd_secret() {
        note!("Its secret has {chars} characters, and those of IAM have 40: see whether it was copied whole.");
    }
    // It may have been the plain file, which is gone then.
    if !from_stdin && file.exists() && !same_file(file, &place) {
        say!("Delete the download: rm {}", file.display());
    }
    ExitCode::Done
}

/// Stores the key for the unit, and leaves no plain copy that the configuration reads; what to tell.
fn into_store(
    places: &Places,
    bytes: &[u8],
    key: &AccessKey,
    config: &Path,
) -> Result<Vec<String>, (PathBuf, io::Error)> {
    let stored = at_rest::store(places, bytes)?;
    let (shown, plain) = (key.shown(), places.store.display());
    let owner = "the card alone does not give it away";
    let mut lines = vec![match &stored {
        Stored::Tpm => format!(
            "access key {shown} is in {}, encrypted with this machine's TPM: {owner}",
            places.encrypted.display()
        ),
        Stored::NoTpm | Stored::Fallback(_) => {
            format!("access key {shown} is in {plain} (readable by its owner alone)")
        }
    }];
    lines.push(match stored {
        Stored::Tpm => {
            "Anyone who takes the whole gateway still has it. After a TPM is cleared or exchanged, import again.".into()
        }
        Stored::NoTpm => "This machine has no TPM that systemd can use: anyone who takes the card has the key.".into(),
        Stored::Fallback(why) => {
            format!("NOT ENCRYPTED, although this machine has a TPM: {why}. Anyone who takes the card has the key.")
        }
    });
    lines.push(format!("{} hands it to the unit.", places.drop_in.display()));
    lines.extend(take_plain_away(places, key, config));
    lines.push("Next: systemctl daemon-reload && systemctl restart tidegate".into());
    lines.push("systemd hands it over at a start only: after each rotation import it again, and restart.".into());
    Ok(lines)
}

/// The configuration reads what systemd hands over, and the plain files go; where that is not safe, what to do by hand.
fn take_plain_away(places: &Places, key: &AccessKey, config: &Path) -> Vec<String> {
    let line = format!("credentials_file = \"{}\"", reference::as_credential());
    let by_hand = |why: &str, at: &[String], files: &BTreeSet<PathBuf>| {
        let file = config.display();
        let at = if at.is_empty() { format!("{file}, each [queues.NAME] with this key") } else { at.join(", ") };
        let mut lines = vec![format!("{file} is not changed: {why}. Write at {at}:"), format!("    {line}")];
        // Where the configuration does not tell which file it was, it is most likely the package's.
        let plain = BTreeSet::from([places.plain.clone()]);
        let files = if files.is_empty() { &plain } else { files };
        let there = files.iter().filter(|file| file.exists());
        lines.extend(there.map(|file| format!("and then: rm {0}; {0} has a key in plain", file.display())));
        lines
    };
    let text = match std::fs::read_to_string(config) {
        Ok(text) => text,
        Err(error) => return by_hand(&error.to_string(), &[], &BTreeSet::new()),
    };
    let holds_it = |file: &Path| read_csv(file).is_ok_and(|held| held == *key);
    let (mut lines, mut files) = (Vec::new(), BTreeSet::new());
    match reference::plan(&text, config, holds_it) {
        Plan::Nothing => {}
        Plan::ByHand { why, lines, files } => return by_hand(&why, &lines, &files),
        Plan::Change { text: new, queues, files: former } => {
            if let Err(error) = reference::rewrite(config, &text, &new) {
                let at: Vec<String> = queues.iter().map(|queue| format!("[queues.{queue}]")).collect();
                return by_hand(&error.to_string(), &at, &former);
            }
            lines.push(format!("{}, queue {}: now has {line}", config.display(), queues.join(", ")));
            files = former;
        }
    }
    // A former import may have left it there; with this configuration the agent does not read it.
    if !reads(config, &places.plain) {
        files.insert(places.plain.clone());
    }
    lines.extend(files.iter().filter_map(|file| match reference::remove_plain(file, key) {
        Plain::Absent => None,
        Plain::Removed => Some(format!(
            "removed {}, which had the same key; a running agent keeps it in memory until its restart",
            file.display()
        )),
        Plain::Stays(why) => {
            let file = file.display();
            Some(format!("{file} stays: {why}. No queue reads it any more; when nothing else does: rm {file}"))
        }
    }));
    lines
}

/// Whether a queue of the configuration reads this file; a configuration that cannot be read might.
fn reads(config: &Path, file: &Path) -> bool {
    let of = CredentialsSource::CsvFile(file.to_owned());
    Config::load(config).ok().is_none_or(|config| config.queues.iter().any(|queue| queue.credentials == of))
}

fn read(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut from.take(FILE_BYTES_MAX), &mut bytes)?;
    Ok(bytes)
}

/// Where the configuration reads its key; the package's place when it names none or cannot be read yet.
///
/// # Errors
/// It reads several, and each is another queue's: which one is meant, only a person knows.
fn configured(config: &Path) -> Result<PathBuf, String> {
    let mut files: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for queue in Config::load(config).map_or_else(|_| Vec::new(), |config| config.queues) {
        let CredentialsSource::CsvFile(path) = queue.credentials else { continue };
        match files.iter_mut().find(|(file, _)| *file == path) {
            Some((_, queues)) => queues.push(queue.name),
            None => files.push((path, vec![queue.name])),
        }
    }
    match &mut files[..] {
        [] => Ok(DEFAULT_PLACE.into()),
        [(only, _)] => Ok(std::mem::take(only)),
        several => {
            let ways = several.iter().map(|(file, queues)| format!("--to {} ({})", file.display(), queues.join(", ")));
            let ways: Vec<_> = ways.collect();
            Err(format!("the configuration names {} key files; say which one: {}", ways.len(), ways.join(", or ")))
        }
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Never half a file, for the running agent's sake. Root gives it to `owner`.
fn place_file(place: &Path, bytes: &[u8], owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let (user, group) = owner.unzip();
    new_file::write(place, 0o600, Owner { user, group }, bytes)
}

/// The service's user and group, where the package made them.
pub(super) fn service_user() -> Option<(Uid, Gid)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    user_of(&users, SERVICE_USER)
}

/// Root's, and of the service's group: not readable by it, the service would not start, or not get into the broker.
pub(super) fn of_service() -> Owner {
    Owner { user: None, group: service_user().map(|(_, group)| group) }
}

/// Whether this is neither root nor the agent's user: then what only those may read asks for sudo and is not a fault.
pub(super) fn is_somebody_else() -> bool {
    let user = rustix::process::geteuid();
    !user.is_root() && service_user().is_none_or(|(service, _)| service != user)
}

/// Of the lines of `/etc/passwd`, the ids of a user.
fn user_of(users: &str, name: &str) -> Option<(Uid, Gid)> {
    let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    let mut next = || fields.next()?.parse().ok();
    Some((Uid::from_raw(next()?), Gid::from_raw(next()?)))
}

#[cfg(test)]
mod tests;
