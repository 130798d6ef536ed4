//! The gap record: a hole, written down for the consumer, and read again.
//!
//! It has its own position in the lane, and its own message group. It is read again twice: at an opening, where a hole of
//! the state file may have been announced already, and when it is evicted before it was sent.

use crate::clock::{Moment, rfc3339_ms};
use crate::journal::ledger::gaps::{About, PendingGap, Reason};
use crate::record::own::{self, GAP, PROFILE};
use crate::record::{Draft, JournalId, LaneId, Position, Record};
use serde::Deserialize;
use std::collections::BTreeSet;

/// The record that announces a hole: its own position, in its own group, so not in order with those that it reports.
pub(crate) fn draft(journal: JournalId, now: Moment, lane: (LaneId, &str), hole: &PendingGap) -> Draft {
    let time = |ms: Option<i64>| ms.and_then(rfc3339_ms);
    let payload = serde_json::json!({
        "lane": lane.1,
        "reason": hole.reason.outcome(),
        "bound": hole.reason.bound(),
        "ranges": hole.ranges,
        "count": hole.count,
        "first_received": time(hole.about.first_ms),
        "last_received": time(hole.about.last_ms),
        "groups": hole.about.groups,
        "further_groups": hole.about.further,
    });
    own::draft(journal, now, lane.0, GAP, &payload)
}

/// What a gap record says.
#[derive(Deserialize)]
struct Announcement {
    reason: String,
    bound: Option<String>,
    ranges: Vec<(Position, Position)>,
    count: u64,
    #[serde(default)]
    first_received: Option<String>,
    #[serde(default)]
    last_received: Option<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    further_groups: u64,
}

/// The hole that a record announces; `None`: it is not a gap record.
///
/// When a gap record is lost itself before it was sent, what it announced is to be announced again.
pub(crate) fn announced_by(record: &Record) -> Option<PendingGap> {
    if record.draft.profile != PROFILE || record.draft.identity.record_type != GAP {
        return None;
    }
    let said: Announcement = serde_json::from_slice(&record.draft.message.payload).ok()?;
    let reason = Reason::ALL
        .into_iter()
        .find(|reason| reason.outcome() == said.reason && reason.bound() == said.bound.as_deref());
    let ms = |text: Option<String>| {
        let at = time::OffsetDateTime::parse(&text?, &time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
    };
    let about = About {
        first_ms: ms(said.first_received),
        last_ms: ms(said.last_received),
        groups: said.groups,
        further: said.further_groups,
    };
    let mut hole =
        PendingGap { reason: reason.unwrap_or(Reason::Other), ranges: said.ranges, count: said.count, about };
    hole.tidy();
    Some(hole)
}
