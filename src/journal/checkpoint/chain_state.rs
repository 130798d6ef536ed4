//! A lane's chain as the state file holds it: in one picture with the cursor, without the digests.
//!
//! Runs of holes are kept as many as there is room for; with more, or where what is there contradicts itself, the chain begins anew
//! at a start. Nothing that is wrong here makes a state unsound: cursor, marks and ledger do not depend on it.

use crate::journal::ledger::books::LaneLedger;
use crate::journal::ledger::chain::Chain;
use crate::record::chain::Digest;
use crate::record::{Number, Position};
use serde::{Deserialize, Serialize};

/// The chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ChainState {
    /// The first position of the sum.
    #[serde(rename = "s")]
    since: Position,
    /// Behind its last one.
    #[serde(rename = "n")]
    next: Position,
    #[serde(rename = "v", with = "serde_bytes")]
    value: Vec<u8>,
    /// What the digests depend on beside the records.
    #[serde(rename = "c")]
    settings: u64,
    /// How often it began anew.
    #[serde(rename = "r", default)]
    restarts: u64,
    /// Where it has to read records from, if it has to.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    from: Option<Number>,
    /// Holes behind it: gap since the last end, length. `None`: they are too many.
    #[serde(rename = "h", default)]
    holes: Option<Vec<(u64, u64)>>,
}

impl ChainState {
    /// The chain of a book, of which the state has what is settled below `end`, in room for so many runs. `None`: it is
    /// not kept.
    pub(super) fn of(book: &LaneLedger, end: Position, runs: usize) -> Option<ChainState> {
        let chain = &book.chain;
        if chain.settings == 0 {
            return None;
        }
        let mut before = chain.next;
        let known = chain.holes.iter().map(|(from, stop)| ((*from).max(chain.next), (*stop).min(end)));
        let gaps = known.filter(|(from, stop)| from < stop).map(|(from, stop)| {
            let gap = from - before;
            before = stop;
            (gap, stop - from)
        });
        let holes: Vec<(u64, u64)> = gaps.collect();
        Some(ChainState {
            since: chain.since,
            next: chain.next,
            value: chain.value.to_vec(),
            settings: chain.settings,
            restarts: chain.restarts,
            from: chain.reads_from(book.cursor),
            holes: Some(holes).filter(|holes| holes.len() <= runs),
        })
    }

    /// First number that it still needs.
    pub(super) fn needed_from(&self) -> Number {
        self.from.unwrap_or(Number::MAX)
    }

    /// The chain for the book that the rest of the state describes.
    pub(super) fn into_chain(self, book: &LaneLedger) -> Chain {
        let whole = self.whole(book);
        let mut chain = Chain::at(book.cursor).restored(self.restarts, self.from.unwrap_or(book.read_from));
        chain.settings = self.settings;
        match whole {
            Some((value, holes)) => {
                (chain.since, chain.next, chain.value) = (self.since, self.next, value);
                holes.into_iter().for_each(|(from, end)| chain.lose(from, end));
            }
            None => {
                // Whatever it is behind now: the sum is lost.
                (chain.since, chain.next) = (Position(0), Position(0));
                chain.begin_anew(book.fresh());
            }
        }
        chain
    }

    /// The sum and the holes behind it; `None`: they contradict the book, or are not all there.
    fn whole(&self, book: &LaneLedger) -> Option<(Digest, Vec<(Position, Position)>)> {
        let value: Digest = self.value.as_slice().try_into().ok()?;
        let empty = self.since == self.next;
        let stands = Position::FIRST <= self.since && self.since <= self.next && self.next <= book.next;
        if !stands || self.next > book.cursor && !empty {
            return None;
        }
        let (mut holes, mut end) = (Vec::new(), self.next);
        for (gap, length) in self.holes.as_ref()? {
            let from = Position(end.0.checked_add(*gap)?);
            end = Position(from.0.checked_add(*length)?);
            let settled = end <= book.cursor || book.settled_run(from.max(book.cursor), end).is_some();
            if from >= end || !settled {
                return None;
            }
            holes.push((from, end));
        }
        Some((value, holes))
    }
}
