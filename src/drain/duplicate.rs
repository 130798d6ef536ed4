//! Whether a record may be in the queue already, since when, and what follows from it. Pure.
//!
//! A FIFO queue absorbs a resend within five minutes of the *acceptance*, which is never before the first attempt. So the
//! time that counts is the first attempt's, whatever became of those after it, and a resend is surely absorbed when it
//! *arrives* within the five minutes: what it may take on its way counts in. Where that is not sure the message says so
//! (`possibleduplicate`): a false mark costs a consumer a look, a missing one costs him a doubled reading.

use crate::journal::MaybeSent;
use crate::sqs::Deadline;

/// SQS remembers a deduplication id for this long from its first acceptance.
const WINDOW_MS: u64 = 5 * 60 * 1000;
/// Resends that leave later than this after the first attempt say that they may be duplicates, however fast they are.
const SURELY_ABSORBED_MS: u64 = 4 * 60 * 1000;
/// What is on the wire when an attempt is ended may arrive for so long: longer than any round trip that TCP bears.
const ON_THE_WIRE_MS: u64 = 15 * 1000;

/// When a record was first attempted with an unknown outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SendHistory {
    /// Never.
    None,
    /// In this boot, at this time since boot in ms, or later.
    Since(u64),
    /// In another boot.
    Unknown,
}

impl SendHistory {
    /// What the marks of earlier runs leave open.
    pub(super) fn from_marks(maybe_sent: MaybeSent) -> SendHistory {
        match maybe_sent {
            MaybeSent::No => SendHistory::None,
            MaybeSent::Since(at) => SendHistory::Since(at),
            MaybeSent::Unknown => SendHistory::Unknown,
        }
    }

    /// An attempt at `at_ms` since boot ended without evidence: the first such attempt counts, and stays.
    pub(super) fn attempted(&mut self, at_ms: u64) {
        if *self == SendHistory::None {
            *self = SendHistory::Since(at_ms);
        }
    }

    /// Whether a resend that leaves at `now_ms` and may take `way_ms` to arrive must say that it may be a duplicate.
    /// `fifo`: the queue absorbs resends at all.
    pub(super) fn must_flag_duplicate(self, fifo: bool, now_ms: u64, way_ms: u64) -> bool {
        match self {
            SendHistory::None => false,
            SendHistory::Unknown => true,
            SendHistory::Since(_) if !fifo => true,
            // A clock that runs backwards within a boot is a snapshot brought back to life: nothing is known.
            SendHistory::Since(at) => {
                now_ms < at
                    || way_ms > WINDOW_MS
                    || self.deadline(way_ms).is_some_and(|deadline| now_ms > deadline.leaves_by_ms)
            }
        }
    }

    /// Until when a resend that does not say that it may be a duplicate may leave, and arrive: a machine can be suspended between the
    /// rendering and the write, and a link can become slow. `None`: whatever it says stays true.
    pub(super) fn deadline(self, way_ms: u64) -> Option<Deadline> {
        match self {
            SendHistory::Since(at) => Some(Deadline {
                leaves_by_ms: at.saturating_add(SURELY_ABSORBED_MS.min(WINDOW_MS.saturating_sub(way_ms))),
                arrives_by_ms: at.saturating_add(WINDOW_MS - ON_THE_WIRE_MS),
            }),
            SendHistory::None | SendHistory::Unknown => None,
        }
    }

    /// Whether a resend may still be absorbed, so that there is a hurry.
    pub(super) fn within_dedup_window(self, now_ms: u64) -> bool {
        matches!(self, SendHistory::Since(at) if now_ms.saturating_sub(at) < SURELY_ABSORBED_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_unflagged_resend_arrives_within_the_deduplication_window(
            attempts in prop::collection::vec(0u64..900_000, 1..8),
            wait in 0u64..900_000,
            way in 0u64..400_000,
            fifo: bool,
        ) {
            let mut history = SendHistory::None;
            let mut now = 0;
            let mut first = None;
            for pause in attempts {
                now += pause;
                history.attempted(now);
                first.get_or_insert(now);
            }
            now += wait;
            let age = now - first.unwrap();
            let said = history.must_flag_duplicate(fifo, now, way);
            prop_assert!(said || (fifo && age + way <= WINDOW_MS), "a missing mark");
            prop_assert!(!said || !fifo || age > SURELY_ABSORBED_MS || age + way > WINDOW_MS, "a mark for nothing");
            prop_assert_eq!(history.within_dedup_window(now), age < SURELY_ABSORBED_MS);
            let last = history.deadline(way).unwrap().leaves_by_ms;
            let later = last.saturating_add(1).max(now);
            prop_assert!(!fifo || history.must_flag_duplicate(true, later, way), "unmarked after its last moment");
            prop_assert!(said || now <= last, "it could not leave at all");
        }

        #[test]
        fn of_another_boot_nothing_is_known(now: u64, way in 0u64..400_000, fifo: bool) {
            let mut history = SendHistory::from_marks(MaybeSent::Unknown);
            history.attempted(now);
            prop_assert!(history.must_flag_duplicate(fifo, now, way), "a later attempt makes nothing known");
            prop_assert!(!SendHistory::None.must_flag_duplicate(fifo, now, way));
            prop_assert!(SendHistory::Since(now).must_flag_duplicate(fifo, now.wrapping_sub(1), way) || now == 0, "the clock ran backwards");
        }
    }
}
