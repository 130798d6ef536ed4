//! The settings of a Mosquitto, and what they cost while the agent is away. Pure, but for [`Settings::read`].
//!
//! The facts are those of `docs/broker.md`, measured with 2.0.

use crate::cli::check::Step;
use crate::size;
use crate::status::history::span;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Folders within folders; Mosquitto itself has no bound.
const DEPTH: usize = 3;
const DAY_S: u64 = 86_400;
/// Mosquitto's defaults.
const QUEUED: u64 = 1000;
const INFLIGHT: u64 = 20;
const AUTOSAVE: u64 = 1800;
/// An outage of the agent, an upgrade that waits for a technician, say.
const AWAY_S: u64 = 7 * DAY_S;
/// Where the rate is not known, as many are a day of one message a second.
const MANY: u64 = 86_400;
/// Of a window, at least; below, each commit is a small one.
const WINDOW: u64 = 100;
const QUEUED_BYTES: u64 = 16 << 20;
/// The largest message that the agent takes.
const MESSAGE: u64 = 16 << 20;

/// A value, and the file that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Setting {
    value: String,
    file: PathBuf,
}

/// What the files say; of a setting that is there twice, the later one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Settings {
    values: BTreeMap<String, Setting>,
    /// Ports and sockets of all listeners.
    doors: Vec<String>,
    /// The main file, as its reader sees it.
    main: PathBuf,
    /// The folder that it includes, if it includes one.
    folder: Option<PathBuf>,
    /// Files that could not be read.
    pub(super) unread: Vec<(PathBuf, io::ErrorKind)>,
}

impl Settings {
    /// Reads a file and what it includes. `root`: where the broker's `/` is; other than ours in a container.
    ///
    /// # Errors
    /// The file itself cannot be read.
    pub(super) fn read(root: &Path, file: &Path) -> io::Result<Settings> {
        let mut settings = Settings { main: file.to_owned(), ..Settings::default() };
        settings.take(&text(root, file)?, file, root, DEPTH);
        Ok(settings)
    }

    fn take(&mut self, text: &str, file: &Path, root: &Path, depth: usize) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let value = value.trim();
            match key {
                "include_dir" if depth > 0 => {
                    self.folder = Some(value.into());
                    self.include(Path::new(value), root, depth - 1);
                }
                "listener" | "port" => {
                    let mut words = value.split_whitespace();
                    let (port, at) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    self.doors.push(if port == "0" { at.to_owned() } else { port.to_owned() });
                }
                "" => {}
                _ => {
                    self.values.insert(key.to_owned(), Setting { value: value.to_owned(), file: file.to_owned() });
                }
            }
        }
    }

    /// The files of a folder that end in `.conf`, in the order of their names.
    fn include(&mut self, folder: &Path, root: &Path, depth: usize) {
        let mut files: Vec<PathBuf> = match std::fs::read_dir(under(root, folder)) {
            Ok(entries) => entries.flatten().map(|entry| folder.join(entry.file_name())).collect(),
            Err(error) => return self.unread.push((folder.to_owned(), error.kind())),
        };
        files.retain(|file| file.extension().is_some_and(|end| end == "conf"));
        files.sort();
        for file in files {
            match text(root, &file) {
                Ok(text) => self.take(&text, &file, root, depth),
                Err(error) => self.unread.push((file, error.kind())),
            }
        }
    }

    /// Whether the broker of these settings listens at this port or socket.
    pub(super) fn has_door(&self, door: &str) -> bool {
        self.doors.iter().any(|own| own == door) || self.doors.is_empty() && door == "1883"
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|setting| setting.value.as_str())
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    fn is_on(&self, key: &str) -> bool {
        matches!(self.text(key), Some("true" | "1"))
    }

    /// The remedy: these lines, in the file that has the setting, or where a new one belongs.
    fn set(&self, key: &str, lines: &str) -> String {
        let file = match (self.values.get(key), &self.folder) {
            (Some(setting), _) => setting.file.clone(),
            (None, Some(folder)) => folder.join("tidegate.conf"),
            (None, None) => self.main.clone(),
        };
        format!("set {lines} in {}, then: sudo systemctl restart mosquitto", file.display())
    }

    /// What these settings cost while the agent is away or slow; `rate`: messages a second, where that is known.
    pub(super) fn costs(&self, rate: Option<f64>) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        steps.extend(self.queue(rate));
        steps.extend(self.saved());
        steps.extend(self.expiry());
        steps.extend(self.window());
        steps.extend(self.others());
        if steps.is_empty() {
            let found = format!("{}: it keeps what comes while the agent is away", self.main.display());
            steps.push(Step::good("broker's settings", found));
        }
        steps
    }

    fn queue(&self, rate: Option<f64>) -> Vec<Step> {
        let mut steps = Vec::new();
        let (key, most) = ("max_queued_messages", self.number("max_queued_messages", QUEUED));
        let rate = rate.filter(|rate| *rate > 0.0);
        let lasts_s = rate.map(|rate| (most as f64 / rate) as u64);
        if most > 0 && lasts_s.map_or(most < MANY, |s| s < DAY_S) {
            let lasts = rate.zip(lasts_s).map_or_else(String::new, |(rate, s)| {
                format!(", which is {} of the {rate:.1} messages a second that come", span(s))
            });
            let by = if self.text(key).is_some() { "" } else { ", its default" };
            let found = format!(
                "the broker keeps {most} messages for an agent that is away or slow{by}{lasts}; it drops what comes after that, and tells the sensor that it has it"
            );
            let next = self.set(key, "\"max_queued_messages 0\" and \"max_queued_bytes 268435456\"");
            steps.push(Step::bad(format!("broker's {key}"), found, next));
        }
        let (key, bytes) = ("max_queued_bytes", self.number("max_queued_bytes", 0));
        if bytes > 0 && bytes < QUEUED_BYTES {
            let found = format!(
                "the broker keeps {} for an agent that is away or slow; it drops what comes after that",
                size::text(bytes)
            );
            let next = self.set(key, "\"max_queued_bytes 268435456\", or what the gateway can spare,");
            steps.push(Step::open(format!("broker's {key}"), found, next));
        }
        steps
    }

    /// What a restart and a power cut leave.
    fn saved(&self) -> Option<Step> {
        if !self.is_on("persistence") {
            let found =
                "off: when the broker restarts, it has lost what it kept for the agent, and the agent's session";
            return Some(Step::bad("broker's persistence", found, self.set("persistence", "\"persistence true\"")));
        }
        let (key, every) = ("autosave_interval", self.number("autosave_interval", AUTOSAVE));
        let lines = "\"autosave_on_changes true\" and \"autosave_interval 1000\"";
        let found = match (self.is_on("autosave_on_changes"), every) {
            (_, 0) => "0: the broker saves at its stop alone; a power cut loses all that it kept".to_owned(),
            (true, changes) if changes > 10_000 => format!("it saves after {changes} changes; a power cut loses those"),
            (false, s) if s > 60 => format!("it saves every {}; a power cut loses what came since", span(s)),
            _ => return None,
        };
        Some(Step::open(format!("broker's {key}"), found, self.set(key, lines)))
    }

    fn expiry(&self) -> Option<Step> {
        let key = "persistent_client_expiration";
        let (text, seconds) = self.text(key).and_then(|text| Some((text, span_of(text)?)))?;
        let found =
            format!("{text}: an agent that was away for so long has lost its session, and all that waited there");
        let next = self.set(key, &format!("no {key}, or one longer than any outage,"));
        (seconds < AWAY_S).then(|| Step::bad(format!("broker's {key}"), found, next))
    }

    fn window(&self) -> Option<Step> {
        let (key, window) = ("max_inflight_messages", self.number("max_inflight_messages", INFLIGHT));
        if window > 0 && self.is_on("queue_qos0_messages") {
            let found = format!(
                "true, with a window of {window}: each QoS 0 message that waits behind a full window holds a QoS 1 message back until the next connection"
            );
            let next =
                self.set("queue_qos0_messages", "\"queue_qos0_messages false\", or \"max_inflight_messages 0\",");
            return Some(Step::open("broker's queue_qos0_messages", found, next));
        }
        let found = format!("{window}: the agent makes at most {window} messages durable at once");
        let next = self.set(key, "\"max_inflight_messages 1000\"");
        (1..WINDOW).contains(&window).then(|| Step::open(format!("broker's {key}"), found, next))
    }

    fn others(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let (key, most) = ("message_size_limit", self.number("message_size_limit", 0));
        if most > MESSAGE {
            let found = format!(
                "{}: a message of more than 16 MiB is never taken, and holds up what is behind it",
                size::text(most)
            );
            steps.push(Step::open(format!("broker's {key}"), found, self.set(key, "\"message_size_limit 16777216\"")));
        }
        let key = "use_username_as_clientid";
        if self.is_on(key) {
            let found = "true: any client that logs in as the agent's user takes over the agent's session";
            steps.push(Step::open(
                format!("broker's {key}"),
                found,
                self.set(key, "\"use_username_as_clientid false\""),
            ));
        }
        steps
    }
}

fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn text(root: &Path, file: &Path) -> io::Result<String> {
    std::fs::read(under(root, file)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Seconds of `2h`, `14d`, `3m` (months); `None`: no such span.
fn span_of(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        'h' => 3600,
        'd' => DAY_S,
        'w' => 7 * DAY_S,
        'm' => 30 * DAY_S,
        'y' => 365 * DAY_S,
        _ => return None,
    };
    text[..text.len() - 1].trim().parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests;
