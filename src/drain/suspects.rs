//! Suspects: records whose flights fail without a word of the service, time after time.
//!
//! Something between here and the service may refuse what a single record contains: a filter with a page of its own, a
//! proxy with a bound in bytes, one that cuts the connection. Such a refusal looks like a link that fails, and to wait for the
//! link would stop a lane for one payload. So:
//!
//! - A record that was aboard of [`SUSPECT_AFTER`] flights in a row that failed so, or of one that it was alone in and that
//!   something refused for its size, is a *suspect*. It travels with no other record, and while the gate is closed all others
//!   probe before it.
//! - What fails with a suspect says nothing of the link where anything else was accepted since that suspect was tried last. Then
//!   the gate stays open, the suspect's group waits, longer each time, and it is named. Where nothing else was accepted the link
//!   may as well be away, and the gate closes as for any other record. A record of another group that comes meanwhile does not wait
//!   for that: it is tried at once, and shows which it is.
//! - A suspect is acquitted when the queue accepts it or refuses it by a code. After a portal has answered everything for a
//!   night many are innocent: each time that suspects are accepted, twice as many travel together, and one again after a
//!   failure.
//!
//! No suspect is ever given up but by a person (`tidegate journal quarantine add`).

use crate::drain::batcher::BatchLimits;
use crate::drain::governor::GateState;
use crate::drain::send::BatchItem;
use crate::drain::suspicion::{SuspectStatus, Suspicion};
use crate::drain::task::Drain;
use crate::profile::order_key;
use crate::record::Position;
use crate::sqs::limits::BATCH_ENTRIES;
use crate::sqs::{BatchSender, Fault, FaultClass};
use std::time::Duration;
use tokio::time::Instant;

/// Failed flights in a row that make a record a suspect.
pub(super) const SUSPECT_AFTER: u32 = 3;
/// Of flights that were ended because the link was away and is back so many count as one: they tell of the link, unless it goes each
/// time that the record flies.
const RETURNS: u32 = 4;
/// A suspect's group waits for this long after it has failed while others were accepted, doubling up to the maximum.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Most suspects that are named.
const NAMED_MAX: usize = 8;

/// Whether a failed call may be the doing of one of its records: of something on the way that refuses it, or of the service, which
/// fails over it. All else that the service says by a code it says of the lane.
fn may_be_a_records(fault: &Fault) -> bool {
    let unsaid = matches!(fault.class, FaultClass::Link | FaultClass::Unknown);
    !fault.never_sent && (unsaid || is_for_size(fault))
}

/// Something on the way refuses the request for its size, and says nothing else.
pub(super) fn is_for_size(fault: &Fault) -> bool {
    fault.class == FaultClass::Shrink && fault.code.is_none()
}

impl<S: BatchSender> Drain<S> {
    /// The next batch, and whether it is one of suspects. While batches fly suspects go as soon as they may, else last. One flight
    /// of suspects at a time.
    pub(super) fn next_batch(&mut self, limits: BatchLimits, now: Instant) -> (Vec<Position>, bool) {
        let together = BATCH_ENTRIES.min(1 << self.suspects.together.min(8));
        let alone = BatchLimits { entries: limits.entries.min(together), ..limits };
        let open = *self.governor.state() == GateState::Open;
        let may_try = self.trying.is_none();
        if may_try && open {
            let batch = self.batcher.next_suspects(alone, now);
            if !batch.is_empty() {
                return (batch, true);
            }
        }
        let batch = self.batcher.next(limits, now);
        if batch.is_empty() && may_try && !open {
            return (self.batcher.next_suspects(alone, now), true);
        }
        (batch, false)
    }

    /// Another record can show whether the link or a suspect has closed the gate: it is tried at once.
    pub(super) fn try_others(&mut self, now: Instant) {
        if self.suspects.closed_gate && self.batcher.ready_groups() > 0 {
            self.suspects.closed_gate = false;
            self.governor.wake(now);
        }
    }

    /// A record was accepted.
    pub(super) fn proves_the_link(&mut self, position: Position) {
        self.suspects.accepted += 1;
        if self.held.get(&position).is_some_and(|held| held.suspicion.is_some()) {
            self.suspects.together = (self.suspects.together + 1).min(4);
        }
    }

    /// A flight has failed, for all that the gate knows. A wait that the service asks for is waited.
    pub(super) fn closed_by(&mut self, of_suspects: bool, fault: &Fault) {
        self.suspects.closed_gate = of_suspects && may_be_a_records(fault) && fault.retry_after.is_none();
    }

    /// A flight with this record failed without a word of the service. Puts it back, and tells whether the failure is its own, as far
    /// as can be told. `of_suspects`: the flight carried nothing else; `alone`: nor any other suspect.
    pub(super) fn suspect(&mut self, item: &BatchItem, fault: &Fault, of_suspects: bool, alone: bool) -> bool {
        let position = item.position;
        let accepted = self.suspects.accepted;
        let Some(held) = self.held.get_mut(&position) else { return false };
        if !may_be_a_records(fault) {
            self.again(position, true, None);
            return false;
        }
        held.failures = held.failures.saturating_add(if fault.tells_of_the_link() { 1 } else { RETURNS });
        let Some(suspicion) = held.suspicion.as_mut().filter(|_| of_suspects) else {
            let refused_alone = alone && is_for_size(fault);
            if held.suspicion.is_none() && (held.failures >= SUSPECT_AFTER * RETURNS || refused_alone) {
                let record = item.record.as_deref();
                held.suspicion = Some(Box::new(Suspicion {
                    accepted_before: accepted,
                    proven: 0,
                    topic: record.map_or_else(String::new, |record| record.draft.message.topic.clone()),
                    group: record.map_or_else(String::new, |record| order_key(record).into_owned()),
                    why: fault.text.clone(),
                }));
                self.suspected.insert(position);
                self.batcher.suspect(position);
            }
            self.again(position, true, None);
            return false;
        };
        let proven = accepted > suspicion.accepted_before;
        suspicion.accepted_before = accepted;
        suspicion.why.clone_from(&fault.text);
        self.suspects.together = 0;
        if !proven {
            self.again(position, true, None);
            return false;
        }
        suspicion.proven += u32::from(alone);
        let first = alone && suspicion.proven == 1;
        let wait = WAIT_FIRST.saturating_mul(1 << suspicion.proven.min(10)).min(WAIT_MAX);
        self.again(position, true, Some(Instant::now() + wait));
        if first {
            self.say_suspect(position);
        }
        true
    }

    fn say_suspect(&self, position: Position) {
        let Some(held) = self.held.get(&position) else { return };
        let Some(Suspicion { topic, group, why, .. }) = held.suspicion.as_deref() else { return };
        let (queue, number) = (self.lane_name(), held.number);
        let remedy = format!(
            "let the filter or proxy on the way pass it, or give it up: tidegate journal quarantine add {number}"
        );
        tracing::error!(
            queue,
            %number,
            topic,
            group,
            error = why,
            remedy,
            "record does not get through although all others do; its group waits, everything else goes on"
        );
    }

    /// The service itself has spoken of this record: the way is open to it.
    pub(super) fn acquit(&mut self, position: Position) {
        if let Some(held) = self.held.get_mut(&position) {
            held.failures = 0;
            if held.suspicion.take().is_some() {
                self.suspected.remove(&position);
                self.batcher.acquit(position);
            }
        }
    }

    /// The suspects that failed while all else was accepted, lowest first, and how many there are.
    pub(super) fn named_suspects(&self) -> (Vec<SuspectStatus>, u64) {
        let all = self.suspected.iter().filter_map(|position| self.held.get(position));
        let proven = all.filter_map(|held| {
            let suspicion = held.suspicion.as_ref().filter(|suspicion| suspicion.proven > 0)?;
            Some((held.number, suspicion))
        });
        let named = proven.clone().take(NAMED_MAX).map(|(number, suspicion)| SuspectStatus {
            number: number.0,
            topic: suspicion.topic.clone(),
            group: suspicion.group.clone(),
            failures: suspicion.proven,
            why: suspicion.why.clone(),
        });
        (named.collect(), proven.count() as u64)
    }
}
