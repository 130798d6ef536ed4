//! What is wrong where the file is not TOML, in the words of a technician who edits it by hand.

use crate::config::problem::{ConfigProblem, Place, Source, is_secret_key, safe_part};
use toml::de::Error;

/// Quotes that word processors and chat programs put in the place of `"`.
const TYPOGRAPHIC: [char; 8] = ['“', '”', '„', '‟', '‘', '’', '«', '»'];

/// The problems of a file that is not TOML: one per line, because a parser that lost its way complains again.
pub(super) fn problems(source: &Source<'_>, errors: &[Error]) -> Vec<ConfigProblem> {
    let mut problems: Vec<ConfigProblem> = errors.iter().map(|error| problem(source, error)).collect();
    let line = |problem: &ConfigProblem| match problem.place {
        Place::Line { line, column, .. } => (line, column),
        _ => (0, 0),
    };
    problems.sort_by_key(line);
    problems.dedup_by_key(|problem| line(problem).0);
    problems
}

fn problem(source: &Source<'_>, error: &Error) -> ConfigProblem {
    let span = error.span().unwrap_or(0..0);
    let (line, at) = source.line_at(span.start);
    let (found, suggestion) = explain((line, at), source.text.get(span.clone()).unwrap_or_default(), error.message());
    let file = source.file.clone();
    ConfigProblem { file, place: source.place(span), key: String::new(), found, expected: String::new(), suggestion }
}

/// A text of a line, unless the line may hold a secret.
fn shown<'t>(line: &str, text: &'t str) -> &'t str {
    if safe_part(line).len() == line.len() && !is_secret_key(line.split(':').next().unwrap_or_default().trim()) {
        text.trim_end()
    } else {
        "…"
    }
}

/// Key and value of a line as YAML and chat have it: `key: value`.
fn yaml(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    (bare && !value.is_empty()).then_some((key, value))
}

/// What was found there and what to do, from the line with the offset in it, the offending text and the parser's message.
fn explain((line, at): (&str, usize), text: &str, message: &str) -> (String, String) {
    let said = |found: &str, suggestion: &str| (found.to_owned(), suggestion.to_owned());
    if line.contains(TYPOGRAPHIC) {
        return said("typographic quotes", "use the straight quote \" of a plain text editor");
    }
    if line.contains(['\u{a0}', '\u{200b}', '\u{2009}', '\u{202f}']) {
        return said("an invisible character that is no plain space", "type the line anew instead of pasting it");
    }
    if let Some(note) = line.trim_start().strip_prefix("//") {
        return said(
            "a comment that starts with //",
            &format!("a comment starts with #: write #{}", shown(line, note)),
        );
    }
    if line[..at.min(line.len())].contains('=') && line[at.min(line.len())..].trim_start().starts_with("//") {
        return said("a comment that starts with //", "a comment starts with #: write # in the place of //");
    }
    if let Some((key, value)) = yaml(line) {
        let value = shown(line, value.trim_matches(['"', '\'']));
        return said("a colon in the place of the equals sign", &format!("write {key} = \"{value}\""));
    }
    if message.starts_with("string values must be quoted") && text.is_empty() {
        return said("no value behind the equals sign", "write the value, or put # before the line");
    }
    if message.starts_with("string values must be quoted") {
        return said("a text without quotes", "put the value in quotes: key = \"value\"");
    }
    if message.starts_with("invalid boolean") {
        return said("a truth value in another spelling", "write true or false, in small letters");
    }
    if message.starts_with("duplicate key") {
        return said("this name is there twice", "keep one; sections that may come again are written [[name]]");
    }
    if message.starts_with("key with no value") {
        return said("no equals sign behind the key", "write key = value");
    }
    if message.starts_with("unclosed table") {
        return said("the section's name is not closed", "write [name]");
    }
    if message.starts_with("unclosed array") || message.starts_with("unexpected `=` in array") {
        return said("a list that is not closed", "write ] behind its last value");
    }
    if message.starts_with("missing comma") {
        return said("no comma between two values of a list", "write [\"first\", \"second\"]");
    }
    if message.starts_with("carriage return") {
        return said("a line end of an old kind (CR alone)", "save the file with line ends of the kind LF or CRLF");
    }
    if message.starts_with("unexpected key or value") {
        return said("more than one value behind the equals sign", "put one thing on a line; a note starts with #");
    }
    if line.contains('\\') {
        return said("a backslash that means nothing", "write \\\\ for a backslash, or put the text in single quotes");
    }
    if message.starts_with("invalid basic string, expected `\"`") {
        return said("a text whose closing quote is missing", "write \" at its end");
    }
    (format!("not TOML: {message}"), String::new())
}
