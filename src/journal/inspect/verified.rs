//! All of a journal, read: what the generations hold, and what the state file says of records that wait, held against each other.
//!
//! A generation tells what it should hold by its own numbers. One that is gone tells nothing, and neither does one whose records
//! belong to another journal. So each position that the state file calls waiting must be in a record that was read. A running
//! agent settles records and removes what nothing needs meanwhile: what the state file calls waiting both before and behind
//! the look counts, and nothing else.

use crate::journal::checkpoint::state::{self, Found};
use crate::journal::disk::files;
use crate::journal::error::JournalError;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::inspect::{View, books_of};
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::journal::ledger::settled::Settled;
use crate::journal::log::spent::Spent;
use crate::record::{LaneId, Number, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Looks at most, where generations go while they are looked at: an agent that starts writes its newest one anew.
const LOOKS: u32 = 3;

/// What was found in a journal.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Every generation that is there.
    pub generations: Vec<Soundness>,
    /// Numbers that a queue still needs and that no generation is there for, as ranges with both ends.
    pub gone: Vec<(Number, Number)>,
    /// Queues of which records that wait were not found, and how many.
    pub lacking: Vec<(String, u64)>,
}

/// How sound a generation is.
#[derive(Clone, Debug, Serialize)]
pub struct Soundness {
    /// First number that it should hold.
    pub first: Number,
    /// Records that can be read back.
    pub records: u64,
    /// Numbers that it should hold and that cannot be read back, as ranges with both ends.
    pub missing: Vec<(Number, Number)>,
    /// Records of a commit that a crash cut off: they were never acknowledged.
    pub cut_off: u64,
    /// Bytes of the generation on disk.
    pub bytes: u64,
}

impl Verified {
    /// How many numbers are missing, in generations and without one.
    pub fn missing(&self) -> u64 {
        let all = self.generations.iter().flat_map(|one| &one.missing).chain(&self.gone);
        all.map(|(from, to)| (*to - *from).saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// Whether everything is there that should be.
    pub fn is_whole(&self) -> bool {
        self.missing() == 0 && self.lacking.is_empty()
    }
}

/// The positions that were found, by lane.
type Held = BTreeMap<LaneId, Settled>;

fn hold(held: &mut Held, record: &Record) {
    for slot in &record.slots {
        let held = held.entry(slot.lane).or_default();
        if !held.contains(slot.position) {
            held.add(slot.position, slot.position.next(), Outcome::Accepted);
        }
    }
}

impl View {
    /// Reads every generation whole; tells `progress` how many of how many are done.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn verify(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<Verified, JournalError> {
        let (mut found, mut went) = self.look_through(progress)?;
        for _ in 1..LOOKS {
            if found.is_whole() || !went {
                break;
            }
            (found, went) = View::open(&self.path)?.look_through(progress)?;
        }
        Ok(found)
    }

    /// One look at everything, and whether a generation went meanwhile.
    fn look_through(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<(Verified, bool), JournalError> {
        let (mut generations, mut held, mut went) = (Vec::new(), Held::new(), false);
        for (index, (first, dir)) in self.folders.iter().enumerate() {
            progress(index, self.folders.len());
            let next = self.folders.get(index + 1).map(|(next, _)| *next);
            match self.scan(dir)? {
                Some(closed) => generations.push(self.soundness(*first, next, &closed, dir, &mut held)?),
                None => went = true,
            }
        }
        progress(self.folders.len(), self.folders.len());
        Ok((self.held_against_state(generations, &held)?, went))
    }

    fn soundness(
        &self,
        first: Number,
        next: Option<Number>,
        closed: &GenerationBytes,
        dir: &Path,
        held: &mut Held,
    ) -> Result<Soundness, JournalError> {
        let end = self.end(closed, next.unwrap_or(Number::MAX));
        let (mut records, mut missing, mut expected) = (0, Vec::new(), first);
        for read in closed.records(Number(0), Number(end)) {
            let (record, _) = read.map_err(|source| JournalError::io(dir, source))?;
            hold(held, &record);
            let number = record.number;
            if expected < number {
                missing.push((expected, number.before()));
            }
            (records, expected) = (records + 1, expected.max(number.next()));
        }
        // A closed one holds all up to the next one's first, but for what went in between; the newest at least what is known
        // to be durable.
        let whole = next.map_or(self.high.next(), |next| self.spent.end_of(first, next));
        if expected < whole {
            missing.push((expected, whole.before()));
        }
        let cut_off = closed.numbers().filter(|number| *number >= Number(end)).count() as u64;
        Ok(Soundness { first, records, missing, cut_off, bytes: files::disk_bytes(dir) })
    }

    /// With what waits by the state file, then as now, and was not found: the numbers that no generation is there for, and how
    /// many positions of which lane.
    fn held_against_state(&self, generations: Vec<Soundness>, held: &Held) -> Result<Verified, JournalError> {
        let now = self.books_now()?;
        let (mut needed, mut lacking) = (Number::MAX, Vec::new());
        for book in &self.books {
            let Some(now) = now.iter().find(|now| now.id == book.id) else { continue };
            let waiting = now.unsettled(book.cursor, book.next);
            if waiting.is_empty() {
                continue;
            }
            needed = needed.min(now.read_from);
            let none = Settled::default();
            let held = held.get(&book.id).unwrap_or(&none);
            let missing = waiting.iter().flat_map(|(from, to)| held.between(*from, to.next()));
            let count = missing.map(|(from, to)| (to - from).saturating_add(1)).fold(0, u64::saturating_add);
            if count > 0 {
                lacking.push((book.name.clone(), count));
            }
        }
        Ok(Verified { generations, gone: self.not_covered(needed), lacking })
    }

    /// The books as the state file has them now; where it is not sound now, as it was.
    fn books_now(&self) -> Result<Vec<LaneLedger>, JournalError> {
        let Found::State { state, .. } = state::look(&self.path.join("state"))? else { return Ok(self.books.clone()) };
        let mut books = books_of(*state);
        let log = self.path.join("log");
        Spent::read(&log).map_err(|source| JournalError::io(&log, source))?.settle_in(&mut books);
        Ok(books)
    }

    /// The numbers from `needed` up to what is known to be durable that no generation holds, and that did not go out of turn.
    fn not_covered(&self, needed: Number) -> Vec<(Number, Number)> {
        let nexts = self.folders.iter().skip(1).map(|(next, _)| *next).chain([Number::MAX]);
        let of_folders =
            self.folders.iter().zip(nexts).map(|((first, _), next)| (*first, self.spent.end_of(*first, next)));
        let mut covered: Vec<(Number, Number)> = of_folders.chain(self.spent.numbers()).collect();
        covered.sort_unstable();
        let (mut gone, mut expected) = (Vec::new(), needed);
        for (first, end) in covered.into_iter().chain([(self.high.next(), Number::MAX)]) {
            let first = first.min(self.high.next());
            if expected < first {
                gone.push((expected, first.before()));
            }
            expected = expected.max(end);
        }
        gone
    }
}
