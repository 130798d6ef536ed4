//! What the chain ([`crate::record::chain`]) has of a message: the digest of id, topic and data as they are sent.
//!
//! The digest is taken when the message is rendered, and once more when the chain has to read a record again that was sent
//! before. So it says whether each rendering of the record has the same one ([`RecordDigest::steady`]). Nearly all do: `data` is the
//! payload itself, whatever wraps it. Under other settings ([`settings`]) it may be another one.

use crate::clock::Trust;
use crate::config::BodyFormat;
use crate::json::pointer::Pointer;
use crate::record::Record;
use crate::record::chain::{Digest, digest};
use crate::record::identity::hash;
use crate::sqs::entry::body::{self, Payload};
use crate::sqs::entry::{EntryFields, Rendering};
use crate::sqs::limits::takes;
use std::borrow::Cow;

/// Counts the changes of this agent after which a record's data is another one under the same settings.
const RENDERED: &str = "1";
/// A longer body of Microshare's may have been encoded another way for a queue that takes little.
const STEADY_BYTES: usize = 64 * 1024;
/// U+FFFE and U+FFFF, which SQS refuses: JSON that holds them is escaped, or sent as base64.
const REFUSED: [&[u8]; 2] = [b"\xef\xbf\xbe", b"\xef\xbf\xbf"];

/// What the chain has of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecordDigest {
    /// Over position, id, topic and data as sent.
    pub sum: Digest,
    /// Whether each rendering of this record under these settings has the same.
    pub steady: bool,
}

impl RecordDigest {
    pub(super) fn of(
        record: &Record,
        facts: &EntryFields,
        (payload, bytes): (&Payload, &[u8]),
        body: &str,
        format: BodyFormat,
    ) -> RecordDigest {
        let data = match (format, payload) {
            (BodyFormat::Microshare, _) => Cow::Borrowed(body.as_bytes()),
            (BodyFormat::CloudEvents, Payload::Json(text)) if !text.chars().all(takes) => {
                Cow::Owned(body::verbatim(text).into_bytes())
            }
            // What is text or base64 there is the payload once it is undone.
            _ => Cow::Borrowed(bytes),
        };
        let steady = match format {
            BodyFormat::Raw => true,
            BodyFormat::CloudEvents => !bytes.windows(3).any(|window| REFUSED.contains(&window)),
            // Its body has the time of receipt, which may be corrected later.
            BodyFormat::Microshare => record.draft.received.trust == Trust::Confirmed && body.len() <= STEADY_BYTES,
        };
        RecordDigest { sum: digest(facts.position, &facts.id, &facts.topic, &data), steady }
    }
}

/// Which settings a record's data depends on, as a number that changes with them; never 0.
pub fn settings(rendering: &Rendering) -> u64 {
    let redact = rendering.redact.iter().map(Pointer::levels).map(|levels| levels.join("\u{0}")).collect::<Vec<_>>();
    let mut all = vec![RENDERED.to_owned(), format!("{:?}", rendering.format), redact.join("\u{1}")];
    if rendering.format == BodyFormat::Microshare {
        // The body says the type.
        all.extend([rendering.type_prefix, rendering.gateway_id, rendering.site].map(str::to_owned));
        all.extend(rendering.rectype.map(ToString::to_string));
    }
    let parts: Vec<&[u8]> = all.iter().map(String::as_bytes).collect();
    u64::from_str_radix(&hash(&parts, 16), 16).unwrap_or(1).max(1)
}
