//! What the journal was at when it was cut, told from the trace alone; and which moments to cut at.

use crate::marks::{Mark, Recorded};
use power_cut::Event;
use std::collections::HashSet;
use testkit::random::Random;

/// What the journal was at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// Being made, for the first time.
    Making,
    /// Being opened.
    Opening,
    /// Making a generation.
    Rotating,
    /// Deleting one.
    Deleting,
    /// Writing its state.
    Noting,
    /// Appending, or nothing.
    Running,
}

impl Phase {
    pub(crate) const ALL: [Phase; 6] =
        [Phase::Making, Phase::Opening, Phase::Rotating, Phase::Deleting, Phase::Noting, Phase::Running];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Phase::Making => "first making",
            Phase::Opening => "opening",
            Phase::Rotating => "rotation",
            Phase::Deleting => "deletion",
            Phase::Noting => "state write",
            Phase::Running => "appending",
        }
    }
}

/// The phase before each event, and after the last one. `made`: the journal was there before.
pub(crate) fn phases(recorded: &Recorded, made: bool) -> Vec<Phase> {
    let mut state = Follow { made, ..Follow::default() };
    let mut phases = vec![state.phase()];
    for event in &recorded.trace {
        state.take(event, &recorded.marks);
        phases.push(state.phase());
    }
    phases
}

#[derive(Default)]
struct Follow {
    made: bool,
    opening: bool,
    rotating: bool,
    deleting: bool,
    noting: bool,
    state: HashSet<u32>,
}

impl Follow {
    fn take(&mut self, event: &Event, marks: &[Mark]) {
        match event {
            Event::Mark(index) => match marks.get(*index as usize) {
                Some(Mark::Opening) => self.opening = true,
                Some(Mark::Opened { .. }) => (self.opening, self.made) = (false, true),
                _ => {}
            },
            Event::MakeDir { path } if path.starts_with("log/gen-") => self.rotating = true,
            // The note of facts in place ends it, once the folder that holds it is synced.
            Event::Open { path, .. } if path == "log" => self.rotating = false,
            Event::Open { path, handle, .. } if path == "state" => drop(self.state.insert(*handle)),
            Event::Write { handle, .. } => self.noting = self.state.contains(handle),
            Event::SyncEnd { .. } | Event::SyncFailed { .. } => self.noting = false,
            Event::Rename { to, .. } if to.starts_with("log/trash-") => self.deleting = true,
            Event::RemoveDir { path } if path.starts_with("log/trash-") && path.matches('/').count() == 1 => {
                self.deleting = false;
            }
            _ => {}
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Follow { opening: true, made: false, .. } => Phase::Making,
            Follow { opening: true, .. } => Phase::Opening,
            Follow { rotating: true, .. } => Phase::Rotating,
            Follow { deleting: true, .. } => Phase::Deleting,
            Follow { noting: true, .. } => Phase::Noting,
            _ => Phase::Running,
        }
    }
}

/// A moment to cut at, as the number of events that took place: a third of them anywhere; a third in a phase that is drawn
/// first, so that the short ones get their share; a third while something was written that no sync covers yet.
pub(crate) fn moment(recorded: &Recorded, phases: &[Phase], random: &mut Random) -> usize {
    let wanted = Phase::ALL[random.below(Phase::ALL.len() as u64) as usize];
    let exposed = |index: &usize| {
        let last = index.checked_sub(1).map(|last| &recorded.trace[last]);
        matches!(last, Some(Event::Write { .. } | Event::SyncBegin { .. }))
    };
    let of: Vec<usize> = match random.below(3) {
        0 => Vec::new(),
        1 => (0..phases.len()).filter(|index| phases[*index] == wanted).collect(),
        _ => (0..phases.len()).filter(exposed).collect(),
    };
    let anywhere = random.below(phases.len() as u64) as usize;
    if of.is_empty() { anywhere } else { of[random.below(of.len() as u64) as usize] }
}
