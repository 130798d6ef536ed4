//! What was set aside, tried again: its records come back by way of the quarantine.

use crate::journal::error::JournalError;
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::handle::Journal;
use crate::journal::log::aside::{all, lost};
use crate::journal::log::listing::parse_name;
use crate::journal::quarantine::Cause;
use crate::journal::quarantine::named::Named;
use crate::record::{LaneId, Number, Position};
use std::path::Path;
use std::{fs, io};

/// What the quarantine calls records on their way back.
const CODE: &str = "set-aside";

impl Journal {
    /// Tries what is set aside again, and requeues what was booked as lost of it; returns how many records came back. Blocks on
    /// the disk and on the writer that runs.
    pub fn try_aside_again(&self) -> usize {
        let lost = lost(&self.0.path);
        let is_lost = |(lane, position): (LaneId, Position)| {
            lost.get(&lane).is_some_and(|ranges| ranges.iter().any(|(from, to)| (*from..=*to).contains(&position)))
        };
        let mut back = 0;
        for folder in all(&self.0.path) {
            // The name may have a count behind it.
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_generation = name.splitn(3, '.').collect::<Vec<_>>().get(..2).map(|parts| parts.join("."));
            if is_generation.and_then(|name| parse_name(&name)).is_none() {
                continue;
            }
            match self.take_back(&folder, &is_lost) {
                Ok(count) => {
                    tracing::info!(folder = %folder.display(), records = count, "what was set aside can be read again");
                    back += count;
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "what is set aside cannot be read yet")
                }
            }
        }
        back
    }

    fn take_back(&self, folder: &Path, is_lost: &dyn Fn((LaneId, Position)) -> bool) -> Result<usize, JournalError> {
        let io = |source| JournalError::io(folder, source);
        let closed = GenerationBytes::closed(folder).map_err(io)?;
        let mut count = 0;
        for read in closed.records(Number(0), Number::MAX) {
            let (record, _) = read.map_err(io)?;
            for place in record.slots.iter().map(|slot| (slot.lane, slot.position)).filter(|place| is_lost(*place)) {
                let text = "was set aside, and can be read again";
                let cause = Cause { code: CODE, text, place: Some(place), whole: None };
                if !self.0.quarantine.keep(&record, cause).map_err(io)? {
                    return Err(io(io::Error::new(io::ErrorKind::StorageFull, "the quarantine is full")));
                }
                count += 1;
            }
        }
        let entries = self.quarantined()?;
        let ids: Vec<Named> =
            entries.iter().filter(|entry| entry.code == CODE).map(|entry| Named::Id(entry.id)).collect();
        if !ids.is_empty() {
            self.requeue(Some(&ids))?;
        }
        fs::remove_dir_all(folder).map_err(io)?;
        Ok(count)
    }
}
