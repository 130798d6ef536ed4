//! Text of other people's, made fit to be looked at.
//!
//! A client that may publish to the broker chooses topics, device names and payloads, and these reach terminals, logs and
//! the page. A control character can move a terminal's cursor, recolour it or answer for its user; a bidirectional one
//! turns the text around it. Neither gets out of here:
//!
//! - [`line()`] is for a value inside a line of ours: nothing in it ends the line, so it cannot forge another one;
//! - [`text`] is for what leaves the process: line ends and tabs are ours and stay;
//! - [`json`] is for JSON, where the same characters appear as escapes: a program still reads exactly what was sent.
//!
//! What looks odd and does no harm (letters of any script, emoji, blanks of any width) stays.

use std::borrow::Cow;
use std::fmt::Write;

/// Replaces what was taken out: U+FFFD, Unicode's own sign for it.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Whether a terminal or a browser would do something at this character instead of showing it: general category Cc, the
/// line separators, and Bidi_Control of Unicode Standard Annex 9.
const fn acts(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{2028}' | '\u{2029}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value for the inside of a line.
pub fn line(text: &str) -> Cow<'_, str> {
    replaced(text, acts)
}

/// Whole lines for a terminal or a log.
pub fn text(text: &str) -> Cow<'_, str> {
    replaced(text, |c| acts(c) && !matches!(c, '\n' | '\t'))
}

/// A JSON text with the same meaning; line ends between its tokens stay.
pub fn json(text: &str) -> Cow<'_, str> {
    // Inside its strings, the only place for anything but blanks, a JSON text has no bare control character below U+0020.
    let hidden = |c: char| acts(c) && c >= ' ';
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hidden(c) {
            true => _ = write!(out, "\\u{:04x}", u32::from(c)),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn replaced(text: &str, hit: impl Fn(char) -> bool + Copy) -> Cow<'_, str> {
    if text.contains(hit) { Cow::Owned(text.replace(hit, REPLACEMENT.encode_utf8(&mut [0; 4]))) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text with plenty of what acts in it.
    fn hostile() -> impl Strategy<Value = String> {
        let one = prop_oneof![
            any::<char>(),
            prop::sample::select(&['\u{1b}', '\n', '\t', '\u{9b}', '\u{202e}', '\u{2066}', 'ü'])
        ];
        prop::collection::vec(one, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn nothing_acts_and_everything_else_stays(given in hostile()) {
            let (line, text) = (line(&given), text(&given));
            prop_assert!(!line.contains(acts));
            prop_assert!(text.chars().all(|c| !acts(c) || matches!(c, '\n' | '\t')));
            for (was, is) in given.chars().zip(line.chars()) {
                prop_assert!(is == was || (acts(was) && is == REPLACEMENT), "{was:?} {is:?}");
            }
            prop_assert_eq!(given.chars().count(), line.chars().count());
        }

        #[test]
        fn json_says_the_same_and_shows_nothing_that_acts(given in hostile()) {
            let value = serde_json::json!({ &given: [&given] });
            for written in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let shown = json(&written);
                prop_assert!(shown.chars().all(|c| !acts(c) || c == '\n'));
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value.clone());
            }
        }
    }
}
