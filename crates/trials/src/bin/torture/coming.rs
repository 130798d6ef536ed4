//! A third lane, whose queue comes and goes: some runs of the journal have it configured, and some do not. It takes one
//! record in three, beside the others' lanes, while it is there; its drain accepts all that it sends.
//!
//! While the queue is not configured, the lane's records wait, and the opening says so. The journal forgets the lane once no
//! record of it waits; when the queue is configured again, it has a new lane with another id.

use crate::draft::n_of;
use crate::expected::Expected;
use crate::marks::{Mark, Witness};
use crate::session::{Read, Session, again_and_again, until_durable};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::time::Duration;
use testkit::random::Random;
use tidegate::journal::Lane;
use tidegate::journal::books::Outcome;
use tidegate::record::Position;

/// Its queue's name.
pub(crate) const NAME: &str = "coming";
/// It takes one record in so many.
const SHARE: u64 = 3;

/// Whether record `n` goes to it while it is there.
pub(crate) fn takes(n: u64) -> bool {
    n.is_multiple_of(SHARE)
}

/// What the outside world knows of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) submitted: BTreeSet<u64>,
    pub(crate) sent: BTreeSet<u64>,
    pub(crate) settling: BTreeSet<u64>,
}

/// Drains it beside the others, and leaves some of it.
pub(crate) fn drain(lane: &Lane, mut random: Random, witness: &Witness, done: &AtomicBool) -> Result<(), String> {
    let mut durable = lane.durable();
    let mut reader = lane.reader();
    loop {
        let last = done.load(Acquire);
        let most = 1 + random.below(20) as usize;
        let read = again_and_again(|| reader.read(most, 1 << 20)).map_err(|error| error.to_string())?;
        let read: Vec<(Position, Option<u64>)> = read.iter().map(|read| (read.position, n_of(&read.record))).collect();
        send(lane, &read, 0.9, &mut random, witness)?;
        match (read.is_empty(), last) {
            (true, true) => return Ok(()),
            (true, false) => until_durable(&mut durable, Duration::from_millis(2)),
            (false, _) => {}
        }
    }
}

/// Sends, and settles a share of it.
fn send(
    lane: &Lane,
    read: &[(Position, Option<u64>)],
    settled: f64,
    random: &mut Random,
    witness: &Witness,
) -> Result<(), String> {
    let positions: Vec<Position> = read.iter().map(|(position, _)| *position).collect();
    witness.attempt(lane, &positions)?;
    for n in read.iter().filter_map(|(_, n)| *n) {
        witness.mark(Mark::SentToComing { n });
    }
    for (position, n) in read {
        if random.chance(settled) {
            n.iter().for_each(|n| witness.mark(Mark::SettlingOfComing { n: *n }));
            lane.settle([(*position, Outcome::Accepted)]);
        }
    }
    Ok(())
}

/// After an opening: holds it against what was told, and maybe drains it to its end.
pub(crate) fn look(
    session: &Session,
    expected: &Expected,
    random: &mut Random,
    witness: &Witness,
    wrong: &mut Vec<String>,
) -> Result<(), String> {
    let lane = session.journal.lane(NAME);
    let reads = match &lane {
        Some(lane) => session.read_all(&mut lane.reader(), witness)?,
        None => Vec::new(),
    };
    expected.check_coming(&reads, session.journal.epoch().0, wrong);
    let waits = session.report.stranded.iter().any(|name| name == NAME);
    // A gap record may have come since.
    let here = reads.iter().any(|read| read.seen.n.is_some());
    let comes = session.world.comes;
    if waits && comes || !waits && !comes && here {
        wrong.push(format!("{NAME}: configured: {comes}, said to be without its queue: {waits}"));
    }
    let Some(lane) = lane.filter(|_| comes && random.chance(0.6)) else { return Ok(()) };
    let all: Vec<_> = reads.iter().map(|read| (Position(read.seen.position), read.seen.n)).collect();
    send(&lane, &all, 1.0, random, witness)
}

impl Known {
    /// What its records that are there break of what was told. `acked`: those whose ticket came back. `whole`: nothing was
    /// evicted, so all of these that were not settled are there.
    pub(crate) fn check(
        &self,
        reads: &[Read],
        acked: &BTreeSet<u64>,
        epoch: u64,
        whole: bool,
        wrong: &mut Vec<String>,
    ) {
        let mut say = |text: String| wrong.push(format!("{NAME}: {text}"));
        let there: Vec<u64> = reads.iter().filter_map(|read| read.seen.n).collect();
        if !there.is_sorted_by(|one, next| one < next) {
            say("its records are out of order, or come twice".into());
        }
        for read in reads {
            let Some(n) = read.seen.n else { continue };
            if !self.submitted.contains(&n) || !read.faithful {
                say(format!("record {n} is not what was handed over for it"));
            }
            if self.sent.contains(&n) && read.seen.epoch < epoch && !read.maybe_sent {
                say(format!("record {n} may have been sent and does not say so"));
            }
        }
        let there: BTreeSet<u64> = there.into_iter().collect();
        let lost = |n: &&u64| acked.contains(n) && !self.settling.contains(n) && !there.contains(n);
        if let Some(n) = self.submitted.iter().find(lost).filter(|_| whole) {
            say(format!("record {n} (acknowledged) is not there, of {} that are", there.len()));
        }
    }
}
