//! Whose journal it is: its id, this opening's epoch, and the lanes with their ledgers.
//!
//! A state that fits the machine is gone on with, under the next epoch. On another machine the folder is a copy: it draws an id
//! of its own, so that two gateways never give one id twice. Without a state the newest records tell the id, and the epoch leaps
//! over more openings than can have happened since.

use crate::clock::{BootId, Clock};
use crate::journal::checkpoint::lane_state::LaneState;
use crate::journal::checkpoint::machine::{Machine, MachineMatch, draw_id};
use crate::journal::checkpoint::state::State;
use crate::journal::checkpoint::state_loss::StateLoss;
use crate::journal::error::JournalError;
use crate::journal::handle::options::JournalOptions;
use crate::journal::ledger::books::{AttemptMark, LaneLedger};
use crate::journal::log::Log;
use crate::journal::log::foreign::FORMER_MOST;
use crate::journal::quarantine::Quarantine;
use crate::journal::random::draw;
use crate::journal::recovery::lanes;
use crate::journal::recovery::report::OpenReport;
use crate::journal::recovery::tail::{LogTail, journal_of};
use crate::record::{Epoch, JournalId, Number, OpenAcks, Position};

/// Epochs skipped when the state is lost: more opens than can have happened since the newest one that is still known.
const EPOCH_LEAP: u64 = 1_000;
/// And so many more by lot: a state that is lost twice, with no record in between, must not lead to the same one.
const EPOCH_LOT: u64 = 1_000_000;

/// Whose journal it is, in this opening.
pub(super) struct Owner {
    pub(super) id: JournalId,
    pub(super) epoch: Epoch,
    pub(super) books: Vec<LaneLedger>,
    pub(super) machine: Machine,
    /// What the state says of acks that were open.
    pub(super) open_acks: Option<OpenAcks>,
    /// Ids that it had before, the newest last.
    pub(super) former: Vec<JournalId>,
    /// The last loss of a state.
    pub(super) loss: Option<StateLoss>,
    /// Lane ids given so far, as the state says.
    ids_given: u32,
}

impl Owner {
    /// By the state, if there is one, else by what the log tells.
    ///
    /// # Errors
    /// The state contradicts itself, or the log cannot be read now.
    pub(super) fn known(
        state: Option<State>,
        machine: Machine,
        tail: &LogTail,
        log: &Log,
        clock: &Clock,
        report: &mut OpenReport,
    ) -> Result<Owner, JournalError> {
        if let Some(state) = state {
            return Owner::of_state(state, machine, tail, log, clock, report);
        }
        let (id, epoch) = if report.state_lost {
            // The newest one may have been begun a moment ago, and hold nothing yet.
            let known = tail.journal.map_or_else(|| journal_of(log), |id| Ok(Some(id)))?;
            report.new_id = known.is_none();
            (known.unwrap_or_else(draw_id), tail.epoch + (EPOCH_LEAP + draw() % EPOCH_LOT))
        } else {
            (draw_id(), Epoch(1))
        };
        let former = log.ids_before(id);
        Ok(Owner { id, epoch, books: Vec::new(), machine, open_acks: None, former, loss: None, ids_given: 0 })
    }

    fn of_state(
        state: State,
        mut machine: Machine,
        tail: &LogTail,
        log: &Log,
        clock: &Clock,
        report: &mut OpenReport,
    ) -> Result<Owner, JournalError> {
        if let Some(last_good_s) = state.last_good_s {
            clock.passed(last_good_s);
        }
        let place = machine.compare(&state.machine);
        report.copied = place == MachineMatch::Another;
        report.machine_unknown = place == MachineMatch::Unknown;
        report.new_id = report.copied;
        report.former = report.copied.then_some(state.journal);
        if !report.copied {
            machine = machine.noting(&state.machine);
        }
        // The slot that is lost may have been the first one of another open.
        let epoch = (state.epoch + u64::from(report.slot_lost)).max(tail.epoch).next();
        let books = state.lanes.into_iter().map(LaneState::into_book).collect::<Result<Vec<_>, _>>();
        let books = books.map_err(|reason| JournalError::Generation(reason.to_owned()))?;
        let mut former = state.former.unwrap_or_else(|| log.ids_before(state.journal));
        let id = if report.copied { draw_id() } else { state.journal };
        former.extend(report.former);
        former.drain(..former.len().saturating_sub(FORMER_MOST));
        Ok(Owner {
            id,
            epoch,
            books,
            machine,
            open_acks: state.open_acks,
            former,
            loss: state.loss,
            ids_given: state.lane_ids,
        })
    }

    /// Positions go on behind what the log holds; where marks may be missing, all of it may have been sent.
    pub(super) fn go_on_behind(&mut self, tail: &LogTail, report: &OpenReport) {
        for book in &mut self.books {
            book.next = book.next.max(tail.next.get(&book.id).copied().unwrap_or(Position::FIRST));
            book.found = book.next;
            let appended = book.next.before();
            // A mark runs ahead. What is appended from here on is of a later epoch, and surely was not sent yet.
            book.marks.iter_mut().for_each(|mark| mark.upto = mark.upto.min(appended));
            if report.new_id {
                // What it has summed up, and all that waits, goes under another journal's id.
                book.chain.begin_anew(book.next);
            }
            if report.marks_may_be_missing() && appended > Position(0) {
                book.presume(AttemptMark {
                    upto: appended,
                    epoch: self.epoch.before(),
                    boot: BootId::default(),
                    since_ms: 0,
                });
            }
        }
    }

    /// All ids that the journal has and had.
    pub(super) fn ids(&self) -> Vec<JournalId> {
        self.former.iter().copied().chain([self.id]).collect()
    }

    /// Notes that the state was lost, for this and all later openings; before anything else is settled in the books. `next`: the
    /// first number that is free.
    pub(super) fn note_loss(&mut self, next: Number) {
        let presumed = self.books.iter().map(|book| book.ledger.accepted).fold(0, u64::saturating_add);
        self.loss = Some(StateLoss { epoch: self.epoch, before: next, presumed });
    }

    /// Forgets lanes that are not configured and hold nothing, and adds those that are new, which begin at `next`. Gives how many lane
    /// ids were given so far.
    pub(super) fn configure(
        &mut self,
        options: &JournalOptions,
        log: &Log,
        tail: &LogTail,
        quarantine: &Quarantine,
        next: Number,
    ) -> Result<u32, JournalError> {
        let ids = lanes::Ids::known(self.ids_given, log, &tail.lanes, &self.books);
        lanes::forget(&mut self.books, options, quarantine);
        let given = lanes::add(&mut self.books, options, &ids, next)?;
        for book in self.books.iter_mut() {
            book.holes.set_silent(options.silent.contains(&book.name));
            book.absorbed = options.absorbing.contains(&book.name);
        }
        Ok(given)
    }
}
