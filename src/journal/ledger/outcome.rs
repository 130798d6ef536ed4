//! How positions ended, and the counts of it. Pure.

use serde::{Deserialize, Serialize};

/// How a position ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// SQS has accepted it.
    Accepted,
    /// Given up to a bound.
    Evicted,
    /// Set aside as impossible to send.
    Quarantined,
    /// Its record could not be read back.
    Damaged,
}

impl Outcome {
    pub(crate) const ALL: [Outcome; 4] = [Outcome::Accepted, Outcome::Evicted, Outcome::Quarantined, Outcome::Damaged];
}

/// Counts of positions by outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OutcomeCounts {
    /// Positions that SQS accepted.
    #[serde(rename = "a")]
    pub accepted: u64,
    /// Positions evicted at a bound.
    #[serde(rename = "e")]
    pub evicted: u64,
    /// Positions whose record went to the quarantine.
    #[serde(rename = "q")]
    pub quarantined: u64,
    /// Positions whose record could not be read back.
    #[serde(rename = "d")]
    pub damaged: u64,
}

impl OutcomeCounts {
    pub(crate) fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Accepted => &mut self.accepted,
            Outcome::Evicted => &mut self.evicted,
            Outcome::Quarantined => &mut self.quarantined,
            Outcome::Damaged => &mut self.damaged,
        }
    }

    /// The sum of both, by outcome.
    pub(crate) fn with(mut self, other: OutcomeCounts) -> OutcomeCounts {
        Outcome::ALL.iter().for_each(|of| *self.of(*of) = self.of(*of).saturating_add(other.get(*of)));
        self
    }

    /// Without what `part` holds; `None`: it holds more.
    pub(crate) fn without(mut self, part: OutcomeCounts) -> Option<OutcomeCounts> {
        for outcome in Outcome::ALL {
            *self.of(outcome) = self.of(outcome).checked_sub(part.get(outcome))?;
        }
        Some(self)
    }

    fn get(mut self, outcome: Outcome) -> u64 {
        *self.of(outcome)
    }

    /// Some way in which `count` of these may have ended: accepted ones, as far as there are any, then the others.
    pub(crate) fn some(self, mut count: u64) -> OutcomeCounts {
        let mut some = OutcomeCounts::default();
        for outcome in Outcome::ALL {
            *some.of(outcome) = self.get(outcome).min(count);
            count -= some.get(outcome);
        }
        some
    }

    /// Never wraps: a damaged sum must not come out right.
    pub(crate) fn total(&self) -> u64 {
        [self.evicted, self.quarantined, self.damaged]
            .iter()
            .fold(self.accepted, |sum, count| sum.saturating_add(*count))
    }
}
