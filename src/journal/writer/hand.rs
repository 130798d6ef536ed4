//! What the writer has in hand, and its supervisor: a panic, of sled's or of ours, ends neither the writer nor the process.
//!
//! Everything that was taken from the inbox and is not given back yet lies here, and not in a variable of the loop, so it
//! outlives the loop: after a panic the writer continues with the very same items, and a commit that had its numbers with
//! the very same records. The writer handles a panic as a refusal of the disk: nothing is known of the generation that
//! was written to, so the writer lets go of it, and writes the commit whole into another one. Tickets leave in one move,
//! after their commit, so none is given back twice and none is lost.

use crate::journal::handle::append::{Append, Item, Ticket};
use crate::journal::handle::health::WriterHealth;
use crate::journal::handle::requests::Leaving;
use crate::journal::writer::Writer;
use crate::record::Record;
use crate::sync::{locked, panic_text};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Before the loop is started again after a panic; twice as long each time that another one follows.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(5);

/// What was taken from the inbox and is not given back yet.
#[derive(Debug)]
pub(crate) struct Hand<T> {
    /// In order of receipt, without those that are in `commit` or done.
    pub(crate) items: VecDeque<Item>,
    /// How many items came before these: `tickets` has theirs, too.
    pub(crate) done: usize,
    /// Of all items, in order of receipt.
    pub(crate) tickets: Vec<T>,
    /// What has its numbers.
    pub(crate) commit: Option<Commit>,
}

/// A commit on its way to the disk.
#[derive(Debug)]
pub(crate) struct Commit {
    /// At least one, with dense numbers.
    pub(crate) records: Arc<[Arc<Record>]>,
    /// What comes out of quarantine with it.
    pub(crate) leaving: Vec<Leaving>,
    /// It is on stable storage.
    pub(crate) durable: bool,
}

impl<T> Default for Hand<T> {
    fn default() -> Hand<T> {
        Hand { items: VecDeque::new(), done: 0, tickets: Vec::new(), commit: None }
    }
}

impl<T> Hand<T> {
    pub(crate) fn take(&mut self, Append { item, ticket }: Append<T>) {
        self.items.push_back(item);
        self.tickets.push(ticket);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.tickets.is_empty() && self.commit.is_none()
    }

    /// Items up to the first one that is not for the log.
    pub(crate) fn for_the_log(&self) -> usize {
        self.items.iter().take_while(|item| !matches!(item, Item::Head { .. })).count()
    }
}

impl<T: Ticket> Writer<T> {
    /// Commits until the other end of the inbox is gone, or, on a disk that refuses, until told to stop.
    pub fn run(mut self) {
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve())) {
            self.recover(&*panic);
            if self.stop.load(Relaxed) {
                return;
            }
            std::thread::sleep((RESTART_FIRST * 2u32.pow(self.panics_in_row.min(10))).min(RESTART_MAX));
            self.panics_in_row += 1;
        }
    }

    fn serve(&mut self) {
        loop {
            if self.hand.is_empty() {
                self.panics_in_row = 0;
                // On a read-only disk there is nothing to wait for but the disk.
                if self.journal.0.beside.load(Relaxed) && !self.insist(Self::make_sure) {
                    return;
                }
                match self.wait() {
                    Some(Some(first)) => self.collect(first),
                    Some(None) => {}
                    None => break,
                }
            }
            if !self.empty_the_hand() || !self.requeue() {
                return;
            }
        }
        // What is still to be announced or requeued goes with the last commits.
        while self.commit() && self.is_asked() {
            if !self.requeue() {
                return;
            }
        }
    }

    /// Makes everything in hand durable, and gives the tickets back. `false`: told to stop before the disk took it.
    fn empty_the_hand(&mut self) -> bool {
        if crate::failpoints::is_armed(crate::failpoints::Failpoint::AckEarly) {
            let _ = self.committed.send(std::mem::take(&mut self.hand.tickets));
        }
        loop {
            if !self.commit() {
                return false;
            }
            let Some(Item::Head { draft, why, bytes, delivery }) = self.hand.items.front() else { break };
            // Its copy is one of a few; the item stays in hand until it is kept.
            let (draft, why, bytes, delivery) = ((**draft).clone(), *why, *bytes, *delivery);
            if !self.keep_head(draft, why, bytes, delivery) {
                return false;
            }
            self.hand.items.pop_front();
            self.hand.done += 1;
        }
        self.hand.done = 0;
        let tickets = std::mem::take(&mut self.hand.tickets);
        if !tickets.is_empty() {
            // The intake may be gone already; then nothing is acknowledged, and the broker delivers again.
            let _ = self.committed.send(tickets);
        }
        true
    }

    /// Says that the loop panicked, and lets go of everything of which nothing is known any more.
    fn recover(&mut self, panic: &(dyn Any + Send)) {
        let shared = &self.journal.0;
        let text = panic_text(panic);
        let panics = shared.panics.fetch_add(1, Relaxed) + 1;
        tracing::error!(
            panics,
            error = text,
            "the journal's writer panicked and is started again with what it had in hand; please report this with the log"
        );
        if !self.hand.is_empty() {
            *locked(&shared.health) = WriterHealth::Failing { error: format!("the writer panicked: {text}") };
        }
        // The run of the newest records must have no hole and no record twice.
        shared.forget();
        self.active = None;
    }
}
