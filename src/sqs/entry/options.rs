//! What the messages of one queue are rendered by, for as long as a configuration is in effect.

use crate::config::BodyFormat;
use crate::json::pointer::Pointer;
use crate::record::LaneId;
use crate::record::type_template::Template;
use crate::sqs::entry::Rendering;
use crate::sqs::limits::ENTRY_BYTES;

/// What the messages of one queue are rendered by, beside what is known of the moment and of each attempt.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// Body format.
    pub format: BodyFormat,
    /// Whether the queue is a FIFO queue: only those take a deduplication id.
    pub fifo: bool,
    /// Prefix of the CloudEvents type; may be empty.
    pub type_prefix: String,
    /// The gateway's label.
    pub gateway_id: String,
    /// First part of the CloudEvents source.
    pub site: String,
    /// The record type for routing, where the operator has one of their own.
    pub rectype: Option<Template>,
    /// Values of JSON payloads that do not leave the gateway.
    pub redact: Vec<Pointer>,
}

impl RenderOptions {
    /// The rendering of a first attempt in `lane`, at a moment that is not known, up to the size that SQS takes.
    pub fn in_lane(&self, lane: LaneId) -> Rendering<'_> {
        Rendering {
            format: self.format,
            fifo: self.fifo,
            type_prefix: &self.type_prefix,
            gateway_id: &self.gateway_id,
            site: &self.site,
            rectype: self.rectype.as_ref(),
            redact: &self.redact,
            lane,
            now: None,
            possible_duplicate: false,
            limit: ENTRY_BYTES,
        }
    }
}
