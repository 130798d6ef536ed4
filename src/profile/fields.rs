//! What a profile reads of a message, and how an identity is made of it: the same for all profiles.
//!
//! A profile says what is where ([`Fields`]); whether that is an identity, and what the group is called, is decided here
//! and in [`crate::record::identity`]. A frame is one only with an EUI: without it the device that sent it is unknown.

use crate::clock::Moment;
use crate::json::scan::Scalar;
use crate::record::event_time::EventTime;
use crate::record::identity::{Frame, Grouping, KeyCandidates, eui, shown_time};
use crate::record::{Identity, JournalId, Message};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest text that is taken for a device: it travels as an attribute beside the body, where every byte is counted.
pub(super) const DEVICE_BYTES_MAX: usize = 256;

/// Some servers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A radio frame as a network server tells it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct RawFrame {
    /// Id of the session's keys, which one join made; `None` where the server tells none. A `devAddr` is not meant.
    pub(super) session: Option<String>,
    /// Frame counter; an absent one is 0.
    pub(super) counter: u64,
    /// LoRaWAN port; an absent one is 0.
    pub(super) port: u64,
    /// The frame's payload, decrypted.
    pub(super) raw: Vec<u8>,
}

/// What a message holds, as far as identity goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Fields {
    /// The device, an EUI in lower case where it is one.
    pub(super) device: Option<String>,
    /// What the device is grouped by, where its name alone is not unique.
    pub(super) within: Option<String>,
    /// The network server's application.
    pub(super) application: Option<String>,
    /// The server's own id, kind of event in front, made by [`id`](crate::record::identity::id).
    pub(super) native: Option<String>,
    /// A key that is used as it is, by the operator's choice, made by [`literal`](crate::record::identity::literal).
    pub(super) literal: Option<String>,
    /// The radio frame, where it is told.
    pub(super) frame: Option<RawFrame>,
    /// When it happened, by the payload.
    pub(super) time: Option<EventTime>,
    /// Class of the record; empty is `raw`.
    pub(super) record_type: &'static str,
}

impl Fields {
    /// Puts the identity together.
    pub(super) fn identity(
        self,
        message: &Message,
        grouping: Grouping,
        received: Moment,
        journal: JournalId,
    ) -> Identity {
        let Fields { device, within, application, native, literal, frame, time, record_type } = self;
        let device = device.filter(|device| (1..=DEVICE_BYTES_MAX).contains(&device.len()));
        let grouped_by = within.or_else(|| device.clone());
        let group = grouping.group(&message.topic, grouped_by.as_deref(), application.as_deref(), journal);
        let frame = frame.zip(device.as_deref()).filter(|(_, device)| eui(device).is_some());
        let frame = frame.and_then(|(RawFrame { session, counter, port, raw }, eui)| {
            let (session, time) = (session.as_deref(), time.as_ref());
            Frame { kind: "up", eui, session, counter, port, raw: &raw, time }.id()
        });
        let key = KeyCandidates { literal, native, frame }.climb(message);
        let record_type = if record_type.is_empty() { "raw" } else { record_type };
        Identity::new(key, group, device, record_type, shown_time(time.as_ref(), received))
    }
}

/// A text that is not empty.
pub(super) fn text(scalar: Option<Scalar<'_>>) -> Option<String> {
    scalar.and_then(Scalar::text).map(|text| text.into_owned())
}

/// A text that is not empty, or the digits of a number.
pub(super) fn word(scalar: Option<Scalar<'_>>) -> Option<String> {
    scalar.and_then(Scalar::text_or_number).map(|text| text.into_owned())
}

/// A whole number; absent or anything else is 0, as servers that leave out zeros mean it.
pub(super) fn number(scalar: Option<Scalar<'_>>) -> u64 {
    match scalar {
        Some(Scalar::Number(digits)) => digits.parse().unwrap_or_default(),
        _ => 0,
    }
}

/// An instant, in whichever of the forms that [`EventTime::parse`] knows.
pub(super) fn time(scalar: Option<Scalar<'_>>) -> Option<EventTime> {
    scalar.and_then(Scalar::text_or_number).as_deref().and_then(EventTime::parse)
}

/// Base64; an absent text gives no bytes (a frame without payload), a broken one `None`.
pub(super) fn base64(scalar: Option<Scalar<'_>>) -> Option<Vec<u8>> {
    match scalar {
        None | Some(Scalar::Null) => Some(Vec::new()),
        Some(Scalar::Text(text)) => BASE64.decode(text.text()?.as_bytes()).ok(),
        Some(_) => None,
    }
}

/// Hex in either case; absent and broken as for [`base64()`].
pub(super) fn hex(scalar: Option<Scalar<'_>>) -> Option<Vec<u8>> {
    let Some(Scalar::Text(text)) = scalar else {
        return matches!(scalar, None | Some(Scalar::Null)).then(Vec::new);
    };
    let text = text.text()?;
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

/// An EUI as text in any spelling, or as base64 of its eight bytes.
pub(super) fn eui_or_base64(scalar: Option<Scalar<'_>>) -> Option<String> {
    let written = text(scalar)?;
    eui(&written).or_else(|| {
        let bytes = BASE64.decode(written.as_bytes()).ok().filter(|bytes| bytes.len() == 8)?;
        Some(hex::encode(bytes))
    })
}

/// The level of the topic behind the first one called `name`.
pub(super) fn level_after<'a>(topic: &'a str, name: &str) -> Option<&'a str> {
    topic.split('/').skip_while(|level| *level != name).nth(1).filter(|level| !level.is_empty())
}

/// The topic's last level.
pub(super) fn last_level(topic: &str) -> &str {
    topic.rsplit('/').next().unwrap_or_default()
}

/// The class of a message that is not an event of a network server: text is taken for a state, anything else for bytes
/// that no profile can read.
pub(super) fn state_or_raw(payload: &[u8]) -> &'static str {
    if !payload.is_empty() && std::str::from_utf8(payload).is_ok() { "sensor.state" } else { "raw" }
}
