//! The five minutes for which a queue remembers deduplication ids.

use std::collections::{HashMap, VecDeque};

/// How long a deduplication id is remembered, in ms of queue time, from its acceptance.
pub const DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;

/// What the answer tells the sender about an accepted entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Receipt {
    pub(crate) message_id: String,
    pub(crate) sequence: u128,
}

/// Ids accepted within the window, with what their senders were told.
#[derive(Debug, Default)]
pub(crate) struct DedupWindow {
    known: HashMap<String, Receipt>,
    /// In the order of acceptance.
    ages: VecDeque<(u64, String)>,
}

impl DedupWindow {
    /// What the answer told the sender of `key`, if that was within the window before `now_ms`.
    pub(crate) fn find(&mut self, key: &str, now_ms: u64) -> Option<Receipt> {
        while self.ages.front().is_some_and(|(at, _)| at + DEDUP_WINDOW_MS <= now_ms) {
            if let Some((_, old)) = self.ages.pop_front() {
                self.known.remove(&old);
            }
        }
        self.known.get(key).cloned()
    }

    /// Remembers `key`, which must not be known, from `now_ms` on.
    pub(crate) fn insert(&mut self, key: String, receipt: &Receipt, now_ms: u64) {
        self.ages.push_back((now_ms, key.clone()));
        self.known.insert(key, receipt.clone());
    }
}
