//! The file that `init` writes, and what was in its place.
//!
//! An untouched template of a package is replaced without a question; any other file only when a person says so, and
//! its old text stays beside it.

use crate::cli::credentials::of_service;
use crate::cli::init::propose::Proposal;
use crate::cli::new_file::{self, NewFile};
use crate::config::effective::quoted;
use crate::config::{Config, DEFAULT_TOML};
use crate::profile::Profile;
use crate::status::findings::counted;
use crate::visible;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What is in the place of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// No file.
    Empty,
    /// The package's template as it was installed.
    Template,
    /// A file that a person wrote.
    Other,
}

/// Looks at the place, and gives the journal's folder that a file there names, if it is not the default one: what waits there
/// must not be left behind, and a package knows where its system has flash.
///
/// # Errors
/// It cannot be read.
pub(super) fn look(file: &Path) -> io::Result<(Place, Option<PathBuf>)> {
    let text = match std::fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Place::Empty, None)),
        Err(error) => return Err(error),
    };
    let default = journal_of(DEFAULT_TOML);
    if is_template(&text) {
        return Ok((Place::Template, journal_of(&text).filter(|path| Some(path) != default.as_ref())));
    }
    let journal = Config::parse(&text, file, &BTreeMap::new()).ok().map(|config| config.journal.path);
    Ok((Place::Other, journal.filter(|path| Some(path) != default.as_ref())))
}

/// Whether this is the template, but for the journal's folder, which a package may set for its system.
fn is_template(text: &str) -> bool {
    let mut here = text.lines();
    let same = DEFAULT_TOML.lines().all(|line| {
        here.next().is_some_and(|other| line == other || line.starts_with(PATH) && other.starts_with(PATH))
    });
    same && here.next().is_none()
}

/// How the line of the journal's folder begins; no other key of the template is called so.
const PATH: &str = "path = \"";

fn journal_of(template: &str) -> Option<PathBuf> {
    let value = template.lines().find_map(|line| line.strip_prefix(PATH))?;
    Some(value.trim_end_matches('"').into())
}

/// The broker as it is to stand in the file.
#[derive(Clone, Debug)]
pub(super) struct BrokerKeys {
    pub(super) url: String,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
}

/// The queue as it is to stand in the file.
#[derive(Clone, Debug)]
pub(super) struct QueueKeys {
    pub(super) url: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) allow_plain_http: bool,
    pub(super) credentials_file: String,
}

impl QueueKeys {
    /// A queue whose URL tells all of it.
    pub(super) fn told_by(url: &str, credentials_file: &str) -> QueueKeys {
        let (url, credentials_file) = (url.to_owned(), credentials_file.to_owned());
        QueueKeys { url, region: None, endpoint: None, allow_plain_http: false, credentials_file }
    }
}

/// All that the file says.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    pub(super) gateway: Option<&'a str>,
    pub(super) broker: &'a BrokerKeys,
    pub(super) journal: Option<&'a Path>,
    pub(super) queue: &'a QueueKeys,
    pub(super) routes: &'a [Proposal],
}

/// The file's text.
pub(super) fn text(keys: &Keys<'_>) -> String {
    let mut out = String::from(
        "# Made by `tidegate init`. Every further key, with its default and its reason: `tidegate config default`.\n\n",
    );
    match keys.gateway {
        Some(id) => _ = write!(out, "[gateway]\nid = {}\n\n", quoted(id)),
        None => out.push_str("# [gateway]\n# id = \"…\"   # a label; default: this machine's host name\n\n"),
    }
    let _ = writeln!(out, "[mqtt]\nurl = {}", quoted(&keys.broker.url));
    if let Some(user) = &keys.broker.username {
        let _ = writeln!(out, "username = {}", quoted(user));
    }
    if let Some(path) = &keys.broker.password_file {
        let _ = writeln!(out, "password_file = {}", quoted(&path.display().to_string()));
    }
    if let Some(path) = keys.journal {
        let _ = write!(out, "\n[journal]\npath = {}\n", quoted(&path.display().to_string()));
    }
    let QueueKeys { url, region, endpoint, allow_plain_http, credentials_file } = keys.queue;
    let _ = writeln!(out, "\n[queues.main]\nurl = {}", quoted(url));
    for (key, value) in [("region", region), ("endpoint", endpoint)] {
        if let Some(value) = value {
            let _ = writeln!(out, "{key} = {}", quoted(value));
        }
    }
    if *allow_plain_http {
        out.push_str("allow_plain_http = true\n");
    }
    let _ = writeln!(out, "credentials_file = {}", quoted(credentials_file));
    for route in keys.routes {
        one_route(&mut out, route);
    }
    out
}

fn one_route(out: &mut String, route: &Proposal) {
    out.push('\n');
    if !route.example.is_empty() {
        let example: String = visible::line(&route.example).chars().take(120).collect();
        let seen = counted(route.messages as u64, "message was", "messages were");
        let _ = writeln!(out, "# {seen} seen, such as {example}");
    }
    if route.qos0 > 0 {
        let remedy = Profile::qos_remedy_of(route.profile);
        let _ = writeln!(out, "# {} of them came with QoS 0, which is lost while the agent is away:", route.qos0);
        let _ = writeln!(out, "# {}.", remedy.unwrap_or_default());
    }
    let _ = writeln!(out, "[[routes]]\nprofile = \"{}\"", route.profile);
    if !route.topics.is_empty() {
        let topics: Vec<String> = route.topics.iter().map(|topic| quoted(topic)).collect();
        let _ = writeln!(out, "topics = [{}]", topics.join(", "));
    }
    if route.fallback {
        out.push_str("fallback = true   # it takes what the routes above leave\n");
    }
    out.push_str("queue = \"main\"\n");
}

/// What the agent's user reads, root writes, and no other user sees.
pub(super) const MODE: u32 = 0o640;

/// Whether the file can be written, before a person is asked anything; makes its folder.
///
/// # Errors
/// It cannot.
pub(super) fn prepare(file: &Path) -> io::Result<()> {
    std::fs::create_dir_all(new_file::folder(file))?;
    NewFile::beside(file, MODE, of_service()).map(drop)
}

/// A file that a flag names, as a key of the configuration: the flag counts from the shell's folder, the key from the
/// configuration's. What begins with a variable or `~` stays as it is, for the configuration to read or to refuse.
pub(super) fn of_flag(path: &Path) -> PathBuf {
    let own_words = path.to_str().is_some_and(|text| text.starts_with(['$', '~']));
    if own_words { path.to_owned() } else { std::path::absolute(path).unwrap_or_else(|_| path.to_owned()) }
}

/// Writes it. What a person wrote is kept beside it; gives where.
///
/// # Errors
/// The disk refuses, or something that is not a file is in the place.
pub(super) fn write(file: &Path, text: &str, place: &Place) -> io::Result<Option<PathBuf>> {
    let mut out = NewFile::beside(file, MODE, of_service())?;
    out.write_all(text.as_bytes())?;
    let kept = (*place == Place::Other).then(|| kept_as(file));
    if let Some(kept) = &kept {
        std::fs::rename(file, kept)?;
    }
    out.put()?;
    Ok(kept)
}

/// Where its old text goes: to a name that holds no older one, or the second replacement would end what a person wrote.
fn kept_as(file: &Path) -> PathBuf {
    let named = |suffix: String| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let first = named(".old".to_owned());
    let later = (2..).map(|n: u64| named(format!(".old.{n}")));
    std::iter::once(first).chain(later).find(|path| path.symlink_metadata().is_err()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_replacement_ends_an_older_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.toml");
        std::fs::write(&file, "of a person").expect("written");
        for text in ["one", "two", "three"] {
            write(&file, text, &Place::Other).expect("written");
        }
        let held = ["", ".old", ".old.2", ".old.3"].map(|suffix| {
            std::fs::read_to_string(folder.path().join(format!("tidegate.toml{suffix}"))).unwrap_or_default()
        });
        assert_eq!(held, ["three", "of a person", "one", "two"]);
    }

    #[test]
    fn a_flag_with_a_variable_stays_as_it_is() {
        for own in ["$CREDENTIALS_DIRECTORY/credentials.csv", "~/key.csv", "/abs/key.csv"] {
            assert_eq!(of_flag(Path::new(own)), Path::new(own));
        }
        assert!(of_flag(Path::new("key.csv")).is_absolute());
    }

    #[test]
    fn a_package_template_is_recognised_until_it_is_edited() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidegate.toml");
        let of = |text: &str| {
            std::fs::write(&file, text).expect("written");
            look(&file).expect("readable")
        };
        assert_eq!(look(&file).expect("looked"), (Place::Empty, None));
        assert_eq!(of(DEFAULT_TOML), (Place::Template, None));
        // As scripts/package.sh makes it for OpenWrt.
        let openwrt = DEFAULT_TOML.replace("/var/lib/tidegate/journal", "/srv/tidegate/journal");
        assert_eq!(of(&openwrt), (Place::Template, Some("/srv/tidegate/journal".into())));
        for touched in [
            DEFAULT_TOML.replace("keep_alive = \"30 s\"", "keep_alive = \"20 s\""),
            DEFAULT_TOML.to_owned() + "# ours\n",
            DEFAULT_TOML.trim_end().rsplit_once('\n').expect("lines").0.to_owned(),
            String::new(),
        ] {
            assert_eq!(of(&touched).0, Place::Other);
        }
        let minimal = "[queues.main]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site\"\n\
                       credentials = \"aws-chain\"\n[[routes]]\nprofile = \"rak\"\nqueue = \"main\"\n";
        let elsewhere = format!("[journal]\npath = \"/mnt/journal\"\n{minimal}");
        assert_eq!(of(&elsewhere), (Place::Other, Some("/mnt/journal".into())));
        assert_eq!(of(minimal), (Place::Other, None));
    }
}
