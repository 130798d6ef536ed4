//! A record type of the operator's own, for consumers that route on it: a template such as
//! `io.microshare.{topic:2}.packed`.
//!
//! Words: letters, digits, dots, dashes and underscores as they are; a placeholder in braces is replaced by what the record
//! says, in which every other character becomes a dash. What a record does not say is `unknown`, so a type is never empty.

use crate::json::pointer::Pointer;
use crate::json::scan::{Scalar, extract};
use crate::record::Record;
use std::fmt;
use std::str::FromStr;

/// The placeholders, for messages.
pub const PLACEHOLDERS: &str = "{type}, {profile}, {device}, {gateway}, {site}, {topic:N} and {/pointer}";

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Type,
    Profile,
    Device,
    Gateway,
    Site,
    /// A level of the topic, counted from 1.
    Topic(usize),
    /// A scalar of the payload.
    At(Pointer),
}

/// A template, parsed and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl FromStr for Template {
    type Err = String;

    /// The error says what is expected, to be shown after the offending text.
    fn from_str(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = rest.find('{').unwrap_or(rest.len());
            let (plain, placeholder) = rest.split_at(at);
            if !plain.chars().all(is_word) {
                return Err("letters, digits, \".\", \"-\", \"_\" and placeholders such as {topic:2}".to_owned());
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            let Some(inside) = placeholder.strip_prefix('{') else { break };
            let (name, behind) = inside.split_once('}').ok_or("a \"}\" behind each \"{\"")?;
            parts.push(part(name)?);
            rest = behind;
        }
        if parts.is_empty() {
            return Err("a type such as \"io.example.{type}\"".to_owned());
        }
        Ok(Template { written: text.to_owned(), parts })
    }
}

fn part(name: &str) -> Result<Part, String> {
    Ok(match name {
        "type" => Part::Type,
        "profile" => Part::Profile,
        "device" => Part::Device,
        "gateway" => Part::Gateway,
        "site" => Part::Site,
        _ if name.starts_with('/') => Part::At(name.parse()?),
        _ => match name.strip_prefix("topic:").and_then(|level| level.parse().ok()).filter(|level| *level > 0) {
            Some(level) => Part::Topic(level),
            None => return Err(format!("one of {PLACEHOLDERS} in braces, not {{{name}}}")),
        },
    })
}

impl Template {
    /// The type of a record; `kind` is its class with the prefix.
    pub fn of(&self, record: &Record, kind: &str, gateway: &str, site: &str) -> String {
        let message = &record.draft.message;
        let mut out = String::new();
        let mut put = |text: Option<&str>| {
            let text = text.filter(|text| !text.is_empty()).unwrap_or("unknown");
            out.extend(text.chars().map(|c| if is_word(c) { c } else { '-' }));
        };
        for part in &self.parts {
            match part {
                Part::Text(text) => put(Some(text)),
                Part::Type => put(Some(kind)),
                Part::Profile => put(Some(&record.draft.profile)),
                Part::Device => put(record.draft.identity.device.as_deref()),
                Part::Gateway => put(Some(gateway)),
                Part::Site => put(Some(site)),
                Part::Topic(level) => put(message.topic.split('/').nth(level - 1)),
                Part::At(pointer) => {
                    let [found] = extract(&message.payload, [pointer.levels()]);
                    put(found.and_then(Scalar::text_or_number).as_deref());
                }
            }
        }
        out
    }
}
