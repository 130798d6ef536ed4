//! What a lane's drain shows: its state in words, and counts since the start.

use crate::drain::governor::GateState;
use crate::drain::suspicion::SuspectStatus;
use crate::drain::times::DrainTimes;
use crate::sqs::FaultClass;
use crate::sync::locked;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// What a drain is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DrainState {
    /// Nothing waits.
    #[default]
    Idle,
    /// Batches fly.
    Draining,
    /// The link or the service fails; it is tried again by itself.
    Offline {
        /// What happened.
        why: String,
        /// Seconds until the next attempt.
        next_s: u64,
    },
    /// The queue asked for less.
    Throttled {
        /// What happened.
        why: String,
        /// Seconds until the next attempt.
        next_s: u64,
    },
    /// Nothing goes until a person mends the cause; the lane tries by itself, slowly, and at once on new credentials.
    Parked {
        /// What happened.
        why: String,
        /// What to do.
        remedy: String,
        /// Seconds until the next attempt.
        next_s: u64,
    },
    /// The window is full of records of other groups than this one, which is held up.
    WindowFull {
        /// The group at the lowest position.
        group: String,
    },
    /// The journal cannot be read now.
    CannotRead {
        /// What the disk said.
        why: String,
    },
    /// Told to stop.
    Stopped,
}

/// The code of a fault that is the journal's: what is to be sent cannot be read.
pub(super) const CANNOT_READ: &str = "JournalRead";

impl DrainState {
    /// Whether nothing goes until a person mends the cause.
    pub fn is_parked(&self) -> bool {
        matches!(self, DrainState::Parked { .. })
    }

    /// The state that a closed gate means.
    pub(super) fn of(gate: &GateState, now: Instant) -> Option<DrainState> {
        let (cause, next_s) = match gate {
            GateState::Open => return None,
            GateState::Waiting { until, cause } => (cause, until.saturating_duration_since(now).as_secs()),
            GateState::Probing { cause, .. } => (cause, 0),
        };
        let (why, remedy) = (cause.text.clone(), cause.remedy.clone());
        if cause.code.as_deref() == Some(CANNOT_READ) {
            return Some(DrainState::CannotRead { why });
        }
        Some(match cause.class {
            FaultClass::SlowDown => DrainState::Throttled { why, next_s },
            FaultClass::WaitForClock | FaultClass::WaitForConfiguration | FaultClass::OnceMore | FaultClass::Bug => {
                DrainState::Parked { why, remedy, next_s }
            }
            _ => DrainState::Offline { why, next_s },
        })
    }
}

/// A snapshot of one drain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DrainStatus {
    /// What it is doing.
    #[serde(flatten)]
    pub state: DrainState,
    /// Batches in flight.
    pub in_flight: usize,
    /// Batches that may be in flight at the moment.
    pub flights_allowed: usize,
    /// What the link has carried of late, in bits per second; `None`: not known.
    pub uplink_bit_s: Option<u64>,
    /// Records read ahead and not settled.
    pub window: usize,
    /// Entries sent since the start, resends included.
    pub entries_sent: u64,
    /// Calls made since the start.
    pub calls: u64,
    /// Connections tried while the link was away, since the start; one that comes about takes some 200 bytes.
    pub link_probes: u64,
    /// Records accepted since the start.
    pub accepted: u64,
    /// Seconds since a record was accepted; `None`: none was since the start.
    pub last_accepted_s: Option<u64>,
    /// Entries of which it was not known whether they were accepted.
    pub ambiguous: u64,
    /// Entries sent with `possibleduplicate`.
    pub marked: u64,
    /// Records accepted although an earlier one of their group was not.
    pub inversions: u64,
    /// Records that do not get through although all others do; their groups wait. The lowest few.
    pub suspects: Vec<SuspectStatus>,
    /// How many there are.
    pub suspects_total: u64,
    /// Why the file of the queue's key cannot be used, while the key that it had before still is.
    pub key_file_trouble: Option<String>,
    /// Answers that carried another body's MD5, on a resend.
    pub md5_differs: u64,
    /// Refused entries and failed calls by code.
    pub faults: BTreeMap<String, u64>,
    /// Largest message in bytes that the queue takes, as far as is known.
    pub limit_bytes: usize,
    /// Age of the oldest waiting record in seconds: the lag; 0 when nothing waits.
    pub lag_s: u64,
    /// Last fault, in words, and what to do; kept after it has passed.
    pub last_fault: Option<String>,
    /// How long calls and deliveries take.
    #[serde(skip)]
    pub times: DrainTimes,
    /// Receipt of the oldest waiting record, by the boot's clock; the lag is computed from it at each snapshot.
    #[serde(skip)]
    pub(super) oldest_ms: Option<u64>,
    /// When a record was accepted last, by the boot's clock.
    #[serde(skip)]
    pub(super) accepted_ms: Option<u64>,
}

/// The drain's side of the status.
#[derive(Debug, Default)]
pub struct DrainShared(Mutex<DrainStatus>);

impl DrainShared {
    /// What is going on; `now_ms` is the time since boot.
    pub fn snapshot(&self, now_ms: u64) -> DrainStatus {
        let mut status = self.lock().clone();
        status.last_accepted_s = status.accepted_ms.map(|at| now_ms.saturating_sub(at) / 1000);
        status.lag_s = status.oldest_ms.map_or(0, |oldest| now_ms.saturating_sub(oldest) / 1000);
        status
    }

    /// Notes why the file of the queue's key cannot be used; `None`: it can.
    pub fn key_file(&self, trouble: Option<String>) {
        self.lock().key_file_trouble = trouble;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DrainStatus> {
        locked(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::governor::Cause;

    #[test]
    fn an_unreadable_journal_is_not_reported_as_offline() {
        let of = |code: Option<&str>| {
            let (code, text) = (code.map(str::to_owned), "why".to_owned());
            let cause = Cause { class: FaultClass::Link, code, text, remedy: String::new() };
            DrainState::of(&GateState::Probing { cause }, Instant::now())
        };
        assert!(matches!(of(Some(CANNOT_READ)), Some(DrainState::CannotRead { why }) if why == "why"));
        assert!(matches!(of(None), Some(DrainState::Offline { .. })));
    }
}
