//! A value as it was written, before it has a type, and its place in the file.

use crate::config::parse::Wrong;
use crate::config::problem::{Place, is_secret_value, nearest};
use toml::Spanned;
use toml::de::DeValue;

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct At {
    pub(super) key: String,
    pub(super) place: Place,
}

/// A value and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// A value as it was written.
pub(super) enum Form<'d> {
    /// Text in the file.
    Text(&'d str),
    /// An integer in the file, as its digits.
    Integer(&'d str),
    /// `true` or `false`.
    Bool(bool),
    /// The text of an environment variable, which may be meant as any type.
    Variable(&'d str),
    /// An array, its items unread.
    Array(&'d [Spanned<DeValue<'d>>]),
    /// Anything else, by TOML's word for it.
    Other(&'static str),
}

impl<'d> Form<'d> {
    pub(super) fn of(value: &'d DeValue<'d>) -> Form<'d> {
        match value {
            DeValue::String(text) => Form::Text(text),
            DeValue::Integer(number) if number.radix() == 10 => Form::Integer(number.as_str()),
            DeValue::Boolean(flag) => Form::Bool(*flag),
            DeValue::Array(items) => Form::Array(items),
            other => Form::Other(other.type_str()),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Form::Text(text) | Form::Variable(text) if is_secret_value(text) => {
                "found a value that is not shown".to_owned()
            }
            Form::Text(text) | Form::Variable(text) => format!("found {text:?}"),
            Form::Integer(digits) => format!("found {digits}"),
            Form::Bool(flag) => format!("found {flag}"),
            Form::Array(_) => "found a list".to_owned(),
            Form::Other("table") => "found a section".to_owned(),
            Form::Other(word) => format!("found a {word}"),
        }
    }
}

/// Text in quotes, not empty, on one line.
pub(super) fn plain_text<'f>(form: &Form<'f>) -> Result<&'f str, Wrong> {
    match form {
        Form::Text(text) | Form::Variable(text) if text.trim().is_empty() => {
            Err(Wrong::expected("a text that is not empty"))
        }
        Form::Text(text) | Form::Variable(text) if text.contains(char::is_control) => {
            Err(Wrong::expected("a text without line ends, tabs or other control characters"))
        }
        Form::Text(text) | Form::Variable(text) if text.trim() != *text => {
            Err(Wrong::expected("a text without spaces at its ends").did_you_mean(text.trim()))
        }
        Form::Text(text) | Form::Variable(text) => Ok(text),
        Form::Integer(digits) => Err(Wrong::expected("text in quotes").did_you_mean(digits)),
        _ => Err(Wrong::expected("text in quotes")),
    }
}

/// The word for a value, of the table that reads it.
pub(super) fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).map(|(word, _)| *word).expect("every value has its word")
}

/// What to say about a word that is not among those expected.
pub(super) fn not_a_word(text: &str, words: &[&str]) -> Wrong {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let expected = match quoted.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => quoted.concat(),
    };
    let wrong = Wrong::expected(expected);
    match nearest(text, words.iter().copied()) {
        Some(meant) => wrong.did_you_mean(meant),
        None => wrong,
    }
}
