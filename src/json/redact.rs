//! Takes the values at given pointers out of a JSON payload and leaves every other byte as it was.
//!
//! Some events carry keys (`appSKey` after a join with a join server): a value at a listed pointer, of whatever kind, is
//! replaced by the text `"redacted"`. Every member of that name goes, not only the first, and so does the last one of
//! a repeated name that some parsers would take. Numbers, order, white space, repeated members and half surrogates
//! elsewhere stay. Recursion is as deep as the longest pointer.
//!
//! What is not JSON is skimmed as far as brackets, strings and commas tell; behind the place where they tell no more, and
//! in protobuf, nothing is found. An operator who must not send a secret should not let the network server publish it.

use crate::json::pointer::Pointer;
use crate::json::scan::Scan;
use std::borrow::Cow;

/// What takes a value's place, as JSON.
const INSTEAD: &[u8] = b"\"redacted\"";

/// `json` without the values at `pointers`; borrowed where none of them is there.
pub fn redact<'a>(json: &'a [u8], pointers: &[Pointer]) -> Cow<'a, [u8]> {
    let paths: Vec<&[String]> = pointers.iter().map(Pointer::levels).filter(|levels| !levels.is_empty()).collect();
    // Most payloads have no such member at all, and a look for its name costs less than reading.
    let named = |path: &&&[String]| path.last().is_some_and(|name| may_hold(json, name.as_bytes()));
    let paths: Vec<&[String]> = paths.iter().filter(named).copied().collect();
    if paths.is_empty() {
        return Cow::Borrowed(json);
    }
    let start = if json.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut walk = Walk { scan: Scan { bytes: json, at: start }, found: Vec::new() };
    // Several texts in one payload (NDJSON): all of them.
    while walk.scan.peek().is_some() {
        let before = walk.scan.at;
        if walk.value(&paths).is_none() || walk.scan.at == before {
            break;
        }
    }
    if walk.found.is_empty() {
        return Cow::Borrowed(json);
    }
    let mut out = Vec::with_capacity(json.len());
    let mut from = 0;
    for (start, end) in walk.found {
        out.extend_from_slice(&json[from..start]);
        out.extend_from_slice(INSTEAD);
        from = end;
    }
    out.extend_from_slice(&json[from..]);
    Cow::Owned(out)
}

/// Whether the text may hold the name: as it is, or written with escapes.
fn may_hold(json: &[u8], name: &[u8]) -> bool {
    json.windows(name.len()).any(|window| window == name) || json.windows(2).any(|pair| pair == b"\\u")
}

struct Walk<'a> {
    scan: Scan<'a>,
    /// Spans of values, in order.
    found: Vec<(usize, usize)>,
}

impl Walk<'_> {
    /// Reads the value at hand; `paths` are what is left of the pointers that lead into it. `None`: no more to read.
    fn value(&mut self, paths: &[&[String]]) -> Option<()> {
        let open = self.scan.peek()?;
        if paths.is_empty() || !matches!(open, b'{' | b'[') {
            return self.scan.skip_value();
        }
        let close = if open == b'{' { b'}' } else { b']' };
        self.scan.at += 1;
        for index in 0_usize.. {
            if self.scan.peek()? == close {
                break;
            }
            let position = index.to_string();
            let name = match open {
                b'{' => {
                    let name = self.scan.string()?;
                    self.scan.expect(b':')?;
                    Some(name)
                }
                _ => None,
            };
            let leads = |path: &&&[String]| name.map_or(path[0] == position, |name| name.is(&path[0]));
            let into: Vec<&[String]> = paths.iter().filter(leads).map(|path| &path[1..]).collect();
            if into.iter().any(|path| path.is_empty()) {
                self.scan.peek()?;
                let start = self.scan.at;
                // A value that is cut off goes to its end: better nothing of a secret than half of it.
                let whole = self.scan.skip_value();
                let end = if whole.is_some() { self.scan.at } else { self.scan.bytes.len() };
                self.found.push((start, end));
                whole?;
            } else {
                self.value(&into)?;
            }
            match self.scan.peek()? {
                b',' => self.scan.at += 1,
                byte if byte == close => break,
                _ => return None,
            }
        }
        self.scan.at += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().expect("a pointer")).collect()
    }

    fn redacted(json: &str, at: &[&str]) -> String {
        String::from_utf8(redact(json.as_bytes(), &pointers(at)).into_owned()).expect("text")
    }

    #[test]
    fn only_the_value_goes_and_every_other_byte_stays() {
        let json =
            "{ \"n\": 1e400,\r\n \"a\" : {\"key\":{\"kek\":\"x\",\"k\":[1,2]} , \"z\":\"\\ud83d\"},\"key\":\"stays\" }";
        let expected = "{ \"n\": 1e400,\r\n \"a\" : {\"key\":\"redacted\" , \"z\":\"\\ud83d\"},\"key\":\"stays\" }";
        assert_eq!(redacted(json, &["/a/key"]), expected);
    }

    #[test]
    fn members_of_a_name_are_redacted_everywhere_in_any_spelling() {
        assert_eq!(redacted(r#"{"k":"1","k":"2"}"#, &["/k"]), r#"{"k":"redacted","k":"redacted"}"#);
        assert_eq!(redacted(r#"{"\u006b":"1"}"#, &["/k"]), r#"{"\u006b":"redacted"}"#);
        assert_eq!(redacted(r#"[{"k":1},{"k":2}]"#, &["/1/k"]), r#"[{"k":1},{"k":"redacted"}]"#);
        assert_eq!(redacted("{\"k\":1}\n{\"k\":2}", &["/k"]), "{\"k\":\"redacted\"}\n{\"k\":\"redacted\"}");
        assert_eq!(redacted("\u{feff}{\"k\":1}", &["/k"]), "\u{feff}{\"k\":\"redacted\"}");
        assert_eq!(redacted(r#"{"a":{"k":"secr"#, &["/a/k"]), r#"{"a":{"k":"redacted""#);
    }

    #[test]
    fn what_is_not_there_costs_no_copy() {
        let json = br#"{"deviceInfo":{"devEui":"1"},"object":{"t":1}}"#;
        assert!(matches!(redact(json, &pointers(&["/joinServerContext/appSKey"])), Cow::Borrowed(_)));
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abk]", inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_does_to_any_json_what_a_parser_would(tree in tree(), pretty: bool) {
            let at = ["/a/k", "/k", "/b/0/k"];
            let json = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
            let mut expected = tree;
            for pointer in at {
                if let Some(value) = expected.pointer_mut(pointer) {
                    *value = "redacted".into();
                }
            }
            let got: Value = serde_json::from_str(&redacted(&json, &at)).expect("still JSON");
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn bytes_of_any_kind_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let at = pointers(&["/a", "/0/b"]);
            let once = redact(&bytes, &at).into_owned();
            prop_assert_eq!(redact(&once, &at).into_owned(), once.clone());
        }
    }
}
