//! When a record was received, as far as it can be told now. Pure.
//!
//! A gateway without a battery clock sets its clock from a file at boot, and is hours off until a time server answers. The boot's
//! monotonic clock knows better: what lies between receipt and now by it, taken from a wall clock that is confirmed now, is
//! when the record was received. That is the offset of the one clock to the other, now against then; so it is the same
//! however long the record waited. Only within a boot: two boots' monotonic clocks have nothing in common.
//!
//! A receipt by a confirmed clock stays, and so does one that the offset bears out: nothing is corrected twice, or by
//! less than a step. A corrected receipt says so to the consumer, and so does an unconfirmed one.

use crate::clock::{BootId, Moment, STEP_MS, Trust};
use crate::record::Record;

/// A time of receipt, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// The wall clock then was right.
    Known(i64),
    /// The wall clock then was wrong; this is when it was.
    Corrected(i64),
    /// The wall clock then, which was not confirmed.
    Uncertain(i64),
    /// The wall clock then was wrong, and by how much cannot be known.
    Unknown,
}

impl Receipt {
    /// Of a record, by what is known at present; `None`: nothing.
    pub fn of(record: &Record, present: Option<(BootId, Moment)>) -> Receipt {
        let received = record.draft.received;
        if received.trust == Trust::Confirmed {
            return Receipt::Known(received.wall_ms);
        }
        let present = present.filter(|(boot, _)| *boot == record.boot).map(|(_, now)| now);
        let by_offset = present.filter(|now| now.trust == Trust::Confirmed).and_then(|now| {
            let age_ms = now.boottime_ms.checked_sub(received.boottime_ms)?;
            now.wall_ms.checked_sub(i64::try_from(age_ms).ok()?)
        });
        match (by_offset, received.trust) {
            (Some(ms), Trust::Unconfirmed) if ms.abs_diff(received.wall_ms) < STEP_MS => {
                Receipt::Known(received.wall_ms)
            }
            (Some(ms), _) => Receipt::Corrected(ms),
            (None, Trust::Wrong) => Receipt::Unknown,
            (None, _) => Receipt::Uncertain(received.wall_ms),
        }
    }

    /// The time, right or not; `None`: there is none to be shown.
    pub fn ms(self) -> Option<i64> {
        match self {
            Receipt::Known(ms) | Receipt::Corrected(ms) | Receipt::Uncertain(ms) => Some(ms),
            Receipt::Unknown => None,
        }
    }

    /// The time, where it is right.
    pub fn sure_ms(self) -> Option<i64> {
        self.ms().filter(|_| !matches!(self, Receipt::Uncertain(_)))
    }

    /// The CloudEvents attribute that says what is to be known of the time; none where it was right from the first.
    pub fn mark(self) -> Option<&'static str> {
        match self {
            Receipt::Corrected(_) => Some("timecorrected"),
            Receipt::Uncertain(_) => Some("timeuncertain"),
            Receipt::Known(_) | Receipt::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;
    use proptest::prelude::*;

    const HOURS_MS: i64 = 3_600_000;
    const RIGHT_MS: i64 = 1_770_797_730_000;
    const HERE: BootId = BootId([3; 16]);

    /// Received 60 s after the boot, by a wall clock that was ahead of the right time by so much.
    fn received(ahead_ms: i64, trust: Trust) -> Record {
        let mut record = record(1, b"21.5");
        record.draft.received = Moment { wall_ms: RIGHT_MS + ahead_ms, boottime_ms: 60_000, trust };
        record.boot = HERE;
        record
    }

    /// So much later, when the clock is right.
    fn later(lag_ms: u64) -> Moment {
        Moment { wall_ms: RIGHT_MS + lag_ms as i64, boottime_ms: 60_000 + lag_ms, trust: Trust::Confirmed }
    }

    #[test]
    fn a_receipt_five_hours_off_is_corrected_within_its_boot() {
        let off = received(-5 * HOURS_MS, Trust::Unconfirmed);
        let at = |boot, now| Receipt::of(&off, Some((boot, now)));
        assert_eq!(at(HERE, later(7_000)), Receipt::Corrected(RIGHT_MS));
        let uncertain = Receipt::Uncertain(RIGHT_MS - 5 * HOURS_MS);
        assert_eq!(at(BootId([4; 16]), later(7_000)), uncertain);
        assert_eq!(at(HERE, Moment { trust: Trust::Unconfirmed, ..later(7_000) }), uncertain);
        assert_eq!(at(HERE, Moment { boottime_ms: 59_999, ..later(0) }), uncertain, "a snapshot brought back to life");
        assert_eq!(Receipt::of(&off, None), uncertain);
        assert_eq!((uncertain.sure_ms(), uncertain.mark()), (None, Some("timeuncertain")));
    }

    #[test]
    fn a_receipt_in_1970_has_no_time_until_corrected() {
        let off = received(60_000 - RIGHT_MS, Trust::Wrong);
        assert_eq!(Receipt::of(&off, Some((BootId([4; 16]), later(1)))), Receipt::Unknown);
        assert_eq!(Receipt::of(&off, Some((HERE, later(1)))), Receipt::Corrected(RIGHT_MS));
    }

    #[test]
    fn a_receipt_that_was_confirmed_or_matches_the_offset_stays() {
        let right = received(999, Trust::Unconfirmed);
        assert_eq!(Receipt::of(&right, Some((HERE, later(7_000)))), Receipt::Known(RIGHT_MS + 999));
        let stepped = received(-5 * HOURS_MS, Trust::Confirmed);
        assert_eq!(Receipt::of(&stepped, Some((HERE, later(7_000)))), Receipt::Known(RIGHT_MS - 5 * HOURS_MS));
    }

    proptest! {
        #[test]
        fn a_correction_is_the_same_however_long_the_record_waited(lag in 0u64..1 << 45, ahead in -1_000 * HOURS_MS..1_000 * HOURS_MS) {
            let receipt = Receipt::of(&received(ahead, Trust::Unconfirmed), Some((HERE, later(lag))));
            prop_assert!(receipt.ms().unwrap().abs_diff(RIGHT_MS) < STEP_MS);
            prop_assert_eq!(receipt.mark().is_some(), ahead.unsigned_abs() >= STEP_MS);
        }

        #[test]
        fn any_two_moments_are_taken(wall: i64, boot: u64, now_wall: i64, now_boot: u64, wrong: bool) {
            let mut record = received(0, if wrong { Trust::Wrong } else { Trust::Unconfirmed });
            (record.draft.received.wall_ms, record.draft.received.boottime_ms) = (wall, boot);
            let now = Moment { wall_ms: now_wall, boottime_ms: now_boot, trust: Trust::Confirmed };
            Receipt::of(&record, Some((HERE, now)));
        }
    }
}
