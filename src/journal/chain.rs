//! The chain of a lane, on its way over the disk: what was accepted and is not at hand any more is read again, in portions, on a
//! thread of its caller's ([`crate::journal::ledger::chain`] says when, and why that is safe).
//!
//! Who renders a record is the caller: the journal knows no messages.

use crate::journal::error::JournalError;
use crate::journal::ledger::cadence::Moved;
use crate::journal::ledger::chain::{Need, STEPS, TURNS};
use crate::journal::log::entry::Readings;
use crate::journal::reader::Lane;
use crate::record::chain::Digest;
use crate::record::{Number, Position, Record};

/// Records that are looked at in one portion, and bytes of payload that it renders at most, about.
const PORTION_RECORDS: usize = 256;
const PORTION_BYTES: usize = 512 * 1024;

impl Lane {
    /// Sums up from here on what is sent under `settings`, a number that is another one under others, and never 0. Where it was
    /// another one, the chain begins anew behind all that may have been sent.
    pub fn keep_chain(&self, settings: u64) {
        self.book(|book| book.keep_chain(settings));
        self.say_where_it_begins();
    }

    /// Books a position as accepted, with the digest of its message; `None`: it may have been sent another way before. Returns
    /// whether this was its first outcome.
    pub fn accepted(&self, position: Position, digest: Option<Digest>) -> bool {
        let (first, absorbed) = self.book(|book| (book.accept(position, digest), book.absorbed));
        self.journal.0.note(Moved::Settled { positions: u64::from(first), absorbed });
        first
    }

    /// Whether the chain lies behind the cursor, and [`ChainReader::portion`] brings it on.
    pub fn chain_lags(&self) -> bool {
        self.book(|book| book.chain.lags(book.cursor))
    }

    /// What brings the chain on, under the settings of this moment.
    pub fn chain_reader(&self) -> ChainReader {
        let settings = self.book(|book| book.chain.settings);
        ChainReader { lane: self.clone(), settings, readings: Readings::forward() }
    }

    fn say_where_it_begins(&self) {
        let news = self.book(|book| book.chain.news().map(|since| (since, book.name.clone(), book.chain.restarts)));
        if let Some((since, queue, restarts)) = news {
            tracing::info!(
                queue,
                since = since.0,
                restarts,
                "the chain begins anew: not all before can be summed up any more"
            );
        }
    }
}

/// Reads again what the chain lacks.
#[derive(Debug)]
pub struct ChainReader {
    lane: Lane,
    settings: u64,
    readings: Readings,
}

impl ChainReader {
    /// Brings the chain on by a portion. `digest` renders a record and says what the chain has of it; `None`: that cannot be
    /// told any more. Returns whether there is more to do. Blocks on the disk.
    ///
    /// # Errors
    /// A generation cannot be read now; the next call tries again.
    pub fn portion(&mut self, digest: impl Fn(&Record) -> Option<Digest>) -> Result<bool, JournalError> {
        let mut need = Need::Time;
        for _ in 0..TURNS {
            need = self.lane.book(|book| book.chain.go_on(book.cursor, STEPS));
            if need != Need::Time {
                break;
            }
        }
        self.lane.say_where_it_begins();
        if let Need::Records(from, end) = need {
            self.read(from, end, digest)?;
        } else {
            self.readings.clear();
        }
        // The state file has it in its time; and with it a generation may go.
        self.lane.journal.0.note(Moved::Settled { positions: 0, absorbed: true });
        Ok(need != Need::Nothing)
    }

    fn read(
        &mut self,
        from: Number,
        end: Position,
        digest: impl Fn(&Record) -> Option<Digest>,
    ) -> Result<(), JournalError> {
        let journal = &self.lane.journal;
        let durable = *journal.0.durable.borrow();
        let (mut number, mut looked, mut bytes) = (from, Position(0), 0);
        let mut read = Vec::new();
        for _ in 0..PORTION_RECORDS {
            if number > durable {
                // All is settled there, so all was appended.
                looked = end;
            }
            if looked >= end || bytes >= PORTION_BYTES {
                break;
            }
            let record = match journal.fetch(&mut self.readings, &mut number, durable) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                // What was read before it counts.
                Err(_) if number > from => break,
                Err(error) => return Err(error),
            };
            let position = record.position(self.lane.id);
            if position.is_some_and(|position| position >= end) {
                looked = end;
                break;
            }
            number = number.next();
            let Some(position) = position.filter(|position| *position >= looked) else { continue };
            looked = position.next();
            if self.lane.book(|book| book.chain.lacks(position)) {
                bytes += record.draft.message.payload.len();
                read.extend(digest(&record).map(|digest| (position, digest)));
            }
        }
        self.lane.book(|book| book.chain.take(self.settings, read, number, looked));
        Ok(())
    }
}
