//! The way to journald: its native protocol, so that fields stay fields.
//!
//! MESSAGE says all: what happened, and the reason and what to do behind it, since `journalctl` prints nothing else. A line about
//! a finding has the finding's MESSAGE_ID, under which the catalogue that the package installs has its remedy (`journalctl -x`).
//!
//! JOURNAL_STREAM says which stream is the journal's, but a child process whose output goes elsewhere inherits the
//! variable. So the stream itself is compared.

use crate::visible;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Most bytes of one value: a datagram has room for some 200 KB.
const VALUE_BYTES: usize = 32 << 10;
/// The field that makes a line one about a finding; its value is the finding's code.
pub const FINDING: &str = "finding";
/// Fields that say why, in the order of the line.
const REASONS: [&str; 3] = ["error", "why", "said"];
/// What the catalogue says, or MESSAGE itself.
const LEFT_OUT: [&str; 2] = [FINDING, "cost"];

/// The MESSAGE_ID of a finding's code. Derived from the code, and so as stable as that is.
pub fn message_id(code: &str) -> String {
    let hash = Sha256::digest(format!("tidegate finding {code}"));
    let mut id: [u8; 16] = hash[..16].try_into().expect("16 of 32 bytes");
    // As a UUID of a kind of our own (RFC 9562, version 8), which is what journald's ids are.
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    hex::encode(id)
}

/// Whether standard error is the stream that systemd gave to the service, by `JOURNAL_STREAM`'s device and inode.
fn is_journals(stream: impl AsFd, variable: &str) -> bool {
    let told = variable.split_once(':').and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let found = rustix::fs::fstat(stream).map(|stat| (stat.st_dev, stat.st_ino));
    told.zip(found.ok()).is_some_and(|(told, found): ((u64, u64), _)| told == found)
}

/// A layer that writes to journald.
#[derive(Debug)]
pub struct Journald {
    socket: UnixDatagram,
}

impl Journald {
    /// Where standard error is the journal's own stream and journald listens; `None`: the log goes to standard error.
    pub fn of_this_service() -> Option<Journald> {
        let variable = std::env::var("JOURNAL_STREAM").ok()?;
        is_journals(io::stderr(), &variable).then(|| Journald::at(SOCKET).ok()).flatten()
    }

    fn at(path: &str) -> io::Result<Journald> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A journal that hangs must not stop the agent.
        socket.set_nonblocking(true)?;
        Ok(Journald { socket })
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let meta = event.metadata();
        let (level, line) = (*meta.level(), said.line());
        match self.socket.send(&said.datagram(level, meta.target())) {
            // It takes no more at the moment, and standard error, which it reads too, would hold the agent up.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // As systemd reads the stream of a service: the priority in front.
            Err(_) => _ = writeln!(io::stderr(), "<{}>{}", priority(level), line.replace('\n', " ")),
            Ok(_) => {}
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = visible::text(value).into_owned();
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Said {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// What happened: why; what to do: the command (and what else is known).
    fn line(&self) -> String {
        let mut line = self.message.clone();
        for reason in REASONS.iter().filter_map(|name| self.get(name)) {
            let _ = write!(line, ": {reason}");
        }
        for (before, name) in [("; ", "remedy"), (": ", "command")] {
            if let Some(value) = self.get(name) {
                let _ = write!(line, "{before}{value}");
            }
        }
        let told =
            |name: &str| REASONS.contains(&name) || LEFT_OUT.contains(&name) || ["remedy", "command"].contains(&name);
        let rest: Vec<String> =
            self.fields.iter().filter(|(name, _)| !told(name)).map(|(name, value)| format!("{name}={value}")).collect();
        if !rest.is_empty() {
            let _ = write!(line, " ({})", rest.join(", "));
        }
        line
    }

    fn datagram(&self, level: Level, target: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, "PRIORITY", priority(level));
        put(&mut out, "SYSLOG_IDENTIFIER", "tidegate");
        put(&mut out, "TARGET", target);
        put(&mut out, "MESSAGE", &self.line());
        if let Some(code) = self.get(FINDING) {
            put(&mut out, "MESSAGE_ID", &message_id(code));
        }
        for (name, value) in &self.fields {
            put(&mut out, &format!("F_{}", name.to_ascii_uppercase()), value);
        }
        out
    }
}

/// As syslog counts.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A field: its name, the length and the value, which may then hold line ends and cannot end the field.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(VALUE_BYTES)];
    out.extend(name.bytes().map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'_' }));
    out.push(b'\n');
    out.extend((value.len() as u64).to_le_bytes());
    out.extend(value.bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tracing_subscriber::layer::SubscriberExt;

    /// The fields of a datagram.
    fn fields(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !bytes.is_empty() {
            let at = bytes.iter().position(|byte| *byte == b'\n').expect("a name");
            let (name, rest) = (String::from_utf8(bytes[..at].to_vec()).expect("text"), &bytes[at + 1..]);
            let (length, rest) = rest.split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().expect("8 bytes"))).expect("short");
            let (value, rest) = rest.split_at(length);
            fields.insert(name, String::from_utf8(value.to_vec()).expect("text"));
            bytes = rest.strip_prefix(b"\n").expect("an end");
        }
        fields
    }

    /// What journald is sent while `log` runs.
    fn sent(log: impl FnOnce()) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).expect("a socket");
        let layer = Journald::at(path.to_str().expect("text")).expect("connected");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let mut bytes = vec![0; 1 << 20];
        let length = journal.recv(&mut bytes).expect("a datagram");
        fields(&bytes[..length])
    }

    #[test]
    fn the_message_has_the_reason_and_fields_stay() {
        let error = io::Error::other("journal is held");
        let got = sent(|| tracing::error!(%error, queue = "main", "not started"));
        assert_eq!(got["MESSAGE"], "not started: journal is held (queue=main)");
        assert_eq!((&*got["PRIORITY"], &*got["F_ERROR"], &*got["F_QUEUE"]), ("3", "journal is held", "main"));
        let got = sent(|| {
            tracing::warn!(why = "nothing listens", remedy = "start the broker", "not connected to the broker")
        });
        assert_eq!(got["MESSAGE"], "not connected to the broker: nothing listens; start the broker");
        assert!(!got.contains_key("MESSAGE_ID"));
    }

    #[test]
    fn a_finding_has_its_id_and_its_command() {
        let got = sent(|| {
            tracing::error!(finding = "broker_away", cost = "c", remedy = "see", command = "sudo x", "it is away")
        });
        assert_eq!((&*got["MESSAGE"], &*got["F_COST"]), ("it is away; see: sudo x", "c"));
        assert_eq!(got["MESSAGE_ID"], message_id("broker_away"));
    }

    #[test]
    fn no_value_ends_its_field_and_long_ones_are_cut() {
        let got = sent(|| tracing::info!(topic = "a\nMESSAGE=forged\n", "é{}", "é".repeat(VALUE_BYTES)));
        assert!(got["MESSAGE"].len() <= VALUE_BYTES && got["MESSAGE"].starts_with("éé"));
        assert!(got["F_TOPIC"].contains("forged"));
    }

    /// Ids that are in people's scripts and in catalogues that are installed.
    #[test]
    fn ids_stay() {
        assert_eq!(message_id("broker_away"), "ae43b56ef24c86748dad303752f063cb");
        assert_eq!(message_id("records_evicted"), "9a68e46fe126880ab75f01d30cc3e686");
    }

    #[test]
    fn only_the_journals_own_stream_is_taken_for_it() {
        let (one, other) = (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
        let stat = rustix::fs::fstat(&one).expect("its numbers");
        let told = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_journals(&one, &told) && !is_journals(&other, &told));
        for nonsense in ["", "1", "1:", "a:b", ":"] {
            assert!(!is_journals(&one, nonsense), "{nonsense:?}");
        }
    }
}
