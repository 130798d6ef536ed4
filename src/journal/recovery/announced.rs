//! Which holes of the state file are announced already: their gap records are in the log.

use crate::journal::error::JournalError;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::ledger::gap_record::announced_by;
use crate::journal::log::Log;
use crate::record::{Number, Record};

/// Takes out the holes whose gap records are durable already: they are above `high`, the high water of the state that
/// the books come from, because a hole is in the state before its gap record is committed. `end`: numbers from there on
/// do not count. Reads nothing when there is no hole.
///
/// # Errors
/// What was committed above `high` cannot be read now, so what it announces is unknown.
pub(crate) fn forget_announced(
    log: &Log,
    high: Number,
    end: Number,
    books: &mut [LaneLedger],
) -> Result<(), JournalError> {
    if books.iter().all(|book| book.holes.all().is_empty()) {
        return Ok(());
    }
    let firsts = log.firsts();
    for (index, first) in firsts.iter().enumerate() {
        let below = firsts.get(index + 1).copied().unwrap_or(Number::MAX).min(end);
        if below <= high.next() {
            continue;
        }
        let Some(closed) = log.closed(*first)? else { continue };
        for read in closed.records(high.next(), below) {
            let (record, _) = read.map_err(|source| JournalError::io(log.folder(), source))?;
            forget(&record, books);
        }
    }
    Ok(())
}

fn forget(record: &Record, books: &mut [LaneLedger]) {
    let Some(told) = announced_by(record) else { return };
    for book in books.iter_mut().filter(|book| record.position(book.id).is_some()) {
        book.holes.forget(&told);
    }
}
