//! Findings about what was lost: each count is a finding until a person acknowledges it, over restarts. Pure.
//!
//! The counts themselves only grow, in the ledger or in what the intake keeps; what is acknowledged is subtracted here. A count
//! below that is one of another journal in the same place: then nothing of it is acknowledged.

use crate::journal::LaneStats;
use crate::status::StatusSnapshot;
use crate::status::findings::codes::{ACKNOWLEDGE, CHECK};
use crate::status::findings::{Code, Finding, counted};
use crate::status::history;
use std::collections::BTreeMap;

/// After the last eviction records are being lost for so long, in seconds: the next one comes with the next generation.
const EVICTING_S: u64 = 15 * 60;

/// How far each count of losses was seen, by its name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// A count of losses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::status) struct Loss {
    /// What kind of loss it is.
    pub(in crate::status) code: Code,
    /// Of which queue or topics.
    pub(in crate::status) about: Option<String>,
    /// How many, since the journal was made.
    pub(in crate::status) count: u64,
}

impl Loss {
    fn new(code: Code, about: Option<&str>, count: u64) -> Loss {
        Loss { code, about: about.map(str::to_owned), count }
    }

    /// Its name among what is acknowledged.
    pub(in crate::status) fn key(&self) -> String {
        match &self.about {
            None => self.code.word().to_owned(),
            Some(about) => format!("{}/{about}", self.code.word()),
        }
    }

    /// What of it is not acknowledged.
    pub(in crate::status) fn open(&self, acknowledged: &Counts) -> u64 {
        let known = acknowledged.get(&self.key()).copied().unwrap_or_default();
        self.count.checked_sub(known).unwrap_or(self.count)
    }
}

/// Every count of losses, those that are 0 included.
pub(in crate::status) fn losses(status: &StatusSnapshot) -> Vec<Loss> {
    let lanes = status.journal.iter().flat_map(|journal| &journal.facts.lanes);
    let of_lane = |lane: &LaneStats| {
        [
            Loss::new(Code::RecordsEvicted, Some(&lane.name), lane.evicted),
            Loss::new(Code::RecordsQuarantined, Some(&lane.name), lane.quarantined),
            Loss::new(Code::RecordsDamaged, Some(&lane.name), lane.damaged),
        ]
    };
    let mut all: Vec<Loss> = lanes.flat_map(of_lane).collect();
    // By the start that found it: another one is another loss, and not acknowledged with it.
    let lost = status.journal.iter().filter_map(|journal| journal.facts.state_loss);
    all.extend(lost.map(|lost| Loss::new(Code::JournalStateLost, Some(&format!("epoch {}", lost.epoch)), 1)));
    if let Some(intake) = &status.intake {
        let losses = &intake.losses;
        all.push(Loss::new(Code::JournalMissing, None, losses.journals_missing));
        all.push(Loss::new(Code::SessionLost, None, losses.sessions_lost));
        all.push(Loss::new(Code::MessagesOversize, None, losses.oversize));
        all.push(Loss::new(Code::MessagesDropped, None, losses.broker_dropped));
        all.extend(
            losses.unrouted.iter().map(|(prefix, count)| Loss::new(Code::MessagesUnrouted, Some(prefix), *count)),
        );
    }
    all
}

pub(super) fn findings(status: &StatusSnapshot, acknowledged: &Counts) -> Vec<Finding> {
    let open = losses(status).into_iter().map(|loss| (loss.open(acknowledged), loss)).filter(|(open, _)| *open > 0);
    let open: Vec<(u64, Loss)> = open.collect();
    let lone = open.iter().filter(|(_, loss)| loss.code == Code::RecordsEvicted).count() == 1;
    let of = |(count, loss): &(u64, Loss)| {
        let (what, since_s) = said(status, loss, *count, lone);
        // A generation goes as a whole: where several queues lost records, the bound is theirs alike.
        let last = status.journal.as_ref().and_then(|journal| journal.facts.evicted);
        let finding = Finding::act(loss.code, what).count(*count).since(since_s);
        let finding = match last.filter(|_| loss.code == Code::RecordsEvicted) {
            Some(last) => finding.remedy(higher(last.bound)),
            None => finding,
        };
        // What is acknowledged while it goes on is a finding again, and what causes it is not mended.
        let goes_on = loss.code == Code::RecordsEvicted && going_on(status);
        let finding = if goes_on { finding.command(CHECK) } else { finding };
        let finding = match status.journal.as_ref().filter(|_| loss.code == Code::JournalMissing) {
            Some(journal) => finding.command(format!("findmnt --target '{}'", journal.path.display())),
            None => finding,
        };
        let finding = if is_emptied(status) { emptied(finding) } else { finding };
        Finding { about: loss.about.clone(), ..finding }
    };
    open.iter().map(of).collect()
}

/// Whether nothing is in quarantine now.
fn is_emptied(status: &StatusSnapshot) -> bool {
    status.journal.as_ref().is_some_and(|journal| journal.facts.quarantine.entries == 0)
}

/// What went to a quarantine that is empty now: a person has decided, and has only to say so.
fn emptied(finding: Finding) -> Finding {
    match finding.code {
        Code::RecordsQuarantined => Finding {
            what: format!("{}, which is empty now", finding.what),
            cost: "they were sent again or dropped by hand".to_owned(),
            ..finding.remedy("acknowledge it, which ends this finding").command(ACKNOWLEDGE)
        },
        Code::MessagesOversize => Finding { cost: "they are lost".to_owned(), ..finding.command(ACKNOWLEDGE) },
        _ => finding,
    }
}

/// Whether the journal gives up records to make room: the next ones go with its next generation.
pub(in crate::status) fn going_on(status: &StatusSnapshot) -> bool {
    let last = status.journal.as_ref().and_then(|journal| journal.facts.evicted);
    last.is_some_and(|last| last.ago_s < EVICTING_S)
}

/// What makes room where this bound evicts.
fn higher(bound: &str) -> &'static str {
    match bound {
        "journal.max_bytes" => {
            "mend what keeps the queue from taking records, or raise journal.max_bytes; when that is done, acknowledge the loss"
        }
        "journal.min_free" => {
            "mend what keeps the queue from taking records, or free space on the journal's disk; when that is done, acknowledge the loss"
        }
        "journal.max_age" => {
            "mend what keeps the queue from taking records, or raise journal.max_age; when that is done, acknowledge the loss"
        }
        _ => "",
    }
}

/// What is not known since the journal's state was lost.
fn state_lost(status: &StatusSnapshot) -> String {
    let Some(lost) = status.journal.as_ref().and_then(|journal| journal.facts.state_loss) else { return String::new() };
    let before = lost.before;
    let known = format!("the journal's state was lost: what was settled before record {before} is not known");
    match lost.presumed {
        0 => format!("{known}, and all of it is on disk"),
        1 => format!("{known}, and 1 record is not on disk any more"),
        count => format!("{known}, and {count} records are not on disk any more"),
    }
}

/// What is so, and since when; `lone`: the evictions that are not acknowledged are all of one queue.
fn said(status: &StatusSnapshot, loss: &Loss, count: u64, lone: bool) -> (String, Option<u64>) {
    let about = loss.about.as_deref().unwrap_or_default();
    let records = || counted(count, "record", "records");
    let messages = || counted(count, "message", "messages");
    let intake = status.intake.as_ref();
    let url = intake.map(|intake| intake.url.as_str()).unwrap_or_default();
    match loss.code {
        Code::RecordsEvicted => {
            let last = status.journal.as_ref().and_then(|journal| journal.facts.evicted).filter(|_| lone);
            let at = last.map_or_else(String::new, |last| {
                format!(" at {}, the last {} ago", last.bound, history::span(last.ago_s))
            });
            (format!("queue {about}: {} evicted{at}", records()), last.map(|last| last.ago_s))
        }
        Code::RecordsQuarantined => (format!("queue {about}: {} went to quarantine", records()), None),
        Code::RecordsDamaged => (format!("queue {about}: {} cannot be read back", records()), None),
        Code::JournalStateLost => (state_lost(status), None),
        Code::MessagesOversize => (format!("{} came over mqtt.max_payload_bytes", messages()), None),
        Code::MessagesDropped => {
            (format!("the broker dropped {} before delivery, over all its clients", messages()), None)
        }
        Code::MessagesUnrouted => {
            let topics = intake.into_iter().flat_map(|intake| &intake.unrouted_topics);
            let last_s = topics.into_iter().find(|topic| topic.prefix == about).map(|topic| topic.last_s);
            let ago = last_s.map_or_else(String::new, |last_s| format!(", the last {} ago", history::span(last_s)));
            let messages = counted(count, "message under", "messages under");
            let belong = if count == 1 { "belongs" } else { "belong" };
            (format!("{messages} {about} {belong} to no route{ago}"), None)
        }
        Code::JournalMissing => {
            let client_id = intake.map(|intake| intake.client_id.as_str()).unwrap_or_default();
            let what = format!(
                "the journal was made anew, and broker {url} knows {client_id}: the journal of before is missing"
            );
            (what, None)
        }
        _ => {
            let times = counted(count, "time", "times");
            let since_s = intake.and_then(|intake| intake.session_lost_s);
            let ago = since_s.map_or_else(String::new, |ago_s| format!(", the last {} ago", history::span(ago_s)));
            (format!("broker {url} did not keep our session ({times}{ago})"), since_s)
        }
    }
}
