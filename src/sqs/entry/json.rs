//! JSON as SQS takes it: every string escaped so that no character remains that the queue refuses, and JSON that came
//! from a device carried as it is.

use crate::sqs::limits::takes;
use serde_json::value::RawValue;
use std::fmt::Write;

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if takes(c) => out.push(c),
            c => push_escape(out, c),
        }
    }
    out.push('"');
}

/// Appends `json`, which must be valid JSON, with the two characters escaped that JSON allows in a string and SQS does
/// not: U+FFFE and U+FFFF. Valid JSON has them nowhere else, so the value stays the same.
pub(super) fn push_verbatim(out: &mut String, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| !takes(c)) {
        out.push_str(&rest[..at]);
        let Some(c) = rest[at..].chars().next() else { break };
        push_escape(out, c);
        rest = &rest[at + c.len_utf8()..];
    }
    out.push_str(rest);
}

/// Whether `text` is one JSON value and nothing else. The grammar alone is checked, without recursion: depth, size of
/// numbers, repeated members and lone surrogates do not matter. A BOM, NaN, several values or anything after the value
/// do.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Levels of objects and lists in `json`, which must be valid JSON, and digits of its longest number.
pub(super) fn extent(json: &str) -> (usize, usize) {
    let (mut level, mut deepest) = (0_usize, 0);
    let (mut digits, mut longest) = (0, 0);
    let (mut inside, mut escaped) = (false, false);
    for byte in json.bytes() {
        digits = if byte.is_ascii_digit() && !inside { digits + 1 } else { 0 };
        longest = longest.max(digits);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b'{' | b'[' if !inside => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !inside => level = level.saturating_sub(1),
            _ => {}
        }
    }
    (deepest, longest)
}

/// Only control characters and U+FFFE, U+FFFF come here: all within four digits.
fn push_escape(out: &mut String, c: char) {
    let _ = write!(out, "\\u{:04x}", u32::from(c));
}
