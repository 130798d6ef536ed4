//! Bytes on the uplink by day and month, for the person who pays for them. The file `uplink` of the journal's folder
//! keeps the sums.
//!
//! Days are of UTC, and begin when the clock says so: while it cannot be believed, bytes are kept without a date and count for the day
//! that it shows afterwards. A clock that goes back begins no day again. The file is JSON with a version, replaced as a whole once an
//! hour and at an orderly end, so a power cut costs an hour's bytes at most. One that cannot be read counts as none.

use crate::clock::rfc3339_ms;
use crate::journal::files;
use crate::sqs::connector::traffic::{Carried, carried};
use crate::status::StatusHub;
use crate::sync::locked;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The file's name in the journal's folder.
const FILE: &str = "uplink";
const VERSION: u32 = 1;
/// Between two writes, in ms.
const WRITE_MS: u64 = 60 * 60 * 1000;
/// `2026-11-30`, of which the first 7 characters are the month.
const DATE_CHARS: usize = 10;
const MONTH_CHARS: usize = 7;

/// What went over the uplinks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Uplink {
    /// Since the agent started.
    pub since_start: Carried,
    /// Today, UTC; absent until a day is known.
    pub today: Option<Carried>,
    /// This month, UTC; absent until a day is known.
    pub month: Option<Carried>,
}

/// The sums that are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Sums {
    version: u32,
    /// The day that the sums are of; empty: none is known.
    day: String,
    today: Carried,
    month: Carried,
    /// What came while the clock could not be believed.
    undated: Carried,
}

/// Sums what the process carries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    sums: Sums,
    /// Of the process, at the look before.
    seen: Carried,
    /// What was given out last, to be written; a disk that refuses it gets the next one.
    stored: Sums,
    /// When that was, or first looked at, on the boot's clock.
    stored_ms: Option<u64>,
}

impl Usage {
    /// Goes on with what the journal's folder holds; `carried`: by the process until now. Blocks for a small read.
    pub(crate) fn read(folder: &Path, carried: Carried) -> Usage {
        let sums = match std::fs::read(folder.join(FILE)) {
            Ok(bytes) => serde_json::from_slice::<Sums>(&bytes).ok().filter(|sums| sums.version == VERSION),
            Err(_) => None,
        };
        let sums = sums.unwrap_or_default();
        let sums = Sums { version: VERSION, ..sums };
        Usage { stored: sums.clone(), sums, seen: carried, stored_ms: None }
    }

    /// The process has carried so much by now; `wall_ms` is the time, where it can be believed.
    pub(crate) fn look(&mut self, carried: Carried, wall_ms: Option<i64>) -> Uplink {
        let sums = &mut self.sums;
        sums.undated += carried - self.seen;
        self.seen = carried;
        if let Some(date) = wall_ms.and_then(rfc3339_ms).and_then(|text| text.get(..DATE_CHARS).map(str::to_owned)) {
            if date > sums.day {
                if date.get(..MONTH_CHARS) != sums.day.get(..MONTH_CHARS) {
                    sums.month = Carried::default();
                }
                (sums.day, sums.today) = (date, Carried::default());
            }
            sums.today += sums.undated;
            sums.month += sums.undated;
            sums.undated = Carried::default();
        }
        let known = |sum: Carried| (!sums.day.is_empty()).then_some(sum);
        Uplink { since_start: carried, today: known(sums.today), month: known(sums.month) }
    }

    /// What is to be written at `now_ms` of the boot's clock; `at_once`: whatever was written when.
    pub(crate) fn due(&mut self, now_ms: u64, at_once: bool) -> Option<Vec<u8>> {
        let at_ms = self.stored_ms.get_or_insert(now_ms);
        if self.stored == self.sums || !at_once && now_ms.saturating_sub(*at_ms) < WRITE_MS {
            return None;
        }
        *at_ms = now_ms;
        self.stored = self.sums.clone();
        serde_json::to_vec_pretty(&self.sums).ok()
    }

    /// Writes what was due.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn write(folder: &Path, bytes: &[u8]) -> io::Result<()> {
        files::replace(&folder.join(FILE), bytes)
    }
}

impl StatusHub {
    /// Writes how much the uplink has carried, once an hour, or `at_once`. Blocks on the disk.
    pub fn keep_usage(&self, at_once: bool) {
        if self.journal().is_none() {
            return;
        }
        let now_ms = self.clock.now().boottime_ms;
        self.uplink();
        let due = locked(&self.usage).due(now_ms, at_once);
        if let Some(Err(error)) = due.map(|bytes| Usage::write(&self.path, &bytes)) {
            tracing::debug!(%error, "how much the uplink has carried cannot be written now");
        }
    }

    /// What the uplink has carried until now.
    pub(super) fn uplink(&self) -> Uplink {
        let now = self.clock.now();
        locked(&self.usage).look(carried(), self.clock.plausible().then_some(now.wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    /// 2026-11-30 00:00 UTC.
    const LAST_OF_NOVEMBER: i64 = 1_795_996_800_000;

    fn so_much(sent: u64) -> Carried {
        Carried { sent, received: sent / 2 }
    }

    fn sent(uplink: &Uplink) -> [Option<u64>; 2] {
        [uplink.today, uplink.month].map(|sum| sum.map(|sum| sum.sent))
    }

    #[test]
    fn days_and_months_begin_by_the_clock_without_shared_bytes() {
        let mut usage = Usage::default();
        assert_eq!(sent(&usage.look(so_much(10), Some(LAST_OF_NOVEMBER))), [Some(10), Some(10)]);
        assert_eq!(sent(&usage.look(so_much(30), Some(LAST_OF_NOVEMBER + DAY_MS - 1))), [Some(30), Some(30)]);
        assert_eq!(sent(&usage.look(so_much(35), Some(LAST_OF_NOVEMBER + DAY_MS))), [Some(5), Some(5)]);
        assert_eq!(sent(&usage.look(so_much(36), Some(LAST_OF_NOVEMBER + 2 * DAY_MS))), [Some(1), Some(6)]);
    }

    #[test]
    fn traffic_under_a_wrong_clock_counts_for_the_corrected_day() {
        let mut usage = Usage::default();
        assert_eq!(sent(&usage.look(so_much(7), None)), [None, None]);
        assert_eq!(sent(&usage.look(so_much(9), Some(LAST_OF_NOVEMBER))), [Some(9), Some(9)]);
        assert_eq!(sent(&usage.look(so_much(10), Some(LAST_OF_NOVEMBER - DAY_MS))), [Some(10), Some(10)], "not back");
    }

    #[test]
    fn usage_continues_over_restarts_and_unreadable_usage_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut usage = Usage::read(folder.path(), so_much(4));
        usage.due(0, false);
        usage.look(so_much(104), Some(LAST_OF_NOVEMBER));
        assert_eq!(usage.due(WRITE_MS - 1, false), None, "an hour has not passed");
        let bytes = usage.due(WRITE_MS, false).expect("it has");
        assert_eq!(usage.due(3 * WRITE_MS, false), None, "nothing was carried");
        Usage::write(folder.path(), &bytes).unwrap();
        let mut again = Usage::read(folder.path(), Carried::default());
        assert_eq!(sent(&again.look(so_much(1), Some(LAST_OF_NOVEMBER))), [Some(101), Some(101)]);
        std::fs::write(folder.path().join(FILE), &bytes[..bytes.len() / 2]).unwrap();
        let mut anew = Usage::read(folder.path(), Carried::default());
        assert_eq!(sent(&anew.look(so_much(1), Some(LAST_OF_NOVEMBER))), [Some(1), Some(1)]);
    }

    #[test]
    fn a_run_of_seconds_is_counted_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let mut usage = Usage::read(folder.path(), so_much(4));
        usage.look(so_much(104), Some(LAST_OF_NOVEMBER));
        let bytes = usage.due(5_000, true).expect("a reload before the first look at the hour");
        Usage::write(folder.path(), &bytes).unwrap();
        let mut again = Usage::read(folder.path(), so_much(104));
        assert_eq!(sent(&again.look(so_much(105), Some(LAST_OF_NOVEMBER))), [Some(101), Some(101)]);
    }

    proptest! {
        /// Whatever the clock does, the months' sums and what has no date yet are all that was carried.
        #[test]
        fn every_byte_is_in_one_month(steps in proptest::collection::vec((0..1_000_u64, proptest::option::of(0..90_i64)), 1..40)) {
            let (mut usage, mut total, mut ended, mut before) = (Usage::default(), 0, 0, Sums::default());
            for (more, day) in steps {
                total += more;
                usage.look(so_much(total), day.map(|day| LAST_OF_NOVEMBER + day * DAY_MS));
                if usage.sums.day.get(..MONTH_CHARS) != before.day.get(..MONTH_CHARS) {
                    ended += before.month.sent;
                }
                before = usage.sums.clone();
                prop_assert_eq!(ended + usage.sums.month.sent + usage.sums.undated.sent, total);
                prop_assert!(usage.sums.today.sent <= usage.sums.month.sent);
            }
        }
    }
}
