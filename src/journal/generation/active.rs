//! The active generation: a small sled database, made once, appended to, and never opened again.
//!
//! Its file is a log that sled only ever adds to and rewrites in new places, so once it is closed its records are read
//! from the bare bytes ([`crate::journal::generation::closed`]). Nothing is removed inside a database; its space comes back when the folder
//! goes. sled may panic on a failing disk, so every call into it is guarded: a panic comes back as an error. Its errors
//! stick to an open database; the writer then goes on in another one, into which it takes along what this one holds
//! ([`crate::journal::log`]).
#![allow(clippy::disallowed_types, reason = "the one place that speaks to sled")]

use crate::journal::disk::{files, frame};
use crate::journal::generation::manifest::{FACTS_FILE, Facts};
use crate::journal::generation::value::Value;
use crate::journal::limits::SEGMENT_BYTES;
use crate::sync::{locked, panic_text};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// A hint to sled; small generations are what bounds memory.
const CACHE_BYTES: u64 = 1024 * 1024;
/// How long a flush may take before sled is asked whether it has failed meanwhile.
const FLUSH_LOOK: Duration = Duration::from_secs(1);

/// Why a generation could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    #[error("{}: {source}", dir.display())]
    Sled { dir: PathBuf, source: sled::Error },
    #[error("{}: sled panicked: {text}", dir.display())]
    Panic { dir: PathBuf, text: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: sled's flush did not come through the full sync", .0.display())]
    NotSynced(PathBuf),
}

/// An open generation.
#[derive(Debug)]
pub(crate) struct Generation {
    dir: PathBuf,
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    /// First numbers of the values in it, ascending. sled could look for the key before another one, but that alone links a
    /// megabyte of constants.
    values: Mutex<Vec<u64>>,
}

/// Frames to append: number, part, value.
pub(crate) type Frames = Vec<(u64, u16, Vec<u8>)>;

impl Generation {
    /// Makes a new generation in `dir`, which must not exist, with `carried` records in it. All of it is durable before
    /// the facts are, and with them the folder counts.
    pub(crate) fn create(
        dir: &Path,
        facts: &Facts,
        carried: impl Iterator<Item = Frames>,
    ) -> Result<Generation, GenerationError> {
        let io = |source| GenerationError::Io { path: dir.to_owned(), source };
        files::create_dir(dir).map_err(io)?;
        let config =
            sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES).flush_every_ms(None);
        let db = guard(dir, || config.open())?;
        let generation = Generation { dir: dir.to_owned(), db: Some(db), values: Mutex::default() };
        // The first flush proves that sled's sync comes through ours; an empty key cannot be a record's.
        let before = full_sync::calls();
        generation.guarded(|db| db.insert([], &[]).and_then(|_| db.flush()))?;
        if full_sync::calls() == before {
            return Err(GenerationError::NotSynced(dir.to_owned()));
        }
        for frames in carried {
            generation.append(frames)?;
        }
        files::sync_tree(dir).map_err(io)?;
        let mut bytes = serde_cbor::to_vec(facts).expect("plain numbers encode");
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        files::replace(&dir.join(FACTS_FILE), &bytes).map_err(io)?;
        dir.parent().map_or(Ok(()), files::sync_dir).map_err(io)?;
        Ok(generation)
    }

    /// Appends frames as one commit: after `Ok` all of them are on stable storage, after `Err` none is promised.
    pub(crate) fn append(&self, frames: Frames) -> Result<(), GenerationError> {
        let mut batch = sled::Batch::default();
        let firsts: Vec<u64> = frames.iter().filter(|(_, part, _)| *part == 0).map(|(number, ..)| *number).collect();
        for (number, part, value) in frames {
            batch.insert(&frame::key(number, part), value);
        }
        crate::rig::stall_sync();
        self.guarded(|db| {
            db.apply_batch(batch)?;
            crate::rig::panic_if_told(self.dir.ancestors().nth(2).unwrap_or(&self.dir), "sync");
            flush(db)
        })?;
        locked(&self.values).extend(firsts);
        Ok(())
    }

    /// The value that holds a record; `None` when it or a part of it is missing or damaged.
    pub(crate) fn value(&self, number: u64) -> Result<Option<Value>, GenerationError> {
        let start = {
            let values = locked(&self.values);
            let behind = values.partition_point(|first| *first <= number);
            let Some(start) = values[..behind].last() else { return Ok(None) };
            *start
        };
        let Some(first) = self.guarded(|db| db.get(frame::key(start, 0)))? else { return Ok(None) };
        let Ok(head) = frame::parse(&first) else { return Ok(None) };
        if head.number != start || head.part != 0 || number >= head.end() {
            return Ok(None);
        }
        let (mut body, mut bytes) = (head.body().into_owned(), first.len());
        for index in 1..head.parts {
            let Some(value) = self.guarded(|db| db.get(frame::key(start, index)))? else { return Ok(None) };
            match frame::parse(&value) {
                Ok(next) if (next.number, next.part, next.parts) == (start, index, head.parts) => {
                    body.extend_from_slice(&next.body());
                    bytes += value.len();
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(Value::of(head.version, (start, head.count), &body, bytes)))
    }

    fn guarded<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, GenerationError> {
        guard(&self.dir, || call(self.db.as_ref().expect("it is there until it is dropped")))
    }
}

impl Drop for Generation {
    /// sled unwraps a last sync in its own `Drop`. Nothing of ours hangs on that sync: what was promised is durable.
    fn drop(&mut self) {
        let db = self.db.take();
        let dropped = guard(&self.dir, || {
            drop(db);
            Ok(())
        });
        if let Err(error) = dropped {
            tracing::warn!(%error, "a generation was closed all the same");
        }
    }
}

/// Wakes a thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Makes everything durable that was given to sled. Where one of sled's threads fails to write a buffer that a batch held open, sled
/// 0.34.7 notes the error and wakes nobody (`exit_reservation` in its `logger.rs`): a flush that waits for this buffer would
/// never return. Whoever asks for another write is told of the error, and wakes the others. So the flush runs on a thread of
/// sled's, and sled is asked for as long as it has not returned.
fn flush(db: &sled::Db) -> sled::Result<()> {
    let mut flushed = pin!(db.flush_async());
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut asked, mut count) = (Instant::now(), 0u64);
    loop {
        if let Poll::Ready(done) = flushed.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done.map(drop);
        }
        std::thread::park_timeout(FLUSH_LOOK);
        if asked.elapsed() >= FLUSH_LOOK {
            asked = Instant::now();
            // Another value each time: sled writes nothing where nothing changes.
            count += 1;
            if db.insert([], &count.to_be_bytes()).is_err() {
                // Returns at once, and wakes the one that waits, which says the same.
                let _ = db.flush();
            }
        }
    }
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
        // What the system said stays what it was: a full disk is got out of in its own way.
        Ok(Err(sled::Error::Io(source))) => Err(GenerationError::Io { path: dir.to_owned(), source: plain(source) }),
        Ok(Err(source)) => Err(GenerationError::Sled { dir: dir.to_owned(), source }),
        Err(panic) => Err(GenerationError::Panic { dir: dir.to_owned(), text: panic_text(&*panic) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::generation::closed::ClosedGeneration;
    use crate::journal::generation::manifest::{LaneFact, read_facts};
    use crate::record::LaneId;
    use crate::record::Record;
    use std::sync::Arc;

    fn facts(first: u64) -> Facts {
        Facts {
            format: frame::FRAME_VERSION,
            first,
            epoch: 1,
            lanes: vec![LaneFact { id: LaneId(0), name: "main".into(), next: 1 }],
        }
    }

    fn framed(records: &[Arc<Record>]) -> Frames {
        crate::journal::log::framed(records, Some(records[0].number - 1)).0
    }

    #[test]
    fn what_was_appended_is_read_while_open_and_from_the_bytes_once_closed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("gen");
        // The sixth is several frames long; later ones stand several in a value.
        let record = |n: u64| Arc::new(crate::testing::record(n, &vec![n as u8; if n == 6 { 20_000 } else { 100 }]));
        let records: Vec<_> = (4..400).map(record).collect();
        let generation = Generation::create(&dir, &facts(4), [framed(&records[..1])].into_iter()).unwrap();
        generation.append(framed(&records[1..3])).unwrap();
        for group in records[3..].chunks(7) {
            generation.append(framed(group)).unwrap();
        }
        for record in &records {
            assert_eq!(generation.value(record.number).unwrap().unwrap().record(record.number).as_ref(), Some(record));
        }
        assert!(generation.value(400).unwrap().is_none() && generation.value(3).unwrap().is_none());
        drop(generation);
        assert_eq!(read_facts(&dir).unwrap(), Some(facts(4)));
        let closed = ClosedGeneration::closed(&dir).unwrap();
        assert_eq!(closed.numbers().collect::<Vec<_>>(), (4..400).collect::<Vec<_>>());
        for record in &records {
            assert_eq!(closed.value(record.number).unwrap().unwrap().record(record.number).as_ref(), Some(record));
        }
    }
}
