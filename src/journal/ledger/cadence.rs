//! When the state file is written. Pure.
//!
//! Each write is a sync, and at one message per second it was a third of all of them. What the file lags behind is sent again
//! after a crash, never lost, so how far it may lag is a question of what a repeat costs:
//!
//! - **At once**, and no more than once a second: losses that are to be announced, what went into quarantine, a generation
//!   that can go, acks that must be known to be closed. Marks do not wait for this: they are written before the attempt
//!   that they are for, and take everything along that was due.
//! - **What a Standard queue accepted**: at once, too. Each repeat there reaches a consumer.
//! - **What a FIFO queue accepted**: after 30 s, or 1,000 positions. The queue absorbs what comes again within five minutes
//!   of its first acceptance, so an agent that is back within four sends repeats that no consumer sees. One that is away for
//!   longer, or comes back in another boot, sends the same records and each says that it may be a duplicate: that hangs on
//!   the mark ([`crate::journal::ledger::books`]), which was durable before the first attempt, and not on this file's age.
//! - **What was appended**: after 30 s. The log itself tells the numbers and positions; without the file's word the newest
//!   generation is written anew at the next start, in case its last sync never succeeded ([`crate::journal::log`]).
//!
//! Beside a read-only disk the file lies in RAM and is written at once. Commands that look at the folder of a running agent see
//! what the file says: what was accepted within the last half minute may count as waiting there.
//!
//! Nothing here is put off by what comes later: the first thing that moved is written within its time, whatever moves
//! meanwhile. An orderly stop writes what is left.

use std::time::{Duration, Instant};

/// Between two writes, but for marks.
pub(crate) const STATE_PAUSE: Duration = Duration::from_secs(1);
/// How long may be lacking in the file what the queue absorbs if it comes again.
pub(crate) const LAG: Duration = Duration::from_secs(30);
/// And how much of it.
pub(crate) const LAG_POSITIONS: u64 = 1_000;

/// What moved in the books.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moved {
    /// Something that a crash must not take back.
    Soon,
    /// So many positions were accepted. `absorbed`: by a queue that takes none of them twice.
    Settled { positions: u64, absorbed: bool },
    /// Records were appended, and are durable.
    Appended,
}

/// What the state file lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lag {
    due: Option<Instant>,
    positions: u64,
}

impl Lag {
    /// Something moved. Returns whether the write is due earlier now than before.
    pub(crate) fn note(&mut self, moved: Moved, now: Instant) -> bool {
        let due = match moved {
            Moved::Soon | Moved::Settled { absorbed: false, .. } => now,
            Moved::Settled { positions, absorbed: true } => {
                self.positions = self.positions.saturating_add(positions);
                if self.positions >= LAG_POSITIONS { now } else { now + LAG }
            }
            Moved::Appended => now + LAG,
        };
        let earlier = self.due.is_none_or(|before| due < before);
        if earlier {
            self.due = Some(due);
        }
        earlier
    }

    /// When it is to be written; `None`: it lacks nothing.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What a write that failed would have had is lacking still.
    pub(crate) fn and(self, other: Lag) -> Lag {
        Lag {
            due: self.due.into_iter().chain(other.due).min(),
            positions: self.positions.saturating_add(other.positions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settled(positions: u64, absorbed: bool) -> Moved {
        Moved::Settled { positions, absorbed }
    }

    fn any_moved() -> impl Strategy<Value = Moved> {
        prop_oneof![
            1 => Just(Moved::Soon),
            3 => Just(Moved::Appended),
            1 => (1u64..300).prop_map(|positions| settled(positions, false)),
            6 => (1u64..300).prop_map(|positions| settled(positions, true)),
        ]
    }

    #[test]
    fn absorbed_changes_wait_and_others_are_due_immediately() {
        let now = Instant::now();
        let due = |moved| {
            let mut lag = Lag::default();
            assert!(lag.note(moved, now));
            lag.due().unwrap() - now
        };
        assert_eq!((due(Moved::Soon), due(settled(1, false))), (Duration::ZERO, Duration::ZERO));
        assert_eq!((due(settled(999, true)), due(Moved::Appended)), (LAG, LAG));
        assert_eq!(due(settled(1_000, true)), Duration::ZERO);
        assert_eq!(Lag::default().due(), None, "nothing moved, nobody wakes");
    }

    proptest! {
        /// Against the rules, said once more: each movement has its own last moment, and the first of them counts.
        #[test]
        fn each_movement_is_written_in_its_time_whatever_else_moves(
            steps in prop::collection::vec((0u64..20_000, any_moved()), 1..40),
        ) {
            let begun = Instant::now();
            let (mut lag, mut now, mut latest, mut positions) = (Lag::default(), begun, None::<Instant>, 0);
            for (pause_ms, moved) in steps {
                now += Duration::from_millis(pause_ms);
                let own = match moved {
                    Moved::Settled { positions: more, absorbed: true } => {
                        positions += more;
                        if positions >= LAG_POSITIONS { now } else { now + LAG }
                    }
                    Moved::Appended => now + LAG,
                    _ => now,
                };
                let earlier = lag.note(moved, now);
                prop_assert_eq!(earlier, latest.is_none_or(|latest| own < latest));
                latest = Some(latest.map_or(own, |latest| latest.min(own)));
                prop_assert_eq!(lag.due(), latest);
                if lag.due().is_some_and(|due| due <= now) {
                    // Written, or refused, and then nothing of it is forgotten.
                    prop_assert_eq!(Lag::default().and(lag), lag);
                    (lag, latest, positions) = (Lag::default(), None, 0);
                }
            }
        }
    }
}
