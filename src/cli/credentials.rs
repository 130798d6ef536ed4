//! `tidegate credentials import`: puts the IAM console's download where the agent reads it, readable by nobody else.
//!
//! As a systemd credential the file belongs to root alone, and the agent's user sees a copy in memory that systemd makes at
//! each start: somebody who breaks out of the agent's sandbox finds no key on the disk.

use super::ExitCode;
use super::output::{self, Owner};
use super::print::{complain, say};
use crate::config::{Config, CredentialsSource};
use crate::sqs::credentials::parse_csv;
use rustix::fs::{Gid, Uid};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where the package's configuration looks.
const DEFAULT_PLACE: &str = "/etc/tidegate/credentials.csv";
/// In systemd's store of credentials, whose folder later versions search by themselves.
const CREDENTIAL_STORE: &str = "/etc/credstore/tidegate.credentials.csv";
/// Hands it to the unit.
const DROP_IN: &str = "/etc/systemd/system/tidegate.service.d/credentials.conf";
/// Where systemd makes the copies; nobody writes there by hand.
const HANDED_OVER: &str = "/run/credentials";
/// As the configuration names it then.
const AS_CREDENTIAL: &str = "$CREDENTIALS_DIRECTORY/credentials.csv";
/// The user that the package's unit runs as.
const SERVICE_USER: &str = "tidegate";
/// A download has one line of header and one of keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Checks `file` and writes it to `to`, or to where the configuration's first queue reads it, or into systemd's store (also
/// where the configuration reads what comes from there).
pub(super) fn import(file: &Path, to: Option<&Path>, config: &Path, systemd: bool) -> ExitCode {
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            complain!("cannot read {}: {error}; name the .csv as the IAM console gave it", file.display());
            return ExitCode::Failed;
        }
    };
    let key = match parse_csv(&bytes) {
        Ok(key) => key,
        Err(error) => {
            complain!("{}: {error}", file.display());
            return ExitCode::Failed;
        }
    };
    let place = to.map_or_else(|| configured(config), Path::to_owned);
    let systemd = systemd || to.is_none() && place.starts_with(HANDED_OVER);
    let (place, owner) = if systemd { (CREDENTIAL_STORE.into(), None) } else { (place, service_user()) };
    let placed = place_file(&place, &bytes, owner).map_err(|error| (&*place, error));
    let placed = placed.and_then(|()| match systemd {
        true => place_drop_in(Path::new(DROP_IN), &place).map_err(|error| (Path::new(DROP_IN), error)),
        false => Ok(()),
    });
    if let Err((place, error)) = placed {
        complain!("cannot write {}: {error}; run it as root, or name another place with --to", place.display());
        return ExitCode::Failed;
    }
    say!("access key {} is in {} (readable by its owner alone)", key.id(), place.display());
    if systemd {
        say!("{DROP_IN} hands it to the unit. In the configuration:");
        say!("    credentials_file = \"{AS_CREDENTIAL}\"");
        say!("then: systemctl daemon-reload && systemctl restart tidegate");
        say!("systemd hands it over at a start only: after each rotation import it again, and restart.");
    } else {
        say!("A running agent takes it within seconds. `tidegate check` says whether the queue does.");
    }
    if !same_file(file, &place) {
        say!("Delete the download: rm {}", file.display());
    }
    ExitCode::Done
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(File::open(file)?, FILE_BYTES_MAX), &mut bytes)?;
    Ok(bytes)
}

/// Where the configuration reads keys; the package's place when it names none or cannot be read yet.
fn configured(config: &Path) -> PathBuf {
    let place = Config::load(config).ok().and_then(|config| {
        config.queues.into_iter().find_map(|queue| match queue.credentials {
            CredentialsSource::CsvFile(path) => Some(path),
            CredentialsSource::AwsChain => None,
        })
    });
    place.unwrap_or_else(|| DEFAULT_PLACE.into())
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// What makes systemd hand the file at `place` to the unit.
fn drop_in(place: &Path) -> String {
    format!(
        "# By tidegate credentials import --systemd.\n[Service]\nLoadCredential=credentials.csv:{}\n",
        place.display()
    )
}

fn place_drop_in(file: &Path, place: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // No secret: systemd's own tools read it for whoever asks.
    output::write(file, 0o644, Owner::default(), drop_in(place).as_bytes())
}

/// Never half a file, for the running agent's sake. Root gives it to `owner`.
fn place_file(place: &Path, bytes: &[u8], owner: Option<(Uid, Gid)>) -> io::Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let (user, group) = owner.unzip();
    output::write(place, 0o600, Owner { user, group }, bytes)
}

/// The service's user and group, where the package made them.
pub(super) fn service_user() -> Option<(Uid, Gid)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    user_of(&users, SERVICE_USER)
}

/// Their numbers.
pub(super) fn service_user_ids() -> Option<(u32, u32)> {
    service_user().map(|(user, group)| (user.as_raw(), group.as_raw()))
}

/// Of the lines of `/etc/passwd`, the ids of a user.
fn user_of(users: &str, name: &str) -> Option<(Uid, Gid)> {
    let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    let mut next = || fields.next()?.parse().ok();
    Some((Uid::from_raw(next()?), Gid::from_raw(next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("keys/credentials.csv");
        place_file(&place, b"one", None).expect("written");
        place_file(&place, b"two", None).expect("written again");
        assert_eq!(std::fs::read(&place).expect("there"), b"two");
        assert_eq!(std::fs::metadata(&place).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(place.parent().expect("a folder")).expect("a folder").count(),
            1,
            "nothing beside"
        );
    }

    #[test]
    fn the_unit_gets_what_the_configuration_then_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.service.d/credentials.conf");
        place_drop_in(&file, Path::new(CREDENTIAL_STORE)).expect("written");
        let text = std::fs::read_to_string(file).expect("there");
        let name = Path::new(AS_CREDENTIAL).file_name().expect("a name").to_string_lossy();
        assert!(text.ends_with(&format!("[Service]\nLoadCredential={name}:{CREDENTIAL_STORE}\n")), "{text}");
    }

    #[test]
    fn the_services_user_is_found_by_its_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\ntidegate2:x:7:8::/:/bin/false\ntidegate:x:990:991::/:/bin/false\n";
        let (user, group) = user_of(users, "tidegate").expect("a user");
        assert_eq!((user.as_raw(), group.as_raw()), (990, 991));
        assert!(user_of("tidegatex:x:1:1::/:", "tidegate").is_none());
    }
}
