//! What was done to the journal, counted; and the verdict in one line.

use crate::marks::{Mark, Seen, Way};
use crate::phase::Phase;
use power_cut::{Device, Lost};
use std::collections::BTreeMap;
use std::fmt;

/// Counts of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Cuts, and those that broke a promise, per device.
    pub(crate) plain: (u64, u64),
    pub(crate) volatile: (u64, u64),
    pub(crate) runs: u64,
    pub(crate) lives: u64,
    pub(crate) kills: u64,
    pub(crate) second_cuts: u64,
    pub(crate) records: u64,
    /// Lives that began with evictions in the books.
    pub(crate) at_bound: u64,
    /// Runs in which generations went out of turn.
    pub(crate) out_of_turn: u64,
    /// Lives that began without a half of the state file, or without both.
    pub(crate) states_lost: u64,
    /// Things that left the quarantine, by either way.
    pub(crate) dropped: u64,
    pub(crate) requeued: u64,
    /// Gap records that were read, by what they announce.
    gaps: BTreeMap<String, u64>,
    /// Calls that were refused.
    pub(crate) refused: u64,
    /// Recordings that gave the real folder back.
    pub(crate) proven: u64,
    phases: BTreeMap<Phase, (u64, u64)>,
    lost: Lost,
}

impl Tally {
    pub(crate) fn of(&mut self, device: Device) -> &mut (u64, u64) {
        match device {
            Device::Plain => &mut self.plain,
            Device::Volatile => &mut self.volatile,
        }
    }

    pub(crate) fn add(&mut self, lost: Lost) {
        let sum = &mut self.lost;
        sum.writes_dropped += lost.writes_dropped;
        sum.writes_kept += lost.writes_kept;
        sum.writes_reordered += lost.writes_reordered;
        sum.writes_split += lost.writes_split;
        sum.pages_torn += lost.pages_torn;
        sum.lengths_lost += lost.lengths_lost;
        sum.changes_lost += lost.changes_lost;
    }

    pub(crate) fn phase(&mut self, device: Device, phase: Phase) {
        let counts = self.phases.entry(phase).or_default();
        match device {
            Device::Plain => counts.0 += 1,
            Device::Volatile => counts.1 += 1,
        }
    }

    /// Counts what the outside world was told.
    pub(crate) fn mark(&mut self, mark: &Mark) {
        match mark {
            Mark::Left { way: Way::Dropped, .. } => self.dropped += 1,
            Mark::Left { way: Way::Requeued, .. } => self.requeued += 1,
            Mark::Sent { seen: Seen { told: Some(told), .. }, .. } => {
                let said = told.bound.as_ref().unwrap_or(&told.reason).clone();
                *self.gaps.entry(said).or_default() += 1;
            }
            _ => {}
        }
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.plain.0 + self.volatile.0
    }

    pub(crate) fn bad(&self) -> u64 {
        self.plain.1 + self.volatile.1
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, volatile, lost) = (self.plain, self.volatile, &self.lost);
        write!(f, "{} of {} cuts broke a promise", self.bad(), self.cuts())?;
        write!(f, " (plain device {} of {}, volatile cache {} of {})", plain.1, plain.0, volatile.1, volatile.0)?;
        write!(
            f,
            "; {} runs, {} second cuts, {} kills; plain+volatile by phase:",
            self.runs, self.second_cuts, self.kills
        )?;
        for phase in Phase::ALL {
            let (plain, volatile) = self.phases.get(&phase).copied().unwrap_or_default();
            write!(f, " {} {plain}+{volatile},", phase.word())?;
        }
        write!(f, " page writes dropped {}, kept {}", lost.writes_dropped, lost.writes_kept)?;
        write!(f, ", cuts with writes reordered {}, writes split {}", lost.writes_reordered, lost.writes_split)?;
        write!(f, ", pages torn {}", lost.pages_torn)?;
        write!(f, ", lengths lost {}, changes of folders lost {}", lost.lengths_lost, lost.changes_lost)?;
        write!(f, "; {} records checked, {} lives after evictions", self.records, self.at_bound)?;
        write!(f, ", {} runs with generations that went out of turn", self.out_of_turn)?;
        write!(f, ", {} after a loss of state, {} calls refused", self.states_lost, self.refused)?;
        write!(f, ", gap records:")?;
        self.gaps.iter().try_for_each(|(said, count)| write!(f, " {said} {count},"))?;
        write!(f, " out of quarantine {} requeued, {} dropped", self.requeued, self.dropped)?;
        write!(f, ", {} recordings proven byte for byte", self.proven)
    }
}
