//! Generations that went out of turn: each of their records has an outcome in every lane, and an earlier generation holds one
//! that has none. The file `spent` keeps what is known of them, beside the generations.
//!
//! A generation goes as a rule when every lane is past it, by the cursors of both slots of the state file
//! ([`crate::journal::log::removal`]). So one record that waits would keep everything behind it. Under a bound in bytes or
//! free space, and only there, the writer therefore gives back whatever is settled behind it, too. Otherwise the log stays
//! without a break, and this file is not there.
//!
//! **Why that loses nothing and counts nothing wrongly.** The state file has room for some hundred settled intervals, and
//! counts as waiting what it leaves out. A start that looked for such a record in vain would book it as damaged. So what the
//! state may leave out, this file says: for each stretch of numbers that went, and for each lane, the run of settled positions
//! that holds all positions of the lane in it, with how they ended. In this order:
//!
//! 1. The runs are taken from the ledgers. Which positions of a lane a generation can hold, its note and the next one's say;
//!    without either it stays.
//! 2. Both slots of the state file are written. So whatever was lost in these runs is in both, counted and to be announced.
//! 3. This file is replaced, and durable.
//! 4. The folders go.
//!
//! A cut before 4 leaves generations that this file speaks of already. They count like any other: the file deletes nothing
//! by itself, and their records are settled, which it says rightly. A start takes the books of a slot and settles what they
//! lack of the runs. A run only grows, and a slot has it whole or not at all, so what is lacking is the whole run, as it
//! ended. Where both slots are lost, the books begin with the oldest generation, and the same holds.
//!
//! What it says stays true for ever, because a number or position is never given twice: after a start the numbers go on
//! behind what it calls durable, and each lane behind its last run, in another generation, even where all else that tells of
//! them is lost. Where this
//! file itself is lost, the state file tells most of it; positions that neither tells of are booked as damaged. A stretch is
//! forgotten when no generation before it is left.

use crate::journal::disk::{files, refusal};
use crate::journal::generation::manifest::Manifest;
use crate::journal::ledger::books::{LaneLedger, OutcomeCounts};
use crate::journal::log::Log;
use crate::journal::log::entry::Generation;
use crate::record::{LaneId, Number, Position};
use crate::sync::locked;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::{fs, io};

/// Its name, in the folder of all generations.
pub(crate) const SPENT_FILE: &str = "spent";
/// What it is replaced from, if a cut has left that.
const FRESH: &str = "spent.new";

/// What is known, and the bytes that the file takes on disk.
#[derive(Debug, Default)]
pub(crate) struct SpentFile(Mutex<(Spent, u64)>);

/// What the file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Highest number that was durable when the file was written.
    #[serde(rename = "h")]
    high: Number,
    /// Ascending, none touching the next.
    #[serde(rename = "s")]
    stretches: Vec<Stretch>,
}

/// Numbers whose generations went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stretch {
    #[serde(rename = "f")]
    pub(crate) first: Number,
    /// Behind the last one.
    #[serde(rename = "e")]
    pub(crate) end: Number,
    /// By lane and position.
    #[serde(rename = "r")]
    pub(crate) runs: Vec<SettledRun>,
}

/// Positions of a lane that are settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct SettledRun {
    #[serde(rename = "i")]
    pub(crate) lane: LaneId,
    #[serde(rename = "f")]
    pub(crate) first: Position,
    /// Behind the last one.
    #[serde(rename = "e")]
    pub(crate) end: Position,
    #[serde(rename = "o")]
    pub(crate) ended: OutcomeCounts,
}

impl SettledRun {
    fn holds(&self, other: &SettledRun) -> bool {
        self.lane == other.lane && self.first <= other.first && other.end <= self.end
    }

    fn is_sound(&self) -> bool {
        self.first < self.end && self.ended.total() == self.end - self.first
    }
}

impl Spent {
    /// Reads the file in the folder of all generations. One that is not there, or is damaged, says nothing.
    ///
    /// # Errors
    /// It cannot be read now.
    pub(crate) fn read(log: &Path) -> io::Result<Spent> {
        let file = log.join(SPENT_FILE);
        let Some(bytes) = refusal::unless_gone(&file, fs::read(&file))? else { return Ok(Spent::default()) };
        let spent = Spent::parse(&bytes);
        if spent.is_none() {
            tracing::warn!(file = %file.display(), "damaged: generations that went out of turn may count as damaged");
        }
        Ok(spent.unwrap_or_default())
    }

    /// What the bytes of a file say; `None`: it is damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Spent> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let spent: Spent = serde_cbor::from_slice(body).ok()?;
        let ascend = spent.stretches.windows(2).all(|pair| pair[0].end < pair[1].first);
        // No lane has more positions than there are numbers.
        let behind = spent.high.next();
        let is_sound = |stretch: &Stretch| {
            let runs_are = stretch.runs.iter().all(|run| run.is_sound() && run.end.0 <= behind.0);
            stretch.first < stretch.end && stretch.end <= behind && runs_are
        };
        (ascend && spent.stretches.iter().all(is_sound)).then_some(spent)
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_cbor::to_vec(self).expect("numbers encode");
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    /// Takes in another stretch, and makes one of those that touch.
    fn take(&mut self, mut new: Stretch) {
        let touches = |old: &Stretch| old.first <= new.end && new.first <= old.end;
        let (touching, others) = std::mem::take(&mut self.stretches).into_iter().partition::<Vec<_>, _>(touches);
        self.stretches = others;
        for old in touching {
            (new.first, new.end) = (new.first.min(old.first), new.end.max(old.end));
            new.runs.extend(old.runs);
        }
        new.runs.sort_by_key(|run| (run.lane, run.first, std::cmp::Reverse(run.end)));
        new.runs.dedup_by(|later, before| before.holds(later));
        self.stretches.push(new);
        self.stretches.sort_by_key(|stretch| stretch.first);
    }

    /// Forgets what lies before the oldest generation.
    fn forget_below(&mut self, oldest: Number) {
        self.stretches.retain(|stretch| stretch.end > oldest);
    }

    /// Where the generation at `first` ends, whose next one begins at `next`: no generation holds what went in between.
    pub(crate) fn end_of(&self, first: Number, next: Number) -> Number {
        let within = |stretch: &&Stretch| first < stretch.first && stretch.first < next;
        self.stretches.iter().find(within).map_or(next, |stretch| stretch.first)
    }

    /// First number of each stretch, and the number behind its last one.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (Number, Number)> {
        self.stretches.iter().map(|stretch| (stretch.first, stretch.end))
    }

    /// Whether something went behind the generation at `first`.
    pub(crate) fn is_behind(&self, first: Number) -> bool {
        self.stretches.last().is_some_and(|stretch| first < stretch.first)
    }

    /// Numbers and positions up to here were given; 0: it does not know.
    pub(crate) fn high(&self) -> Number {
        self.high
    }

    /// Settles in the books what they lack.
    pub(crate) fn settle_in(&self, books: &mut [LaneLedger]) {
        for run in self.stretches.iter().flat_map(|stretch| &stretch.runs) {
            if let Some(book) = books.iter_mut().find(|book| book.id == run.lane) {
                book.take_settled(run.first, run.end, run.ended);
            }
        }
    }
}

impl SpentFile {
    /// What the file in the folder of all generations says; `oldest`: the first number of them. Where it says nothing of what
    /// lies behind, it goes.
    ///
    /// # Errors
    /// It cannot be read now.
    pub(crate) fn open(log: &Path, oldest: Option<Number>) -> io::Result<SpentFile> {
        let mut spent = Spent::read(log)?;
        spent.forget_below(oldest.unwrap_or_default());
        // What stays is looked at again by the next opening.
        let _ = fs::remove_file(log.join(FRESH));
        if spent.stretches.is_empty() {
            let _ = fs::remove_file(log.join(SPENT_FILE));
        }
        let bytes = on_disk(log);
        Ok(SpentFile(Mutex::new((spent, bytes))))
    }

    /// The end of a closed generation, see [`Spent::end_of`].
    pub(crate) fn end_of(&self, generation: &Generation) -> Number {
        locked(&self.0).0.end_of(generation.first, generation.end())
    }

    /// Bytes that it takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        locked(&self.0).1
    }
}

fn on_disk(log: &Path) -> u64 {
    let bytes = |name| fs::metadata(log.join(name)).map_or(0, |about| about.blocks() * 512);
    bytes(SPENT_FILE) + bytes(FRESH)
}

impl Log {
    /// What is known of generations that went out of turn.
    pub(crate) fn spent(&self) -> Spent {
        locked(&self.spent.0).0.clone()
    }

    /// The generations of which every record has an outcome, by these books, without the newest one.
    pub(crate) fn settled_in(&self, books: &[LaneLedger]) -> Vec<Stretch> {
        let row: Vec<_> = locked(&self.row).values().cloned().collect();
        let settled = row.windows(2).filter(|pair| pair[0].aside.get().is_none());
        let settled = settled.filter_map(|pair| {
            let (first, next) = (pair[0].manifest.as_ref()?, pair[1].manifest.as_ref()?);
            let runs = runs_between(books, first, &|lane| stands(next, lane))?;
            Some(Stretch { first: pair[0].first, end: pair[0].end(), runs })
        });
        settled.collect()
    }

    /// Whether every record of the newest generation has an outcome, by these books.
    pub(crate) fn newest_is_settled(&self, books: &[LaneLedger]) -> bool {
        let newest = locked(&self.row).last_key_value().and_then(|(_, newest)| newest.manifest.clone());
        let next = |lane| books.iter().find(|book| book.id == lane).map(|book| book.next);
        newest.is_some_and(|newest| runs_between(books, &newest, &next).is_some())
    }

    /// Gives back the generations of these stretches, whose losses both slots of the state file have; `high`: what is durable.
    /// Returns whether one went, or was gone.
    ///
    /// # Errors
    /// What is known of them cannot be made durable: all of them stay.
    pub(crate) fn give_back(&self, stretches: Vec<Stretch>, high: Number) -> io::Result<bool> {
        let row = self.firsts();
        // Some may be gone already: all lanes were past them.
        let stretches: Vec<Stretch> = stretches.into_iter().filter(|stretch| row.contains(&stretch.first)).collect();
        if stretches.is_empty() {
            return Ok(true);
        }
        let firsts: Vec<Number> = stretches.iter().map(|stretch| stretch.first).collect();
        let mut spent = locked(&self.spent.0);
        let mut now = Spent { high, ..spent.0.clone() };
        now.forget_below(row[0]);
        stretches.into_iter().for_each(|stretch| now.take(stretch));
        let replaced = files::replace(&self.dir.join(SPENT_FILE), &now.bytes());
        if replaced.is_err() {
            let _ = fs::remove_file(self.dir.join(FRESH));
        }
        spent.1 = on_disk(&self.dir);
        replaced?;
        spent.0 = now;
        drop(spent);
        Ok(firsts.into_iter().filter(|first| self.delete(*first)).count() > 0)
    }
}

/// Where a lane stood when a generation was begun.
fn stands(manifest: &Manifest, lane: LaneId) -> Option<Position> {
    manifest.lanes.iter().find(|known| known.id == lane).map(|known| known.next)
}

/// The runs that hold all positions of a generation; `next`: where a lane stood when the next one was begun. `None`: one of
/// its positions has no outcome. A lane that neither of the two knows came later, one without a book was forgotten, because
/// nothing of it waited.
fn runs_between(
    books: &[LaneLedger],
    generation: &Manifest,
    next: &dyn Fn(LaneId) -> Option<Position>,
) -> Option<Vec<SettledRun>> {
    let mut runs = Vec::new();
    for book in books {
        let Some(end) = next(book.id) else { continue };
        let from = stands(generation, book.id).unwrap_or(Position::FIRST);
        if from > end {
            return None;
        }
        if from < end {
            let (first, end, ended) = book.settled_run(from, end)?;
            runs.push(SettledRun { lane: book.id, first, end, ended });
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::ledger::books::Outcome;
    use proptest::prelude::*;

    fn run(first: u64, end: u64) -> SettledRun {
        let ended = OutcomeCounts { accepted: end - first, ..OutcomeCounts::default() };
        SettledRun { lane: LaneId(0), first: Position(first), end: Position(end), ended }
    }

    fn stretch(first: u64, end: u64, runs: &[SettledRun]) -> Stretch {
        Stretch { first: Number(first), end: Number(end), runs: runs.to_vec() }
    }

    #[test]
    fn touching_stretches_merge_and_grown_runs_replace_shorter_ones() {
        let mut spent = Spent { high: Number(400), ..Spent::default() };
        spent.take(stretch(100, 200, &[run(50, 210)]));
        spent.take(stretch(300, 400, &[run(310, 400)]));
        spent.take(stretch(200, 250, &[run(50, 260)]));
        assert_eq!(spent.stretches, [stretch(100, 250, &[run(50, 260)]), stretch(300, 400, &[run(310, 400)])]);
        assert_eq!(spent.end_of(Number(1), Number(250)), Number(100));
        assert_eq!(spent.end_of(Number(250), Number(300)), Number(300), "it ends where the next one would begin");
        assert_eq!(spent.end_of(Number(100), Number(250)), Number(250), "one that did not go is whole");
        assert_eq!(Spent::parse(&spent.bytes()), Some(spent.clone()));
        let mut bytes = spent.bytes();
        bytes[3] ^= 1;
        assert_eq!(Spent::parse(&bytes), None);
        spent.forget_below(Number(250));
        assert_eq!(spent.stretches.len(), 1);
    }

    proptest! {
        /// A state that has room for few intervals, and the runs of what went: together they are the book that there was.
        #[test]
        fn a_runless_slot_and_the_spent_file_restore_the_ledger(
            steps in prop::collection::vec((1u64..190, 1u64..30, 0usize..4), 1..25),
            intervals in 0usize..6,
            later in prop::collection::vec((1u64..190, 1u64..30, 0usize..4), 0..10),
        ) {
            use crate::journal::checkpoint::lane_state::{LaneState, Room};
            let mut book = LaneLedger::new(LaneId(0), "main".into(), Number(1));
            book.next = Position(201);
            let settle = |book: &mut LaneLedger, steps: &[(u64, u64, usize)]| {
                for (from, length, how) in steps {
                    book.settle_between(Position(*from), Position((from + length).min(201)), Outcome::ALL[*how]);
                }
            };
            settle(&mut book, &steps);
            // Ten positions to a generation.
            let went: Vec<u64> = (1..200).step_by(10).filter(|from| book.settled_run(Position(*from), Position(from + 10)).is_some()).collect();
            let mut spent = Spent::default();
            for from in &went {
                let (first, end, ended) = book.settled_run(Position(*from), Position(from + 10)).unwrap();
                spent.take(Stretch { first: Number(*from), end: Number(from + 10), runs: vec![SettledRun { lane: LaneId(0), first, end, ended }] });
            }
            settle(&mut book, &later);
            let mut found = [LaneState::of(&book, Room { intervals, ..Room::FULL }).into_book().unwrap()];
            spent.settle_in(&mut found);
            let found = &found[0];
            prop_assert!(went.iter().all(|from| (*from..from + 10).all(|position| found.is_settled(Position(position)))));
            prop_assert!((1..=200).all(|position| book.is_settled(Position(position)) || !found.is_settled(Position(position))));
            prop_assert_eq!(found.ledger.total() + found.waiting(), 200);
            for outcome in Outcome::ALL {
                let (mut of_found, mut of_book) = (found.ledger, book.ledger);
                prop_assert!(*of_found.of(outcome) <= *of_book.of(outcome), "{outcome:?}: {found:?} {book:?}");
            }
        }
    }
}
