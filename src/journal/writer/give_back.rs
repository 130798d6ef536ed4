//! Under a bound in bytes or free space: what is settled behind a record that waits goes, before anything is given up or intake
//! stops. [`crate::journal::log::spent`] says why that is safe, and why in this order.

use crate::journal::checkpoint::state::Home;
use crate::journal::error::JournalError;
use crate::journal::handle::append::Ticket;
use crate::journal::writer::Writer;
use crate::record::Number;
use crate::sync::locked;

impl<T: Ticket> Writer<T> {
    /// Gives back the generations in which every record has an outcome; where there is none but the active one, it is closed
    /// first. Returns whether one went. Writes nothing where there is none.
    ///
    /// # Errors
    /// The disk refuses: nothing went.
    pub(crate) fn give_back_settled(&mut self) -> Result<bool, JournalError> {
        if !self.has_settled() {
            if self.active_bytes == 0 || !self.newest_is_settled() {
                return Ok(false);
            }
            self.rotate()?;
        }
        let shared = &self.journal.0;
        let mut settled = shared.log.settled_in(&locked(&shared.books));
        if settled.len() > 1 {
            // By the newest one redeliveries are known after a start; it goes where that does not make room enough.
            settled.pop();
        }
        let high = *shared.durable.borrow();
        shared.forgo_chains(Number::MAX);
        // Both slots: a start may find either alone.
        shared.write_slot(Home::Disk)?;
        shared.write_state()?;
        shared.let_go(self.next, 0);
        let folder = shared.log.folder();
        let went = shared.log.give_back(settled, high).map_err(|source| JournalError::io(folder, source))?;
        if went {
            tracing::info!("generations settled behind a record that waits are removed");
        }
        Ok(went)
    }

    fn has_settled(&self) -> bool {
        let shared = &self.journal.0;
        !shared.log.settled_in(&locked(&shared.books)).is_empty()
    }

    fn newest_is_settled(&self) -> bool {
        let shared = &self.journal.0;
        shared.log.newest_is_settled(&locked(&shared.books))
    }
}
