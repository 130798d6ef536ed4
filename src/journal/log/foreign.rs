//! Generations of another journal that lie in this one's folder, as when a person copies one journal over another.
//!
//! Two journals count alike: what the books say of a number or a position says nothing about a generation of another one, which
//! would go as settled. Each record has its journal's id. So before a generation goes that an earlier run left, its records are
//! asked. Where they belong to a journal that this one never was, the whole folder is moved into `aside`, for a person.
//!
//! The state keeps the ids that the journal had: a card that is moved gets a new one. Where no state tells them, as in a journal
//! of an earlier version, the oldest generations do, up to the first one of the present id.

use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::log::Log;
use crate::journal::log::entry::Generation;
use crate::record::JournalId;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

/// Former ids that are kept, the newest ones.
pub(crate) const FORMER_MOST: usize = 8;

/// Whose records a generation holds, by its first and its last one; none: that cannot be told.
fn ids_of(bytes: &GenerationBytes) -> Vec<JournalId> {
    let ends = [bytes.numbers().next(), bytes.numbers().last()].into_iter().flatten();
    let records = ends.filter_map(|number| bytes.value(number).ok().flatten()?.record(number));
    records.map(|record| record.journal).collect()
}

/// Whether two folders of one first number are of two journals.
pub(super) fn differ(one: &Path, other: &Path) -> bool {
    let ids =
        [one, other].map(|folder| GenerationBytes::closed(folder).map(|bytes| ids_of(&bytes)).unwrap_or_default());
    ids.iter().all(|ids| !ids.is_empty()) && !ids[0].iter().any(|id| ids[1].contains(id))
}

impl Log {
    /// From here on a generation goes only where its records have one of these ids.
    pub(crate) fn know(&self, ids: Vec<JournalId>) {
        let _ = self.known.set(ids);
    }

    /// The ids that the journal had before `id`, as far as its generations tell.
    pub(crate) fn ids_before(&self, id: JournalId) -> Vec<JournalId> {
        let mut before = Vec::new();
        for first in self.firsts() {
            // What cannot be read now tells nothing, and waits for its reader.
            let ids = self.closed(first).ok().flatten().map(|bytes| ids_of(&bytes)).unwrap_or_default();
            before.extend(ids.iter().filter(|known| **known != id).copied());
            if ids.contains(&id) {
                break;
            }
        }
        before.dedup();
        before
    }

    /// Whether all that is known of a generation's records is of other journals. What cannot be read, or holds nothing, is not.
    pub(super) fn is_foreign(&self, generation: &Generation) -> bool {
        let Some(known) = self.known.get().filter(|_| !generation.own.load(Relaxed)) else { return false };
        let ids = GenerationBytes::closed(&generation.dir).map(|bytes| ids_of(&bytes)).unwrap_or_default();
        !ids.is_empty() && !ids.iter().any(|id| known.contains(id))
    }
}
