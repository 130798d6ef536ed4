//! `tidegate bundle`: what a remote helper needs, in one file, with secrets removed.
//!
//! Files of secrets are never opened. Every text is scrubbed anyway: what comes after a key that is called a password, a
//! secret or a token, user and password of a URL, and words that look like a secret access key. Payloads are not in it.

use crate::cli::ExitCode;
use crate::cli::credentials::is_somebody_else;
use crate::cli::new_file::{NewFile, Owner};
use crate::cli::output::{complain, note, say};
use crate::clock::{Clock, rfc3339_ms};
use crate::config::Config;
use crate::visible;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;

/// Bytes of one part; more is cut off at its beginning, because the end of a log is what matters.
const PART_BYTES: usize = 1024 * 1024;
/// Lines of the service's log.
const LOG_LINES: &str = "2000";
/// A secret access key has 40 characters.
const SECRET_CHARS: usize = 40;

/// Writes the bundle to `out`.
pub(super) fn bundle(config_file: &Path, out: &Path) -> ExitCode {
    let parts = parts(config_file);
    match write(out, &parts) {
        Ok(()) => {
            say!("{}:", out.display());
            for (name, text) in &parts {
                say!("  {name} ({} bytes)", text.len());
            }
            say!(
                "Secrets are removed, and no payload is in it; names, topics and addresses are. Look before you send it."
            );
            if is_somebody_else() {
                note!(
                    "The journal's files and the log may be missing in it, which only root can read: sudo tidegate bundle"
                );
            }
            ExitCode::Done
        }
        Err(error) => {
            complain!("cannot write {}: {error}; name another place with --out", out.display());
            ExitCode::Failed
        }
    }
}

/// Name and text of each part, scrubbed.
fn parts(config_file: &Path) -> Vec<(&'static str, String)> {
    let said = |result: io::Result<String>| result.unwrap_or_else(|error| format!("not to be had: {error}\n"));
    let config = Config::load(config_file).map(crate::agent::names::resolved);
    let mut parts =
        vec![("about.txt", about(config_file)), ("config.toml", said(std::fs::read_to_string(config_file)))];
    match &config {
        Ok(config) => {
            let status = crate::cli::status::ask(config).map(|snapshot| snapshot.to_string());
            parts.push(("status.json", said(status)));
            parts.push(("journal.txt", listing(&config.journal.path)));
        }
        Err(error) => parts.push(("config-problems.txt", format!("{error}\n"))),
    }
    parts.push(("mounts.txt", said(std::fs::read_to_string("/proc/self/mounts"))));
    parts.push(("memory.txt", said(std::fs::read_to_string("/proc/meminfo"))));
    parts.push(("log.txt", log()));
    parts.into_iter().map(|(name, text)| (name, scrubbed(&tail(text)))).collect()
}

fn about(config_file: &Path) -> String {
    let clock = Clock::new(None);
    let now = clock.now();
    let mut out = format!("tidegate {}\nconfiguration {}\n", crate::cli::version(), config_file.display());
    let _ =
        writeln!(out, "clock {} (can be right: {})", rfc3339_ms(now.wall_ms).unwrap_or_default(), clock.plausible());
    let _ = writeln!(out, "up for {} s", now.boottime_ms / 1000);
    let system = rustix::system::uname();
    for part in [system.sysname(), system.release(), system.version(), system.machine()] {
        let _ = writeln!(out, "{}", part.to_string_lossy());
    }
    for file in ["/etc/os-release", "/proc/loadavg"] {
        out.push_str(&std::fs::read_to_string(file).unwrap_or_default());
    }
    out
}

/// Names and sizes of the journal's files.
fn listing(folder: &Path) -> String {
    let mut out = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                let _ = writeln!(out, "{}: {error}", folder.display());
                continue;
            }
        };
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            if facts.is_dir() {
                folders.push(entry.path());
            }
            let _ = writeln!(out, "{:10} {}", facts.len(), entry.path().display());
        }
    }
    out
}

/// The service's own log, where there is systemd.
fn log() -> String {
    match Command::new("journalctl").args(["-u", "tidegate", "-n", LOG_LINES, "--no-pager", "-o", "short-iso"]).output()
    {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("journalctl: {error}; where logs go elsewhere, add them by hand\n"),
    }
}

fn tail(text: String) -> String {
    let from = text.len().saturating_sub(PART_BYTES);
    text[text.ceil_char_boundary(from)..].to_owned()
}

/// The text without what must not leave the gateway, nor act on the reader's terminal.
fn scrubbed(text: &str) -> String {
    let text = visible::text(text);
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&without_secret_words(&without_userinfo(&without_secret_values(line))));
    }
    out
}

/// `password = "x"`, `secret: x`: the value goes. A key that names a file stays: it tells where, not what.
fn without_secret_values(line: &str) -> String {
    let Some(at) = line.find(['=', ':']) else { return line.to_owned() };
    let key = line[..at].trim().trim_matches(['"', '#', ' ']).to_ascii_lowercase();
    let name = key.rsplit(['.', ' ', '"']).next().unwrap_or_default();
    let secret = ["password", "passwd", "secret", "token", "secret_access_key", "secret_key", "session_token"];
    let hit = secret.iter().any(|word| name == *word || name.ends_with(&format!("_{word}")));
    if hit && !name.ends_with("_file") { format!("{} removed\n", &line[..=at]) } else { line.to_owned() }
}

/// `mqtt://user:password@host`: user and password go.
fn without_userinfo(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '<' | '>')).unwrap_or(after.len());
        match after[..end].rfind('@') {
            Some(user) => {
                out.push_str("removed");
                rest = &after[user..];
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

/// Words that look like a secret access key: so many characters of base64, of all kinds.
fn without_secret_words(line: &str) -> String {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(of_base64) {
        out.push_str(&rest[..start]);
        let word = &rest[start..];
        let end = word.find(|c| !of_base64(c)).unwrap_or(word.len());
        let (word, behind) = word.split_at(end);
        let mixed = word.bytes().any(|b| b.is_ascii_uppercase())
            && word.bytes().any(|b| b.is_ascii_lowercase())
            && word.bytes().any(|b| b.is_ascii_digit());
        let path = word.starts_with('/') || word.matches('/').count() > 3;
        out.push_str(if word.len() >= SECRET_CHARS && mixed && !path { "removed" } else { word });
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn write(out: &Path, parts: &[(&'static str, String)]) -> io::Result<()> {
    let mut archive = tar::Builder::new(NewFile::beside(out, 0o600, Owner::default())?);
    for (name, text) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, format!("tidegate-bundle/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.put()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_secret_goes_wherever_it_was_written(
            secret in "[A-Z][a-z][0-9][A-Za-z0-9+]{37,60}", before in "[ a-z:,=\"]{0,12}", after in "[ ,\"\n]{0,3}",
        ) {
            for text in [format!("{before}{secret}{after}"), format!("mqtt://u:{secret}@h:1883/x"), format!("password = \"{secret}\"\n")] {
                prop_assert!(!scrubbed(&text).contains(&secret), "{text}");
            }
        }

        #[test]
        fn any_text_is_scrubbed_to_an_end(text in "(?s).{0,200}") {
            scrubbed(&tail(text));
        }
    }

    #[test]
    fn what_helps_stays() {
        let text = "url = \"mqtt://127.0.0.1:1883\"\npassword_file = \"/etc/tidegate/mqtt-password\"\n\
                    url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n\
                    /var/lib/tidegate/journal/log/gen-00000000000000000539.0000000001 AKIAIOSFODNN7EXAMPLE\n";
        assert_eq!(scrubbed(text), text);
        assert_eq!(scrubbed("password = \"hunter2\"\n"), "password = removed\n");
        assert_eq!(scrubbed("mqtt://roof:hunter2@10.0.0.1:1883 x"), "mqtt://removed@10.0.0.1:1883 x");
    }
}
