//! What comes back, turned into settle, resend or quarantine.

use super::flight::{Fate, Landing, Seat};
use super::settle::{self, Verdict};
use super::task::{Doubt, Drain, Event, SURELY_ABSORBED_MS};
use crate::journal::JournalError;
use crate::journal::books::Outcome;
use crate::sqs::limits::LEAST_MESSAGE_BYTES;
use crate::sqs::{BatchSender, Fault, FaultClass, classify};
use futures_util::FutureExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// Records quarantined in a row, with none accepted in between, after which the cause is taken to be the lane's.
const QUARANTINE_ROW: u32 = 20;
/// Accepted calls after which batches are filled again, once a request of ours was called malformed.
const SINGLES: u32 = 100;
/// A refused record's group is held for this long, doubling up to the maximum.
const HOLD_FIRST: Duration = Duration::from_millis(500);
const HOLD_MAX: Duration = Duration::from_secs(30);

impl<S: BatchSender> Drain<S> {
    pub(super) fn land(&mut self, landing: Landing) {
        let Landing { seats, attempted_ms, fault, sent, marked } = landing;
        self.count(sent, marked, fault.as_ref());
        self.count_inversions(&seats);
        let single = sent == 1;
        let fault = fault.or_else(|| (sent > 0 && nothing_known(&seats)).then(no_evidence));
        if sent > 0 && fault.is_none() {
            self.answered();
        }
        for (seat, fate) in seats {
            match fate {
                Fate::Judged(Verdict::Accepted { md5_differs }) => {
                    self.airline.lane.settle([(seat.position, Outcome::Accepted)]);
                    self.quarantined_in_row = 0;
                    let mut status = self.shared.lock();
                    status.accepted += 1;
                    status.md5_differs += u64::from(md5_differs);
                    drop(status);
                    self.release(seat.position);
                }
                Fate::Judged(Verdict::Ambiguous) => {
                    self.shared.lock().ambiguous += 1;
                    self.doubt(seat.position, attempted_ms);
                    let isolated = fault.as_ref().filter(|_| single).and_then(isolates);
                    match isolated {
                        Some((code, text)) => self.quarantine(seat, code, text),
                        // The gate makes all wait.
                        None if fault.is_some() => self.batcher.again(seat.position, true, None),
                        // The answer spoke of others but not of this one: its group waits.
                        None => self.hold(seat.position, true),
                    }
                }
                Fate::Judged(Verdict::NotSent) | Fate::Postponed => self.batcher.again(seat.position, false, None),
                Fate::Judged(Verdict::Refused { code, text }) => self.refused(seat, code, text),
                Fate::Unsendable(text) => self.quarantine(seat, "TooLarge".to_owned(), text),
                Fate::Unreadable => {
                    tracing::error!(
                        lane = self.lane_name(),
                        position = seat.position,
                        "record lost: it cannot be read back"
                    );
                    self.airline.lane.settle([(seat.position, Outcome::Damaged)]);
                    self.release(seat.position);
                }
            }
        }
        if let Some(fault) = fault {
            self.failed(&fault, single);
        }
    }

    fn count(&self, sent: usize, marked: usize, fault: Option<&Fault>) {
        let mut status = self.shared.lock();
        status.calls += u64::from(sent > 0);
        status.entries_sent += sent as u64;
        status.marked += marked as u64;
        if let Some(fault) = fault {
            let code = fault.code.clone().unwrap_or_else(|| format!("{:?}", fault.class));
            *status.faults.entry(code).or_default() += 1;
            status.last_fault = Some(if fault.remedy.is_empty() {
                fault.text.clone()
            } else {
                format!("{}: {}", fault.text, fault.remedy)
            });
        }
    }

    /// Only a packed batch can invert, and only when it failed in part.
    fn count_inversions(&mut self, seats: &[(Seat, Fate)]) {
        let judged = seats.iter().filter_map(|(seat, fate)| match fate {
            Fate::Judged(verdict) => Some((seat, verdict.clone())),
            _ => None,
        });
        let group =
            |seat: &Seat| seat.record.as_ref().map_or("", |record| record.draft.identity.group.as_str()).to_owned();
        let (groups, verdicts): (Vec<String>, Vec<Verdict>) =
            judged.clone().map(|(seat, verdict)| (group(seat), verdict)).unzip();
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        let inversions = settle::inversions(&names, &verdicts);
        self.shared.lock().inversions += inversions as u64;
        let in_part: Vec<u64> = judged
            .filter(|(seat, verdict)| {
                let siblings = groups.iter().filter(|name| **name == group(seat)).count();
                siblings > 1 && !matches!(verdict, Verdict::Accepted { .. })
            })
            .map(|(seat, _)| seat.position)
            .collect();
        in_part.into_iter().for_each(|position| self.batcher.go_strictly(position));
    }

    fn answered(&mut self) {
        self.singles_left = self.singles_left.saturating_sub(1);
        if self.gate.answered() {
            tracing::info!(lane = self.lane_name(), waiting = self.airline.lane.waiting(), "queue takes records again");
        }
    }

    fn failed(&mut self, fault: &Fault, single: bool) {
        match fault.class {
            FaultClass::Shrink if !single => self.limits.bytes = (self.limits.bytes / 2).max(LEAST_MESSAGE_BYTES),
            FaultClass::Bug if !single => self.singles_left = SINGLES,
            // The record that was alone in the batch is dealt with; the way itself is open.
            FaultClass::Shrink | FaultClass::Bug if isolates(fault).is_some() => return,
            _ => {}
        }
        let now_ms = self.airline.clock.now().boottime_ms;
        let young = |doubt: Doubt| matches!(doubt, Doubt::Since(at) if now_ms.saturating_sub(at) < SURELY_ABSORBED_MS);
        let urgent = self.held.values().any(|held| young(held.doubt));
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        if self.gate.failed(fault, Instant::now(), random, urgent) {
            let (lane, code) = (self.lane_name(), fault.code.as_deref().unwrap_or("-"));
            match fault.class {
                FaultClass::WaitForConfiguration | FaultClass::WaitForClock | FaultClass::Bug => {
                    tracing::error!(
                        lane,
                        code,
                        error = fault.text,
                        remedy = fault.remedy,
                        "queue does not take records, they wait in the journal"
                    );
                }
                _ => tracing::warn!(
                    lane,
                    code,
                    error = fault.text,
                    "queue does not take records now, they wait in the journal"
                ),
            }
        }
    }

    fn doubt(&mut self, position: u64, attempted_ms: u64) {
        if let Some(held) = self.held.get_mut(&position)
            && held.doubt == Doubt::None
        {
            held.doubt = Doubt::Since(attempted_ms);
        }
    }

    fn refused(&mut self, seat: Seat, code: String, text: String) {
        *self.shared.lock().faults.entry(code.clone()).or_default() += 1;
        let meaning = classify::entry(&code);
        match meaning.class {
            FaultClass::Quarantine => {
                if let Some(limit) = classify::learn_limit(&text) {
                    let least = limit.max(LEAST_MESSAGE_BYTES);
                    self.airline.limit.fetch_min(least, Relaxed);
                    tracing::warn!(
                        lane = self.lane_name(),
                        limit = least,
                        "the queue's own maximum message size is learnt"
                    );
                }
                self.quarantine(seat, code, text);
            }
            FaultClass::SlowDown | FaultClass::WaitForConfiguration | FaultClass::WaitForClock => {
                self.batcher.again(seat.position, false, None);
                let fault = Fault {
                    class: meaning.class,
                    code: Some(code),
                    text,
                    remedy: meaning.remedy.to_owned(),
                    never_sent: false,
                    retry_after: None,
                };
                self.failed(&fault, false);
            }
            _ => self.hold(seat.position, false),
        }
    }

    /// Puts a record back and lets its group wait, longer each time.
    fn hold(&mut self, position: u64, urgent: bool) {
        let refusals = self.held.get_mut(&position).map_or(0, |held| {
            held.refusals += 1;
            held.refusals
        });
        let hold = HOLD_FIRST.saturating_mul(1 << refusals.saturating_sub(1).min(10)).min(HOLD_MAX);
        self.batcher.again(position, urgent, Some(Instant::now() + hold));
    }

    /// Sets a record aside, unless so many were in a row that the cause must be the lane's.
    fn quarantine(&mut self, seat: Seat, code: String, text: String) {
        if self.quarantined_in_row >= QUARANTINE_ROW {
            self.batcher.again(seat.position, false, None);
            self.park(format!(
                "{QUARANTINE_ROW} records in a row were refused for good, the last one with {code}: {text}"
            ));
            return;
        }
        let Some(record) = seat.record else {
            self.batcher.again(seat.position, false, None);
            return;
        };
        let (lane, position) = (self.airline.lane.clone(), seat.position);
        tracing::error!(
            lane = self.lane_name(),
            position,
            key = record.key,
            code,
            error = text,
            "record can never be sent, put into quarantine"
        );
        let kept = tokio::task::spawn_blocking(move || lane.quarantine(&record, position, &code, &text));
        let kept = kept.map(move |joined| Event::Quarantined {
            position,
            kept: joined.unwrap_or_else(|error| Err(JournalError::reading(&error.to_string()))),
        });
        self.events.push(kept.boxed());
    }

    pub(super) fn quarantined(&mut self, position: u64, kept: Result<bool, JournalError>) {
        match kept {
            Ok(true) => {
                self.quarantined_in_row += 1;
                self.release(position);
            }
            Ok(false) => {
                self.batcher.again(position, false, None);
                self.park("the quarantine is full".to_owned());
            }
            Err(error) => {
                self.batcher.again(position, false, Some(Instant::now() + HOLD_MAX));
                tracing::warn!(lane = self.lane_name(), position, %error, "record not put into quarantine, tried again");
            }
        }
    }

    fn park(&mut self, text: String) {
        let fault = Fault {
            class: FaultClass::WaitForConfiguration,
            code: Some("Quarantine".to_owned()),
            text,
            remedy: "look at the records in quarantine and at the queue's settings, then restart the agent".to_owned(),
            never_sent: true,
            retry_after: None,
        };
        self.failed(&fault, false);
    }
}

/// Whether an answer says nothing of any entry: an empty 200, or somebody else's page.
fn nothing_known(seats: &[(Seat, Fate)]) -> bool {
    !seats.iter().any(|(_, fate)| matches!(fate, Fate::Judged(Verdict::Accepted { .. } | Verdict::Refused { .. })))
}

fn no_evidence() -> Fault {
    Fault {
        class: FaultClass::Link,
        code: Some("NoEvidence".to_owned()),
        text: "the answer names none of the entries that were sent: a proxy or a portal in between?".to_owned(),
        remedy: String::new(),
        never_sent: false,
        retry_after: None,
    }
}

/// Whether a failed call with this record alone tells that the record itself is at fault: the service said so by code.
fn isolates(fault: &Fault) -> Option<(String, String)> {
    let by_code = matches!(fault.class, FaultClass::Shrink | FaultClass::Bug);
    fault.code.clone().filter(|_| by_code).map(|code| (code, fault.text.clone()))
}
