//! When the file of filters goes and comes, and what of it has to reach the disk. Pure.
//!
//! The file says what the broker's session holds, and a start believes it. From an attempt to connect until the broker has
//! confirmed every filter it may be untrue: the broker may have lost the session, and this very attempt makes a new, empty one.
//! An agent that dies then and believed the file at its next start would ask for nothing and hear nothing.
//!
//! So the file is put aside before each attempt, and back once it is true again. A broker or a link that flaps must not wear the
//! card, so both are renames without a sync. That is safe:
//!
//! - The agent ends, and the system goes on: it sees every rename. The file is aside, and the next start asks for everything.
//! - The power ends: either name may be there, the bytes behind it were synced when they were written. Aside counts as absent.
//!   Under its own name, though it was in doubt, it misleads only where the broker lost the session within this outage and
//!   outlived the power cut. So that doubt is made durable, by removing the file: at once where the broker says that it kept no
//!   session; before any attempt that is made [`SYNC_AFTER`] or more after the first; and after that time on a connection whose broker
//!   has not confirmed. What is left is a power cut between such a CONNECT and the answer to it, and then the filters stay
//!   silent until `mqtt.resubscribe_after`.
//!
//! At a start the file is always removed durably: the agent cannot know how long the outage has lasted.

use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// So long an outage costs no sync.
pub(super) const SYNC_AFTER: Duration = Duration::from_secs(10);

/// What is to be done to the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FileStep {
    /// Rename it away; not durable.
    PutAside,
    /// Rename it back; not durable.
    PutBack,
    /// Remove it under either name, durably.
    Remove,
    /// Write it anew with these filters, durably.
    Write(BTreeSet<String>),
}

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// What it holds, under either name; `None`: there is none, or it is not known.
    written: Option<BTreeSet<String>>,
    /// Since when it is aside.
    since: Option<Instant>,
    /// Whether it is known that there is none.
    gone: bool,
}

impl Doubt {
    /// The broker is about to be asked for a session.
    pub(super) fn attempt(&mut self, now: Instant) -> Option<FileStep> {
        match (&self.written, self.since) {
            (Some(_), None) => {
                self.since = Some(now);
                Some(FileStep::PutAside)
            }
            (Some(_), Some(since)) if now < since + SYNC_AFTER => None,
            _ => self.remove(),
        }
    }

    /// The broker kept no session: what the file says is untrue.
    pub(super) fn session_lost(&mut self) -> Option<FileStep> {
        self.since.and_then(|_| self.remove())
    }

    /// When the doubt is to be durable; `None`: it is, or there is none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + SYNC_AFTER)
    }

    /// It is that time.
    pub(super) fn lasts(&mut self, now: Instant) -> Option<FileStep> {
        self.due().filter(|due| *due <= now).and_then(|_| self.remove())
    }

    /// The broker has confirmed every filter.
    pub(super) fn confirmed(&mut self, filters: BTreeSet<String>) -> Option<FileStep> {
        let aside = self.since.take().is_some();
        if self.written.as_ref() == Some(&filters) {
            return aside.then_some(FileStep::PutBack);
        }
        self.written = Some(filters.clone());
        self.gone = false;
        Some(FileStep::Write(filters))
    }

    /// A step failed, this one or another: nothing is known of the file any more.
    pub(super) fn failed(&mut self) {
        *self = Doubt::default();
    }

    fn remove(&mut self) -> Option<FileStep> {
        (self.written, self.since) = (None, None);
        (!std::mem::replace(&mut self.gone, true)).then_some(FileStep::Remove)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileStep::{PutAside, PutBack, Remove, Write};
    use proptest::prelude::*;

    fn filters(name: &str) -> BTreeSet<String> {
        BTreeSet::from([name.to_owned()])
    }

    #[test]
    fn outages_under_ten_seconds_sync_nothing_and_longer_ones_once() {
        let (mut doubt, start) = (Doubt::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(doubt.attempt(start), Some(Remove), "at a start");
        assert_eq!(doubt.attempt(after(1)), None);
        assert_eq!(doubt.confirmed(filters("a")), Some(Write(filters("a"))));
        assert_eq!(doubt.confirmed(filters("a")), None, "the same again");
        for outage in 0..50 {
            assert_eq!(doubt.attempt(after(100_000 * outage)), Some(PutAside));
            assert_eq!(doubt.attempt(after(100_000 * outage + 9_999)), None);
            assert_eq!(doubt.lasts(after(100_000 * outage + 9_999)), None);
            assert_eq!(doubt.confirmed(filters("a")), Some(PutBack));
        }
        assert_eq!((doubt.due(), doubt.attempt(after(0))), (None, Some(PutAside)));
        assert_eq!(doubt.attempt(after(10_000)), Some(Remove), "before the attempt is made");
        assert_eq!((doubt.attempt(after(11_000)), doubt.due()), (None, None));
        assert_eq!(doubt.confirmed(filters("a")), Some(Write(filters("a"))));
    }

    #[test]
    fn lost_sessions_silent_brokers_and_other_filters_are_synced() {
        let (mut doubt, start) = (Doubt::default(), Instant::now());
        doubt.confirmed(filters("a"));
        assert_eq!((doubt.attempt(start), doubt.session_lost()), (Some(PutAside), Some(Remove)));
        assert_eq!(doubt.session_lost(), None);
        assert_eq!(doubt.confirmed(filters("a")), Some(Write(filters("a"))));
        assert_eq!((doubt.attempt(start), doubt.lasts(start + SYNC_AFTER)), (Some(PutAside), Some(Remove)));
        doubt.confirmed(filters("a"));
        assert_eq!((doubt.attempt(start), doubt.confirmed(filters("b"))), (Some(PutAside), Some(Write(filters("b")))));
        doubt.failed();
        assert_eq!(doubt.confirmed(filters("b")), Some(Write(filters("b"))), "who knows what is there");
    }

    proptest! {
        /// Between an attempt and the broker's word the file is not under its own name; and a file under that name is
        /// true.
        #[test]
        fn the_file_has_what_the_broker_confirmed_last(steps in prop::collection::vec((0u8..4, 0u64..15_000, 0u8..2), 0..60)) {
            let (mut doubt, mut now) = (Doubt::default(), Instant::now());
            // Filters of an earlier run.
            let (mut file, mut aside, mut open) = (Some(filters("z")), None, false);
            let mut word = file.clone();
            for (step, pause_ms, name) in steps {
                now += Duration::from_millis(pause_ms);
                let to_do = match step {
                    0 => { open = true; doubt.attempt(now) }
                    1 if open => {
                        open = false;
                        word = Some(filters(&name.to_string()));
                        doubt.confirmed(filters(&name.to_string()))
                    }
                    2 if open => doubt.session_lost(),
                    _ => doubt.lasts(now),
                };
                match to_do {
                    Some(PutAside) => aside = file.take(),
                    Some(PutBack) => file = aside.take(),
                    Some(Remove) => (file, aside) = (None, None),
                    Some(Write(filters)) => file = Some(filters),
                    None => {}
                }
                prop_assert_eq!(&file, if open { &None } else { &word });
            }
        }
    }
}
