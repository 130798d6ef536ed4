//! What comes back, turned into settle, resend or quarantine.

use crate::clock::boottime_ms;
use crate::drain::governor::{self, Change, LaunchId};
use crate::drain::send::{BatchItem, BatchOutcome, ItemOutcome};
use crate::drain::settle::{self, Verdict};
use crate::drain::suspects::is_for_size;
use crate::drain::task::{Drain, Event};
use crate::failpoints::{self, Failpoint};
use crate::journal::books::Outcome;
use crate::profile::order_key;
use crate::record::Position;
use crate::record::chain::Digest;
use crate::sqs::{BatchSender, Fault, FaultClass, classify};
use futures_util::FutureExt;
use std::time::Duration;
use tokio::time::Instant;

/// A refused record's group is held for this long, doubling up to the maximum.
const HOLD_FIRST: Duration = Duration::from_millis(500);
pub(super) const HOLD_MAX: Duration = Duration::from_secs(30);
/// For so long the failpoint lets a group go on without a record of it.
const OVERTAKEN: Duration = Duration::from_millis(100);

/// What is known of a flight as a whole.
#[derive(Clone, Copy, Debug)]
struct Landing<'a> {
    id: LaunchId,
    /// Time since boot of the attempt, in ms.
    attempted_ms: u64,
    /// One record was sent.
    single: bool,
    /// Only suspects were sent.
    of_suspects: bool,
    /// Why the call failed as a whole, if it did.
    fault: Option<&'a Fault>,
}

impl<S: BatchSender> Drain<S> {
    pub(super) fn take_outcome(&mut self, id: LaunchId, batch: BatchOutcome) {
        let BatchOutcome { items, attempted_ms, fault, sent, marked, took } = batch;
        let fault = fault.or_else(|| (sent > 0 && nothing_known(&items)).then(no_evidence));
        self.count((sent, marked), took, fault.as_ref());
        self.count_inversions(&items);
        let single = sent == 1;
        let of_suspects = self.trying.take_if(|trying| *trying == id).is_some();
        let landing = Landing { id, attempted_ms, single, of_suspects, fault: fault.as_ref() };
        let accepted =
            items.iter().any(|(_, outcome)| matches!(outcome, ItemOutcome::Judged(Verdict::Accepted { .. })));
        if accepted {
            // Whatever else is refused beside it: the lane's cause is not the queue's.
            self.quarantined_in_row = 0;
        }
        // What single records tell of the whole lane, and whether a failure is theirs alone.
        let (mut trouble, mut theirs) = (None, true);
        for (item, outcome) in items {
            match outcome {
                ItemOutcome::Judged(Verdict::Accepted { md5_differs }) => {
                    self.accepted(item.position, item.digest, md5_differs);
                }
                ItemOutcome::Judged(Verdict::Ambiguous) => {
                    self.shared.lock().ambiguous += 1;
                    self.history(item.position, attempted_ms);
                    match self.ambiguous(item, landing) {
                        Doubt::Lane(told) => trouble = trouble.or(told),
                        Doubt::Way => theirs = false,
                        Doubt::Record => {}
                    }
                }
                ItemOutcome::Judged(Verdict::NotSent) => {
                    theirs = false;
                    self.again(item.position, false, None);
                }
                ItemOutcome::Postponed => self.again(item.position, false, None),
                ItemOutcome::Judged(Verdict::Refused { code, text }) => {
                    let told = self.refused(item, code, text, landing);
                    trouble = trouble.or(told);
                }
                ItemOutcome::Unsendable(text) => {
                    let told = self.quarantine(item, "TooLarge".to_owned(), text, id);
                    trouble = trouble.or(told);
                }
                ItemOutcome::Unreadable => self.unreadable(item.position),
            }
        }
        // An answer opens the gate, unless all that it brought is trouble: a probe that is refused like the one before it
        // must find the wait grown. What is on its way into quarantine is not an answer yet: that may be full.
        let pending = self.setting_aside.contains_key(&id);
        let open = accepted || trouble.is_none() && !pending;
        let silent = if pending { governor::Outcome::Pending } else { governor::Outcome::Silent };
        match trouble.or(fault) {
            // What failed with the record that was alone in the batch is dealt with; the way itself is open.
            Some(fault) if single && quarantined_for(&fault).is_some() => self.landed(id, silent),
            Some(_) if of_suspects && theirs => self.landed(id, governor::Outcome::Silent),
            Some(mut fault) => {
                if single && is_for_size(&fault) {
                    // There is nothing to make smaller: for the gate it is a way that does not open.
                    fault.class = FaultClass::Link;
                }
                self.closed_by(of_suspects, &fault);
                self.landed(id, governor::Outcome::Failed { fault: &fault, single, answered: accepted });
            }
            None if sent > 0 && open => self.landed(id, governor::Outcome::Answered),
            None => self.landed(id, silent),
        }
    }

    fn accepted(&mut self, position: Position, digest: Option<Digest>, md5_differs: bool) {
        self.context.lane.accepted(position, digest);
        self.proves_the_link(position);
        let now_ms = boottime_ms();
        let received_ms = self.held.get(&position).map_or(0, |held| held.received_ms);
        let mut status = self.shared.lock();
        status.accepted += 1;
        status.times.delivered(received_ms, now_ms);
        status.accepted_ms = Some(now_ms);
        status.md5_differs += u64::from(md5_differs);
        drop(status);
        self.release(position);
    }

    /// Nothing is known of this one.
    fn ambiguous(&mut self, item: BatchItem, landing: Landing<'_>) -> Doubt {
        let Landing { fault, single, of_suspects, .. } = landing;
        let parks = |fault: &Fault| fault.class == FaultClass::WaitForConfiguration;
        let broke = |fault: &Fault| fault.class == FaultClass::Link;
        if failpoints::is_armed(Failpoint::ForgetParked) && fault.is_some_and(parks)
            || failpoints::is_armed(Failpoint::SentIsAccepted) && fault.is_some_and(broke)
        {
            self.accepted(item.position, item.digest, false);
            return Doubt::Lane(None);
        }
        match fault.map(|fault| (quarantined_for(fault).filter(|_| single), fault)) {
            Some((Some(code), fault)) => Doubt::Lane(self.quarantine(item, code, fault.text.clone(), landing.id)),
            // The gate makes all wait, unless this record alone is to blame.
            Some((None, fault)) if self.suspect(&item, fault, of_suspects, single) => Doubt::Record,
            Some((None, _)) => Doubt::Way,
            // The answer spoke of others but not of this one: its group waits.
            None => {
                self.hold(item.position, true);
                Doubt::Lane(None)
            }
        }
    }

    fn unreadable(&mut self, position: Position) {
        tracing::error!(queue = self.lane_name(), position = position.0, "record lost: it cannot be read back");
        self.context.lane.settle([(position, Outcome::Damaged)]);
        self.release(position);
    }

    fn count(&self, (sent, marked): (usize, usize), took: Option<Duration>, fault: Option<&Fault>) {
        let mut status = self.shared.lock();
        if let Some(took) = took {
            status.times.call.observe(took);
        }
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
    fn count_inversions(&mut self, items: &[(BatchItem, ItemOutcome)]) {
        let judged = items.iter().filter_map(|(item, outcome)| match outcome {
            ItemOutcome::Judged(verdict) => Some((item, verdict.clone())),
            _ => None,
        });
        let group =
            |item: &BatchItem| item.record.as_ref().map_or_else(String::new, |record| order_key(record).into_owned());
        let (groups, verdicts): (Vec<String>, Vec<Verdict>) =
            judged.clone().map(|(item, verdict)| (group(item), verdict)).unzip();
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        let inversions = settle::inversions(&names, &verdicts);
        self.shared.lock().inversions += inversions as u64;
        let in_part: Vec<Position> = judged
            .filter(|(item, verdict)| {
                let siblings = groups.iter().filter(|name| **name == group(item)).count();
                siblings > 1 && !matches!(verdict, Verdict::Accepted { .. })
            })
            .map(|(item, _)| item.position)
            .collect();
        in_part.into_iter().for_each(|position| self.batcher.go_strictly(position));
    }

    /// Tells the governor what came of a flight, and people what that has changed.
    fn landed(&mut self, id: LaunchId, outcome: governor::Outcome<'_>) {
        let (random, urgent) = self.lot_and_urgency(outcome);
        let change = self.governor.landed(id, outcome, Instant::now(), random, urgent);
        self.say(outcome, change);
    }

    /// The same, of what is known only now of a flight that has landed.
    pub(super) fn told(&mut self, id: LaunchId, outcome: governor::Outcome<'_>) {
        let (random, urgent) = self.lot_and_urgency(outcome);
        let change = self.governor.told(id, outcome, Instant::now(), random, urgent);
        self.say(outcome, change);
    }

    /// A lot for waits, and whether a record in the window is young enough for its resend to be absorbed: what a failure asks
    /// for. Nothing else does, and the window is long.
    fn lot_and_urgency(&self, outcome: governor::Outcome<'_>) -> (u32, bool) {
        if !matches!(outcome, governor::Outcome::Failed { .. }) {
            return (0, false);
        }
        let now_ms = self.context.clock.now().boottime_ms;
        let urgent = self.held.values().any(|held| held.history.within_dedup_window(now_ms));
        (getrandom::u32().unwrap_or(u32::MAX / 2), urgent)
    }

    fn say(&self, outcome: governor::Outcome<'_>, change: Change) {
        let Change { opened, closed } = change;
        let queue = self.lane_name();
        if opened {
            tracing::info!(queue, waiting = self.context.lane.waiting(), "queue takes records again");
        }
        let governor::Outcome::Failed { fault, .. } = outcome else { return };
        if !closed {
            return;
        }
        let code = fault.code.as_deref().unwrap_or("-");
        match fault.class {
            FaultClass::WaitForConfiguration | FaultClass::WaitForClock | FaultClass::Bug => {
                let (error, remedy) = (&fault.text, &fault.remedy);
                tracing::error!(queue, code, error, remedy, "queue does not take records, they wait in the journal");
            }
            _ => {
                tracing::warn!(
                    queue,
                    code,
                    error = fault.text,
                    "queue does not take records now, they wait in the journal"
                );
            }
        }
    }

    fn history(&mut self, position: Position, attempted_ms: u64) {
        if let Some(held) = self.held.get_mut(&position) {
            held.history.attempted(attempted_ms);
        }
    }

    /// The queue said no to this one. Gives what is wrong with the lane, if the code tells of that.
    fn refused(&mut self, item: BatchItem, code: String, text: String, landing: Landing<'_>) -> Option<Fault> {
        *self.shared.lock().faults.entry(code.clone()).or_default() += 1;
        self.acquit(item.position);
        let meaning = classify::entry(&code);
        match meaning.class {
            FaultClass::Quarantine => {
                if let Some(limit) = classify::learn_limit(&text) {
                    let least = self.size_limit.learn(limit, Instant::now());
                    tracing::warn!(
                        queue = self.lane_name(),
                        limit = least,
                        "the queue's own maximum message size is learnt"
                    );
                }
                self.quarantine(item, code, text, landing.id)
            }
            FaultClass::SlowDown | FaultClass::WaitForConfiguration | FaultClass::WaitForClock => {
                self.again(item.position, false, None);
                let text = format!("{} ({code}: {text})", meaning.reason);
                let remedy = meaning.remedy.to_owned();
                let (class, code) = (meaning.class, Some(code));
                Some(Fault { class, code, text, remedy, never_sent: false, retry_after: None })
            }
            _ => {
                // A fault of the service's own, or a word that we do not know: no proof that it kept nothing.
                self.history(item.position, landing.attempted_ms);
                self.hold(item.position, false);
                None
            }
        }
    }

    /// Puts a record back: it goes again, before anything newer of its group. `urgent`: the queue may have it already.
    pub(super) fn again(&mut self, position: Position, urgent: bool, hold: Option<Instant>) {
        if self.context.lane.is_settled(position) {
            // A person has put it into quarantine meanwhile.
            return self.release(position);
        }
        if failpoints::is_armed(Failpoint::Overtake)
            && let Some(record) = self.held.get(&position).and_then(|held| held.record.clone())
        {
            // Its group goes on without it.
            self.batcher.done(position);
            let late = tokio::time::sleep(OVERTAKEN).map(move |()| Event::Overtaken(position, record));
            self.events.push(late.boxed());
            return;
        }
        self.batcher.again(position, urgent, hold);
    }

    /// Puts a record back and lets its group wait, longer each time.
    fn hold(&mut self, position: Position, urgent: bool) {
        let refusals = self.held.get_mut(&position).map_or(0, |held| {
            held.refusals += 1;
            held.refusals
        });
        let hold = HOLD_FIRST.saturating_mul(1 << refusals.saturating_sub(1).min(10)).min(HOLD_MAX);
        self.again(position, urgent, Some(Instant::now() + hold));
    }
}

/// Whether an answer says nothing of any entry: an empty 200, or another server's page.
fn nothing_known(items: &[(BatchItem, ItemOutcome)]) -> bool {
    !items
        .iter()
        .any(|(_, outcome)| matches!(outcome, ItemOutcome::Judged(Verdict::Accepted { .. } | Verdict::Refused { .. })))
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

/// What a record of which nothing is known tells.
enum Doubt {
    /// What is wrong with the lane, if it tells of that.
    Lane(Option<Fault>),
    /// Nothing is known of the way either.
    Way,
    /// The failure is this record's own.
    Record,
}

/// The code for which a record goes into quarantine that was alone in a batch which failed. A code that speaks of the request's
/// form says nothing about it: it would be the same for every record. Nor does a stranger's refusal.
fn quarantined_for(fault: &Fault) -> Option<String> {
    let code = fault.code.as_ref()?;
    let says = match fault.class {
        FaultClass::Shrink => true,
        FaultClass::Bug => classify::entry(code).class == FaultClass::Quarantine,
        _ => false,
    };
    says.then(|| code.clone())
}
