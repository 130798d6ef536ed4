//! Findings in the log: each once when it appears and once when it is gone, with its code, so that journald has an id for it.
//!
//! A finding that comes and goes from one look to the next would fill the log: one that needs no person is told when it
//! stays, and one is gone when it stays away. What a finding says may change at every look (counts); its code and its
//! subject tell it apart.

use crate::status::findings::{Code, Finding, Severity};
use std::collections::BTreeMap;

/// Looks after which a finding that needs no person is told, and after which one that is not seen is gone.
const LOOKS: u32 = 3;

/// What the log was told of.
#[derive(Debug, Default)]
pub struct FindingsWatch(BTreeMap<(Code, Option<String>), Held>);

#[derive(Debug)]
struct Held {
    finding: Finding,
    /// Looks in a row at which it was there.
    seen: u32,
    /// Looks in a row at which it was not.
    missed: u32,
    /// How urgent it was when the log was told; `None`: not told yet.
    told: Option<Severity>,
}

/// What is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is so now, or has become urgent.
    Is(Finding),
    /// It is so no longer.
    Gone(Finding),
}

impl FindingsWatch {
    /// What has changed since the last look.
    pub fn look(&mut self, findings: Vec<Finding>) -> Vec<Change> {
        let mut changes = Vec::new();
        for held in self.0.values_mut() {
            held.missed += 1;
        }
        for finding in findings {
            let key = (finding.code, finding.about.clone());
            let new = || Held { finding: finding.clone(), seen: 0, missed: 0, told: None };
            let held = self.0.entry(key).or_insert_with(new);
            held.seen = if held.missed <= 1 { held.seen + 1 } else { 1 };
            held.missed = 0;
            held.finding = finding;
            let due = held.finding.severity == Severity::Act || held.seen >= LOOKS;
            if due && held.told < Some(held.finding.severity) {
                held.told = Some(held.finding.severity);
                changes.push(Change::Is(held.finding.clone()));
            }
        }
        self.0.retain(|_, held| {
            let gone = held.missed >= LOOKS;
            if gone && held.told.is_some() {
                changes.push(Change::Gone(held.finding.clone()));
            }
            !gone
        });
        changes
    }
}

impl Change {
    /// Writes it to the log.
    pub fn log(&self) {
        match self {
            Change::Is(Finding { code, severity: Severity::Act, what, cost, remedy, command, .. }) => {
                tracing::error!(finding = code.word(), cost, remedy, command, "{what}");
            }
            Change::Is(Finding { code, what, cost, remedy, command, .. }) => {
                tracing::warn!(finding = code.word(), cost, remedy, command, "{what}");
            }
            Change::Gone(Finding { code, what, .. }) => tracing::info!(finding = code.word(), "no longer so: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(severity: Severity, what: &str) -> Finding {
        Finding::new(Code::BrokerAway, severity, what)
    }

    fn looks(watch: &mut FindingsWatch, times: u32, findings: &[Finding]) -> Vec<Change> {
        (0..times).flat_map(|_| watch.look(findings.to_vec())).collect()
    }

    #[test]
    fn an_urgent_finding_is_reported_immediately_once_despite_counts() {
        let mut watch = FindingsWatch::default();
        let first = away(Severity::Act, "away for 1 min");
        assert_eq!(watch.look(vec![first.clone()]), [Change::Is(first)]);
        assert_eq!(looks(&mut watch, 10, &[away(Severity::Act, "away for 2 min")]), []);
        assert_eq!(looks(&mut watch, LOOKS, &[]), [Change::Gone(away(Severity::Act, "away for 2 min"))]);
        assert_eq!(looks(&mut watch, 10, &[]), []);
    }

    #[test]
    fn passing_findings_are_reported_if_they_stay_or_become_urgent() {
        let mut watch = FindingsWatch::default();
        let (waiting, act) = (away(Severity::Waiting, "away"), away(Severity::Act, "away"));
        for _ in 0..5 {
            assert_eq!(looks(&mut watch, LOOKS - 1, std::slice::from_ref(&waiting)), []);
            assert_eq!(looks(&mut watch, LOOKS, &[]), [], "nobody was told, so nobody is told that it is over");
        }
        assert_eq!(looks(&mut watch, LOOKS, std::slice::from_ref(&waiting)), [Change::Is(waiting.clone())]);
        assert_eq!(watch.look(vec![act.clone()]), [Change::Is(act)]);
        assert_eq!(looks(&mut watch, 10, &[waiting]), [], "less urgent is no news");
    }

    #[test]
    fn one_that_flickers_is_told_once() {
        let mut watch = FindingsWatch::default();
        let act = away(Severity::Act, "away");
        let told: Vec<Change> =
            (0..20).flat_map(|n| watch.look(if n % LOOKS == 0 { vec![act.clone()] } else { vec![] })).collect();
        assert_eq!(told, [Change::Is(act)]);
    }
}
