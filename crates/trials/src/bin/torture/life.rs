//! Life after a cut: the folder is rebuilt, the journal opens on it, is held against what was told, and continues.
//!
//! One life in ten begins with a kill instead of a cut: everything is there, and no more of it is certain than before.
//! Every life is recorded like the run before it, so that a second cut can fall into it, the open included.

use crate::disk::{folders, on_disk};
use crate::draft::is_faithful;
use crate::expected::{Expected, Opening};
use crate::faults::{self, Lost};
use crate::load::Plan;
use crate::marks::{LANES, Mark, Recorded, Witness};
use crate::phase::{moment, phases};
use crate::quarantine::{self, entry_of};
use crate::session::{PATIENCE, Read, Session, until_durable};
use crate::tally::Tally;
use crate::world::World;
use crate::{chain, coming};
use power_cut::{Device, Disk};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::random::Random;
use tidegate::journal::{Lane, LaneStats, Reader};
use tidegate::record::Position;

/// Why a life ended early.
pub(crate) enum End {
    /// Promises that were broken, in words; and what was recorded of the life that the last cut fell into, if it was cut
    /// twice.
    Violations(Vec<String>, Option<Box<Recorded>>),
    /// The machinery itself failed; nothing can be said.
    Broken(String),
}

/// Where and how lives are lived.
pub(crate) struct Lives<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) device: Device,
    /// Empty; holds one folder per life.
    pub(crate) folder: &'a Path,
    /// What was recorded of the life between two cuts when something broke after the second one: it is not lived again.
    pub(crate) kept: Option<Recorded>,
}

impl Lives<'_> {
    /// Cuts now and lives on; maybe cuts that life, too.
    pub(crate) fn cut(
        &self,
        disk: &Disk,
        expected: &Expected,
        random: &mut Random,
        tally: &mut Tally,
    ) -> Result<(), End> {
        // Drawn first: how much luck a life needs, its threads decide.
        let mut second = Random::seeded(random.bits());
        let again = second.chance(0.3);
        let (base, lived) = self.live(disk, expected, random, again, tally)?;
        let Some(recorded) = lived else { return Ok(()) };
        tally.second_cuts += 1;
        let phases = phases(&recorded, expected.was_opened());
        let moment = moment(&recorded, &phases, &mut second);
        tally.phase(self.device, phases[moment]);
        let disk = base.after(&recorded.trace[..moment]).map_err(End::Broken)?;
        let mut expected = expected.clone();
        // What the first cut took of the state file is its first mark, and was gone before anything else happened.
        expected.take_all(&recorded, 0..moment.max(1));
        self.live(&disk, &expected, &mut second, false, tally).map(drop).map_err(|end| match end {
            End::Violations(wrong, _) => {
                let what = format!("after a second cut ({}, after event {moment})", phases[moment].word());
                let wrong = wrong.into_iter().map(|text| format!("{what}: {text}")).collect();
                End::Violations(wrong, Some(Box::new(recorded)))
            }
            broken => broken,
        })
    }

    /// One life: the disk it began on, and what was recorded of it if it is to be cut `again`.
    fn live(
        &self,
        disk: &Disk,
        expected: &Expected,
        random: &mut Random,
        again: bool,
        tally: &mut Tally,
    ) -> Result<(Disk, Option<Recorded>), End> {
        let broken = |error: std::io::Error| End::Broken(format!("{}: {error}", self.folder.display()));
        // Its own dice: what goes wrong beside the cut leaves the cut as it is.
        let mut trouble = Random::seeded(random.bits());
        let mut lost = None;
        let killed = random.chance(0.1);
        let (image, base) = if killed {
            tally.kills += 1;
            (disk.newest(), disk.killed())
        } else {
            let (mut image, of_writes) = disk.cut(&mut |bound| random.below(bound));
            tally.add(of_writes);
            if trouble.chance(0.25) {
                lost = faults::lose_state(&mut image, &mut trouble);
            }
            let base = Disk::holding(self.device, &image);
            (image, base)
        };
        if let Some(kept) = self.kept.as_ref().filter(|_| again) {
            return Ok((base, Some(kept.clone())));
        }
        let folder = self.folder.join(format!("life-{}", tally.lives));
        tally.lives += 1;
        std::fs::create_dir(&folder).map_err(broken)?;
        image.write_to(&folder).map_err(broken)?;
        drop(image);
        let witness = Witness::start(&folder, self.plan.habits(false));
        let mut expected = expected.clone();
        if let Some(lost) = lost {
            witness.mark(Mark::StateLost(lost));
            expected.take(&Mark::StateLost(lost));
            tally.states_lost += 1;
        }
        if trouble.chance(0.3) {
            witness.refuse(&faults::faults(&mut trouble, 3));
        }
        let boot = expected.boot() + u8::from(!killed);
        let world = World::draw(&mut trouble, self.plan.bounds, expected.next() - 1, boot);
        expected.it_is(world.minute);
        let expected = &expected;
        let mut life =
            Life { seed: self.plan.seed, witness: &witness, world, lost, expected, random, tally, wrong: Vec::new() };
        let lived = life.live(self.plan, &folder);
        tally.refused += witness.refused();
        witness.each(|mark| tally.mark(mark));
        witness.refuse(&[]);
        let recorded = if again && lived.is_ok() { Some(witness.finish(&base).map_err(End::Broken)?) } else { None };
        tally.proven += u64::from(recorded.is_some());
        std::fs::remove_dir_all(&folder).map_err(broken)?;
        lived.map(|()| (base, recorded))
    }
}

struct Life<'a> {
    seed: u64,
    witness: &'a Witness,
    world: World,
    /// What was lost of the state file since the cut.
    lost: Option<Lost>,
    expected: &'a Expected,
    random: &'a mut Random,
    tally: &'a mut Tally,
    wrong: Vec<String>,
}

impl Life<'_> {
    fn live(&mut self, plan: &Plan, folder: &Path) -> Result<(), End> {
        let lived = self.open_and_go_on(plan, folder);
        if let Err(text) = lived {
            self.wrong.push(text);
        }
        if self.wrong.is_empty() { Ok(()) } else { Err(End::Violations(std::mem::take(&mut self.wrong), None)) }
    }

    fn open_and_go_on(&mut self, plan: &Plan, folder: &Path) -> Result<(), String> {
        let opened = Session::open(folder, plan.seed, plan.bounds, self.world, self.witness);
        let mut session = opened.map_err(|text| format!("it does not open: {text}"))?;
        let mut readers = session.lanes().map(|lane| lane.reader());
        let mut reads = self.read(&session, &mut readers)?;
        self.check_opened(&session, &reads);
        if !self.wrong.is_empty() {
            return Ok(());
        }
        let evicted = facts(&session).iter().any(|facts| facts.evicted > 0);
        for n in self.expected.gone([&reads[0], &reads[1]]) {
            self.witness.mark(Mark::Gone { n, evicted });
        }
        let lanes = session.lanes();
        for (lane, (handle, reads)) in lanes.iter().zip(&reads).enumerate() {
            self.send(lane, handle, &reads[..reads.len() / 2], 0.5)?;
        }
        coming::look(&session, self.expected, self.random, self.witness, &mut self.wrong)?;
        quarantine::tidy(&session.journal, session.lane_ids(), self.random, self.witness)?;
        self.append(&mut session)?;
        for (reads, more) in reads.iter_mut().zip(self.read(&session, &mut readers)?) {
            reads.extend(more);
        }
        self.check_going_on(&session, &reads);
        if !self.wrong.is_empty() {
            return Ok(());
        }
        for (lane, (handle, reads)) in lanes.iter().zip(&reads).enumerate() {
            self.send(lane, handle, reads, 1.0)?;
        }
        let at_the_end = self.send_what_comes(&session, &mut readers)?;
        self.check_chains(&session, &lanes);
        drop((readers, lanes));
        self.note(&session);
        self.check_accounts(&session, &at_the_end)?;
        for facts in at_the_end.iter().filter(|facts| facts.waiting > 0) {
            self.wrong.push(format!("{}: all was settled, and the books say {facts:?}", facts.name));
        }
        self.check_bytes(plan, &session)?;
        session.close(self.random.chance(0.5))
    }

    /// With time it comes to the cursor, unless the disk refuses.
    fn check_chains(&mut self, session: &Session, lanes: &[Lane; 2]) {
        lanes.iter().for_each(chain::follow);
        let mut expected = self.expected.clone();
        self.witness.each(|mark| expected.take(mark));
        for (lane, facts) in facts(session).iter().enumerate() {
            expected.check_chain(lane, facts, &mut self.wrong);
            let lags = facts.chain.as_ref().is_none_or(|chain| chain.next < facts.cursor);
            if lags && facts.evicted == 0 && self.witness.refused() == 0 {
                self.wrong.push(format!("{}: the chain does not come to the cursor: {facts:?}", facts.name));
            }
        }
    }

    /// Sends what is still announced, because what is too old is given up whenever the writer looks. Returns the books when
    /// nothing waited.
    fn send_what_comes(&mut self, session: &Session, readers: &mut [Reader; 2]) -> Result<[LaneStats; 2], String> {
        let since = Instant::now();
        loop {
            let facts = facts(session);
            let waits = facts.iter().any(|facts| facts.waiting + facts.unannounced > 0);
            if !waits || since.elapsed() > PATIENCE {
                return Ok(facts);
            }
            let reads = self.read(session, readers)?;
            for (lane, (handle, reads)) in session.lanes().iter().zip(&reads).enumerate() {
                self.send(lane, handle, reads, 1.0)?;
            }
        }
    }

    /// What the journal says it takes on the disk is what it takes, and no more than it may.
    fn check_bytes(&mut self, plan: &Plan, session: &Session) -> Result<(), String> {
        let log = session.journal.path().join("log");
        let since = Instant::now();
        // The writer may be closing a generation at this moment.
        let (said, there) = loop {
            let (said, there) = (session.journal.stats().bytes, on_disk(&log).map_err(|error| error.to_string())?);
            if said == there || since.elapsed() > PATIENCE {
                break (said, there);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        if said != there {
            let folders = folders(&log).map_err(|error| error.to_string())?;
            self.wrong.push(format!("{there} bytes are on the disk, and the journal says {said}: {folders}"));
        }
        // A commit is counted before it is made, and a folder that the disk does not let go of is not the journal's fault.
        let bound = plan.bounds.max_bytes;
        if there > bound && self.witness.refused() == 0 {
            self.wrong.push(format!("{there} bytes are on the disk, and the bound is {bound}"));
        }
        Ok(())
    }

    /// Reads on to the end, and until every hole that was found on the way is announced.
    fn read(&mut self, session: &Session, readers: &mut [Reader; 2]) -> Result<[Vec<Read>; 2], String> {
        let mut durable = session.lanes()[0].durable();
        let mut all: [Vec<Read>; 2] = Default::default();
        let since = Instant::now();
        loop {
            let told = || facts(session).map(|stats| (stats.appended, stats.unannounced));
            let before = told();
            for (all, reader) in all.iter_mut().zip(&mut *readers) {
                all.extend(session.read_all(reader, self.witness)?);
            }
            // A hole found on the way may be announced already, behind what was read.
            if before == told() && before.iter().all(|(_, unannounced)| *unannounced == 0) {
                break;
            }
            if since.elapsed() > PATIENCE {
                return Err("holes are not announced".into());
            }
            until_durable(&mut durable, Duration::from_millis(2));
        }
        for (all, stats) in all.iter_mut().zip(facts(session)) {
            // Announcing a hole is a commit, and may have made room.
            all.retain(|read| stats.evicted == 0 || read.seen.position >= stats.cursor.0);
        }
        self.tally.records += all.iter().map(|reads| reads.len() as u64).sum::<u64>();
        Ok(all)
    }

    fn check_opened(&mut self, session: &Session, reads: &[Vec<Read>; 2]) {
        let (report, facts) = (&session.report, session.journal.stats());
        let opening = Opening {
            epoch: facts.epoch.0,
            id: facts.journal_id,
            state_lost: report.state_lost,
            slot_lost: report.slot_lost,
            // A first attempt that was refused may have made a new state.
            lost: self.lost.filter(|_| !session.again),
            empty: reads.iter().all(Vec::is_empty),
            missing: report.missing,
            quarantined: facts.quarantine.entries,
        };
        self.expected.check_opening(&opening, &mut self.wrong);
        self.tally.at_bound += u64::from(self::facts(session).iter().any(|facts| facts.evicted > 0));
        for (lane, (reads, facts)) in reads.iter().zip(self::facts(session)).enumerate() {
            self.expected.check_maybe_sent(lane, opening.epoch, reads, &mut self.wrong);
            self.expected.check_lane(lane, &reads.iter().collect::<Vec<_>>(), &facts, &mut self.wrong);
        }
    }

    /// What is said of losses, and what was put aside, at the end.
    fn check_accounts(&mut self, session: &Session, books: &[LaneStats; 2]) -> Result<(), String> {
        let mut expected = self.expected.clone();
        self.witness.each(|mark| expected.take(mark));
        for (lane, facts) in books.iter().enumerate() {
            expected.check_told(lane, facts, &mut self.wrong);
        }
        let lanes = session.lane_ids();
        let entries = self.witness.insist(|| session.journal.quarantined().map_err(|error| error.to_string()))?;
        let known: Vec<_> = entries.iter().filter_map(|entry| entry_of(entry, lanes)).collect();
        if known.len() < entries.len() {
            self.wrong.push("something is in quarantine that belongs to no lane and to no message".into());
        }
        expected.check_quarantine(&known, &mut self.wrong);
        let rising = entries.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !rising || !entries.iter().all(|entry| is_faithful(self.seed, &entry.record, lanes)) {
            self.wrong.push("the quarantine holds something else than what was put there".into());
        }
        Ok(())
    }

    fn check_going_on(&mut self, session: &Session, reads: &[Vec<Read>; 2]) {
        let mut expected = self.expected.clone();
        // What was settled before the cut may have been forgotten; what was settled since then is not read again.
        let mut settled = HashSet::new();
        self.witness.each(|mark| {
            expected.take(mark);
            if let Mark::Settling { lane, position } = mark {
                settled.insert((*lane, *position));
            }
        });
        for (lane, (reads, facts)) in reads.iter().zip(facts(session)).enumerate() {
            let waiting =
                |read: &&Read| read.seen.position >= facts.cursor.0 && !settled.contains(&(lane, read.seen.position));
            let waiting = reads.iter().filter(waiting);
            expected.check_lane(lane, &waiting.collect::<Vec<_>>(), &facts, &mut self.wrong);
        }
    }

    /// Sends records and settles part of them.
    fn send(&mut self, lane: usize, handle: &Lane, reads: &[Read], settled: f64) -> Result<(), String> {
        let positions: Vec<Position> = reads.iter().map(|read| Position(read.seen.position)).collect();
        self.witness.attempt(handle, &positions)?;
        for read in reads {
            self.witness.mark(Mark::Sent { lane, seen: read.seen.clone() });
        }
        for position in positions {
            if self.random.chance(settled) {
                self.witness.mark(Mark::Settling { lane, position: position.0 });
                chain::accept(handle, position, self.random);
            }
        }
        if self.random.chance(0.3) {
            chain::follow(handle);
        }
        Ok(())
    }

    fn append(&mut self, session: &mut Session) -> Result<(), String> {
        let mut next = self.expected.next();
        for _ in 0..1 + self.random.below(3) {
            if self.random.chance(0.2) {
                session.submit_head(next, self.witness);
                next += 1;
            }
            let size = if self.random.chance(0.5) { 1 } else { 1 + self.random.below(25) };
            session.submit(next..next + size, self.witness);
            next += size;
            session.await_tickets(0, self.witness)?;
            if self.random.chance(0.3) {
                self.note(session);
            }
        }
        Ok(())
    }

    /// Has the state written; no other thread is at the journal now.
    fn note(&mut self, session: &Session) {
        let cursors = session.lanes().map(|lane| lane.cursor().0);
        self.witness.keep(&session.journal, cursors);
    }
}

fn facts(session: &Session) -> [LaneStats; 2] {
    let mut lanes = session.journal.stats().lanes;
    LANES.map(|name| {
        let index = lanes.iter().position(|lane| lane.name == name).expect("opened with this lane");
        lanes.swap_remove(index)
    })
}
