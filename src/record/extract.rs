//! Reads single scalars out of a JSON payload, by pointer, without judging the rest of it.
//!
//! Promises: never fails, never recurses with the payload's depth, never allocates for a member that was not asked for,
//! and looks only at what it must. Parsers that build or check the whole text refuse payloads that sensors do send:
//! numbers beyond any float, a thousand levels, half a surrogate pair, Latin-1 in a string, a byte order mark, padding
//! behind the text. Such a payload still tells its device, so it is skimmed: strings, brackets and commas are all that
//! is understood of a member that is skipped.
//!
//! Rules: of members with one name the *first* counts (the others are skipped, so one answer needs one look); a cut-off
//! text gives what stands before the cut; a container at a pointer gives nothing; of several texts in one payload the
//! first is read. Recursion is as deep as the longest pointer ([`LEVELS_MAX`]), never as deep as the payload.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Most levels of a pointer: what real payloads need is five; the reader's stack grows with it.
pub const LEVELS_MAX: usize = 16;

/// An RFC 6901 JSON pointer, taken apart: `/deviceInfo/devEui`. The empty pointer is the whole text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pointer {
    levels: Vec<String>,
}

impl Pointer {
    /// Its levels, unescaped.
    pub fn levels(&self) -> &[String] {
        &self.levels
    }
}

impl FromStr for Pointer {
    type Err = String;

    /// The error says what a pointer looks like, to be shown after the offending text.
    fn from_str(text: &str) -> Result<Pointer, String> {
        if text.is_empty() {
            return Ok(Pointer { levels: Vec::new() });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("a JSON pointer, which starts with \"/\", such as \"/{text}\""));
        };
        let levels: Vec<String> = rest.split('/').map(unescape_level).collect::<Option<_>>().ok_or_else(|| {
            "a JSON pointer, in which \"~\" is written \"~0\" and a \"/\" inside a name \"~1\"".to_owned()
        })?;
        if levels.len() > LEVELS_MAX {
            return Err(format!("a JSON pointer of at most {LEVELS_MAX} levels"));
        }
        Ok(Pointer { levels })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.levels.iter().try_for_each(|level| write!(f, "/{}", level.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape_level(level: &str) -> Option<String> {
    let mut out = String::with_capacity(level.len());
    let mut chars = level.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(out)
}

/// A scalar as it stands in the payload, borrowed from it.
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

    fn is(self, name: &str) -> bool {
        if self.0.contains(&b'\\') { self.text().is_some_and(|text| text == name) } else { self.0 == name.as_bytes() }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let letter = escaped.chars().next()?;
        rest = &escaped[letter.len_utf8()..];
        out.push(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = hex4(rest)?;
                rest = &rest[4..];
                if (0xd800..0xdc00).contains(&first) {
                    let second =
                        rest.strip_prefix("\\u").and_then(hex4).filter(|low| (0xdc00..0xe000).contains(low))?;
                    rest = &rest[6..];
                    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
                } else {
                    char::from_u32(first)?
                }
            }
            _ => return None,
        });
    }
    out.push_str(rest);
    Some(out)
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// Reads the scalars at `paths` (levels as from [`Pointer::levels`]; at most [`LEVELS_MAX`] each) in one pass, which
/// ends as soon as each is decided. `None` where nothing stands, or a container, or something that is no JSON scalar.
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
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at)?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads a string, quotes and all; `None` when there is none or its end is missing.
    fn string(&mut self) -> Option<RawText<'a>> {
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

    /// The bytes up to the next delimiter: a number, a literal, or what somebody's printer wrote instead (`NaN`).
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
    fn skip_value(&mut self) -> Option<()> {
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn get<'a>(json: &'a (impl AsRef<[u8]> + ?Sized), pointer: &str) -> Option<Scalar<'a>> {
        let pointer: Pointer = pointer.parse().expect("a pointer");
        let [found] = extract(json.as_ref(), [pointer.levels()]);
        found
    }

    fn text<'a>(json: &'a (impl AsRef<[u8]> + ?Sized), pointer: &str) -> Option<Cow<'a, str>> {
        get(json, pointer)?.text()
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~\"\\\\é\n]{0,2}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// Every pointer into `value`, with what stands there.
    fn walk(value: &Value, pointer: String, out: &mut Vec<(String, Value)>) {
        match value {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, v)| walk(v, format!("{pointer}/{i}"), out));
            }
            Value::Object(members) => {
                let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
                members.iter().for_each(|(name, v)| walk(v, format!("{pointer}/{}", escape(name)), out));
            }
            _ => {}
        }
        out.push((pointer, value.clone()));
    }

    proptest! {
        #[test]
        fn every_scalar_of_a_document_is_found_where_a_full_parser_finds_it(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut places = Vec::new();
            walk(&value, String::new(), &mut places);
            for (pointer, expected) in places {
                let found = get(&text, &pointer);
                match expected {
                    Value::Null => prop_assert_eq!(found, Some(Scalar::Null)),
                    Value::Bool(b) => prop_assert_eq!(found, Some(Scalar::Bool(b))),
                    Value::Number(n) => prop_assert_eq!(found, Some(Scalar::Number(&n.to_string()))),
                    Value::String(s) => match found {
                        Some(Scalar::Text(raw)) => prop_assert_eq!(raw.text(), Some(Cow::Owned(s))),
                        other => prop_assert!(false, "{:?} at {}", other, pointer),
                    },
                    Value::Array(_) | Value::Object(_) => prop_assert_eq!(found, None),
                }
            }
        }

        #[test]
        fn several_pointers_in_one_pass_find_what_each_finds_alone(value in any_json(), picks: [prop::sample::Index; 3]) {
            let text = serde_json::to_string(&value).unwrap();
            let mut places = Vec::new();
            walk(&value, String::new(), &mut places);
            let pointers = picks.map(|pick| pick.get(&places).0.parse::<Pointer>().unwrap());
            let together = extract(text.as_bytes(), [pointers[0].levels(), pointers[1].levels(), pointers[2].levels()]);
            for (pointer, found) in pointers.iter().zip(together) {
                prop_assert_eq!(extract(text.as_bytes(), [pointer.levels()]), [found]);
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            extract(&bytes, [&["a", "b"][..], &["0"], &[]]);
        }

        #[test]
        fn any_damaged_document_is_taken(value in any_json(), cut: prop::sample::Index, noise in any::<u8>()) {
            let mut bytes = serde_json::to_vec(&value).unwrap();
            let at = cut.index(bytes.len());
            bytes[at] = noise;
            extract(&bytes, [&["a", "b"][..], &["0"], &[]]);
            bytes.truncate(at);
            extract(&bytes, [&["a", "b"][..], &["0"], &[]]);
        }
    }

    #[test]
    fn of_members_with_one_name_the_first_counts() {
        assert_eq!(text(r#"{"id":"a","id":"b"}"#, "/id").as_deref(), Some("a"));
        assert_eq!(get(r#"{"m":{"x":1},"m":{"id":"b"}}"#, "/m/id"), None);
        assert_eq!(get(r#"{"m":1,"m":{"id":"b"}}"#, "/m/id"), None);
    }

    #[test]
    fn a_cut_off_text_gives_what_stands_before_the_cut() {
        assert_eq!(text(r#"{"id":"a","v":"#, "/id").as_deref(), Some("a"));
        assert_eq!(get(r#"{"id":"a","v":"#, "/v"), None);
        assert_eq!(get(r#"{"id":"a"#, "/id"), None);
    }

    #[test]
    fn numbers_keep_their_digits_and_words_are_no_numbers() {
        for digits in ["340282366920938463463374607431768211455", "1e400", "-0", "2.30e1", "0.100000000000000005551"] {
            assert_eq!(get(&format!(r#"[{digits}]"#), "/0"), Some(Scalar::Number(digits)));
        }
        for word in ["NaN", "-Infinity", "01", "1.", ".5", "+1", "0x10", "1e", "--1", "tru"] {
            assert_eq!(get(&format!(r#"{{"a":{word},"b":7}}"#), "/a"), None, "{word}");
            assert_eq!(get(&format!(r#"{{"a":{word},"b":7}}"#), "/b"), Some(Scalar::Number("7")), "after {word}");
        }
    }

    #[test]
    fn depth_is_no_matter() {
        let deep = format!(r#"{{"n":{}1{},"id":"m"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(text(&deep, "/id").as_deref(), Some("m"));
    }

    #[test]
    fn what_cannot_be_text_hurts_nobody_but_its_reader() {
        assert_eq!(text(r#"{"name":"\ud83d","id":"m"}"#, "/id").as_deref(), Some("m"));
        assert_eq!(text(r#"{"name":"\ud83d","id":"m"}"#, "/name"), None);
        assert_eq!(text(b"{\"room\":\"B\xfcro\",\"id\":\"m\"}".as_slice(), "/id").as_deref(), Some("m"));
        assert_eq!(text(b"{\"room\":\"B\xfcro\",\"id\":\"m\"}".as_slice(), "/room"), None);
        assert_eq!(text("\u{feff}{\"id\":\"m\"}", "/id").as_deref(), Some("m"));
        assert_eq!(text(r#"{"\u0069d":"\ud83d\ude00"}"#, "/id").as_deref(), Some("😀"));
    }

    #[test]
    fn array_levels_are_plain_decimal_indices() {
        assert_eq!(get("[1,[2,3]]", "/1/1"), Some(Scalar::Number("3")));
        for pointer in ["/01", "/+1", "/-", "/2", "/1/"] {
            assert_eq!(get("[1,2]", pointer), None, "{pointer}");
        }
    }

    #[test]
    fn pointers_are_refused_with_what_they_should_look_like() {
        assert_eq!("ts".parse::<Pointer>().unwrap_err(), r#"a JSON pointer, which starts with "/", such as "/ts""#);
        assert!("/a~2".parse::<Pointer>().is_err());
        assert!("/a".repeat(LEVELS_MAX + 1).parse::<Pointer>().is_err());
        assert_eq!("/a~1b/~0/".parse::<Pointer>().unwrap().levels(), ["a/b", "~", ""]);
        assert_eq!("/a~1b/~0/".parse::<Pointer>().unwrap().to_string(), "/a~1b/~0/");
    }
}
