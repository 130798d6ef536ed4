//! The active generation: a small sled database, made once, appended to, and never opened again.
//!
//! A commit is so many inserts, one flush of sled's, by which it has written everything, a look whether all of it is in the
//! file, and one sync of that file, by us. sled's own syncs are none (`no-range-sync`): they would come once per buffer, on its
//! threads, without the file's length, and where one fails sled panics. So a failed sync is an error of ours like any other, and
//! never taken for one of a write; and what was synced is what was seen in the file, whatever sled's flush means by "done".
//!
//! sled's batches, which are whole or not there when a database is opened again, would promise nothing that the journal
//! needs: no database is opened again. What a cut leaves of a commit is found frame by frame, in the bytes, with a batch
//! as without; what is not whole is left out there
//! ([`crate::journal::generation::bytes::GenerationBytes::breaks_off_at`]), and that a commit was whole the next one says
//! (`previous`), which begins only when its sync has returned. Nor does anything hold one of sled's buffers open while it
//! is sealed, as a batch does: where the write of such a buffer fails, sled wakes no waiting thread, and a flush would
//! never return. Should it come to that anyway, the watchdog asks sled until it says so ([`write_out`]).
//!
//! **sled only appends here, and each commit checks that.** It writes a leaf anew with the tenth change or when it holds
//! more than sixteen values, and what it has written anew it may overwrite where it was. So no leaf comes that far: every
//! [`TREE_VALUES`] values go into a new tree. All that sled replaces then is its list of trees, less than half of any
//! segment, and its cleaner, which empties segments of which less than half counts, has nothing to do. Before each sync
//! the commit looks for its frames behind those of the one before ([`crate::journal::generation::index::Index::follow`]);
//! where they are not, in the whole file, and counts that. So the generation is read from its bytes while it is written
//! to, as a closed one is, and each read takes the frame apart anew: whatever moved, no record is taken for another.
//!
//! **Where traffic is slow the file is longer than what is in it.** A commit that makes a file longer has the file system
//! commit that, too: three blocks or more beside the one that holds a reading. So zeros are written ahead of small
//! commits, which overwrite them, where that costs less ([`volume::growth_costs`]). Nothing of sled's is overwritten: they begin where the file ends, and between two
//! commits no other code writes to it.
//!
//! Nothing is removed inside a database; its space comes back when the folder goes. sled may panic on a failing disk, so
//! every call into it is guarded: a panic comes back as an error. Its errors stick to an open database; the writer then goes
//! on in another one, into which it takes along what this one holds ([`crate::journal::log`]).
#![allow(clippy::disallowed_types, reason = "the one place that speaks to sled")]

#[cfg(test)]
mod tests;

use crate::journal::disk::{files, frame, volume};
use crate::journal::generation::bytes::GenerationBytes;
use crate::journal::generation::index::Appended;
use crate::journal::generation::manifest::{MANIFEST_FILE, Manifest};
use crate::journal::generation::watchdog::watched;
use crate::journal::limits::SEGMENT_BYTES;
use crate::record::Number;
use crate::sync::{locked, panic_text};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// A hint to sled; small generations are what bounds memory.
const CACHE_BYTES: u64 = 1024 * 1024;
/// Values in a tree: sled writes a leaf anew with the tenth change behind its beginning.
const TREE_VALUES: usize = 9;
/// Trees that a generation is planned for: with each one sled writes the list of all again. A single commit may need more.
const TREES: usize = 128;
/// Commits of fewer bytes have zeros written ahead of them: with more, the zeros cost more than they save (measured).
const SMALL_COMMIT: u64 = 16 * 1024;
/// Bytes of zeros written ahead at a time.
pub(crate) const ZEROS: usize = 64 * 1024;
/// What sled writes around a small commit, at most: the list of trees, and the rest of a segment that a value does not fit in.
const AROUND: u64 = 8 * 1024;
/// The one file that holds values: none is so long that sled would put it elsewhere ([`frame::VALUE_MAX`]).
pub(crate) const DATABASE: &str = "db";

/// Why a generation could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    #[error("{}: {source}", dir.display())]
    Sled { dir: PathBuf, source: sled::Error },
    #[error("{}: sled panicked: {text}", dir.display())]
    Panic { dir: PathBuf, text: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// It was written, and the sync failed.
    #[error("{}: {source}", path.display())]
    Unsynced { path: PathBuf, source: io::Error },
    #[error("{}: what was flushed is not in its file", .0.display())]
    NotThere(PathBuf),
}

/// A generation that the writer has open.
#[derive(Debug)]
pub(crate) struct ActiveGeneration {
    dir: PathBuf,
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    /// What it holds, for readers.
    bytes: Arc<GenerationBytes>,
    /// The file that sled writes to.
    file: File,
    tail: Mutex<Tail>,
    /// Zeros are written ahead of small commits.
    ahead: bool,
    /// Commits of this journal that were not just appended.
    strays: Arc<AtomicU64>,
}

/// Where the next commit goes.
#[derive(Debug, Default)]
struct Tail {
    /// Values in the present tree so far.
    values: usize,
    /// For the next value, unless it is full.
    tree: Option<sled::Tree>,
    /// Behind the last frame.
    end: u64,
    /// Behind the zeros that were written ahead.
    zeros: u64,
}

/// Frames to append: number, part, value.
pub(crate) type Frames = Vec<(Number, u16, Vec<u8>)>;

impl ActiveGeneration {
    /// Makes a new generation in `dir`, which must not exist, with `carried` records in it. All of it is durable before
    /// the manifest are, and with them the folder counts. `strays` counts commits that sled did not just append.
    pub(crate) fn create(
        dir: &Path,
        manifest: &Manifest,
        carried: impl Iterator<Item = Frames>,
        strays: Arc<AtomicU64>,
    ) -> Result<ActiveGeneration, GenerationError> {
        let io = |source| GenerationError::Io { path: dir.to_owned(), source };
        fs::create_dir(dir).map_err(io)?;
        let config =
            sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES).flush_every_ms(None);
        let db = guard(dir, || config.open())?;
        let path = dir.join(DATABASE);
        let bytes = GenerationBytes::followed(&path).map_err(io)?;
        let file = files::writing().open(&path).map_err(io)?;
        let (dir, tail) = (dir.to_owned(), Mutex::default());
        let ahead = volume::growth_costs(&dir);
        let generation = ActiveGeneration { dir, db: Some(db), bytes: Arc::new(bytes), file, tail, ahead, strays };
        for frames in carried {
            generation.append(frames)?;
        }
        // No code reads sled's other files: they may go with a cut, or stay.
        files::sync_dir(&generation.dir).map_err(io)?;
        let mut bytes = serde_cbor::to_vec(manifest).expect("plain numbers encode");
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        files::replace(&generation.dir.join(MANIFEST_FILE), &bytes).map_err(io)?;
        generation.dir.parent().map_or(Ok(()), files::sync_dir).map_err(io)?;
        Ok(generation)
    }

    /// What it holds, to be read from; complete after each [`ActiveGeneration::append`].
    pub(crate) fn bytes(&self) -> &Arc<GenerationBytes> {
        &self.bytes
    }

    /// Whether so many frames more are what a generation is planned for. An empty one takes any commit.
    pub(crate) fn has_room_for(&self, frames: usize) -> bool {
        let values = locked(&self.tail).values;
        values == 0 || values + frames <= TREES * TREE_VALUES
    }

    /// Appends frames as one commit: after `Ok` all of them are on stable storage, after `Err` none is promised.
    pub(crate) fn append(&self, frames: Frames) -> Result<(), GenerationError> {
        let mut tail = locked(&self.tail);
        let appended: Vec<Appended> =
            frames.iter().map(|(number, part, value)| (*number, *part, value.len())).collect();
        self.write_ahead(&mut tail, appended.iter().map(|(.., length)| *length as u64).sum());
        crate::failpoints::stall_sync();
        self.guarded(|db| {
            for (number, part, value) in frames {
                let tree = match tail.tree.take().filter(|_| !tail.values.is_multiple_of(TREE_VALUES)) {
                    Some(tree) => tree,
                    None => db.open_tree(((tail.values / TREE_VALUES) as u32).to_be_bytes())?,
                };
                tree.insert(frame::key(number, part), value)?;
                tail.tree = Some(tree);
                tail.values += 1;
            }
            crate::failpoints::panic_if_told(self.dir.ancestors().nth(2).unwrap_or(&self.dir), "sync");
            write_out(&self.dir, db)
        })?;
        self.find(&mut tail, &appended)?;
        self.sync()
    }

    /// What sled has written reaches the device here, and nowhere else; behind [`ActiveGeneration::find`], which has read it back.
    fn sync(&self) -> Result<(), GenerationError> {
        if crate::failpoints::is_armed(crate::failpoints::Failpoint::StockFlush) {
            return Ok(());
        }
        let path = self.dir.join(DATABASE);
        files::sync_data(&self.file, &path).map_err(|source| GenerationError::Unsynced { path, source })
    }

    /// Enters what was just written, for readers; none of them reads it before it is durable.
    fn find(&self, tail: &mut Tail, appended: &[Appended]) -> Result<(), GenerationError> {
        let io = |source| GenerationError::Io { path: self.dir.clone(), source };
        if let Some(end) = self.bytes.follow(tail.end, appended).map_err(io)? {
            tail.end = end;
            return Ok(());
        }
        self.strays.fetch_add(1, Relaxed);
        tracing::warn!(folder = %self.dir.display(), "the database did not just append; please report this with the log");
        match self.bytes.look_again(appended).map_err(io)? {
            true => Ok(()),
            false => Err(GenerationError::NotThere(self.dir.clone())),
        }
    }

    /// Makes the file longer before a small commit of `bytes`, where it would make it longer itself.
    fn write_ahead(&self, tail: &mut Tail, bytes: u64) {
        if !self.ahead || bytes > SMALL_COMMIT || tail.end + bytes + AROUND <= tail.zeros {
            return;
        }
        // A disk that refuses this says so to sled, too.
        if let Ok(end) = self.file.metadata().map(|about| about.len())
            && self.file.write_all_at(&[0; ZEROS], end).is_ok()
        {
            tail.zeros = end + ZEROS as u64;
        }
    }

    fn guarded<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, GenerationError> {
        guard(&self.dir, || call(self.db.as_ref().expect("it is there until it is dropped")))
    }
}

impl Drop for ActiveGeneration {
    /// sled unwraps a last sync in its own `Drop`. Nothing of ours hangs on that sync: what was promised is durable.
    fn drop(&mut self) {
        let (tree, db) = (locked(&self.tail).tree.take(), self.db.take());
        let dropped = guard(&self.dir, || {
            drop((tree, db));
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::warn!(%error, "a generation was closed with an error");
        }
    }
}

/// Has sled write everything that was given to it: sled's flush returns when all of it was handed to the system. Where
/// one of sled's threads fails to write a buffer, sled 0.34.7 may note the error and wake no thread (`exit_reservation`
/// in its `logger.rs`): a flush that waits for this buffer would never return. sled reports the error to the next thread
/// that asks for a write, and that thread wakes the others: so the watchdog asks for one.
///
/// Never by sled's `flush_async`: that waits on one of the threads that do the writing. sled adds to them only when more than
/// seven jobs wait, so seven flushes at once wait for each other for ever.
fn write_out(dir: &Path, db: &sled::Db) -> sled::Result<()> {
    let (dir, asked, mut count) = (dir.to_owned(), db.clone(), 0u64);
    let ask = move || {
        // Another value each time: sled writes nothing where nothing changes.
        count += 1;
        let written = guard(&dir, || asked.insert([], &count.to_be_bytes()));
        if written.is_err() {
            // Returns at once, and wakes the one that waits, which says the same.
            let _ = guard(&dir, || asked.flush());
        }
    };
    watched(ask, || db.flush()).map(drop)
}

/// sled hands on an error of the system as the text of its debug form: only what it says is for people.
fn plain(error: io::Error) -> io::Error {
    let text = error.to_string();
    let said =
        text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"')).map(|(said, _)| said.to_owned());
    let kind = error.kind();
    said.map_or(error, |said| io::Error::new(kind, said))
}

fn guard<T>(dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, GenerationError> {
    // Unwind safety: after a panic the database is only ever dropped, never asked again.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        // An error of the system stays one: the writer handles a full disk in its own way.
        Ok(Err(sled::Error::Io(source))) => Err(GenerationError::Io { path: dir.to_owned(), source: plain(source) }),
        Ok(Err(source)) => Err(GenerationError::Sled { dir: dir.to_owned(), source }),
        Err(panic) => Err(GenerationError::Panic { dir: dir.to_owned(), text: panic_text(&*panic) }),
    }
}
