//! What a person should know: a pure function from facts to findings, behind status, page, metrics and `/readyz` alike.
//!
//! A finding has a code that stays ([`codes`]), says how urgent it is, what is so, since when, what it costs and which command
//! to run. Nothing is found twice: where one fault shows in two places, the one nearer to its cause speaks.

mod broker;
pub mod codes;
pub(crate) mod journal;
pub(super) mod losses;
mod queues;
pub mod readings;

use crate::status::StatusSnapshot;
use crate::status::findings::losses::Counts;
pub use codes::Code;
use serde::Serialize;
use std::collections::HashMap;

/// How urgent a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It comes back by itself; records wait, and nothing needs to be done.
    Waiting,
    /// A person must act.
    Act,
}

/// One thing that a person should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What it is about, as a word that stays.
    pub code: Code,
    /// How urgent it is.
    pub severity: Severity,
    /// Which queue, route, filter or record; `None` where there is only one.
    pub about: Option<String>,
    /// What is so.
    pub what: String,
    /// Seconds for which it has been so, as far as the agent has looked; `None`: not known.
    pub since_s: Option<u64>,
    /// How many messages or records, where they are counted.
    pub count: Option<u64>,
    /// What it costs.
    pub cost: String,
    /// What a person does, as an imperative; empty where nothing is to be done.
    pub remedy: String,
    /// The command to run; empty where nothing is to be done.
    pub command: String,
}

/// Codes with which nothing that comes becomes durable.
pub(super) const STANDS_STILL: [Code; 5] =
    [Code::JournalUnwritable, Code::JournalStalled, Code::JournalReadOnly, Code::JournalFull, Code::JournalNotOpen];

impl Finding {
    /// A finding with what its code says of cost, remedy and command.
    pub(crate) fn new(code: Code, severity: Severity, what: impl Into<String>) -> Finding {
        let row = code.row();
        Finding {
            code,
            severity,
            about: None,
            what: what.into(),
            since_s: None,
            count: None,
            cost: row.cost.to_owned(),
            remedy: row.remedy.to_owned(),
            command: row.command.to_owned(),
        }
    }

    fn act(code: Code, what: impl Into<String>) -> Finding {
        Finding::new(code, Severity::Act, what)
    }

    fn waiting(code: Code, what: impl Into<String>) -> Finding {
        Finding::new(code, Severity::Waiting, what)
    }

    fn about(mut self, about: &str) -> Finding {
        self.about = Some(about.to_owned());
        self
    }

    fn since(mut self, since_s: Option<u64>) -> Finding {
        self.since_s = since_s;
        self
    }

    fn count(mut self, count: u64) -> Finding {
        self.count = Some(count);
        self
    }

    /// With a remedy of its own instead of the code's, if it has one.
    fn remedy(mut self, remedy: &str) -> Finding {
        if !remedy.is_empty() {
            remedy.clone_into(&mut self.remedy);
        }
        self
    }

    fn command(mut self, command: impl Into<String>) -> Finding {
        self.command = command.into();
        self
    }

    /// In one line: what is so, what it costs, what to do, and the command.
    pub fn line(&self) -> String {
        let parts = [&*self.what, &*self.cost, &*self.remedy, &*self.command];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// What stages noted in words of their own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Notes {
    /// Why the agent cannot go on yet.
    pub(super) waiting_for: Option<String>,
    /// Why the page lets no client in.
    pub(super) page_closed: Option<String>,
    /// Why the last reload of the configuration changed nothing.
    pub(super) reload: Option<String>,
    /// What a person has to decide about the names in use.
    pub(super) names: Option<String>,
}

/// What is known, and judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// What the stages show; its findings are not looked at.
    pub(super) status: &'a StatusSnapshot,
    /// What stages noted in words.
    pub(super) notes: &'a Notes,
    /// What a person has acknowledged of the losses.
    pub(super) acknowledged: &'a Counts,
}

/// All findings, the most urgent first.
pub(super) fn findings(facts: Facts<'_>) -> Vec<Finding> {
    let Facts { status, notes, acknowledged } = facts;
    let mut all = noted(notes);
    if notes.waiting_for.is_none() && (status.journal.is_none() || status.intake.is_none()) {
        all.push(Finding::waiting(Code::AgentStarting, "the agent is starting: the broker comes behind the journal"));
    }
    all.extend(broker::findings(status));
    all.extend(losses::findings(status, acknowledged));
    all.extend(status.queues.iter().flat_map(queues::findings));
    all.extend(status.stranded().map(queues::stranded));
    all.extend(status.journal.iter().flat_map(|journal| journal::findings(journal, status)));
    if !status.clock_plausible {
        all.push(Finding::waiting(Code::ClockWrong, "the clock is wrong"));
    }
    all.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code));
    all
}

/// Since when each finding has been seen, in milliseconds since boot, where the facts do not tell.
#[derive(Debug, Default)]
pub(super) struct FirstSeen(HashMap<(Code, Option<String>), u64>);

impl FirstSeen {
    /// Puts it into the findings of this moment, and forgets those that have gone.
    pub(super) fn put_into(&mut self, findings: &mut [Finding], now_ms: u64) {
        let before = std::mem::take(&mut self.0);
        for finding in findings.iter_mut().filter(|finding| !codes::LOSSES.contains(&finding.code)) {
            let key = (finding.code, finding.about.clone());
            let first_ms = before.get(&key).copied().unwrap_or(now_ms);
            finding.since_s = finding.since_s.or(Some(now_ms.saturating_sub(first_ms) / 1000));
            self.0.insert(key, first_ms);
        }
    }
}

/// A count with its noun.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn noted(notes: &Notes) -> Vec<Finding> {
    let noted = [
        (Code::JournalNotOpen, &notes.waiting_for, "the journal is not open: "),
        (Code::PageClosed, &notes.page_closed, ""),
        (Code::ConfigurationRefused, &notes.reload, ""),
        (Code::JournalCopied, &notes.names, ""),
    ];
    let of = |(code, why, before): (Code, &Option<String>, &str)| {
        why.as_ref().map(|why| Finding::act(code, format!("{before}{why}")))
    };
    noted.into_iter().filter_map(of).collect()
}

#[cfg(test)]
pub(super) mod tests;
