//! The load: one journal in full use, recorded from its first making through several opens.
//!
//! Records come in bursts and alone, long ones among them; tickets are awaited or left outstanding; two lanes read, mark,
//! send and settle out of order and in part, one of them late; the state is written now and then; small generations
//! rotate, drained ones go, and at a low bound the oldest are evicted, or those go that are settled out of turn. What
//! threads do in which order is the system's choice, so a run is recorded once and cut many times.

use crate::faults;
use crate::marks::{Mark, Recorded, Witness};
use crate::quarantine;
use crate::session::{Bounds, Session, again_and_again, seen, until_durable};
use crate::world::World;
use crate::{chain, coming};
use power_cut::{Device, Disk, Fault, Habits};
use std::path::Path;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Release},
};
use std::time::Duration;
use testkit::random::Random;
use tidegate::journal::{Journal, Lane};
use tidegate::record::{LaneId, Number, Position};

/// What a run does.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) bounds: Bounds,
    opens: u64,
    bursts: u64,
    ignore_dir_syncs: bool,
}

impl Plan {
    pub(crate) fn draw(seed: u64, ignore_dir_syncs: bool) -> Plan {
        let mut random = Random::seeded(seed);
        // Small ones are carried over at the next open; large ones, more than 256 KB of records, are closed as they are.
        let large = random.below(5) == 0;
        let mut bounds = Bounds {
            generation_bytes: if large { 400_000 } else { 6_000 + random.below(40_000) },
            max_bytes: 1 << 30,
            max_age_minutes: None,
            min_free: 0,
        };
        // Half of the runs are at a bound most of the time.
        match random.below(8) {
            0 | 1 => bounds.max_bytes = 300_000 + random.below(900_000),
            2 => bounds.max_age_minutes = Some(100 + random.below(500)),
            3 => bounds.min_free = 1 << 20,
            _ => {}
        }
        let bursts = if large { 30 + random.below(20) } else { 8 + random.below(16) };
        Plan { seed, bounds, opens: 2 + random.below(3), bursts, ignore_dir_syncs }
    }

    /// How syncs are treated; `slow`: others get to write meanwhile.
    pub(crate) fn habits(&self, slow: bool) -> Habits {
        let sync_pause = slow.then_some(Duration::from_micros(400));
        Habits { ignore_dir_syncs: self.ignore_dir_syncs, sync_pause }
    }

    /// Whether the first records of each lane stay unsettled, so that what goes at the bound in bytes goes out of turn.
    fn is_held_up(&self) -> bool {
        self.bounds.max_bytes < 1 << 30 && Random::seeded(self.seed ^ 3).chance(0.6)
    }

    /// Which calls are refused: in every other run, spread over all of it.
    fn faults(&self) -> Vec<Fault> {
        let mut random = Random::seeded(self.seed ^ 2);
        if random.chance(0.5) { faults::faults(&mut random, 12) } else { Vec::new() }
    }

    /// Plays it in an empty folder.
    pub(crate) fn record(&self, folder: &Path) -> Result<Recorded, String> {
        let witness = Witness::start(folder, self.habits(true));
        witness.refuse(&self.faults());
        let mut random = Random::seeded(self.seed ^ 1);
        let mut next = 1;
        for open in 0..self.opens {
            let world = World::draw(&mut random, self.bounds, next - 1, 1);
            let mut session = Session::open(folder, self.seed, self.bounds, world, &witness)?;
            let share = if open == 0 { self.bursts } else { self.bursts / 2 + 1 };
            self.use_it(&mut session, share, &mut next, &mut random, &witness)?;
            session.close(random.chance(0.5))?;
        }
        // The device makes no difference to what processes see.
        witness.finish(&Disk::new(Device::Plain)).map_err(|wrong| format!("the recorder missed something: {wrong}"))
    }

    fn use_it(
        &self,
        session: &mut Session,
        bursts: u64,
        next: &mut u64,
        random: &mut Random,
        witness: &Witness,
    ) -> Result<(), String> {
        let (lanes, journal) = (session.lanes(), session.journal.clone());
        // At a bound, a lane that does not drain at all is what makes the oldest go.
        let stuck = self.bounds.can_evict() && random.chance(0.7) && !self.is_held_up();
        let [main, audit] = [0, 1].map(|lane| Drain {
            lane,
            random: Random::seeded(random.bits()),
            starts_at: match lane {
                0 => 0,
                _ if stuck => u64::MAX,
                _ => random.below(*next + 200),
            },
            held_up: if self.is_held_up() { 1 + lane as u64 } else { 0 },
            witness,
        });
        let (done, moved) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
        std::thread::scope(|scope| {
            let drains = [main, audit].into_iter().zip(&lanes).map(|(drain, lane)| {
                let (done, moved) = (&done, &moved[drain.lane]);
                scope.spawn(move || drain.run(lane, done, moved))
            });
            let drains: Vec<_> = drains.collect();
            let mut pauses = Random::seeded(random.bits());
            let (done, moved) = (&done, &moved);
            let person = Person { random: Random::seeded(random.bits()), witness };
            let (ids, quarantine) = (session.lane_ids(), session.journal.clone());
            let person = scope.spawn(move || person.run(&quarantine, ids, done));
            let coming = session.journal.lane(coming::NAME).filter(|_| session.world.comes);
            let dice = Random::seeded(random.bits());
            let coming = coming.map(|lane| scope.spawn(move || coming::drain(&lane, dice, witness, done)));
            scope.spawn(move || {
                while !done.load(Acquire) {
                    std::thread::sleep(Duration::from_micros(500 + pauses.below(6_000)));
                    // What the books were told before the state was asked for is in it.
                    let cursors: Vec<u64> = moved.iter().map(|cursor| cursor.load(Acquire)).collect();
                    witness.keep(&journal, cursors);
                }
            });
            let fed = feed(session, bursts, next, random, witness);
            done.store(true, Release);
            let others = drains.into_iter().chain([person]).chain(coming);
            let ended = others.map(|other| other.join().unwrap_or_else(|_| Err("a drain or a person panicked".into())));
            ended.fold(fed, Result::and)
        })
    }
}

fn feed(
    session: &mut Session,
    bursts: u64,
    next: &mut u64,
    random: &mut Random,
    witness: &Witness,
) -> Result<(), String> {
    for _ in 0..bursts {
        let size = match random.below(4) {
            0 => 1,
            1 => 1 + random.below(6),
            2 => 1 + random.below(40),
            _ => 1 + random.below(120),
        };
        session.submit(*next..*next + size, witness);
        *next += size;
        if random.chance(0.1) {
            session.submit_head(*next, witness);
            *next += 1;
        }
        if random.chance(0.6) {
            session.await_tickets(0, witness)?;
        }
    }
    session.await_tickets(0, witness)
}

/// An operator who looks after the quarantine now and then.
struct Person<'a> {
    random: Random,
    witness: &'a Witness,
}

impl Person<'_> {
    fn run(mut self, journal: &Journal, lanes: [LaneId; 2], done: &AtomicBool) -> Result<(), String> {
        while !done.load(Acquire) {
            std::thread::sleep(Duration::from_millis(2 + self.random.below(20)));
            quarantine::tidy(journal, lanes, &mut self.random, self.witness)?;
        }
        Ok(())
    }
}

/// What one lane's drain does.
struct Drain<'a> {
    lane: usize,
    random: Random,
    /// Waits until so many records are durable.
    starts_at: u64,
    /// So many of its first records are not settled.
    held_up: u64,
    witness: &'a Witness,
}

impl Drain<'_> {
    fn run(mut self, lane: &Lane, done: &AtomicBool, moved: &AtomicU64) -> Result<(), String> {
        let mut durable = lane.durable();
        while *durable.borrow_and_update() < Number(self.starts_at) && !done.load(Acquire) {
            until_durable(&mut durable, Duration::from_millis(5));
        }
        let mut reader = lane.reader();
        let mut held = Vec::new();
        loop {
            let last = done.load(Acquire);
            let most = 1 + self.random.below(30) as usize;
            let read = again_and_again(|| reader.read(most, 1 << 20)).map_err(|error| error.to_string())?;
            let positions: Vec<Position> = read.iter().map(|read| read.position).collect();
            self.witness.attempt(lane, &positions)?;
            for read in read {
                self.witness.mark(Mark::Sent { lane: self.lane, seen: seen(&read) });
                if self.random.chance(0.02) {
                    self.quarantine(lane, &read)?;
                } else if self.held_up > 0 {
                    self.held_up -= 1;
                } else {
                    held.push(read.position);
                }
            }
            if self.random.chance(0.8) {
                self.settle(lane, &mut held, moved);
            }
            if self.random.chance(0.1) {
                chain::follow(lane);
            }
            match (positions.is_empty(), last) {
                (true, true) => return Ok(()),
                (true, false) => until_durable(&mut durable, Duration::from_millis(2)),
                (false, _) => {}
            }
        }
    }

    fn settle(&mut self, lane: &Lane, held: &mut Vec<Position>, moved: &AtomicU64) {
        while !held.is_empty() && self.random.chance(0.95) {
            let position = held.swap_remove(self.random.below(held.len() as u64) as usize);
            self.witness.mark(Mark::Settling { lane: self.lane, position: position.0 });
            // Looked at before: whatever moved the cursor so far is in the books when this settling asks for a state.
            let cursor = lane.cursor();
            chain::accept(lane, position, &mut self.random);
            moved.store(cursor.0, Release);
        }
    }

    fn quarantine(&self, lane: &Lane, read: &tidegate::journal::ReadRecord) -> Result<(), String> {
        self.witness.mark(Mark::Refused { lane: self.lane, position: read.position.0 });
        let keep = || lane.quarantine(&read.record, read.position, "Refused", "on purpose");
        if self.witness.insist(|| keep().map_err(|error| error.to_string()))? {
            self.witness.mark(Mark::Quarantined { lane: self.lane, position: read.position.0 });
        }
        Ok(())
    }
}
