//! A value of the log, read: the one place where bytes become records.
//!
//! A value holds a record, or several of consecutive numbers. What does not decode, or cannot be what its frame says
//! (another number, a position that rose faster than the numbers), is damaged as a whole, and costs its own records.

use crate::record::{Number, Record, codec, pack};
use std::sync::Arc;

/// What a record takes in memory beside its payload, in bytes, about.
const AROUND: usize = 1024;

/// The records of one value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// Numbers that it holds: from the first to before the second.
    numbers: (Number, Number),
    /// Its records, ascending; none where it does not decode.
    pub(crate) records: Vec<Arc<Record>>,
    /// What it takes in the file.
    pub(crate) bytes: usize,
}

impl Value {
    /// Reads the joined bodies of a value's frames, of this version; `numbers`: its first one, and how many.
    pub(crate) fn of(version: u8, (first, count): (Number, u16), body: &[u8], bytes: usize) -> Value {
        let records = match version {
            1 => codec::decode(body).map(|record| vec![record]),
            _ => pack::unpack(body, count),
        };
        let can_be = |(record, number): (&Record, Number)| {
            record.number == number && record.slots.iter().all(|slot| slot.position.0 <= number.0)
        };
        let records = match records {
            Ok(records) if records.iter().zip(first.until(Number::MAX)).all(can_be) => {
                records.into_iter().map(Arc::new).collect()
            }
            Ok(_) => {
                tracing::warn!(number = first.0, count, "records with numbers of others, skipped");
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(number = first.0, count, %error, "records do not decode, skipped");
                Vec::new()
            }
        };
        Value { numbers: (first, first + u64::from(count)), records, bytes }
    }

    /// What it takes in memory, in bytes, about.
    pub(crate) fn memory(&self) -> usize {
        self.records.iter().map(|record| record.draft.message.payload.len() + AROUND).sum()
    }

    /// Whether a number belongs to it.
    pub(crate) fn covers(&self, number: Number) -> bool {
        (self.numbers.0..self.numbers.1).contains(&number)
    }

    /// A record in it; `None` where it does not decode.
    pub(crate) fn record(&self, number: Number) -> Option<Arc<Record>> {
        self.records.get(usize::try_from(number.0.checked_sub(self.numbers.0.0)?).ok()?).cloned()
    }
}
