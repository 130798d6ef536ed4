//! When to save what was seen last on each topic.
//!
//! A snapshot is taken together with the journal's last durable number, and written only once every append before the
//! snapshot has been committed: on disk, a payload that counts as recorded is one that a power cut cannot take back.
//! Saved now and then, because the journal's tail rebuilds what came since; often enough that it still reaches back.

use crate::mqtt::Intake;
use crate::mqtt::cache::CacheError;
use crate::mqtt::dedup::Seen;
use tokio::time::Instant;

/// Saved after so many records at the latest, well within the tail that the journal reads at its start.
const RECORDS: u64 = 4_000;

/// When the next save is due, and what it waits for.
#[derive(Debug, Default)]
pub(in crate::mqtt) struct Saver {
    due: Option<Instant>,
    records: u64,
    /// A snapshot, and how many appends must be committed before it may be written.
    waiting: Option<(Seen, u64)>,
    failed: bool,
}

impl Intake {
    /// A record was appended.
    pub(in crate::mqtt) fn recorded(&mut self) {
        self.saver.records += 1;
        self.saver.due.get_or_insert_with(|| Instant::now() + self.timing.save);
        if self.saver.records >= RECORDS {
            self.snapshot();
        }
    }

    /// Something is known that must not wait for the next save.
    pub(in crate::mqtt) fn save_soon(&mut self) {
        self.saver.due = Some(Instant::now());
    }

    /// When [`Intake::save_if_due`] has something to do; `None` while nothing changes.
    pub(in crate::mqtt) fn save_due(&self) -> Option<Instant> {
        [self.saver.due, self.memory.doubt_due(), self.losses_due(Instant::now())].into_iter().flatten().min()
    }

    /// Takes a snapshot if it is time, and makes a doubt durable that has lasted.
    pub(in crate::mqtt) fn save_if_due(&mut self) {
        let now = Instant::now();
        self.memory.doubt_lasts(now);
        if self.losses_due(now).is_some_and(|due| due <= now) {
            self.keep_losses();
        }
        if self.saver.due.is_some_and(|due| due <= now) {
            self.snapshot();
        }
    }

    /// A run's first loss of a kind is kept at once, so that a power cut does not hide it; later ones, and what else is
    /// there, now and then, because each write wears the card.
    fn losses_due(&self, now: Instant) -> Option<Instant> {
        let urgent = self.shared.has_news_of_losses()?;
        let later = self.losses_kept.unwrap_or(self.began) + self.timing.save;
        Some(if urgent { now } else { later })
    }

    /// Keeps what went past the journal, if that changed.
    pub(in crate::mqtt) fn keep_losses(&mut self) {
        if let Some(losses) = self.shared.news_of_losses() {
            self.losses_kept = Some(Instant::now());
            self.memory.keep_losses(&losses);
        }
    }

    /// Takes a snapshot whatever the time.
    pub(in crate::mqtt) fn save_now(&mut self) {
        if self.recogniser.changed() {
            self.snapshot();
        }
    }

    /// Writes the snapshot if all of it is committed by now.
    pub(in crate::mqtt) fn write_snapshot(&mut self) {
        if let Some((seen, _)) = self.saver.waiting.take_if(|(_, appended)| *appended <= self.unacked.committed) {
            self.memory.keep_seen(seen);
        }
    }

    /// A small file was written, or could not be.
    pub(in crate::mqtt) fn remembered(&mut self, outcome: Result<(), CacheError>) {
        match outcome {
            Ok(()) => self.saver.failed = false,
            Err(error) if !self.saver.failed => {
                self.saver.failed = true;
                tracing::warn!(%error, "intake cannot keep its small files; retained messages may come twice after a restart");
            }
            Err(_) => {}
        }
    }

    fn snapshot(&mut self) {
        self.saver.due = None;
        self.saver.records = 0;
        if let Some(seen) = self.recogniser.save((self.options.durable)()) {
            self.saver.waiting = Some((seen, self.unacked.appended));
        }
        self.write_snapshot();
    }
}
