//! The chain of both lanes: kept by each run, brought on now and then, and held against what was told.
//!
//! A record's digest is made of its position alone. So what the sum says is which positions it counts as accepted and which as
//! holes, over cuts and lost states; and that it reads again what it has to, though its generation could have gone.

use crate::session::again_and_again;
use std::collections::BTreeSet;
use testkit::random::Random;
use tidegate::journal::{ChainStats, Lane};
use tidegate::record::Position;
use tidegate::record::chain::{Digest, HOLE, START, digest, link};

/// Whatever the settings of a real queue would be.
const SETTINGS: u64 = 1;
/// Sums that are tried where it is not certain how a position ended.
const TRIED: usize = 1 << 12;

/// Each run keeps it under the same settings.
pub(crate) fn keep(lanes: &[Lane]) {
    lanes.iter().for_each(|lane| lane.keep_chain(SETTINGS));
}

fn of(position: Position) -> Digest {
    digest(position, "", "", b"")
}

/// Settles a position as accepted; sometimes its digest is not at hand, and the record is read again for it.
pub(crate) fn accept(lane: &Lane, position: Position, random: &mut Random) {
    lane.accepted(position, (!random.chance(0.1)).then(|| of(position)));
}

/// Brings it on, as far as the disk lets it.
pub(crate) fn follow(lane: &Lane) {
    let mut reader = lane.chain_reader();
    while again_and_again(|| reader.portion(|record| record.position(lane.id()).map(of))).unwrap_or(false) {}
}

/// What the sum breaks. `settling`: what was ever about to be settled, `unsure`: what may have ended as a hole.
pub(crate) fn check(chain: &ChainStats, settling: &BTreeSet<u64>, unsure: &BTreeSet<u64>) -> Result<(), String> {
    let mut sums = vec![START];
    for position in chain.since.until(chain.next) {
        if !settling.contains(&position.0) {
            return Err(format!("the chain counts position {position}, which nobody settled: {chain:?}"));
        }
        let holes: Vec<Digest> = match unsure.contains(&position.0) {
            true => sums.iter().map(|sum| link(sum, &HOLE)).collect(),
            false => Vec::new(),
        };
        sums.iter_mut().for_each(|sum| *sum = link(sum, &of(position)));
        sums.extend(holes);
        if sums.len() > TRIED {
            return Ok(());
        }
    }
    let hex = |sum: &Digest| sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match sums.iter().any(|sum| hex(sum) == chain.value) {
        true => Ok(()),
        false => Err(format!("the chain is none of the sums that can be: {chain:?}")),
    }
}
