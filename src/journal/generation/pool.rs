//! sled's threads, of which all but one are given something to wait for.
//!
//! sled 0.34.7 has seven threads for the writes of all databases in a process. Each write wakes all seven, one after the
//! other, for one of them to do it, and each looks once a second whether there is something to do. Nothing of that can be
//! set. But a flush that sled was asked for in the background waits in one of these threads until its write is stable; so
//! there is a database, of nobody, whose one write never becomes stable, because its sync never returns
//! ([`full_sync::never_return`]). That write and five flushes wait in six threads, for as long as the process lives.
//!
//! Whatever of it does not work out costs nothing but what it should have saved. Three things follow. The segments of a long
//! commit are written one after the other. sled's batches and transactions wait until no flush is under way, and a flush in
//! the background waits in the thread that should do its write: neither would ever end, and nothing of ours asks for one
//! ([`super::active`]; `tests/tidy/edges.rs` looks).
#![allow(clippy::disallowed_types, reason = "speaks to sled of threads, and not of records")]

use crate::journal::disk::files;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::pin::pin;
use std::sync::Once;
use std::task::{Context, Poll, Waker};

/// Its folder, which is gone in a moment; what a cut leaves of it goes at the next opening, as the log's name for it says.
const FOLDER: &str = "trash-idle";
/// Flushes that wait; their write waits in one more thread.
const FLUSHES: usize = 5;
const SEGMENT_BYTES: usize = 64 * 1024;

/// Has one of sled's threads work and the others wait, from the first call on. `folder`: where something can be written.
pub(crate) fn keep_one_thread(folder: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let folder = folder.join(FOLDER);
        let _ = fs::remove_dir_all(&folder);
        let waits = files::create_dir(&folder).and_then(|()| catch_unwind(|| wait_for_ever(&folder)).unwrap_or(Ok(())));
        if let Err(error) = waits {
            tracing::debug!(%error, "sled's threads stay as they are");
        }
        let _ = fs::remove_dir_all(&folder);
    });
}

fn wait_for_ever(folder: &Path) -> io::Result<()> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(SEGMENT_BYTES as u64)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None);
    // It must never be dropped: that would wait, too.
    let db: &'static sled::Db = Box::leak(Box::new(config.open()?));
    db.insert([], &[])?;
    let file = File::open(folder.join("db"))?.metadata()?;
    full_sync::never_return(file.dev(), file.ino());
    for _ in 0..FLUSHES {
        let mut flush = pin!(db.flush_async());
        if let Poll::Ready(done) = flush.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            done?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    /// How often each of sled's threads has waited so far.
    fn waits() -> BTreeMap<String, String> {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let of_sled =
            tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap_or_default().starts_with("sled-io"));
        let count = |task: std::path::PathBuf| {
            let status = fs::read_to_string(task.join("status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap_or_default();
            (task.display().to_string(), line.to_owned())
        };
        of_sled.map(count).collect()
    }

    #[test]
    fn six_of_seven_threads_sleep_on_while_commits_are_written() {
        let dir = crate::testing::fast_dir();
        keep_one_thread(dir.path());
        assert!(!dir.path().join(FOLDER).exists());
        let db = sled::Config::new().path(dir.path().join("db")).flush_every_ms(None).open().unwrap();
        let mut commit = |n: u64| _ = db.insert(n.to_be_bytes(), vec![0; 100]).and_then(|_| db.flush()).unwrap();
        commit(0);
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let before = waits();
            (1..50).for_each(&mut commit);
            // Of the other threads some may still be on their way to where they wait.
            let asleep = waits().iter().filter(|(task, count)| before.get(*task) == Some(count)).count();
            if asleep > FLUSHES {
                break;
            }
            assert!(Instant::now() < until, "{asleep} sleep: {before:?}, {:?}", waits());
        }
    }
}
