//! Keeps the state file: writes it when it is due ([`crate::journal::ledger::cadence`]), and then lets go of what every lane
//! is past.

use crate::journal::checkpoint::lane_state::LaneState;
use crate::journal::checkpoint::state::{self, Home, State, StateFile, Written};
use crate::journal::error::JournalError;
use crate::journal::handle::{Journal, Shared};
use crate::journal::ledger::cadence::{Lag, Moved, STATE_PAUSE};
use crate::record::Number;
use crate::sync::locked;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between attempts at a state file that the disk refuses.
const STATE_RETRY_FIRST: Duration = Duration::from_millis(100);
const STATE_RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    pub(crate) flags: Mutex<CheckpointFlags>,
    pub(crate) wake: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct CheckpointFlags {
    /// What moved since the last write.
    pub(crate) lag: Lag,
    pub(crate) stop: bool,
}

impl Journal {
    /// Keeps the state file: writes it when it is due, at most every second, then lets drained generations go. Where the
    /// disk refuses, it tries again by itself. Runs on its own thread until [`Journal::stop_keeping`], and then tries
    /// once; never wakes when nothing moves.
    pub fn keep(&self) {
        let keeper = &self.0.keeper;
        let mut retry: Option<Duration> = None;
        let mut rested = Instant::now();
        let mut flags = locked(&keeper.flags);
        loop {
            let last = flags.stop;
            match flags.lag.due().map(|due| due.max(rested).saturating_duration_since(Instant::now())) {
                None if last => {
                    // A write under way has taken what was due, and may still fail and give it back.
                    drop(flags);
                    drop(locked(&self.0.state));
                    flags = locked(&keeper.flags);
                    if flags.lag.due().is_none() {
                        return;
                    }
                    continue;
                }
                None => {
                    flags = keeper.wake.wait(flags).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Some(left) if !left.is_zero() && !last => {
                    flags = keeper.wake.wait_timeout(flags, left).unwrap_or_else(PoisonError::into_inner).0;
                    continue;
                }
                Some(_) => {}
            }
            drop(flags);
            let written = self.0.keep_state(Home::DiskOrBoot);
            flags = locked(&keeper.flags);
            let pause = match written {
                Ok(()) => {
                    if retry.take().is_some() {
                        tracing::info!("state file written again");
                    }
                    STATE_PAUSE
                }
                Err(error) => {
                    // Lagging behind only repeats records.
                    if retry.is_none() || last {
                        tracing::warn!(%error, "state file not written");
                    }
                    // Not written yet: the flag says so to the next caller, too.
                    flags.lag.note(Moved::Soon, Instant::now());
                    if last {
                        return;
                    }
                    let next = retry.map_or(STATE_RETRY_FIRST, |pause| (pause * 2).min(STATE_RETRY_MAX));
                    *retry.insert(next)
                }
            };
            rested = Instant::now() + pause;
        }
    }

    /// Makes [`Journal::keep`] write what is left and return.
    pub fn stop_keeping(&self) {
        locked(&self.0.keeper.flags).stop = true;
        self.0.keeper.wake.notify_all();
    }
}

impl Shared {
    /// Something moved in the books: the state file has it in its time.
    pub(crate) fn note(&self, moved: Moved) {
        self.settled.notify_one();
        // Beside a read-only disk it lies in RAM: there a write costs nothing, and each repeat reaches a consumer.
        let moved = if self.beside.load(Relaxed) { Moved::Soon } else { moved };
        if locked(&self.keeper.flags).lag.note(moved, Instant::now()) {
            self.keeper.wake.notify_all();
        }
    }

    /// Writes the state to the disk, then deletes what every lane is past by that durable state, whichever slot of it is read.
    pub(crate) fn write_state(&self) -> Result<(), JournalError> {
        self.keep_state(Home::Disk)
    }

    /// Writes the state durably. Only what is on the disk lets generations go.
    pub(crate) fn keep_state(&self, home: Home) -> Result<(), JournalError> {
        let Some((by_this, mut both)) = self.write_slot(home)? else { return Ok(()) };
        if self.drained(by_this) > self.drained(both) {
            // Only the older slot holds a generation back: it is overwritten, too, rather than at the next write, which
            // may be long in coming.
            let Some((_, now)) = self.write_slot(home)? else { return Ok(()) };
            both = now;
        }
        self.durable_need.fetch_max(both.0, Relaxed);
        self.let_go(both, 1);
        Ok(())
    }

    /// Writes one slot of the state file. Returns the first number that lanes need by it, and by either slot; `None`: it went
    /// beside the disk.
    pub(crate) fn write_slot(&self, home: Home) -> Result<Option<(Number, Number)>, JournalError> {
        let mut file = locked(&self.state);
        // Taken before the snapshot: what moves from here on may be in it, and is written once more.
        let lag = std::mem::take(&mut locked(&self.keeper.flags).lag);
        let written = self.write_to(&mut file, home);
        if written.is_err() {
            let mut flags = locked(&self.keeper.flags);
            flags.lag = flags.lag.and(lag);
            self.keeper.wake.notify_all();
        }
        written
    }

    fn write_to(&self, file: &mut StateFile, home: Home) -> Result<Option<(Number, Number)>, JournalError> {
        // The snapshot is taken under the file's lock: a later write never holds an older picture.
        let prepared = {
            let mut books = locked(&self.books);
            // The writer raises the high water in one picture with the books: what is idle here is idle.
            let high = *self.durable.borrow();
            books.iter_mut().for_each(|book| book.idle_up_to(high));
            let open_acks = locked(&self.open_acks).clone();
            state::fit(|room| State {
                journal: self.run.journal,
                epoch: self.run.epoch,
                high,
                fingerprint: 0,
                machine: self.machine.clone(),
                run: self.run.random,
                open_acks: open_acks.clone(),
                last_good_s: self.clock.last_good_s(),
                lane_ids: self.lane_ids,
                former: Some(self.former.clone()),
                loss: self.loss,
                lanes: books.iter().map(|book| LaneState::of(book, room)).collect(),
            })?
        };
        // The books are free again: a slow card must not hold up those who settle.
        let Written { state: written, on_disk } = file.write(prepared, home)?;
        let needed = (written.needed_from(), file.needed_from());
        if self.beside.swap(!on_disk, Relaxed) == on_disk {
            self.moved(on_disk);
        }
        Ok(on_disk.then_some(needed))
    }

    /// At a bound no chain keeps a generation whose numbers lie below `end`. Before the state is written by which it goes: a
    /// chain that needed it would leave the older slot behind, and a start that finds that slot alone would look for it.
    pub(crate) fn forgo_chains(&self, end: Number) {
        locked(&self.books).iter_mut().for_each(|book| book.chain.forgo(book.cursor, end));
    }

    /// How many generations hold only numbers below `needed`.
    pub(crate) fn drained(&self, needed: Number) -> usize {
        self.log.firsts().windows(2).take_while(|pair| pair[1] <= needed).count()
    }

    /// How often the state file was written.
    #[cfg(test)]
    pub(crate) fn state_writes(&self) -> u64 {
        locked(&self.state).serial()
    }

    /// The state has another home from here on: logs it once, and lets the writer know.
    pub(crate) fn moved(&self, on_disk: bool) {
        if on_disk {
            tracing::info!("the journal's disk is written again: its state is there, and new messages are taken");
        } else {
            tracing::error!(
                "the journal's disk is read-only: what is on it is drained, every message says possibleduplicate, and cursor and marks are kept for this boot only; new messages stay with the broker"
            );
            self.noted.notify_one();
        }
    }

    /// Deletes the generations that hold only numbers below `needed`, except the newest `keep` of them. Never more than
    /// the durable cursors allow.
    pub(crate) fn let_go(&self, needed: Number, keep: usize) {
        let needed = needed.min(Number(self.durable_need.load(Relaxed)));
        let going = self.drained(needed).saturating_sub(keep);
        // One after the other: where the log alone tells what there was, a hole in it would look like a loss.
        let _all = self.log.firsts().into_iter().take(going).all(|first| self.log.delete(first));
    }
}
