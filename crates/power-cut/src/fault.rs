//! Calls that fail on purpose: which of the coming ones below the recorded folder are answered with an error, and which.
//!
//! A plan is a list, taken in order: each entry counts the calls of its kind from the moment when it is its turn, lets
//! some pass, and refuses the next ones. What is refused had no effect, except that the first refused write may have
//! written its first half, and after a refused sync it is unknown what reached the device ([`crate::Event::SyncFailed`]).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A kind of call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// A file or folder is opened, be it made or not.
    Open,
    /// Any call that reads bytes.
    Read,
    /// Any call that writes bytes.
    Write,
    /// A file or folder is synced.
    Sync,
    /// A file's length is set.
    Resize,
    /// A file or folder is moved.
    Rename,
    /// A file or folder is removed.
    Remove,
    /// A folder is made.
    MakeDir,
}

impl Call {
    /// All kinds of calls.
    pub const ALL: [Call; 8] =
        [Call::Open, Call::Read, Call::Write, Call::Sync, Call::Resize, Call::Rename, Call::Remove, Call::MakeDir];
}

/// One fault of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The kind of calls that it counts and refuses.
    pub call: Call,
    /// So many of them pass first.
    pub after: u64,
    /// So many are refused then; the next fault's turn comes behind the last of them.
    pub times: u64,
    /// What they are answered with.
    pub errno: i32,
    /// The first of them, if it is a write, writes its first half and says so.
    pub half: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Made as it was asked for.
    Passes,
    /// Not made; answered with this error.
    Fails(i32),
    /// A write of which only the first half is made.
    Half,
}

/// What is still to come.
struct Plan {
    left: Vec<Fault>,
    /// Calls of the first one's kind since its turn came.
    seen: u64,
}

static PLAN: Mutex<Plan> = Mutex::new(Plan { left: Vec::new(), seen: 0 });
/// Faults that are left: without one, no call takes the lock.
static LEFT: AtomicU64 = AtomicU64::new(0);
/// Calls refused since the recording began.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// From now on these calls fail, and no others.
pub(crate) fn arm(faults: &[Fault]) {
    let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
    *plan = Plan { left: faults.iter().rev().filter(|fault| fault.times > 0).copied().collect(), seen: 0 };
    LEFT.store(plan.left.len() as u64, Relaxed);
}

/// How many calls were refused since [`reset`].
pub(crate) fn refused() -> u64 {
    REFUSED.load(Relaxed)
}

/// Nothing fails any more, and nothing was refused yet.
pub(crate) fn reset() {
    arm(&[]);
    REFUSED.store(0, Relaxed);
}

/// A call of this kind comes, below the recorded folder.
pub(crate) fn fate(call: Call) -> Fate {
    if LEFT.load(Relaxed) == 0 {
        return Fate::Passes;
    }
    let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(fault) = plan.left.last().copied().filter(|fault| fault.call == call) else { return Fate::Passes };
    let at = plan.seen;
    plan.seen += 1;
    if at < fault.after {
        return Fate::Passes;
    }
    if at + 1 == fault.after + fault.times {
        plan.left.pop();
        plan.seen = 0;
        LEFT.store(plan.left.len() as u64, Relaxed);
    }
    REFUSED.fetch_add(1, Relaxed);
    if fault.half && call == Call::Write && at == fault.after { Fate::Half } else { Fate::Fails(fault.errno) }
}
