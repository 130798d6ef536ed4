//! What is wrong with a configuration, as a technician would want to be told: where, what was found there, what was
//! expected and in which unit, and what was probably meant.
//!
//! Nothing secret is shown: a line that may hold a password or a key is cut off at its equals sign, whether the problem
//! is about it or not.

use std::fmt;
use std::path::PathBuf;

/// Longest excerpt of a line, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// Where a problem is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In a line of the file.
    Line {
        /// Line number, from 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// Characters that the problem is about; at least 1.
        width: usize,
        /// The line, secrets cut off.
        excerpt: String,
    },
    /// In an environment variable of that name.
    Variable(String),
    /// In the file as a whole: something is missing.
    File,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigProblem {
    /// The file, as it was named.
    pub file: String,
    /// Where in the file or the environment.
    pub place: Place,
    /// The key's path, such as `journal.max_bytes`; empty when the text is not TOML there.
    pub key: String,
    /// What was found there, in words.
    pub found: String,
    /// What was expected, with its unit; empty when `found` says all.
    pub expected: String,
    /// What was probably meant, or what to do; empty when nothing suggests itself.
    pub suggestion: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { line, column, .. } => write!(f, "{}:{line}:{column}: ", self.file)?,
            Place::Variable(name) => write!(f, "environment variable {name}: ")?,
            Place::File => write!(f, "{}: ", self.file)?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.found)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        if let Place::Line { line, column, width, excerpt } = &self.place {
            let number = line.to_string();
            let (before, under) = mark(*column, *width, excerpt.chars().count());
            write!(f, "\n {number} | {excerpt}\n {} | {before}{under}", " ".repeat(number.len()))?;
        }
        if !self.suggestion.is_empty() {
            write!(f, "\n   → {}", self.suggestion)?;
        }
        Ok(())
    }
}

/// The spaces before a mark and the mark itself, under a line of `length` characters. What is cut off cannot be pointed
/// at: its mark is under the cut.
fn mark(column: usize, width: usize, length: usize) -> (String, String) {
    let before = if column <= length + 1 { column - 1 } else { length.saturating_sub(1) };
    let width = width.min(length.saturating_sub(before)).max(1);
    (" ".repeat(before), "^".repeat(width))
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {cause}; {remedy}", path.display())]
    Unreadable {
        /// The configuration file, as named.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
        /// What to do next.
        remedy: &'static str,
    },
    /// The file is not UTF-8 text.
    #[error("cannot read the configuration {}: {found}; save it as UTF-8 text", path.display())]
    NotText {
        /// The configuration file, as named.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// It can be read, and this is wrong with it; never empty.
    #[error("{}", list(.0))]
    Problems(Vec<ConfigProblem>),
}

fn list(problems: &[ConfigProblem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let count = match texts.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    format!("{}\n\n{count} in the configuration", texts.join("\n\n"))
}

/// The text of a configuration file, and how to find a byte's line and column in it.
pub(super) struct Source<'d> {
    /// The file, as it was named.
    pub(super) file: String,
    /// Without a byte order mark.
    pub(super) text: &'d str,
}

impl<'d> Source<'d> {
    pub(super) fn new(file: String, text: &'d str) -> Source<'d> {
        Source { file, text: text.strip_prefix('\u{feff}').unwrap_or(text) }
    }

    /// The line that has the byte `at`, without its end, and the byte's offset in it.
    pub(super) fn line_at(&self, at: usize) -> (&'d str, usize) {
        let at = self.text.floor_char_boundary(at.min(self.text.len()));
        let from = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &self.text[from..];
        (rest.split('\n').next().unwrap_or(rest).trim_end_matches('\r'), at - from)
    }

    /// The place of a span of bytes.
    pub(super) fn place(&self, span: std::ops::Range<usize>) -> Place {
        let (line, offset) = self.line_at(span.start);
        let offset = line.floor_char_boundary(offset.min(line.len()));
        let number =
            self.text[..self.text.floor_char_boundary(span.start.min(self.text.len()))].matches('\n').count() + 1;
        let column = line[..offset].chars().count() + 1;
        let end = line.floor_char_boundary((offset + span.len()).min(line.len()));
        let width = line[offset..end].chars().count().max(1);
        let safe = safe_part(line);
        let mut excerpt: String = safe.chars().take(EXCERPT_CHARS_MAX).map(printable).collect();
        if safe.len() < line.len() {
            excerpt.push_str(" …");
        } else if safe.chars().count() > EXCERPT_CHARS_MAX {
            excerpt.push('…');
        }
        Place::Line { line: number, column, width, excerpt }
    }
}

/// One column wide, whatever it was, so that the mark is under the right place.
fn printable(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() {
        '\u{fffd}'
    } else {
        c
    }
}

/// Words that announce a secret, in keys people try.
const SECRET_WORDS: [&str; 5] = ["pass", "secret", "token", "access_key", "accesskey"];

/// Whether the value of a key must not be shown.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase();
    !key.ends_with("_file")
        && (key == "credentials" || key.contains("key") || SECRET_WORDS.iter().any(|word| key.contains(word)))
}

/// Whether a value must not be shown, whatever its key: a URL with a password in it, an AWS key.
pub(super) fn is_secret_value(text: &str) -> bool {
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.contains('@') || text.starts_with("AKIA") || text.starts_with("ASIA")
}

/// The part of a line that may be shown.
pub(super) fn safe_part(line: &str) -> &str {
    let lower = line.to_lowercase().replace("password_file", "").replace("pass_file", "");
    let key = line.split('=').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    let secret = SECRET_WORDS.iter().any(|word| lower.contains(word))
        || (line.contains('=') && is_secret_key(key))
        || line.split(['"', '\'', '=', ' ', ',']).any(is_secret_value);
    match line.find('=') {
        Some(at) if secret => line[..at + 1].trim_end(),
        None if secret => "",
        _ => line,
    }
}

/// The candidate that a word is probably a slip of.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_mark_of_any_span_lies_under_its_line(text in "[a=\"é\t\r\n]{0,40}", from in 0_usize..60,
                len in 0_usize..60) {
            let Place::Line { line, column, width, excerpt } = Source::new("f".to_owned(), &text).place(from..from + len) else {
                panic!("a span is in a line");
            };
            prop_assert!(line >= 1 && column >= 1 && width >= 1);
            let (before, under) = mark(column, width, excerpt.chars().count());
            prop_assert!(!under.is_empty());
            prop_assert!(before.len() + under.len() <= excerpt.chars().count() + 1, "{} {} {:?}", column, width, excerpt);
        }
    }

    #[test]
    fn secrets_are_not_shown_in_any_spelling() {
        for line in [
            "password = \"hunter2\"",
            "  \"Secret_Access_Key\"='hunter2'",
            "queues = { main = { secret = \"hunter2\" } }",
            "url = \"mqtt://me:hunter2@broker\"",
            "credentials = \"AKIAhunter2\"",
            "session_token: hunter2",
            "x = \"AKIAhunter2\"",
        ] {
            assert!(!safe_part(line).contains("hunter2"), "{line}");
        }
        for line in
            ["password_file = \"/etc/pw\"", "client_key_file = \"k.pem\"", "credentials_file = \"c.csv\"", "keep = 1"]
        {
            assert!(line.starts_with("keep") || safe_part(line) == line, "{line}");
        }
    }

    #[test]
    fn a_slip_finds_its_key_and_nonsense_finds_none() {
        let keys = ["max_bytes", "max_payload_bytes", "keep_alive", "url"];
        assert_eq!(nearest("maxbytes", keys), Some("max_bytes"));
        assert_eq!(nearest("keep-alive", keys), Some("keep_alive"));
        assert_eq!(nearest("uri", keys), Some("url"));
        assert_eq!(nearest("colour", keys), None);
    }
}
