//! What can be looked at without a network: the file, its secrets' files, the clock, the journal's disk.

use crate::cli::check::Step;
use crate::cli::credentials::at_rest::Places;
use crate::cli::credentials::service_user;
use crate::clock::{Clock, Trust};
use crate::config::{Config, CredentialsSource};
use crate::journal::folder::{self, Trusted};
use crate::journal::{JournalError, View, volume};
use crate::status::findings::{Code, journal as disk};
use crate::status::token::Token;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Syncs that are timed; the middle one counts.
const SYNCS: usize = 5;
/// The user may not; another may.
const EACCES: i32 = rustix::io::Errno::ACCESS.raw_os_error();
/// A commit that takes longer holds up every acknowledgement noticeably.
const SLOW: Duration = Duration::from_millis(200);

pub(super) fn steps(file: &Path, config: &Config) -> Vec<Step> {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (queues, routes) = (count(config.queues.len(), "queue"), count(config.routes.len(), "route"));
    let read = format!("{}: {queues}, {routes}", file.display());
    let mut steps = vec![Step::good("configuration", read)];
    // Another step says that keys or the token are missing, with how to get them there.
    let there = |(key, path): &(&str, PathBuf)| !["credentials_file", "token_file"].contains(key) || path.exists();
    steps.extend(secrets(config).into_iter().filter(there).map(|(key, path)| secret(key, &path)));
    steps.extend(crate::cli::check::as_agent::steps(file, config));
    steps.extend(crate::cli::check::keys::steps(config, &Places::of_system()));
    steps.extend(page(config));
    steps.extend(port(config));
    steps.push(clock());
    steps.extend(journal(config));
    steps
}

/// Files that hold a secret, with the key that names them; each once.
fn secrets(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let mqtt = &config.mqtt;
    let token = config.status.listen.and(config.status.token_file.clone());
    let own =
        [("password_file", &mqtt.password_file), ("client_key_file", &mqtt.client_key_file), ("token_file", &token)];
    let mut all: Vec<(&str, PathBuf)> =
        own.into_iter().filter_map(|(key, path)| path.clone().map(|path| (key, path))).collect();
    for queue in &config.queues {
        if let CredentialsSource::CsvFile(path) = &queue.credentials
            && all.iter().all(|(_, other)| other != path)
        {
            all.push(("credentials_file", path.clone()));
        }
    }
    all
}

fn secret(key: &str, path: &Path) -> Step {
    let step = format!("{key} of the agent alone");
    match std::fs::metadata(path) {
        Ok(facts) if facts.mode() & 0o007 != 0 => {
            let found = format!("{} can be read or changed by every user of this machine", path.display());
            // The mode alone would close it to the agent, too.
            let next = match service_user() {
                Some(_) => format!("chown root:tidegate {0} && chmod 640 {0}", path.display()),
                None => format!("chmod 640 {}", path.display()),
            };
            Step::bad(step, found, next)
        }
        Ok(_) => Step::good(step, format!("{} is not readable by other users", path.display())),
        Err(error) => Step::bad(step, format!("{}: {error}", path.display()), secret_remedy(error.kind())),
    }
}

/// For a file of a secret that cannot be looked at. Pure.
fn secret_remedy(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::NotFound => "make the file, or name the right one",
        _ => "name the right file, and run it with sudo",
    }
}

/// For a token that cannot be used. Pure.
fn token_remedy(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::NotFound => "sudo tidegate credentials token",
        // `credentials token` keeps what is there.
        ErrorKind::InvalidData => "sudo tidegate credentials token --force",
        _ => "make it a file that the agent's user can read",
    }
}

/// Which clients may look at the status page.
fn page(config: &Config) -> Option<Step> {
    let listen = config.status.listen?;
    let step = "status page";
    Some(match &config.status.token_file {
        None => Step::good(step, format!("http://{listen}/, for this machine alone")),
        Some(file) => match Token::read(file) {
            Ok(_) => Step::good(step, format!("http://{listen}/, for those who have the token in {}", file.display())),
            Err(error) => {
                let found = format!("the page is closed: token_file {}: {error}", file.display());
                Step::bad(step, found, token_remedy(error.kind()))
            }
        },
    })
}

/// A broker's port that speaks TLS as a rule, asked for without.
fn port(config: &Config) -> Option<Step> {
    let meant = config.mqtt.address.meant_with_tls()?;
    let found = format!("{} goes without TLS to the port that brokers speak TLS at", config.mqtt.url);
    Some(Step::open(
        "broker's port",
        found,
        format!("unless the broker speaks plain MQTT there: mqtt.url = \"{meant}\""),
    ))
}

fn clock() -> Step {
    match Clock::new(None).now().trust {
        Trust::Confirmed => Step::good("clock", "the kernel calls it synchronised"),
        Trust::Unconfirmed => {
            let found = "plausible, and the kernel does not call it synchronised";
            let next = "start a time service (timedatectl set-ntp true); until then messages say timeuncertain";
            Step::open("clock", found, next)
        }
        Trust::Wrong => {
            let next = "let NTP set it; until then records keep the time since boot and are corrected later";
            Step::bad("clock", "earlier than this program was built", next)
        }
    }
}

/// The journal's folder, or the nearest one above it that is there.
fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|folder| folder.is_dir())
}

fn journal(config: &Config) -> Vec<Step> {
    let path = &config.journal.path;
    let Some(folder) = nearest(path) else {
        return vec![Step::bad(
            "journal",
            format!("there is no {}", path.display()),
            "set journal.path to a folder on flash",
        )];
    };
    let mut steps = vec![owned(path)];
    steps.push(if volume::in_ram(folder) {
        let media: Vec<String> = volume::media().iter().map(|path| path.display().to_string()).collect();
        let next = format!("set journal.path to a folder on flash: {} can be written", media.join(", "));
        Step::bad("journal's file system", format!("{} lies in RAM: a power cut loses it", path.display()), next)
    } else {
        Step::good("journal's file system", format!("{} is not in RAM", folder.display()))
    });
    let time = sync_time(folder);
    steps.extend(files_in(path));
    // What this user may not write the agent may.
    let takes = time.as_ref().map_or_else(|error| error.raw_os_error() == Some(EACCES), |_| true);
    steps.extend(crate::cli::check::space::steps(config, folder, takes));
    steps.push(match time {
        Ok(time) if time > SLOW => {
            let found = format!("a commit takes {} ms", time.as_millis());
            Step::bad(
                "journal's disk",
                found,
                "acknowledgements wait for it: a worn or cheap card does this, and so does a disk that others keep busy",
            )
        }
        Ok(time) => Step::good("journal's disk", format!("a commit takes {:.1} ms", time.as_secs_f64() * 1000.0)),
        Err(error) => refused(folder, &error, volume::free_bytes(folder)),
    });
    steps
}

/// A disk that takes nothing from this process. Pure.
fn refused(folder: &Path, error: &Error, free: Option<u64>) -> Step {
    let (step, at) = ("journal's disk", folder.display());
    if error.raw_os_error() == Some(EACCES) {
        return Step::open(step, format!("not timed: {at} ({error})"), "sudo tidegate check");
    }
    let row = |code: Code| format!("{}: {}", code.row().remedy, code.row().command);
    let next = match error.kind() {
        ErrorKind::StorageFull if free.is_some_and(|free| free >= disk::PLENTY) => {
            format!("{}: {}", disk::NO_INODE, disk::inodes_of(folder))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("free space there: df -h '{at}'"),
        ErrorKind::ReadOnlyFilesystem => row(Code::JournalReadOnly),
        ErrorKind::PermissionDenied => format!("see what protects it: lsattr -d '{at}'"),
        _ => row(Code::JournalUnwritable),
    };
    Step::bad(step, format!("{at} takes nothing: {error}"), next)
}

/// What in the folder keeps a journal from being opened, whatever its owner is.
fn files_in(path: &Path) -> Option<Step> {
    let step = "journal's files";
    let kinds = [("format", false), ("lock", false), ("state", false), ("reserve", false), ("log", true)];
    for (name, folder) in kinds {
        let file = path.join(name);
        if std::fs::metadata(&file).is_ok_and(|about| about.is_dir() != folder) {
            let what = if folder { "no folder" } else { "a folder" };
            let found = format!("{} is {what}, and the journal cannot be opened", file.display());
            let next =
                format!("see what it is and who made it, then move it away: mv '{0}' '{0}.away'", file.display());
            return Some(Step::bad(step, found, next));
        }
    }
    match View::open(path) {
        Err(JournalError::Io { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) =>
        {
            None
        }
        // Its text says what to do.
        Err(error @ JournalError::Newer(_)) => Some(Step::bad(step, error.to_string(), "")),
        Err(error) => Some(Step::bad(step, error.to_string(), "see the kernel's log: sudo dmesg --human --nopager")),
        Ok(_) => None,
    }
}

/// Who else could put something where the agent writes.
fn owned(path: &Path) -> Step {
    let step = "journal's folder of the agent alone";
    let trusted = Trusted::with(service_user());
    match (folder::planted(path, &trusted), folder::open_to(path, &trusted)) {
        (Ok(Some(why)), _) => Step::bad(step, why, "and give the journal a folder that only the agent can write"),
        (Ok(None), Ok(Some((at, why)))) => {
            let next = format!("chown and chmod {}, or set journal.path to a folder of the agent alone", at.display());
            Step::bad(step, format!("{}: {why}", at.display()), next)
        }
        (Ok(None), Ok(None)) => Step::good(step, format!("no other user can write on the path to {}", path.display())),
        (Err(error), _) | (_, Err(error)) => {
            Step::open(step, format!("{}: {error}", path.display()), "sudo tidegate check")
        }
    }
}

/// What a small write takes to reach the disk: the middle of several, on a file of our own that is removed.
fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    let path = folder.join(format!(".tidegate-check-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let times = (|| {
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let start = Instant::now();
            File::write_all(&mut file, &[0; 4096])?;
            file.sync_data()?;
            times.push(start.elapsed());
        }
        times.sort();
        Ok(times[SYNCS / 2])
    })();
    std::fs::remove_file(&path)?;
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_takes_nothing_is_bad_with_its_cure() {
        use crate::cli::check::CheckResult::{Bad, Open};
        let with = |code, free| {
            let step = refused(Path::new("/j"), &Error::from_raw_os_error(code), Some(free));
            (step.mark, step.next)
        };
        assert_eq!(with(13, 1 << 30), (Open, "sudo tidegate check".to_owned()));
        for (code, free, cure) in [
            (28, 1 << 30, "df -i '/j'"),
            (28, 0, "df -h '/j'"),
            (122, 1 << 30, "df -h '/j'"),
            (30, 1 << 30, "fsck"),
            (1, 1 << 30, "lsattr -d '/j'"),
            (5, 1 << 30, "sudo dmesg"),
        ] {
            let (mark, next) = with(code, free);
            assert!(mark == Bad && next.contains(cure), "{code}: {next}");
        }
    }

    #[test]
    fn a_folder_in_place_of_a_journals_file_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(files_in(&root.path().join("not-yet")), None);
        assert_eq!(files_in(root.path()), None, "nothing in it yet");
        std::fs::create_dir(root.path().join("log")).unwrap();
        std::fs::write(root.path().join("state"), "").unwrap();
        assert_eq!(files_in(root.path()), None);
        std::fs::remove_file(root.path().join("state")).unwrap();
        std::fs::create_dir(root.path().join("state")).unwrap();
        let step = files_in(root.path()).expect("found");
        assert!(
            step.mark == crate::cli::check::CheckResult::Bad && step.found.contains("state is a folder"),
            "{step:?}"
        );
    }

    #[test]
    fn a_remedy_fits_what_is_wrong_with_the_file() {
        assert_eq!(token_remedy(ErrorKind::NotFound), "sudo tidegate credentials token");
        assert_eq!(token_remedy(ErrorKind::InvalidData), "sudo tidegate credentials token --force");
        assert!(!secret_remedy(ErrorKind::NotFound).contains("sudo"), "sudo finds no more");
        assert!(secret_remedy(ErrorKind::PermissionDenied).contains("sudo"));
    }
}
