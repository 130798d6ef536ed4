//! Records that can never be sent: set aside with the reason, durably, while the rest of their group goes on.
//!
//! Quarantine must never become a drain of its own. So the lane parks, and sends nothing but a slow probe, when
//! [`QUARANTINE_ROW`] records in a row were refused for good with none accepted in between (then the cause is the lane's,
//! not theirs), or when the quarantine is full. A probe that is accepted, or that finds room, lets the lane continue: no person
//! has to restart anything. The record whose turn it was keeps its place at the head of its group meanwhile.

use crate::drain::governor::{LaunchId, Outcome};
use crate::drain::outcome::HOLD_MAX;
use crate::drain::send::BatchItem;
use crate::drain::task::{Drain, Event};
use crate::journal::JournalError;
use crate::record::Position;
use crate::sqs::{BatchSender, Fault, FaultClass};
use futures_util::FutureExt;
use tokio::time::Instant;

/// Records set aside in a row, with none accepted in between, after which the cause is taken to be the lane's.
pub(super) const QUARANTINE_ROW: u32 = 20;

impl<S: BatchSender> Drain<S> {
    /// Sets a record aside, unless so many were in a row that the cause must be the lane's: that is then given back.
    /// `id` is the flight that told of it.
    pub(super) fn quarantine(&mut self, item: BatchItem, code: String, text: String, id: LaunchId) -> Option<Fault> {
        // Counted from here on, not from when it is on disk: other flights land meanwhile.
        if self.quarantined_in_row >= QUARANTINE_ROW {
            self.again(item.position, false, None);
            // What was learnt of the queue's largest message may be out of date: the probe asks the queue itself again.
            self.size_limit.forget();
            return Some(parked(
                format!("{QUARANTINE_ROW} records in a row were refused for good, the last one with {code}: {text}"),
                "look at the queue's settings and at the records in quarantine; one record is tried now and then, and \
                 the lane continues by itself once the queue takes it",
            ));
        }
        let Some(record) = item.record else {
            self.again(item.position, false, None);
            return None;
        };
        self.quarantined_in_row += 1;
        *self.setting_aside.entry(id).or_default() += 1;
        let (lane, position) = (self.context.lane.clone(), item.position);
        tracing::error!(
            queue = self.lane_name(),
            position = position.0,
            key = record.key,
            code,
            error = text,
            "record can never be sent, put into quarantine"
        );
        let kept = tokio::task::spawn_blocking(move || lane.quarantine(&record, position, &code, &text));
        let kept = kept.map(move |joined| Event::Quarantined {
            id,
            position,
            kept: joined.unwrap_or_else(|error| Err(JournalError::reading(&error.to_string()))),
        });
        self.events.push(kept.boxed());
        None
    }

    /// The disk has answered.
    pub(super) fn quarantined(&mut self, id: LaunchId, position: Position, kept: Result<bool, JournalError>) {
        let left = self.setting_aside.get_mut(&id).map_or(0, |left| {
            *left -= 1;
            *left
        });
        if left == 0 {
            self.setting_aside.remove(&id);
        }
        match kept {
            Ok(true) => {
                self.release(position);
                if left == 0 {
                    self.told(id, Outcome::Answered);
                }
                return;
            }
            Ok(false) => {
                self.again(position, false, None);
                let fault = parked(
                    "the quarantine is full, and more records are refused for good".to_owned(),
                    "look at why they are refused (tidegate journal quarantine list), keep a copy (tidegate journal \
                     export --quarantine --out FILE) and make room (tidegate journal quarantine drop --all, or requeue); \
                     the lane continues by itself",
                );
                self.told(id, Outcome::Failed { fault: &fault, single: false, answered: false });
            }
            Err(error) => {
                self.again(position, false, Some(Instant::now() + HOLD_MAX));
                tracing::warn!(queue = self.lane_name(), position = position.0, %error, "record not put into quarantine, tried again");
                if left == 0 {
                    self.told(id, Outcome::Silent);
                }
            }
        }
        self.quarantined_in_row = self.quarantined_in_row.saturating_sub(1);
    }
}

/// Why the lane sends nothing but a slow probe.
fn parked(text: String, remedy: &str) -> Fault {
    Fault {
        class: FaultClass::WaitForConfiguration,
        code: Some("Quarantine".to_owned()),
        text,
        remedy: remedy.to_owned(),
        never_sent: true,
        retry_after: None,
    }
}
