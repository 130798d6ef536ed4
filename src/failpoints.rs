//! What a proving run may do to the agent: deliberate faults and moved clocks. Absent from a shipped build.
//!
//! A checker that has never caught anything proves nothing. So each promise has a *sabotage*: a fault put into the real
//! code on purpose, at the very place that keeps the promise, which the checkers must catch. And a gateway's clock may
//! say 1970, jump by years, or come back after a reboot hours later; no test can wait for that, so the clock can be moved.
//!
//! All of it hangs on the feature `failpoints`, which tests and trials turn on (the package depends on itself for its tests) and
//! a plain `cargo build` does not have: there [`is_armed`] is a constant `false`, and the compiler removes what follows.
//!
//! - `TIDEGATE_SABOTAGE=ack-early` arms one fault for the process; `arm` does it from inside.
//! - `TIDEGATE_RIG_CLOCK=FILE` names a file of three to five numbers, read at every look at the clock: milliseconds added
//!   to the wall clock, milliseconds added to the time since boot (which never becomes less than 0), the number of the
//!   boot (0: the real one), the milliseconds that each commit's sync takes longer (none: 0), as on a card that stalls, and
//!   what the kernel says of the wall clock (1: no time service keeps it; 0 or none: it is synchronised).
//! - `TIDEGATE_RIG_GENERATION=BYTES` closes a generation after so many bytes, and a good part of one as soon as nothing comes
//!   for a moment, so that a short run rotates, rests and trims often.
//! - `TIDEGATE_RIG_PATIENCE=MS` is how long the journal waits for a medium that refuses.
//! - `TIDEGATE_RIG_WINDOW=RECORDS` is how many records a lane looks ahead, so that a few fill its window.
//! - A file `rig-panic-commit`, `rig-panic-sync` or `rig-panic-publish` in the journal's folder holds a number: so many times
//!   the journal's writer panics when it comes to that place.
//! - `TIDEGATE_RIG_MACHINE=FOLDER` is where the agent looks for the marks of the machine, instead of `/`.
//! - `TIDEGATE_RIG_AGENTS=FOLDER` has commands see only the agents whose journals lie below it: tests run side by side.

/// A fault that can be put in on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Failpoint {
    /// Tickets are given back before the commit's flush: acknowledged before durable.
    AckEarly,
    /// Acks of a dead connection are sent on the next one, under packet ids that mean other messages by then.
    StaleAcks,
    /// A record that comes back unsettled goes behind its group instead of before it.
    Overtake,
    /// Records are attempted without a durable mark, so a restart does not know that they may have been sent: on a
    /// Standard queue, or beyond a FIFO queue's window, they come twice and do not say so.
    NoMark,
    /// A lane that is parked forgets what was in flight: it takes it for accepted, although the queue refused it. So it is
    /// lost, which shows whatever the clock says.
    ForgetParked,
    /// What left and got no answer, because its link failed, is taken for accepted.
    SentIsAccepted,
    /// The durable cursor runs ahead of what was settled.
    CursorFirst,
    /// The state file leaves out the holes that no gap record announces yet, so a crash keeps them from ever being told.
    ForgetHoles,
    /// A delivery whose topic and bytes came before is taken for a repeat, whatever the broker says of it.
    SameIsRepeat,
    /// The journal's files hold payloads as they came.
    ForgedFrame,
    /// Frames inside other frames are taken for ours.
    FrameInFrame,
    /// A start continues from the older half of the state file.
    StaleSlot,
    /// A commit is not synced: what sled asks the system for is all that is done.
    StockFlush,
}

impl Failpoint {
    /// All failpoints, to find one by its name.
    pub const ALL: [Failpoint; 13] = [
        Failpoint::AckEarly,
        Failpoint::StaleAcks,
        Failpoint::Overtake,
        Failpoint::NoMark,
        Failpoint::ForgetParked,
        Failpoint::SentIsAccepted,
        Failpoint::CursorFirst,
        Failpoint::ForgetHoles,
        Failpoint::SameIsRepeat,
        Failpoint::ForgedFrame,
        Failpoint::FrameInFrame,
        Failpoint::StaleSlot,
        Failpoint::StockFlush,
    ];

    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Failpoint::AckEarly => "ack-early",
            Failpoint::StaleAcks => "stale-acks",
            Failpoint::Overtake => "overtake",
            Failpoint::NoMark => "no-mark",
            Failpoint::ForgetParked => "forget-parked",
            Failpoint::SentIsAccepted => "sent-is-accepted",
            Failpoint::CursorFirst => "cursor-first",
            Failpoint::ForgetHoles => "forget-holes",
            Failpoint::SameIsRepeat => "same-is-repeat",
            Failpoint::ForgedFrame => "forged-frame",
            Failpoint::FrameInFrame => "frame-in-frame",
            Failpoint::StaleSlot => "stale-slot",
            Failpoint::StockFlush => "stock-flush",
        }
    }
}

#[cfg(not(feature = "failpoints"))]
mod inert {
    use super::Failpoint;

    /// Whether a fault is armed: never, in a build that ships.
    #[inline(always)]
    pub const fn is_armed(_: Failpoint) -> bool {
        false
    }

    /// Free bytes of the file system: what it says, in a build that ships.
    #[inline(always)]
    pub(crate) const fn free_bytes() -> Option<u64> {
        None
    }

    /// Payload bytes of a generation: the usual, in a build that ships.
    #[inline(always)]
    pub(crate) const fn generation_bytes() -> Option<u64> {
        None
    }

    /// How long the journal waits for a medium: the usual, in a build that ships.
    #[inline(always)]
    pub(crate) const fn patience() -> Option<std::time::Duration> {
        None
    }

    /// Records that a lane looks ahead: the usual, in a build that ships.
    #[inline(always)]
    pub(crate) const fn window() -> Option<usize> {
        None
    }

    /// Panics where a rig tells to: never, in a build that ships.
    #[inline(always)]
    pub(crate) const fn panic_if_told(_: &std::path::Path, _: &str) {}

    /// Where to look for the marks of the machine: the usual place, in a build that ships.
    #[inline(always)]
    pub(crate) const fn machine() -> Option<std::path::PathBuf> {
        None
    }

    /// Where the journals lie of those agents that are this machine's: anywhere, in a build that ships.
    #[inline(always)]
    pub(crate) const fn agents_below() -> Option<std::path::PathBuf> {
        None
    }

    /// How long nothing comes until a burst is over: the usual, in a build that ships.
    #[inline(always)]
    pub(crate) const fn quiet() -> Option<std::time::Duration> {
        None
    }

    /// How far the clocks are moved: not at all, in a build that ships.
    #[inline(always)]
    pub(crate) const fn shift() -> super::Shift {
        super::Shift { wall_ms: 0, boottime_ms: 0, boot: 0, sync_ms: 0, synchronised: None }
    }
}

#[cfg(feature = "failpoints")]
mod live {
    use super::{Failpoint, Shift};
    use crate::sync::locked;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::sync::{Mutex, OnceLock};

    static ARMED: AtomicU32 = AtomicU32::new(0);

    fn named() -> u32 {
        static NAMED: OnceLock<u32> = OnceLock::new();
        *NAMED.get_or_init(|| {
            let Ok(name) = std::env::var("TIDEGATE_SABOTAGE") else { return 0 };
            let known = Failpoint::ALL.iter().find(|sabotage| sabotage.name() == name);
            let sabotage = *known.unwrap_or_else(|| panic!("TIDEGATE_SABOTAGE={name} is no sabotage"));
            tracing::error!(sabotage = name, "SABOTAGED on purpose: this process breaks its promises");
            1 << sabotage as u32
        })
    }

    /// Whether a fault is armed.
    pub fn is_armed(sabotage: Failpoint) -> bool {
        (ARMED.load(Relaxed) | named()) & (1 << sabotage as u32) != 0
    }

    /// Arms a fault for this process, until it ends.
    pub fn arm(sabotage: Failpoint) {
        ARMED.fetch_or(1 << sabotage as u32, Relaxed);
    }

    /// Ends a fault that was armed from inside.
    pub fn disarm(sabotage: Failpoint) {
        ARMED.fetch_and(!(1 << sabotage as u32), Relaxed);
    }

    static SHIFT: Mutex<Shift> =
        Mutex::new(Shift { wall_ms: 0, boottime_ms: 0, boot: 0, sync_ms: 0, synchronised: None });

    /// How far the clocks are moved now. A file that is being written keeps the last shift in force.
    pub(crate) fn shift() -> Shift {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let file = FILE.get_or_init(|| std::env::var_os("TIDEGATE_RIG_CLOCK").map(PathBuf::from));
        let mut last = locked(&SHIFT);
        if let Some(shift) = file.as_ref().and_then(|path| parse(&std::fs::read_to_string(path).ok()?)) {
            *last = shift;
        }
        *last
    }

    /// Moves the clocks of this process from inside: by so many milliseconds, into another boot.
    pub fn move_clocks(wall_ms: i64, boottime_ms: i64, boot: u8) {
        *locked(&SHIFT) = Shift { wall_ms, boottime_ms, boot, sync_ms: 0, synchronised: Some(true) };
    }

    static FREE: Mutex<Option<u64>> = Mutex::new(None);

    /// What the file system is to say of its free bytes, in this process; `None`: what it says.
    pub fn pretend_free(bytes: Option<u64>) {
        *locked(&FREE) = bytes;
    }

    /// Free bytes that a rig pretends.
    pub(crate) fn free_bytes() -> Option<u64> {
        *locked(&FREE)
    }

    /// Payload bytes of a generation, when they are not to be the usual.
    pub(crate) fn generation_bytes() -> Option<u64> {
        std::env::var("TIDEGATE_RIG_GENERATION").ok()?.parse().ok()
    }

    /// How long the journal waits for a medium that refuses, when that is not to be the usual.
    pub(crate) fn patience() -> Option<std::time::Duration> {
        std::env::var("TIDEGATE_RIG_PATIENCE").ok()?.parse().ok().map(std::time::Duration::from_millis)
    }

    /// Records that a lane looks ahead, when they are not to be the usual.
    pub(crate) fn window() -> Option<usize> {
        std::env::var("TIDEGATE_RIG_WINDOW").ok()?.parse().ok()
    }

    /// Panics as many times as the file of this place in the journal's folder says.
    pub(crate) fn panic_if_told(journal: &std::path::Path, place: &str) {
        let file = journal.join(format!("rig-panic-{place}"));
        let Some(left) = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok()) else {
            return;
        };
        match left {
            0 | 1 => std::fs::remove_file(&file).expect("the rig's own file"),
            more => std::fs::write(&file, (more - 1).to_string()).expect("the rig's own file"),
        }
        panic!("the rig told the writer to");
    }

    /// Where to look for the marks of the machine, when that is not to be the usual place.
    pub(crate) fn machine() -> Option<PathBuf> {
        std::env::var_os("TIDEGATE_RIG_MACHINE").map(PathBuf::from)
    }

    /// Where the journals lie of those agents that are this machine's, when not all are.
    pub(crate) fn agents_below() -> Option<PathBuf> {
        std::env::var_os("TIDEGATE_RIG_AGENTS").map(PathBuf::from)
    }

    /// How long nothing comes until a burst is over, when that is not to be the usual.
    pub(crate) fn quiet() -> Option<std::time::Duration> {
        generation_bytes().map(|_| std::time::Duration::from_millis(20))
    }

    fn parse(text: &str) -> Option<Shift> {
        let mut words = text.split_ascii_whitespace();
        let wall_ms = words.next()?.parse().ok()?;
        let boottime_ms = words.next()?.parse().ok()?;
        let boot = words.next()?.parse().ok()?;
        let sync_ms = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let synchronised = Some(words.next() != Some("1"));
        Some(Shift { wall_ms, boottime_ms, boot, sync_ms, synchronised })
    }
}

#[cfg(not(feature = "failpoints"))]
pub use inert::is_armed;
#[cfg(not(feature = "failpoints"))]
pub(crate) use inert::{
    agents_below, free_bytes, generation_bytes, machine, panic_if_told, patience, quiet, shift, window,
};
#[cfg(feature = "failpoints")]
pub(crate) use live::{
    agents_below, free_bytes, generation_bytes, machine, panic_if_told, patience, quiet, shift, window,
};
#[cfg(feature = "failpoints")]
pub use live::{arm, disarm, is_armed, move_clocks, pretend_free};

/// How far the clocks are moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shift {
    /// Added to the wall clock.
    pub(crate) wall_ms: i64,
    /// Added to the time since boot.
    pub(crate) boottime_ms: i64,
    /// Number of the boot; 0: the real one.
    pub(crate) boot: u8,
    /// What each commit's sync takes longer.
    pub(crate) sync_ms: u64,
    /// What the kernel says of the wall clock; `None`: it is asked.
    pub(crate) synchronised: Option<bool>,
}

/// Lets a commit's sync take as long as the rig says.
pub(crate) fn stall_sync() {
    let sync_ms = shift().sync_ms;
    if sync_ms > 0 {
        std::thread::sleep(std::time::Duration::from_millis(sync_ms));
    }
}
