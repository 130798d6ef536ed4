//! A person at the quarantine: drops things there for good, and has others put back into their lanes.

use crate::draft::n_of;
use crate::marks::{Entry, Mark, Way, Witness};
use testkit::random::Random;
use tidegate::journal::{Journal, Named, Quarantined, Requeued};
use tidegate::record::LaneId;

/// What a thing in quarantine is to the outside world; `None`: nothing that the run put there.
pub(crate) fn entry_of(kept: &Quarantined, lanes: [LaneId; 2]) -> Option<Entry> {
    match kept.place {
        Some((lane, position)) => {
            let lane = lanes.iter().position(|id| *id == lane)?;
            Some(Entry::At { lane, position: position.0 })
        }
        None => Some(Entry::Head { n: n_of(&kept.record)? }),
    }
}

/// Looks what is there, and asks for some of it to leave, one way or the other.
pub(crate) fn tidy(
    journal: &Journal,
    lanes: [LaneId; 2],
    random: &mut Random,
    witness: &Witness,
) -> Result<(), String> {
    let mut there = witness.insist(|| journal.quarantined().map_err(|error| error.to_string()))?;
    there.retain(|_| random.chance(0.4));
    if there.is_empty() {
        return Ok(());
    }
    let way = if random.chance(0.3) { Way::Dropped } else { Way::Requeued };
    for entry in there.iter().filter_map(|kept| entry_of(kept, lanes)) {
        witness.mark(Mark::Leaving { entry, way });
    }
    let names: Vec<Named> = there.iter().map(|kept| Named::Id(kept.id)).collect();
    let before = witness.refused();
    let asked = match way {
        Way::Dropped => journal.drop_quarantined(Some(&names)),
        Way::Requeued => journal.requeue(Some(&names)),
    };
    match asked {
        Ok(Requeued { done, .. }) => {
            let left = there.iter().filter(|kept| done.iter().any(|(id, _)| *id == kept.id));
            for entry in left.filter_map(|kept| entry_of(kept, lanes)) {
                witness.mark(Mark::Left { entry, way });
            }
            Ok(())
        }
        // Part of it may have left: the caller was not told.
        Err(_) if witness.refused() > before => Ok(()),
        Err(error) => Err(format!("the quarantine: {error}")),
    }
}
