//! What the skimming reader finds, held against a full parser, and what it survives.

use super::*;
use crate::json::pointer::Pointer;
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

/// Every pointer into `value`, with the value that it finds.
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
    fn every_scalar_is_found_where_a_full_parser_finds_it(value in any_json(), pretty: bool) {
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
fn a_cut_off_text_gives_what_precedes_the_cut() {
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
fn what_cannot_be_text_hurts_only_its_reader() {
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
