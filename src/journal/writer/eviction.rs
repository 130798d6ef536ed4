//! Making room: what the writer does before a commit when the journal is at a bound.
//!
//! The order when something is given up: the losses are booked and noted as holes, both slots of the state file have both, and
//! only then the generation is deleted. So a crash anywhere, and the loss of either slot, finds records that are still there, or
//! a loss that is counted and will be announced ([`crate::journal::ledger::gaps`]). Reading what is given up, for its times and
//! groups, may take a moment of the disk's; it happens on the writer's thread, at a bound alone.

use crate::journal::disk::volume;
use crate::journal::error::JournalError;
use crate::journal::generation::active::ZEROS;
use crate::journal::handle::append::Ticket;
use crate::journal::ledger::books::Outcome;
use crate::journal::ledger::gaps::{About, PendingGap, Reason};
use crate::journal::ledger::retention::{Bound, Look, Retention};
use crate::journal::ledger::{gap_record, retention};
use crate::journal::writer::Writer;
use crate::record::{LaneId, Number, Position};
use crate::sync::locked;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What a generation takes before its first commit: 12 KB, measured, and a block more.
const BEGUN: u64 = 16 * 1024;
/// At a bound the writer looks at the disk this often: others may have made space on it.
pub(crate) const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// And the flag that tells the writer to stop, which gives no signal.
const STOP_PAUSE: Duration = Duration::from_millis(500);

/// What was read of a lane in records that are given up.
#[derive(Debug, Default)]
struct Given {
    /// Position behind the last one.
    next: Position,
    about: About,
    /// What gap records among them announce.
    again: Vec<PendingGap>,
}

impl<T: Ticket> Writer<T> {
    /// Makes room for a commit by the bounds' policy. `Ok(Some(bound))`: stopped at it.
    pub(crate) fn make_room(&mut self, bytes: u64) -> Result<Option<Bound>, JournalError> {
        let mut closely = false;
        loop {
            let (look, aged) = self.look(bytes, closely);
            let firsts = self.journal.0.log.firsts();
            match retention::decide(look, &self.journal.0.bounds) {
                Retention::Fits => return Ok(None),
                // Nothing is given up for what was counted too high, or was true a moment ago.
                _ if !closely => {
                    self.journal.0.log.remove_again();
                    closely = true;
                }
                // Before anything is given up or refused.
                Retention::EvictOldest(_) | Retention::Rotate | Retention::Stop(Bound::MaxBytes | Bound::MinFree)
                    if self.give_back_settled()? => {}
                Retention::Stop(bound) => {
                    let before = self.journal.0.log.disk_bytes();
                    self.deleted = self.can_delete();
                    if !self.deleted {
                        return Ok(Some(bound));
                    }
                    self.delete_drained()?;
                    if self.journal.0.log.disk_bytes() >= before {
                        return Ok(Some(bound));
                    }
                }
                Retention::Rotate if self.active_bytes == 0 => return Ok(None),
                Retention::Rotate => self.rotate()?,
                Retention::EvictAged => {
                    let end = aged.expect("something is too old");
                    let first = firsts.iter().rev().find(|first| **first < end).copied().unwrap_or(end);
                    self.give_up(first, end, Reason::MaxAge)?;
                    self.aged(true);
                }
                Retention::EvictOldest(bound) => {
                    // The keeper may have deleted one since the look.
                    let [first, second, ..] = firsts[..] else { continue };
                    let reason = if bound == Bound::MinFree { Reason::MinFree } else { Reason::MaxBytes };
                    self.give_up(first, second, reason)?;
                    // As far as both slots allow, and no farther.
                    self.journal.0.let_go(second, 0);
                    if self.journal.0.log.firsts().contains(&first) {
                        // The disk does not let go of it now; this commit is small, and the next one tries again.
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What there is, and the number below which everything is too old. Not `closely`: what is used may be less, and what
    /// is free was asked within a second.
    fn look(&mut self, incoming: u64, closely: bool) -> (Look, Option<Number>) {
        let aged = self.aged(false);
        let shared = &self.journal.0;
        // Without a floor the free space does not matter.
        let ask = || if shared.bounds.min_free > 0 { volume::free_bytes(&shared.path) } else { None };
        let used = if closely { shared.log.disk_bytes() } else { shared.log.disk_bytes_at_most() };
        let look = Look {
            evictable: used.saturating_sub(retention::on_disk(self.active_bytes)),
            // With what may be written ahead of a small commit, and begun for it.
            used: used + ZEROS as u64 + BEGUN,
            incoming,
            free: self.free.look(Instant::now(), closely, incoming, ask),
            aged: aged.is_some(),
            generations: shared.log.firsts().len(),
        };
        (look, aged)
    }

    fn aged(&mut self, again: bool) -> Option<Number> {
        self.oldest.as_mut()?.upto(&self.journal.0, again)
    }

    /// Gets out of a full disk: gives up the reserve, so that the next attempt has room.
    pub(crate) fn relieve(&self) {
        if self.journal.0.reserve.give_up() {
            tracing::warn!(
                "disk full: the journal's reserve is given up, so that what waits can be written or evicted"
            );
        }
    }

    /// Makes the reserve again, once there is room for it.
    pub(crate) fn restock(&self) {
        let shared = &self.journal.0;
        if let Err(error) = shared.reserve.make(shared.bounds.min_free) {
            tracing::warn!(%error, "the journal's reserve for a full disk cannot be made now");
        }
    }

    /// Waits at a bound until there may be room: lanes are past a generation, the next look at the disk is due, or the
    /// writer is told to stop. Writes nothing, and wakes for nothing else but the flag that tells it to stop.
    pub(crate) fn await_room(&self) {
        let look = self.oldest.as_ref().map_or(LOOK_PAUSE, |oldest| oldest.pause().min(LOOK_PAUSE));
        let until = Instant::now() + look;
        // What could go a moment ago has not gone, or has not helped: hurrying would only write the state again.
        // What was settled since that look is news.
        let tried = self.deleted;
        if !tried && self.can_delete() {
            return;
        }
        while !self.stop.load(Relaxed) && Instant::now() < until {
            let settled = self.journal.0.settled.notified();
            let settled = self.waiting.block_on(async { tokio::time::timeout(STOP_PAUSE, settled).await.is_ok() });
            if settled && !tried && self.can_delete() {
                return;
            }
        }
    }

    /// Whether there is a generation that all lanes are past, or have settled.
    fn can_delete(&self) -> bool {
        let firsts = self.journal.0.log.firsts();
        let books = locked(&self.journal.0.books);
        let past = |end: Number| books.iter().all(|book| book.waiting() == 0 || book.read_from >= end);
        let is_drained = past(self.next) && self.active_bytes > 0 || firsts.get(1).is_some_and(|next| past(*next));
        is_drained || !self.journal.0.log.settled_in(&books).is_empty()
    }

    /// Lets everything go that all lanes are past, the active generation too: at the bound, even the one generation that
    /// is otherwise kept would be in the way.
    fn delete_drained(&mut self) -> Result<(), JournalError> {
        let drained =
            locked(&self.journal.0.books).iter().all(|book| book.waiting() == 0 || book.read_from >= self.next);
        if drained && self.active_bytes > 0 {
            self.rotate()?;
        }
        self.journal.0.forgo_chains(Number::MAX);
        self.journal.0.write_state()?;
        self.journal.0.let_go(self.next, 0);
        Ok(())
    }

    /// Gives up what lanes still need of the numbers in `first..end`, all of one generation: booked, noted, and durable in
    /// both slots of the state file.
    fn give_up(&mut self, first: Number, end: Number, reason: Reason) -> Result<(), JournalError> {
        let shared = &self.journal.0;
        let mut given = self.survey(first, end)?;
        for fact in shared.log.manifest(end).into_iter().flat_map(|manifest| manifest.lanes) {
            let given = given.entry(fact.id).or_default();
            given.next = given.next.max(fact.next);
        }
        for book in locked(&shared.books).iter_mut().filter(|book| book.read_from < end) {
            // A lane of which neither a record nor a note tells: its reader finds the jump, and books it as damaged.
            let Given { next, about, again } = given.remove(&book.id).unwrap_or_default();
            let upto = next.min(book.next).max(book.cursor);
            let hole = PendingGap::new(reason, book.unsettled(book.cursor, upto), about);
            book.settle_below(upto, end, Outcome::Evicted);
            if hole.count > 0 {
                let (lane, count) = (&book.name, hole.count);
                let (from, to) = (hole.ranges[0].0.0, upto.before().0);
                tracing::error!(
                    queue = lane,
                    from,
                    to,
                    count,
                    bound = reason.bound(),
                    "records evicted at the journal's bound"
                );
                *locked(&shared.evicted) = Some((reason.bound().unwrap_or_default(), shared.clock.now().boottime_ms));
            }
            book.holes.note(hole);
            again.into_iter().for_each(|hole| book.holes.note(hole));
        }
        shared.forgo_chains(end);
        shared.write_state()
    }

    /// Reads the records in `first..end` that some lane still waits for. What is damaged stays unknown.
    ///
    /// # Errors
    /// They cannot be read now: the writer gives up nothing that it has not looked at.
    fn survey(&self, first: Number, end: Number) -> Result<HashMap<LaneId, Given>, JournalError> {
        let shared = &self.journal.0;
        let mut given: HashMap<LaneId, Given> = HashMap::new();
        let present = shared.clock.present();
        let needed = locked(&shared.books).iter().map(|book| book.read_from).min().unwrap_or(end);
        let Some(mut reading) = shared.log.reading(first)? else { return Ok(given) };
        let mut next = first.max(needed);
        let end = end.min(reading.generation.end());
        while next < end {
            let number = next;
            let Some(record) = reading.read(number)? else {
                next = shared.next_above(&reading, number)?;
                continue;
            };
            next = next.next();
            let books = locked(&shared.books);
            for slot in &record.slots {
                let Some(book) = books.iter().find(|book| book.id == slot.lane) else { continue };
                let given = given.entry(slot.lane).or_default();
                given.next = given.next.max(slot.position.next());
                if !book.is_settled(slot.position) {
                    given.about.record(&record, present);
                    given.again.extend(gap_record::announced_by(&record));
                }
            }
        }
        Ok(given)
    }
}
