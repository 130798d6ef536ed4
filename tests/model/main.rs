//! One lane, a state file of two halves and a log that is trimmed: mark → send → settle → trim, with a crash between any two
//! steps, and in the middle of a write. Every order of steps is tried, with the books that the agent itself keeps; only disk
//! and queue are modelled.
//!
//! What must hold, whatever came before: a message that an earlier run may have sent says so when it is sent again, and
//! whichever half of the state file is left, every record that it calls unsettled is still there. Each rule that keeps this is
//! left out once, and then the search must find an order that breaks it.

#![allow(clippy::print_stdout, reason = "says how many worlds there are, and the way to a broken one")]

use std::collections::{BTreeSet, HashSet, VecDeque};
use tidegate::clock::BootId;
use tidegate::journal::books::{LaneLedger, Outcome};
use tidegate::record::{Epoch, LaneId, Number, Position};

/// Records in the lane, all of them appended in the first run. A number each, and a generation each.
const RECORDS: u64 = 2;
/// Runs, each ended by a crash but the last.
const RUNS: u64 = 3;
const BOOT: BootId = BootId([7; 16]);

/// A rule that is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Without {
    Nothing,
    /// A message is sent while its mark is on its way to the disk.
    DurableMark,
    /// What is deleted goes by the newest state alone.
    OlderHalf,
    /// A half that is not sound says nothing of marks.
    Presumption,
}

/// One half of the state file.
#[derive(Clone, Debug)]
enum Half {
    Blank,
    Sound(Box<LaneLedger>),
    /// Torn by a cut, or lost by the card.
    Unsound,
}

#[derive(Clone, Debug)]
struct World {
    without: Without,
    run: u64,
    book: LaneLedger,
    halves: [Half; 2],
    /// The half that the next write goes to.
    next: usize,
    /// Numbers below it are deleted.
    trimmed: u64,
    /// What the queue may have got from an earlier run.
    before: BTreeSet<u64>,
    /// What this run has sent.
    sent: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A mark in memory, for this record.
    Mark(u64),
    /// The state goes to the disk, with the marks in it.
    Write,
    Send(u64),
    Settle(u64),
    Trim,
    /// The power goes.
    Crash(Harm),
}

/// What a crash, or the time after it, does to the state file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    None,
    /// The power went while it was written.
    TornWrite,
    /// The card has lost the newest half.
    LostHalf,
}

impl World {
    fn new(without: Without) -> World {
        let mut book = LaneLedger::new(LaneId(0), "main".to_owned(), Number(1));
        book.next = Position(RECORDS + 1);
        let mut world = World {
            without,
            run: 1,
            book,
            halves: [Half::Blank, Half::Blank],
            next: 0,
            trimmed: 1,
            before: BTreeSet::new(),
            sent: BTreeSet::new(),
        };
        // An open writes its state before anything else.
        world.write();
        world.read_ahead();
        world
    }

    /// The reader tells the books which number each position has.
    fn read_ahead(&mut self) {
        (self.book.cursor.0..=RECORDS).for_each(|position| self.book.saw(Position(position), Number(position)));
    }

    fn write(&mut self) {
        self.book.marks_written();
        self.halves[self.next] = Half::Sound(Box::new(self.book.clone()));
        self.next = 1 - self.next;
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Write, Step::Trim];
        if self.run < RUNS {
            steps.extend([Step::Crash(Harm::None), Step::Crash(Harm::TornWrite)]);
            if matches!(self.halves[self.next], Half::Sound(_)) {
                steps.push(Step::Crash(Harm::LostHalf));
            }
        }
        for position in 1..=RECORDS {
            if self.book.is_settled(Position(position)) {
                continue;
            }
            if self.book.lacks_mark(Position(position), Epoch(self.run), 0) {
                steps.push(Step::Mark(position));
            }
            let marked = match self.without {
                Without::DurableMark => !self.book.lacks_mark(Position(position), Epoch(self.run), 0),
                _ => !self.book.needs_mark(Position(position), Epoch(self.run), 0),
            };
            if marked && !self.sent.contains(&position) {
                steps.push(Step::Send(position));
            }
            if self.sent.contains(&position) {
                steps.push(Step::Settle(position));
            }
        }
        steps
    }

    /// Goes one step on; an error says which promise it broke.
    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Mark(position) => self.book.mark(Position(position), Epoch(self.run), BOOT, 0),
            Step::Write => self.write(),
            Step::Send(position) => {
                // Every record is of the first run.
                let says_so = self.book.maybe_sent(Position(position), Epoch(1), Epoch(self.run)).is_some();
                if self.before.contains(&position) && !says_so {
                    return Err(format!("record {position} is sent again and does not say so"));
                }
                self.book.attempted(Position(position));
                self.sent.insert(position);
            }
            Step::Settle(position) => _ = self.book.settle(Position(position), Outcome::Accepted),
            Step::Trim => {
                let need = |half: &Half| match half {
                    Half::Sound(book) => book.read_from,
                    // No start can continue from it.
                    Half::Blank | Half::Unsound => Number(u64::MAX),
                };
                let newest = need(&self.halves[1 - self.next]);
                let both = self.halves.iter().map(need).min().unwrap_or_default();
                self.trimmed = self.trimmed.max(if self.without == Without::OlderHalf { newest.0 } else { both.0 });
            }
            Step::Crash(harm) => {
                match harm {
                    Harm::None => {}
                    Harm::TornWrite => self.halves[self.next] = Half::Unsound,
                    Harm::LostHalf => self.halves[1 - self.next] = Half::Unsound,
                }
                return self.restart();
            }
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let newest = 1 - self.next;
        let (at, book) = match (&self.halves[newest], &self.halves[self.next]) {
            (Half::Sound(book), _) => (newest, book.clone()),
            (_, Half::Sound(book)) => (self.next, book.clone()),
            halves => return Err(format!("no half is sound: {halves:?}")),
        };
        self.run += 1;
        self.before.append(&mut self.sent);
        self.book = *book;
        self.next = 1 - at;
        if let (Half::Unsound, false) = (&self.halves[1 - at], self.without == Without::Presumption) {
            self.book.mark(Position(1), Epoch(self.run - 1), BootId([0; 16]), 0);
        }
        for position in 1..=RECORDS {
            if !self.book.is_settled(Position(position)) && position < self.trimmed {
                return Err(format!("record {position} is not settled by what is left of the state, and deleted"));
            }
            // A run that called it settled had the queue's word for it, unless the rule is left out.
            if self.book.is_settled(Position(position)) && !self.before.contains(&position) {
                return Err(format!("record {position} is settled and was never sent"));
            }
        }
        self.write();
        self.read_ahead();
        Ok(())
    }
}

/// Tries every order of steps, the shortest first. How many worlds there are, or the way to one that breaks a promise.
fn explore(without: Without) -> Result<usize, String> {
    let first = World::new(without);
    let mut seen = HashSet::from([format!("{first:?}")]);
    let mut queue = VecDeque::from([(first, Vec::new())]);
    while let Some((world, way)) = queue.pop_front() {
        for step in world.steps() {
            let mut next = world.clone();
            let mut way: Vec<Step> = way.clone();
            way.push(step);
            next.step(step).map_err(|broken| format!("{broken}, after {way:?}"))?;
            if seen.insert(format!("{next:?}")) {
                queue.push_back((next, way));
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn no_order_of_crashes_loses_or_silently_repeats_records() {
    let worlds = explore(Without::Nothing).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{worlds} worlds");
    assert!(worlds > 1_000, "{worlds} worlds");
}

#[test]
fn each_rule_is_needed_and_its_lack_is_found() {
    for (without, broken) in [
        (Without::DurableMark, "does not say so"),
        (Without::OlderHalf, "is not settled by what is left"),
        (Without::Presumption, "does not say so"),
    ] {
        let found = explore(without).expect_err("the search finds it");
        assert!(found.contains(broken), "{without:?}: {found}");
        println!("{without:?}: {found}");
    }
}
