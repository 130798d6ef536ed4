//! Small files that intake keeps across restarts: the filters that the broker's session holds, those that it may hold, the
//! table of what was seen last on each topic, how far replays had come, whether the broker lets us see what it drops, and what
//! went past the journal since it was made.
//!
//! A file is there whole or not at all: it is written under another name, synced, renamed, and the folder synced. What
//! cannot be read back (torn, damaged, of another release or journal) counts as absent, which is always safe here: the
//! filters are then subscribed once more, and a retained message is recorded once more.
//!
//! The file of filters exists only while it is known to be true ([`doubt`]): not between an attempt to connect and the broker's
//! word on every filter; otherwise a session that the broker lost and made anew, followed by a crash before we subscribed,
//! would be taken for one that still holds our filters, and stay silent for ever. A file of its own holds what was
//! ever asked for and is not known to be released: a crash between two filters leaves none behind.
//! The file of replays exists only between an orderly end and the next start: after a crash none is due.

mod change;
mod doubt;
pub(crate) mod schedule;

use crate::mqtt::Losses;
use crate::mqtt::dedup::{Deduplicator, Last, Replays, Seen, session};
use crate::record::{JournalId, Number, Run};
use change::{Change, apply, replace};
use doubt::{Doubt, FileStep};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

pub(in crate::mqtt) const FILTERS: &str = "filters";
/// The same file, while it is in doubt.
const FILTERS_ASIDE: &str = "filters-in-doubt";
const ASKED: &str = "asked";
const SEEN: &str = "seen";
const REPLAYS: &str = "replays";
const COUNT_REFUSED: &str = "count-refused";
const LOSSES: &str = "losses";

/// Opens every file: name and format version.
const MAGIC: &[u8; 8] = b"tgmqtt\x00\x01";

/// A file could not be kept. Nothing is lost by it, see the module.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep {}: {source}; check that the folder is writable and has space", path.display())]
pub(crate) struct CacheError {
    path: PathBuf,
    source: io::Error,
}

/// The session that holds the filters: broker and client id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Filters {
    url: String,
    client_id: String,
    filters: BTreeSet<String>,
}

/// What the session may hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(in crate::mqtt) struct Asked {
    /// Every filter that was asked for and is not known to be released.
    pub(in crate::mqtt) filters: BTreeSet<String>,
    /// Whether there was a session: the broker answered at least once.
    pub(in crate::mqtt) session: bool,
}

#[derive(Serialize, Deserialize)]
struct AskedFile {
    url: String,
    client_id: String,
    #[serde(flatten)]
    asked: Asked,
}

#[derive(Serialize, Deserialize)]
struct SeenFile {
    journal: JournalId,
    through: Number,
    acked_through: Number,
    /// Hash of a topic, and of its last payload.
    topics: Vec<(u64, u64)>,
    /// Beside each of them, since 0.2.0: bits of lanes, and the SUBSCRIBE whose replay has reached it.
    #[serde(default)]
    values: Vec<(u64, u32)>,
    #[serde(default)]
    leaves_flag: bool,
}

impl SeenFile {
    fn into_seen(self) -> Seen {
        let SeenFile { through, acked_through, topics, values, leaves_flag, .. } = self;
        // 0.1.0 kept no lanes: what it recorded went wherever its topic goes.
        let values = values.into_iter().chain(std::iter::repeat((u64::MAX, 0)));
        let last = topics
            .into_iter()
            .zip(values)
            .map(|((topic, payload), (lanes, replayed))| (topic, Last { payload, lanes, replayed }));
        Seen { through, acked_through, topics: last.collect(), leaves_flag }
    }
}

/// The recogniser as the last run of a journal left it, for the client `client_id` of the broker at `url`; then
/// [`Deduplicator::seed`] it with the journal's tail: the last [`crate::mqtt::dedup::KEYS`] records, or as many as there still
/// are. `former`: the id that the journal had before it was drawn anew. Blocks on the disk.
pub fn recall(folder: &Path, (url, client_id): (&str, &str), run: Run, former: Option<JournalId>) -> Deduplicator {
    let ours = |file: &SeenFile| file.journal == run.journal || Some(file.journal) == former;
    let saved = read::<SeenFile>(&folder.join(SEEN)).filter(ours);
    Deduplicator::new(saved.map(SeenFile::into_seen), session(url, client_id), run)
}

/// Writes the files, one at a time and in order, without blocking the task that polls.
#[derive(Debug)]
pub(in crate::mqtt) struct SessionCache {
    folder: PathBuf,
    journal: JournalId,
    url: String,
    client_id: String,
    /// What the file of asked filters holds, once this run has written it.
    asked_kept: Option<Asked>,
    doubt: Doubt,
    running: Option<JoinHandle<Result<(), CacheError>>>,
    queued: VecDeque<Change>,
}

impl SessionCache {
    pub(in crate::mqtt) fn new(folder: PathBuf, journal: JournalId, url: String, client_id: String) -> SessionCache {
        let (doubt, queued) = (Doubt::default(), VecDeque::new());
        SessionCache { folder, journal, url, client_id, asked_kept: None, doubt, running: None, queued }
    }

    /// The filters that this client's session held when the last run knew. Blocks for one small read.
    pub(in crate::mqtt) fn filters(&self) -> Option<BTreeSet<String>> {
        read::<Filters>(&self.folder.join(FILTERS))
            .filter(|file| file.url == self.url && file.client_id == self.client_id)
            .map(|file| file.filters)
    }

    /// What this client's session may hold. Blocks for two small reads.
    pub(in crate::mqtt) fn asked(&self) -> Asked {
        let ours = |file: &AskedFile| file.url == self.url && file.client_id == self.client_id;
        let asked = read::<AskedFile>(&self.folder.join(ASKED)).filter(ours).map(|file| file.asked);
        // 0.1.0 kept the filters alone, once the broker had confirmed them.
        let confirmed = || self.filters().map(|filters| Asked { filters, session: true });
        asked.or_else(confirmed).unwrap_or_default()
    }

    /// Keeps what the session may hold from here on.
    pub(in crate::mqtt) fn keep_asked(&mut self, asked: Asked) {
        if self.asked_kept.as_ref() == Some(&asked) {
            return;
        }
        self.asked_kept = Some(asked.clone());
        let file = AskedFile { url: self.url.clone(), client_id: self.client_id.clone(), asked };
        self.push(ASKED, encode(&file));
    }

    /// How far replays had come at the end of the last run, if that was an orderly one; given once. Blocks for a small read.
    pub(in crate::mqtt) fn take_replays(&mut self) -> Replays {
        let replays = read::<Replays>(&self.folder.join(REPLAYS));
        if replays.is_some() {
            self.push(REPLAYS, None);
        }
        replays.unwrap_or_default()
    }

    /// Keeps how far replays have come, at an orderly end.
    pub(in crate::mqtt) fn keep_replays(&mut self, replays: &Replays) {
        self.push(REPLAYS, encode(replays));
    }

    /// Whether this broker does not let us see what it drops, as an earlier run found. Blocks for a small read.
    pub(in crate::mqtt) fn count_refused(&self) -> bool {
        read::<String>(&self.folder.join(COUNT_REFUSED)).is_some_and(|url| url == self.url)
    }

    /// Keeps that it does not.
    pub(in crate::mqtt) fn keep_count_refused(&mut self) {
        let url = self.url.clone();
        self.push(COUNT_REFUSED, encode(&url));
    }

    /// What went past the journal since it was made, as the last run kept it. Blocks for a small read.
    pub(in crate::mqtt) fn losses(&self) -> Losses {
        read::<Losses>(&self.folder.join(LOSSES)).unwrap_or_default()
    }

    /// Keeps what went past the journal.
    pub(in crate::mqtt) fn keep_losses(&mut self, losses: &Losses) {
        self.push(LOSSES, encode(losses));
    }

    /// Keeps the filters that the broker's session holds.
    pub(in crate::mqtt) fn keep_filters(&mut self, filters: BTreeSet<String>) {
        let step = self.doubt.confirmed(filters);
        self.step(step);
    }

    /// From here on it is not known which filters the broker's session holds: a connection is about to be made.
    pub(in crate::mqtt) fn doubt_filters(&mut self, now: Instant) {
        let step = self.doubt.attempt(now);
        self.step(step);
    }

    /// The broker has a new session, which holds none.
    pub(in crate::mqtt) fn session_lost(&mut self) {
        let step = self.doubt.session_lost();
        self.step(step);
    }

    /// When [`SessionCache::doubt_lasts`] has something to do.
    pub(in crate::mqtt) fn doubt_due(&self) -> Option<Instant> {
        self.doubt.due()
    }

    /// Makes a doubt durable that has lasted.
    pub(in crate::mqtt) fn doubt_lasts(&mut self, now: Instant) {
        let step = self.doubt.lasts(now);
        self.step(step);
    }

    fn step(&mut self, step: Option<FileStep>) {
        match step {
            None => {}
            Some(FileStep::PutAside) => self.queue(Change::Rename(FILTERS, FILTERS_ASIDE)),
            Some(FileStep::PutBack) => self.queue(Change::Rename(FILTERS_ASIDE, FILTERS)),
            Some(FileStep::Remove) => {
                self.push(FILTERS, None);
                self.push(FILTERS_ASIDE, None);
            }
            Some(FileStep::Write(filters)) => {
                let file = Filters { url: self.url.clone(), client_id: self.client_id.clone(), filters };
                self.push(FILTERS, encode(&file));
            }
        }
    }

    /// Keeps what was seen last; everything in it is committed.
    pub(in crate::mqtt) fn keep_seen(&mut self, seen: Seen) {
        let Seen { through, acked_through, topics, leaves_flag } = seen;
        let values = topics.iter().map(|(_, last)| (last.lanes, last.replayed)).collect();
        let topics = topics.into_iter().map(|(topic, last)| (topic, last.payload)).collect();
        let journal = self.journal;
        self.push(SEEN, encode(&SeenFile { journal, through, acked_through, topics, values, leaves_flag }));
    }

    /// Waits until one change is on disk; for ever when there is none. May be cancelled.
    pub(in crate::mqtt) async fn changed(&mut self) -> Result<(), CacheError> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let outcome = running.await;
        self.running = None;
        let lost = |lost| Err(CacheError { path: self.folder.clone(), source: io::Error::other(lost) });
        let outcome = outcome.unwrap_or_else(lost);
        if outcome.is_err() {
            self.doubt.failed();
        }
        self.advance();
        outcome
    }

    /// Waits until every change is on disk, or one failed.
    pub(in crate::mqtt) async fn settled(&mut self) -> Result<(), CacheError> {
        while self.running.is_some() {
            self.changed().await?;
        }
        Ok(())
    }

    fn push(&mut self, name: &'static str, bytes: Option<Vec<u8>>) {
        // What is written or removed as a whole needs nothing of what was to be done to it before.
        self.queued.retain(|change| match change {
            Change::File(before, _) => *before != name,
            Change::Rename(..) => name != FILTERS,
        });
        self.queue(Change::File(name, bytes));
    }

    fn queue(&mut self, change: Change) {
        self.queued.push_back(change);
        self.advance();
    }

    fn advance(&mut self) {
        if self.running.is_none()
            && let Some(change) = self.queued.pop_front()
        {
            let folder = self.folder.clone();
            self.running = Some(spawn_blocking(move || apply(&folder, change)));
        }
    }
}

/// Reads every file as a run would; what is damaged counts as absent.
#[cfg(feature = "internals")]
pub(crate) fn read_all(folder: &Path) {
    let journal = read::<SeenFile>(&folder.join(SEEN)).map_or(JournalId(1), |file| file.journal);
    let run = Run { journal, ..Run::default() };
    let mut recogniser = recall(folder, ("mqtt://b", "tidegate"), run, None);
    recogniser.seeded(Number(1));
    recogniser.connected(true);
    recogniser.connected(false);
    let _ = recogniser.save(Number(u64::MAX));
    let memory = SessionCache::new(folder.to_owned(), journal, "mqtt://b".into(), "tidegate".into());
    let _ = (
        memory.losses(),
        memory.filters(),
        memory.asked(),
        memory.count_refused(),
        read::<Replays>(&folder.join(REPLAYS)),
    );
}

/// Magic, CRC-32C of the rest, CBOR.
fn encode<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    // Maps of strings and numbers always encode; if one ever did not, the file is removed, which is safe.
    let body = serde_cbor::to_vec(value).ok()?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    bytes.extend_from_slice(&body);
    Some(bytes)
}

/// Keeps one more small file of the folder, at once. Blocks.
pub(in crate::mqtt) fn keep<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), CacheError> {
    let path = folder.join(name);
    let Some(bytes) = encode(value) else { return Ok(()) };
    replace(folder, &path, &bytes).map_err(|source| CacheError { path, source })
}

pub(in crate::mqtt) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = fs::read(path).ok()?;
    let (crc, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(4)?;
    (crc == crc32c::crc32c(body).to_be_bytes()).then(|| serde_cbor::from_slice(body).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn memory(folder: &Path, client_id: &str) -> SessionCache {
        SessionCache::new(folder.join("intake"), JournalId(1), "mqtt://b".into(), client_id.into())
    }

    #[tokio::test]
    async fn filters_survive_for_the_same_session_only() {
        let folder = tempfile::tempdir().expect("folder");
        let filters = BTreeSet::from(["a/#".to_owned(), "b".to_owned()]);
        let mut first = memory(folder.path(), "one");
        assert_eq!(first.filters(), None);
        first.keep_filters(filters.clone());
        first.settled().await.expect("written");
        assert_eq!(memory(folder.path(), "one").filters(), Some(filters));
        assert_eq!(memory(folder.path(), "two").filters(), None);
        first.doubt_filters(Instant::now());
        first.settled().await.expect("removed");
        assert_eq!(memory(folder.path(), "one").filters(), None);
    }

    #[tokio::test]
    async fn the_last_of_many_changes_is_what_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let mut memory = memory(folder.path(), "one");
        for name in ["a", "b", "c"] {
            memory.doubt_filters(Instant::now());
            memory.keep_filters(BTreeSet::from([name.to_owned()]));
        }
        memory.settled().await.expect("written");
        assert_eq!(memory.filters(), Some(BTreeSet::from(["c".to_owned()])));
    }

    #[tokio::test]
    async fn a_cache_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("intake"), b"in the way").expect("file");
        let mut memory = memory(folder.path(), "one");
        memory.keep_filters(BTreeSet::new());
        let error = memory.settled().await.expect_err("a file is in the way");
        assert!(error.to_string().contains("intake/filters"), "{error}");
    }

    proptest! {
        #[test]
        fn a_damaged_file_counts_as_absent(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let folder = tempfile::tempdir().expect("folder");
            let topics = vec![(1, 2), (3, 4)];
            let values = vec![(1, 0), (u64::MAX, 7)];
            let file = SeenFile { journal: JournalId(1), through: Number(9), acked_through: Number(4), topics, values, leaves_flag: true };
            let mut bytes = encode(&file).expect("encodes");
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            fs::write(folder.path().join(SEEN), &bytes).expect("written");
            prop_assert!(read::<SeenFile>(&folder.path().join(SEEN)).is_none());
            fs::write(folder.path().join(SEEN), &bytes[..at]).expect("written");
            prop_assert!(read::<SeenFile>(&folder.path().join(SEEN)).is_none());
        }
    }
}
