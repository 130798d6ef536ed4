//! Reads single scalars out of a JSON payload, by pointer, without judging the rest of it.
//!
//! Promises: never fails, never recurses with the payload's depth, never allocates for a member that was not asked for,
//! and looks only at what it must. Parsers that build or check the whole text refuse payloads that sensors do send:
//! numbers beyond any float, a thousand levels, half a surrogate pair, Latin-1 in a string, a byte order mark, padding
//! behind the text. Such a payload still tells its device, so it is skimmed: strings, brackets and commas are all that
//! is understood of a member that is skipped.
//!
//! Rules: of members with one name the *first* counts (the others are skipped, so one answer needs one look); a cut-off
//! text gives what comes before the cut; a container at a pointer gives nothing; of several texts in one payload the
//! first is read. Recursion is as deep as the longest pointer ([`crate::json::pointer::LEVELS_MAX`]), never as deep as the payload.

use std::borrow::Cow;

/// A scalar as the payload has it, borrowed from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar<'a> {
    /// A string; [`RawText::text`] reads it.
    Text(RawText<'a>),
    /// A number, in the digits that were published: it is never a float here.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl<'a> Scalar<'a> {
    /// The text of a string that is not empty and can be read; `None` for everything else.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(raw) => raw.text().filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The text of a string that is not empty, or the digits of a number; `None` for everything else.
    pub fn text_or_number(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Number(digits) => Some(Cow::Borrowed(digits)),
            _ => self.text(),
        }
    }
}

/// The bytes between a string's quotes, escapes and all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawText<'a>(&'a [u8]);

impl<'a> RawText<'a> {
    /// The string itself; `None` when it is not UTF-8 or holds a wrong escape or half a surrogate pair.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let text = std::str::from_utf8(self.0).ok()?;
        if text.contains('\\') { unescape(text).map(Cow::Owned) } else { Some(Cow::Borrowed(text)) }
    }

    pub(super) fn is(self, name: &str) -> bool {
        if !self.0.contains(&b'\\') {
            return self.0 == name.as_bytes();
        }
        // Compared as it is read: a name costs no memory.
        std::str::from_utf8(self.0).is_ok_and(|text| Unescaped { rest: text }.eq(name.chars().map(Some)))
    }
}

fn unescape(text: &str) -> Option<String> {
    Unescaped { rest: text }.collect()
}

/// The characters of a string's text, escapes read; a wrong escape or half a surrogate pair is `None`, and the end.
struct Unescaped<'a> {
    rest: &'a str,
}

impl Iterator for Unescaped<'_> {
    type Item = Option<char>;

    fn next(&mut self) -> Option<Option<char>> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c != '\\' {
            return Some(Some(c));
        }
        let escape = self.escape();
        if escape.is_none() {
            self.rest = "";
        }
        Some(escape)
    }
}

impl Unescaped<'_> {
    /// The character that the escape behind a backslash means.
    fn escape(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = hex4(self.rest)?;
                self.rest = &self.rest[4..];
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                let low = |low: &u32| (0xdc00..0xe000).contains(low);
                let second = self.rest.strip_prefix("\\u").and_then(hex4).filter(low)?;
                self.rest = &self.rest[6..];
                char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
            }
            _ => return None,
        })
    }
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// Reads the scalars at `paths` (levels as from [`crate::json::pointer::Pointer::levels`]) in one pass, which ends as
/// soon as each is decided. `None` where there is nothing, or a container, or something that is not a JSON scalar.
pub fn extract<'a, L: AsRef<str>, const N: usize>(json: &'a [u8], paths: [&[L]; N]) -> [Option<Scalar<'a>>; N] {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let mut search =
        Search { scan: Scan { bytes: json, at: 0 }, paths, progress: [Progress::Within(0); N], found: [None; N] };
    let arrived = std::array::from_fn(|i| paths[i].is_empty());
    search.value(0, arrived);
    search.found
}

/// How far a path has been followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Its first levels, so many, lead to the container that is being read.
    Within(usize),
    /// Found, or found not to be there: the first member of its name has been read.
    Decided,
}

struct Search<'a, 'p, L, const N: usize> {
    scan: Scan<'a>,
    paths: [&'p [L]; N],
    progress: [Progress; N],
    found: [Option<Scalar<'a>>; N],
}

impl<L: AsRef<str>, const N: usize> Search<'_, '_, L, N> {
    /// Reads the value at hand, whose container is `level` deep; `arrived` names the paths that end at it.
    /// Gives `None` when there is no more to read, or no need to.
    fn value(&mut self, level: usize, arrived: [bool; N]) -> Option<()> {
        if arrived.contains(&true) {
            let scalar = self.scan.peek_scalar();
            for i in (0..N).filter(|i| arrived[*i]) {
                (self.found[i], self.progress[i]) = (scalar, Progress::Decided);
            }
        }
        let wanted = self.progress.contains(&Progress::Within(level));
        match self.scan.peek()? {
            b'{' if wanted => self.container(level, b'}')?,
            b'[' if wanted => self.container(level, b']')?,
            _ => self.scan.skip_value()?,
        }
        // First member of a name counts: what was looked for below here is decided, wherever it ended.
        for progress in self.progress.iter_mut().filter(|p| **p == Progress::Within(level) && wanted) {
            *progress = Progress::Decided;
        }
        self.progress.iter().any(|p| *p != Progress::Decided).then_some(())
    }

    /// Reads the members of the object or array at hand, which paths are `Within` at `level`.
    fn container(&mut self, level: usize, close: u8) -> Option<()> {
        self.scan.at += 1;
        for index in 0_usize.. {
            if self.scan.peek()? == close {
                break;
            }
            let mut arrived = [false; N];
            if close == b'}' {
                let name = self.scan.string()?;
                self.scan.expect(b':')?;
                self.enter(level, &mut arrived, |wanted| name.is(wanted));
            } else {
                self.enter(level, &mut arrived, |wanted| wanted.parse() == Ok(index) && canonical_index(wanted));
            }
            self.value(level + 1, arrived)?;
            match self.scan.peek()? {
                b',' => self.scan.at += 1,
                byte if byte == close => break,
                _ => return None,
            }
        }
        self.scan.at += 1;
        Some(())
    }

    /// Moves the paths whose next level is the member at hand.
    fn enter(&mut self, level: usize, arrived: &mut [bool; N], named: impl Fn(&str) -> bool) {
        for ((arrived, progress), path) in arrived.iter_mut().zip(&mut self.progress).zip(self.paths) {
            if *progress == Progress::Within(level) && path.get(level).is_some_and(|name| named(name.as_ref())) {
                *arrived = path.len() == level + 1;
                *progress = Progress::Within(level + 1);
            }
        }
    }
}

fn canonical_index(level: &str) -> bool {
    level == "0" || !level.starts_with(['0', '+'])
}

/// A place in the text.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at)?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads a string, quotes and all; `None` when there is none or its end is missing.
    pub(super) fn string(&mut self) -> Option<RawText<'a>> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(RawText(&self.bytes[from..self.at - 1]))
    }

    /// The bytes up to the next delimiter: a number, a literal, or what a lax printer wrote instead (`NaN`).
    fn word(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| b" \t\r\n,:]}[{\"\0".contains(b)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// The scalar at hand, without moving on.
    fn peek_scalar(&self) -> Option<Scalar<'a>> {
        let mut ahead = *self;
        match ahead.peek()? {
            b'"' => ahead.string().map(Scalar::Text),
            b'{' | b'[' => None,
            _ => match ahead.word() {
                b"true" => Some(Scalar::Bool(true)),
                b"false" => Some(Scalar::Bool(false)),
                b"null" => Some(Scalar::Null),
                word => number(word).map(Scalar::Number),
            },
        }
    }

    /// Moves past the value at hand, counting brackets instead of recursing; which bracket closes which is not checked.
    pub(super) fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => (depth, self.at) = (depth + 1, self.at + 1),
                b'}' | b']' => (depth, self.at) = (depth.checked_sub(1)?, self.at + 1),
                b',' | b':' if depth > 0 => self.at += 1,
                _ if self.word().is_empty() => return None,
                _ => {}
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// A number by JSON's grammar, as text.
fn number(word: &[u8]) -> Option<&str> {
    let digits = |from: usize| word[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(word.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && word[at] == b'0') {
        return None;
    }
    at += whole;
    if word.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        at += 1 + fraction;
        (fraction > 0).then_some(())?;
    }
    if matches!(word.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(word.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        at += exponent;
        (exponent > 0).then_some(())?;
    }
    if at == word.len() { std::str::from_utf8(word).ok() } else { None }
}

#[cfg(test)]
mod tests;
