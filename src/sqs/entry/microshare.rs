//! The body that consumers of Microshare's streams read: its envelope, with the payload as `obj.data`.
//!
//! Compatible, not official: what a network server published is *packed* data, and nothing is filled in that only the
//! platform's decoders know. The id is 24 hex digits made of the record's key, so a resend has the same one; the checksum is
//! the platform's own rule: SHA-256 in upper-case hex over the compact text of `data`, then `L` and its length. A payload that is
//! such an envelope already travels as it is.

use crate::record::identity::hash;
use crate::sqs::entry::body::Payload;
use crate::sqs::entry::{BASE64_STANDARD, Engine, EntryFields, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Hex digits of an id.
const ID_DIGITS: usize = 24;

/// The envelope around a payload.
pub(super) fn envelope(facts: &EntryFields, payload: &Payload) -> String {
    let mut data = String::new();
    match payload {
        Payload::Json(text) => json::push_verbatim(&mut data, &compact(text)),
        Payload::Text(text) => json::push_string(&mut data, text),
        Payload::Bytes(bytes) => {
            data.push_str("{\"base64\":");
            json::push_string(&mut data, &BASE64_STANDARD.encode(bytes));
            data.push('}');
        }
        Payload::Empty => data.push_str("null"),
    }
    let id = hash(&[facts.id.as_bytes()], ID_DIGITS);
    let checksum = checksum(&data);
    let mut out = String::with_capacity(data.len() + 480);
    let _ = write!(
        out,
        "{{\"event_type\":\"create\",\"id\":\"{id}\",\"obj\":{{\"id\":\"{id}\",\"checksum\":\"{checksum}\""
    );
    if let Some(ms) = facts.receipt.ms() {
        let _ = write!(out, ",\"createDate\":{ms},\"tstamp\":{ms}");
    }
    out.push_str(",\"recType\":");
    json::push_string(&mut out, &facts.rectype);
    out.push_str(",\"data\":");
    out.push_str(&data);
    let _ = write!(out, ",\"origin\":{{\"id\":\"{id}\",\"checksum\":\"{checksum}\",\"name\":");
    json::push_string(&mut out, &facts.rectype);
    out.push_str("}},\"obj_type\":\"objs\",\"recType\":");
    json::push_string(&mut out, &facts.rectype);
    out.push_str(",\"source\":\"tidegate\"}");
    out
}

/// The platform's checksum of a record's content.
fn checksum(data: &str) -> String {
    let mut out = String::with_capacity(72);
    for byte in Sha256::digest(data.as_bytes()) {
        let _ = write!(out, "{byte:02X}");
    }
    let _ = write!(out, "L{}", data.len());
    out
}

/// Valid JSON without the white space between its parts; nothing else changes, numbers least of all.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if inside || !c.is_ascii_whitespace() {
            out.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_that_the_platform_writes() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/microshare");
        for file in ["stream-create-unpacked.json", "stream-update-same-id.json", "stream-create-event.json"] {
            #[derive(serde::Deserialize)]
            struct Object<'a> {
                checksum: String,
                #[serde(borrow)]
                data: &'a serde_json::value::RawValue,
            }
            #[derive(serde::Deserialize)]
            struct Envelope<'a> {
                #[serde(borrow)]
                obj: Object<'a>,
            }
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            let Envelope { obj } = serde_json::from_str(&text).unwrap();
            assert_eq!(checksum(&compact(obj.data.get())), obj.checksum, "{file}");
        }
    }

    proptest! {
        #[test]
        fn compacting_changes_nothing_but_white_space(text in "[a-z \\\\\"\n]{0,20}", number in "-?[1-9][0-9]{0,40}") {
            let string = serde_json::to_string(&text).unwrap();
            let json = format!("{{ {string} :\t[ {number} , true ]\n}}");
            prop_assert_eq!(compact(&json), format!("{{{string}:[{number},true]}}"));
        }
    }
}
