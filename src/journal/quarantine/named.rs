//! What commands call things in quarantine: by their own id, as `q17`, or by a record's number.
//!
//! A number does not always name one thing: the head of a message that was not journaled has that of the next record. So
//! the journal refuses a number that may mean several, and names their ids; what it did when it means one, it still does.

use crate::journal::quarantine::Quarantined;
use crate::record::Number;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Names one thing in quarantine, there alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuarantineId(pub(crate) u64);

/// How a caller names a thing in quarantine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Named {
    /// By the thing's own id, `q17`.
    Id(QuarantineId),
    /// By its record's number: in each lane that could not send it.
    Number(u64),
}

/// A text that names nothing in quarantine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an id as `quarantine list` gives it (q17), or a record's number")]
pub struct NameError;

impl fmt::Display for QuarantineId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "q{}", self.0)
    }
}

impl FromStr for QuarantineId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<QuarantineId, NameError> {
        text.strip_prefix('q').and_then(number).map(QuarantineId).ok_or(NameError)
    }
}

impl TryFrom<String> for QuarantineId {
    type Error = NameError;

    fn try_from(text: String) -> Result<QuarantineId, NameError> {
        text.parse()
    }
}

impl From<QuarantineId> for String {
    fn from(id: QuarantineId) -> String {
        id.to_string()
    }
}

impl Named {
    /// The numbers among `names`.
    pub(crate) fn numbers(names: &[Named]) -> Vec<u64> {
        let number = |name: &Named| if let Named::Number(number) = name { Some(*number) } else { None };
        names.iter().filter_map(number).collect()
    }
}

impl fmt::Display for Named {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Id(id) => id.fmt(to),
            Named::Number(number) => write!(to, "record {number}"),
        }
    }
}

impl FromStr for Named {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Named, NameError> {
        let id = text.parse().ok().map(Named::Id);
        id.or_else(|| number(text).map(Named::Number)).ok_or(NameError)
    }
}

/// Digits alone: no sign, as `str::parse` would take it.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Named {
    /// The things that this names among `all`. Of one record in several lanes, each.
    ///
    /// # Errors
    /// Why it names none.
    pub fn of<'a>(&self, all: &'a [Quarantined]) -> Result<Vec<&'a Quarantined>, String> {
        let found: Vec<&Quarantined> = all.iter().filter(|entry| self.is(entry)).collect();
        match found[..] {
            [] => Err("is not in quarantine".to_owned()),
            [_] => Ok(found),
            [first, ..] if found.iter().all(|entry| entry.is_of_the_record_of(first)) => Ok(found),
            _ => {
                let ids: Vec<String> = found.iter().map(|entry| entry.id.to_string()).collect();
                Err(format!("names several things in quarantine, name one of them: {}", ids.join(", ")))
            }
        }
    }

    /// Whether a thing may be called this.
    pub fn is(&self, entry: &Quarantined) -> bool {
        match self {
            Named::Id(id) => entry.id == *id,
            Named::Number(number) => entry.record.number == Number(*number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(number: u64, is_id: bool) {
            let named = if is_id { Named::Id(QuarantineId(number)) } else { Named::Number(number) };
            let written = named.to_string().replace("record ", "");
            prop_assert_eq!(written.parse(), Ok(named));
            let json = serde_json::to_string(&named).unwrap();
            prop_assert_eq!(serde_json::from_str::<Named>(&json).unwrap(), named);
        }

        #[test]
        fn what_is_no_name_is_refused(text in "[q+-]{0,2}[0-9]{0,2}[ a-z+-]{0,2}") {
            let digits = text.strip_prefix('q').unwrap_or(&text);
            let is_name = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(text.parse::<Named>().is_ok(), is_name, "{}", text);
        }
    }
}
