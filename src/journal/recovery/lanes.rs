//! Which lanes a journal has at an opening: those of the state file, those that only the log tells of, new ones; and which of
//! them are forgotten.
//!
//! The state file names every lane. Where it is lost, the generations' notes do: a generation that a run makes lists all of
//! that run's lanes, and one that is carried over is noted anew with those that this start added. So every lane of a record
//! is in the note of its generation, and need not be in the commits. Two kinds of records are an exception:
//! those of a generation whose note is damaged, and those that 0.1.0 appended to a generation which it had carried over
//! under its old note. Of them only the records tell, by an id without a name. They wait under a name made of the id,
//! which a person can give to a queue; to guess whose they are could hand one queue's records to another.
//!
//! A lane is forgotten when no queue has its name, nothing of it waits, is to be announced or lies in quarantine. Its id is not
//! given again: its records may lie in the log for long, and would be another lane's. The state file counts the ids that
//! were given; where it is lost, a forgotten lane is in notes, with its name, or without one once it was carried over.

use crate::journal::checkpoint::state::StateError;
use crate::journal::error::JournalError;
use crate::journal::generation::manifest::{Manifest, ManifestLane};
use crate::journal::handle::options::JournalOptions;
use crate::journal::ledger::books::{LaneLedger, Outcome};
use crate::journal::log::Log;
use crate::journal::quarantine::Quarantine;
use crate::record::{LaneId, Number, Position, Record};
use std::collections::{BTreeMap, BTreeSet};

/// What records tell of lanes.
#[derive(Debug, Default)]
pub(crate) struct Traces(BTreeMap<LaneId, Trace>);

/// What the log tells of one lane.
#[derive(Clone, Debug)]
struct Trace {
    name: String,
    /// Its lowest position that may still be on disk.
    lowest: Position,
    /// The position that its next record would get.
    next: Position,
}

impl Traces {
    /// Takes in a record; called in order of number.
    pub(crate) fn take(&mut self, record: &Record) {
        for slot in &record.slots {
            let first = Trace { name: String::new(), lowest: slot.position, next: Position(0) };
            let trace = self.0.entry(slot.lane).or_insert(first);
            trace.next = trace.next.max(slot.position.next());
        }
    }

    /// Takes in what a generation notes.
    fn note(&mut self, manifest: &Manifest) {
        for ManifestLane { id, name, next } in &manifest.lanes {
            let trace = self.0.entry(*id).or_insert(Trace { name: String::new(), lowest: *next, next: *next });
            trace.name.clone_from(name);
            trace.next = trace.next.max(*next);
        }
    }

    /// Takes in what later records tell.
    fn join(&mut self, later: Traces) {
        for (id, seen) in later.0 {
            let trace = self.0.entry(id).or_insert(seen.clone());
            trace.next = trace.next.max(seen.next);
        }
    }
}

/// Adds books for the lanes that the log tells of and `books` lack: what is gone of them counts as accepted, what is there
/// waits. `tail`: what the records of the newest generation tell.
///
/// # Errors
/// Records of a generation without a note cannot be read now.
pub(crate) fn recover(log: &Log, tail: &Traces, books: &mut Vec<LaneLedger>) -> Result<(), JournalError> {
    let firsts = log.firsts();
    let (Some(&oldest), Some(&newest)) = (firsts.first(), firsts.last()) else { return Ok(()) };
    let mut traces = Traces::default();
    // Told of by records that no note covers.
    let mut bare: BTreeSet<LaneId> = tail.0.keys().copied().collect();
    let manifests: Vec<Option<Manifest>> = firsts.iter().map(|first| log.manifest(*first)).collect();
    for (index, (first, manifest)) in firsts.iter().zip(&manifests).enumerate() {
        manifest.iter().for_each(|manifest| traces.note(manifest));
        // The next one's note says where the lanes stood at its end.
        let is_covered = manifests.get(index + 1).is_some_and(Option::is_some);
        if *first != newest && (manifest.is_none() || !is_covered) {
            let closed = log.closed(*first)?.expect("it is in the row");
            let mut seen = Traces::default();
            for read in closed.records(Number(0), Number::MAX) {
                seen.take(&read.map_err(JournalError::newest)?.0);
            }
            bare.extend(seen.0.keys());
            traces.join(seen);
        }
    }
    traces.join(Traces(tail.0.clone()));
    let noted = manifests.into_iter().rev().flatten().next().map(|manifest| manifest.lanes).unwrap_or_default();
    for (id, trace) in traces.0 {
        let known = books.iter().any(|book| book.id == id);
        let newly = noted.iter().find(|lane| lane.id == id);
        // Missing in the newest note, or without a name there: it was forgotten, and nothing of it waited.
        let forgotten = newly.map_or(!bare.contains(&id), |lane| lane.name.is_empty());
        if known || forgotten {
            continue;
        }
        let name = if trace.name.is_empty() { made_up(id, books) } else { trace.name };
        let mut book = LaneLedger::new(id, name, oldest);
        book.next = trace.next;
        book.settle_below(trace.lowest, oldest, Outcome::Accepted);
        books.push(book);
    }
    Ok(())
}

/// A name for a lane of which only the id is known.
fn made_up(id: LaneId, books: &[LaneLedger]) -> String {
    let mut name = format!("lane-{}", id.0);
    while books.iter().any(|book| book.name == name) {
        name.push('-');
    }
    name
}

/// Forgets the lanes that no configured queue has.
pub(crate) fn forget(books: &mut Vec<LaneLedger>, options: &JournalOptions, quarantine: &Quarantine) {
    let idle =
        |book: &LaneLedger| !options.lanes.contains(&book.name) && book.waiting() == 0 && book.holes.all().is_empty();
    if !books.iter().any(idle) {
        return;
    }
    // What lies in quarantine can come back into its lane. Where the quarantine cannot be read, it may.
    let Ok(entries) = quarantine.entries() else { return };
    let aside: BTreeSet<LaneId> = entries.iter().filter_map(|entry| entry.place).map(|(lane, _)| lane).collect();
    books.retain(|book| {
        let forgotten = idle(book) && !aside.contains(&book.id);
        if forgotten {
            tracing::info!(
                queue = book.name,
                accepted = book.ledger.accepted,
                "lane forgotten: no queue has its name, and nothing waits in it"
            );
        }
        !forgotten
    });
}

/// Adds a lane for each configured queue that has none. `given`: how many ids the state file knows to have been given.
/// Returns how many were given now.
///
/// # Errors
/// There is no id left.
pub(crate) fn add(
    books: &mut Vec<LaneLedger>,
    options: &JournalOptions,
    ids: &Ids,
    number: Number,
) -> Result<u32, JournalError> {
    let mut given = ids.given.max(ids.taken.last().map_or(0, |id| u32::from(*id) + 1));
    let mut taken = ids.taken.clone();
    for name in &options.lanes {
        if books.iter().any(|book| book.name == *name) {
            continue;
        }
        // After 65,536 of them, one that nothing on disk names.
        let mut free = (given..=u32::from(u16::MAX)).chain(0..given).filter_map(|id| u16::try_from(id).ok());
        let id = free.find(|id| !taken.contains(id)).ok_or(StateError::TooManyLanes(taken.len()))?;
        given = given.max(u32::from(id) + 1);
        taken.insert(id);
        books.push(LaneLedger::new(LaneId(id), name.clone(), number));
    }
    Ok(given)
}

/// Ids that lanes have, or had.
#[derive(Debug)]
pub(crate) struct Ids {
    given: u32,
    taken: BTreeSet<u16>,
}

impl Ids {
    /// Those of `books`, and all that the log names. `given`: how many the state file counted.
    pub(crate) fn known(given: u32, log: &Log, tail: &Traces, books: &[LaneLedger]) -> Ids {
        let firsts = log.firsts();
        let notes = firsts.iter().filter_map(|first| log.manifest(*first)).flat_map(|manifest| manifest.lanes);
        let named = notes.map(|lane| lane.id).chain(tail.0.keys().copied());
        Ids { given, taken: named.chain(books.iter().map(|book| book.id)).map(|id| id.0).collect() }
    }
}
