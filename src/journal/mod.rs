//! The journal: one log on disk for all lanes, from the acknowledgement to the trim.
//!
//! What it promises:
//!
//! 1. A ticket comes back only after its item and all before it are on stable storage ([`writer`]): the journal syncs the
//!    file itself when sled has written it ([`generation`]).
//! 2. Nothing is read before it is durable: lanes read up to the durable high water only ([`reader`]).
//! 3. Numbers are dense and rise; `(epoch, number)` is never given twice, because the epoch is durable before the first
//!    append of an open ([`recovery`]).
//! 4. A record leaves only when every lane is past it, and the durable cursors say so before its generation goes
//!    ([`log`], [`Journal::keep`]); at a bound also when every lane has an outcome for it, and a durable note says so
//!    ([`log::spent`]).
//! 5. Each position of a lane gets exactly one outcome ([`books`]).
//! 6. It opens on whatever it finds. Two reasons excepted: another process holds it, or a newer tidegate wrote it.
//!
//! On disk: `format`, `lock`, `state` ([`checkpoint`]), `log/gen-…/` ([`log`], [`generation`]), `quarantine/`, `aside/`,
//! `reserve` ([`disk::reserve`]).
//!
//! The modules below are layers: `tests/house_rules/layers.rs` has their order, and lets none import from one above it.

mod chain;
pub(crate) mod checkpoint;
pub(crate) mod disk;
pub(crate) mod error;
pub(crate) mod generation;
pub(crate) mod handle;
mod inspect;
pub(crate) mod ledger;
pub(crate) mod limits;
mod log;
mod marking;
mod quarantine;
mod random;
pub(crate) mod reader;
pub(crate) mod recovery;
mod reread;
mod set_aside;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

pub use chain::ChainReader;
pub use disk::reserve::RESERVE_BYTES;
pub(crate) use disk::{files, refusal};
pub use disk::{folder, volume};
pub use error::JournalError;
pub use handle::Journal;
pub use handle::append::{Append, Item, Ticket, Unjournaled};
pub use handle::closing::Closing;
pub use handle::health::WriterHealth;
pub use handle::options::JournalOptions;
pub use handle::requests::Requeued;
pub use inspect::{Soundness, Verified, View, ViewStats};
pub use ledger::books;
pub use ledger::retention::{Bound, Bounds, BoundsOptions};
pub use limits::{GENERATION_BYTES, QUIET};
pub use quarantine::named::{NameError, Named, QuarantineId};
pub use quarantine::{QuarantineCounts, Quarantined};
pub use reader::{Lane, MaybeSent, Place, ReadRecord, Reader};
pub use recovery::Opened;
pub use recovery::report::OpenReport;
pub use stats::{ChainStats, EvictionStats, JournalStats, LaneStats, StateLossStats};
pub use writer::Writer;
