//! Marks of a lane: what may be attempted is durable before it is.

use crate::journal::checkpoint::state::Home;
use crate::journal::error::JournalError;
use crate::journal::ledger::books::LaneLedger;
use crate::journal::reader::Lane;
use crate::record::Position;
use crate::sync::locked;
use std::sync::atomic::Ordering::Relaxed;

impl Lane {
    /// Makes sure that a durable mark covers `positions` before they are attempted. Blocks on the disk when a new mark
    /// is needed, or one is being written, which [`Lane::needs_mark`] tells.
    ///
    /// # Errors
    /// The mark is not durable: the positions must not be attempted.
    pub fn mark(&self, positions: &[Position]) -> Result<(), JournalError> {
        let now = self.journal.0.clock.now().boottime_ms;
        let (epoch, boot) = (self.journal.epoch(), self.journal.0.clock.boot());
        let _alone = locked(&self.marking);
        let unwritten = self.book(|book| {
            for &position in positions {
                if book.lacks_mark(position, epoch, now) {
                    book.mark(position, epoch, boot, now);
                }
            }
            book.has_unwritten_mark()
        });
        if unwritten {
            // A mark that an earlier call could not write is still unwritten, and goes with this one.
            self.journal.0.keep_state(Home::DiskOrBoot)?;
            self.book(LaneLedger::marks_written);
        }
        self.book(|book| positions.iter().for_each(|position| book.attempted(*position)));
        Ok(())
    }

    /// Whether attempting `positions` needs a new mark first. When it does not, they are noted as attempted.
    pub fn needs_mark(&self, positions: &[Position]) -> bool {
        let now = self.journal.0.clock.now().boottime_ms;
        let epoch = self.journal.epoch();
        self.book(|book| {
            let needed = positions.iter().any(|position| book.needs_mark(*position, epoch, now));
            if !needed {
                positions.iter().for_each(|position| book.attempted(*position));
            }
            needed
        })
    }

    /// Whether what is known of attempts is not on the disk: then it is lost with this boot, and whatever is sent says
    /// that it may be a duplicate.
    pub fn is_on_a_read_only_disk(&self) -> bool {
        self.journal.0.beside.load(Relaxed)
    }
}
