//! Deleting generations, and removing what else nothing is needed of.
//!
//! A generation is renamed before it is removed: a cut in the middle of the removal leaves none of it under its name. A copy
//! beside the folder that counts is removed under its own name, and so only where half of it does no harm: it has no manifest,
//! its name is the older one, or nothing of the generation is needed any more. One of another journal is not removed
//! ([`crate::journal::log::foreign`]).

use crate::journal::disk::files;
use crate::journal::generation::manifest::is_complete;
use crate::journal::log::entry::Generation;
use crate::journal::log::listing::{list, trash_of};
use crate::journal::log::{DISTRUSTED, Log, aside};
use crate::record::Number;
use crate::sync::locked;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

impl Log {
    /// Deletes a generation that every lane is past; the durable cursors must say so already. `true`: it is there no
    /// more, whether the keeper or the writer deleted it, for both do. `false`: it is the last one, or cannot be removed.
    pub(crate) fn delete(&self, first: Number) -> bool {
        self.left.remove_again();
        let goes = |row: &BTreeMap<Number, Arc<Generation>>| match row.get(&first).cloned() {
            None => Err(true),
            Some(_) if row.len() == 1 => Err(false),
            Some(generation) => Ok(generation),
        };
        // Asked while the row is free, because it reads all of the generation; of the last one nothing is read.
        let is_foreign = match goes(&locked(&self.row)) {
            Ok(generation) => self.is_foreign(&generation),
            Err(gone) => return gone,
        };
        let mut row = locked(&self.row);
        let generation = match goes(&row) {
            Ok(generation) => generation,
            Err(gone) => return gone,
        };
        if generation.aside.get().is_some() {
            row.remove(&first);
            self.sums.gone(&generation);
            return true;
        }
        if is_foreign {
            let journal = self.dir.parent().expect("it lies in a journal");
            generation.gone.store(true, SeqCst);
            if let Err(error) = aside::set_foreign_aside(journal, &generation.dir) {
                tracing::warn!(first = first.0, %error, "a generation of another journal cannot be set aside now");
                generation.gone.store(false, SeqCst);
                return false;
            }
            row.remove(&first);
            self.sums.gone(&generation);
            generation.let_go();
            return true;
        }
        if let Err(error) = self.remove_copies(first, &generation.dir) {
            tracing::warn!(first = first.0, %error, "an older copy of a drained generation cannot be removed now");
            return false;
        }
        let trash = trash_of(&generation.dir);
        generation.gone.store(true, SeqCst);
        let moved = files::rename(&generation.dir, &trash);
        if let Err(error) = &moved {
            tracing::warn!(first = first.0, %error, "drained generation cannot be removed now, its space stays taken");
            // Otherwise it was moved, and perhaps not for good.
            if generation.dir.try_exists().unwrap_or(true) {
                generation.gone.store(false, SeqCst);
                return false;
            }
        }
        row.remove(&first);
        drop(row);
        self.sums.gone(&generation);
        locked(&DISTRUSTED).remove(&generation.dir);
        generation.let_go();
        match moved {
            Ok(()) => self.left.remove(&trash),
            Err(_) => self.left.leave(&trash),
        }
        true
    }

    /// Removes what a failed attempt has made. With its manifest it may be the one that a start takes, whole or half-removed.
    pub(super) fn give_up(&self, folder: &Path) {
        let trash = trash_of(folder);
        match is_complete(folder) {
            Ok(false) => self.left.remove(folder),
            Ok(true) => match files::rename(folder, &trash) {
                Ok(()) => self.left.remove(&trash),
                Err(_) => [folder, &trash].into_iter().for_each(|either| self.left.leave(either)),
            },
            Err(_) => self.left.leave(folder),
        }
    }

    /// Tries once more to remove what the disk did not let go of.
    pub(crate) fn remove_again(&self) {
        self.left.remove_again();
    }

    /// Removes what failed attempts have left of a generation beside the folder that counts: a start that found it alone would take
    /// it for the generation.
    fn remove_copies(&self, first: Number, counts: &Path) -> std::io::Result<()> {
        let all = list(&self.dir)?.generations.into_iter();
        for folder in all.filter(|folder| folder.first == first && folder.path != counts) {
            fs::remove_dir_all(&folder.path)?;
            self.left.forget(&folder.path);
            locked(&DISTRUSTED).remove(&folder.path);
        }
        Ok(())
    }
}
