//! Keys as a systemd credential: where they lie on the disk, what encrypts them there, and what hands them to the unit.
//!
//! With a TPM they are encrypted by it, so that the card alone does not give them away. Bound to no PCR that firmware or
//! kernel measure: an update must not keep the unit from starting, for an agent that does not run loses readings. Nothing is
//! relied on before it was decrypted again here. Power cuts must not either: to the TPM they look like guessing, and with an
//! older systemd it locks, so it is not used there. Without a TPM they lie in plain, closed to all but root: systemd's host
//! key would lie on the same card, so it would not stop a thief of the card, and its loss would keep the unit from starting.

use crate::cli::credentials::place_file;
use crate::cli::new_file::{self, Owner};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where systemd makes the copies; only systemd writes there.
pub(in crate::cli) const HANDED_OVER: &str = "/run/credentials";
/// The credential's name: of the file that the unit sees, and within what is encrypted.
pub(super) const NAME: &str = "credentials.csv";
/// Where the package's configuration looks.
pub(super) const DEFAULT_PLACE: &str = "/etc/tidegate/credentials.csv";
/// Registers that the encryption is bound to, in the order of trial. None; where systemd cannot decrypt that again (252
/// cannot: it looks for their bank anyway), one that neither firmware nor kernel writes.
const PCRS: [&str; 2] = ["", "23"];

/// The version from which systemd does not have the TPM guard against guessing what cannot be guessed (its pull request
/// 30728).
const UNGUARDED_MIN: u32 = 256;

/// The places of a system, and its program.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Places {
    /// Of the package's configuration, readable by the agent's user.
    pub(in crate::cli) plain: PathBuf,
    /// In systemd's store of credentials, which later versions search by themselves.
    pub(in crate::cli) store: PathBuf,
    /// The same of encrypted ones.
    pub(in crate::cli) encrypted: PathBuf,
    /// What hands either to the unit.
    pub(in crate::cli) drop_in: PathBuf,
    /// systemd-creds.
    pub(in crate::cli) creds: PathBuf,
}

impl Places {
    /// Those of this machine.
    pub(in crate::cli) fn of_system() -> Places {
        Places {
            plain: DEFAULT_PLACE.into(),
            store: "/etc/credstore/tidegate.credentials.csv".into(),
            encrypted: "/etc/credstore.encrypted/tidegate.credentials.csv".into(),
            drop_in: "/etc/systemd/system/tidegate.service.d/credentials.conf".into(),
            creds: "systemd-creds".into(),
        }
    }

    #[cfg(test)]
    pub(in crate::cli) fn below(root: &Path) -> Places {
        let places = Places::of_system();
        let moved = |path: &Path| root.join(path.strip_prefix("/").expect("absolute"));
        Places {
            plain: moved(&places.plain),
            store: moved(&places.store),
            encrypted: moved(&places.encrypted),
            drop_in: moved(&places.drop_in),
            creds: root.join("systemd-creds"),
        }
    }
}

/// There while systemd runs the machine.
const RUNS: &str = "/run/systemd/system";
/// The version from which it knows credentials; an older one ignores them, and starts the agent without keys.
const VERSION_MIN: u32 = 247;

/// Why systemd will not hand a credential to the unit; `None`: it will.
pub(super) fn no_systemd() -> Option<String> {
    if !Path::new(RUNS).is_dir() {
        return Some(format!("this machine does not run systemd (there is no {RUNS})"));
    }
    let said = Command::new("systemctl").arg("--version").stdin(Stdio::null()).output().ok()?;
    too_old(&String::from_utf8_lossy(&said.stdout))
}

/// Reads what `systemctl --version` says; output that it does not understand does not count as too old. Pure.
fn too_old(said: &str) -> Option<String> {
    let version = version_in(said)?;
    (version < VERSION_MIN).then(|| format!("systemd {version} knows no credentials, {VERSION_MIN} and later do"))
}

/// Of a program of systemd.
fn version_in(said: &str) -> Option<u32> {
    said.strip_prefix("systemd ")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// How the keys were stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// Encrypted with the TPM.
    Tpm,
    /// In plain: there is no TPM that systemd can use.
    NoTpm,
    /// In plain although there is a TPM, and why.
    Fallback(String),
}

/// Stores the `.csv`, has the unit load it, and takes away what a former import left in the other store.
///
/// # Errors
/// What could not be written, and the system's reason.
pub(super) fn store(places: &Places, bytes: &[u8]) -> Result<Stored, (PathBuf, io::Error)> {
    let sealed = || lockable(&places.creds).map_or_else(|| seal(&places.creds, bytes), Err);
    let (stored, sealed) = match has_tpm(&places.creds).then(sealed) {
        None => (Stored::NoTpm, None),
        Some(Err(why)) => (Stored::Fallback(why), None),
        Some(Ok(sealed)) => (Stored::Tpm, Some(sealed)),
    };
    let (place, other) = match sealed {
        Some(_) => (&places.encrypted, &places.store),
        None => (&places.store, &places.encrypted),
    };
    let of = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    place_file(place, sealed.as_deref().unwrap_or(bytes), None).map_err(of(place))?;
    place_drop_in(&places.drop_in, place, sealed.is_some()).map_err(of(&places.drop_in))?;
    match std::fs::remove_file(other) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err((other.clone(), error)),
        _ => Ok(stored),
    }
}

/// What makes systemd hand the file at `place` to the unit.
fn drop_in(place: &Path, encrypted: bool) -> String {
    let key = if encrypted { "LoadCredentialEncrypted" } else { "LoadCredential" };
    format!("# By tidegate credentials import --systemd.\n[Service]\n{key}={NAME}:{}\n", place.display())
}

fn place_drop_in(file: &Path, place: &Path, encrypted: bool) -> io::Result<()> {
    // Not secret: systemd's own tools show it to any user.
    new_file::write(file, 0o644, Owner::default(), drop_in(place, encrypted).as_bytes())
}

/// Whether systemd sees a TPM.
fn has_tpm(creds: &Path) -> bool {
    let said = Command::new(creds).arg("has-tpm2").stdin(Stdio::null()).output();
    said.is_ok_and(|said| tpm_in(&String::from_utf8_lossy(&said.stdout)))
}

/// Reads the answer. "partial" is enough when the kernel drives one: boards without UEFI have no firmware that knows it.
/// Pure.
fn tpm_in(said: &str) -> bool {
    said.lines().enumerate().any(|(at, line)| at == 0 && line.trim() == "yes" || line.trim() == "+driver")
}

/// Why the TPM would refuse to decrypt after some power cuts; `None`: it would not. To the TPM each one is a failed try at
/// what is guarded against guessing, and older systemds guard all.
fn lockable(creds: &Path) -> Option<String> {
    let said = Command::new(creds).arg("--version").stdin(Stdio::null()).output();
    let version = said.ok().and_then(|said| version_in(&String::from_utf8_lossy(&said.stdout)));
    if version.is_some_and(|version| version >= UNGUARDED_MIN) {
        return None;
    }
    let version = version.map_or_else(|| "this systemd".to_owned(), |version| format!("systemd {version}"));
    Some(format!(
        "with {version} some power cuts would lock the TPM, and the agent would not start ({UNGUARDED_MIN} and later do without)"
    ))
}

/// The bytes encrypted with the TPM, proven by decrypting them.
fn seal(creds: &Path, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let name = format!("--name={NAME}");
    let mut why = String::new();
    for pcrs in PCRS {
        let pcrs = format!("--tpm2-pcrs={pcrs}");
        let sealed = run(creds, &["encrypt", "--with-key=tpm2", &pcrs, &name, "-", "-"], bytes);
        let opened =
            sealed.as_deref().map_err(String::clone).and_then(|s| run(creds, &["decrypt", &name, "-", "-"], s));
        match (sealed, opened) {
            (Ok(sealed), Ok(opened)) if opened == bytes => return Ok(sealed),
            (_, Ok(_)) => why = "what it decrypts is not what it encrypted".to_owned(),
            (_, Err(error)) => why = error,
        }
    }
    Err(why)
}

/// What the program printed. The input goes through its standard input: every user of the machine can read command lines.
fn run(program: &Path, words: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let command = || format!("{} {}", program.display(), words.first().unwrap_or(&""));
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", command()))?;
    // One that does not read it says why by its exit.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let output = child.wait_with_output().map_err(|error| format!("{}: {error}", command()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed, and did not say why");
    Err(format!("{}: {}", command(), last.trim()))
}

/// What protects the keys that systemd hands to the unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) enum AtRest {
    /// Nothing but root's file mode.
    Plain,
    /// The TPM.
    Tpm,
    /// The host key, which lies on the same card.
    HostKey,
    /// Both of them are needed.
    HostKeyAndTpm,
    /// A key that is known by heart: none.
    NoKey,
    /// Encrypted, by a kind of key that is not known here.
    OtherKey,
    /// Our drop-in is not there, or says something else.
    NotOurs,
    /// The system's reason.
    Unreadable(String),
}

/// Looks at the drop-in, and at the file that it names; with the file.
pub(in crate::cli) fn at_rest(drop_in: &Path) -> (AtRest, PathBuf) {
    let text = match std::fs::read_to_string(drop_in) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return (AtRest::Unreadable(error.to_string()), drop_in.into());
        }
        text => text.unwrap_or_default(),
    };
    match loaded(&text) {
        None => (AtRest::NotOurs, drop_in.into()),
        Some((place, false)) => (AtRest::Plain, place),
        Some((place, true)) => match std::fs::read(&place) {
            Ok(sealed) => (kind_of(&sealed), place),
            Err(error) => (AtRest::Unreadable(error.to_string()), place),
        },
    }
}

/// The file that a drop-in has systemd load, and whether it is encrypted. Pure.
fn loaded(drop_in: &str) -> Option<(PathBuf, bool)> {
    drop_in.lines().rev().find_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        let encrypted = match key.trim_end() {
            "LoadCredential" => false,
            "LoadCredentialEncrypted" => true,
            _ => return None,
        };
        let place = value.trim().strip_prefix(NAME)?.strip_prefix(':')?;
        Some((place.into(), encrypted))
    })
}

/// What an encrypted credential was encrypted with: its first 16 bytes say it. Pure.
fn kind_of(sealed: &[u8]) -> AtRest {
    let text: Vec<u8> = sealed.iter().copied().filter(|b| !b.is_ascii_whitespace()).take(24).collect();
    // 24 characters are 18 bytes: a text that ends within them is padded there.
    let Ok(head) = STANDARD.decode(text) else { return AtRest::OtherKey };
    let id = hex::encode(&head[..head.len().min(16)]);
    match &*id {
        "5a1c6a86df9d4096b1d5a65e0862f19a" => AtRest::HostKey,
        // By itself, and with a signed policy of PCRs besides.
        "0c7cc07b117645919c4b0bea08bc20fe" | "faf7eb9341e3412ca1a436f95a29362f" => AtRest::Tpm,
        "93a894094874449090caf2fc93cab553" | "af4950a849134eb1a73846304ff30c05" => AtRest::HostKeyAndTpm,
        "058469daf6f54324800549da0f8ea2fb" => AtRest::NoKey,
        _ => AtRest::OtherKey,
    }
}

#[cfg(test)]
pub(in crate::cli) mod tests;
