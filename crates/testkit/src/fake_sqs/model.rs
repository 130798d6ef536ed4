//! The queue itself, as a pure model: time comes in as an argument, nothing sleeps.
//!
//! A FIFO queue keeps one line per message group. While a message of a group is in flight (received, not deleted) the
//! group gives out nothing more; when its visibility timeout passes, the message returns to the head. A deduplication
//! id is remembered for five minutes from its acceptance, also after the message was deleted; a message that repeats it
//! is answered as accepted and not kept. A Standard queue is the same machine with a line per message.

use super::dedup::{DedupWindow, Receipt};
use super::log::{Arrival, Counters, Fate};
use super::message::Message;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// What kind of queue to make.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// FIFO; the name must then end in `.fifo`.
    pub fifo: bool,
    /// `MaximumMessageSize`, bytes with attributes.
    pub max_message_bytes: usize,
    /// Visibility timeout in ms of queue time.
    pub visibility_ms: u64,
    /// High-throughput mode: deduplication ids are remembered per group, not per queue.
    pub dedup_per_group: bool,
    /// Keep messages for consumers. Off, the queue accepts, counts and forgets: for benches.
    pub keep_messages: bool,
    /// Keep the log of arrivals. Off for benches.
    pub keep_log: bool,
}

impl QueueOptions {
    /// A FIFO queue with the service's defaults.
    pub fn fifo() -> QueueOptions {
        QueueOptions {
            fifo: true,
            max_message_bytes: super::limits::MAX_BYTES,
            visibility_ms: 30_000,
            dedup_per_group: false,
            keep_messages: true,
            keep_log: true,
        }
    }

    /// A Standard queue with the service's defaults.
    pub fn standard() -> QueueOptions {
        QueueOptions { fifo: false, ..QueueOptions::fifo() }
    }
}

/// A message on its way to a consumer.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) handle: String,
    pub(crate) message: Arc<Kept>,
    pub(crate) receive_count: u32,
}

/// A message that the queue keeps.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) message: Message,
    pub(crate) message_id: String,
    pub(crate) sequence: u128,
    pub(crate) sent_ms: u64,
}

/// One message group (FIFO) or one message (Standard).
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(Arc<Kept>, u32)>,
    flying: Vec<Flying>,
}

#[derive(Debug)]
struct Flying {
    handle: String,
    until_ms: u64,
    kept: Arc<Kept>,
    receive_count: u32,
}

/// One queue: options, messages and counters.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) options: QueueOptions,
    pub(crate) counters: Counters,
    pub(crate) log: Vec<Arrival>,
    lines: HashMap<String, Line>,
    /// Lines with something waiting and nothing in flight, in the order they became so.
    ready: VecDeque<String>,
    locked: HashSet<String>,
    handles: HashMap<String, String>,
    remembered: DedupWindow,
    made: u64,
    handed: u64,
}

impl Queue {
    pub(crate) fn new(options: QueueOptions) -> Queue {
        Queue {
            options,
            counters: Counters::default(),
            log: Vec::new(),
            lines: HashMap::new(),
            ready: VecDeque::new(),
            locked: HashSet::new(),
            handles: HashMap::new(),
            remembered: DedupWindow::default(),
            made: 0,
            handed: 0,
        }
    }

    /// Takes a valid message at `now_ms`, as part of call number `call`.
    pub(crate) fn accept(&mut self, message: Message, now_ms: u64, call: u64) -> Receipt {
        self.counters.received += 1;
        let dedup_key = message.dedup.as_ref().map(|id| match (&message.group, self.options.dedup_per_group) {
            (Some(group), true) => format!("{group}\n{id}"),
            _ => id.clone(),
        });
        if let Some(receipt) = dedup_key.as_ref().and_then(|key| self.remembered.find(key, now_ms)) {
            self.counters.absorbed += 1;
            self.note(&message, receipt.message_id.clone(), Fate::Absorbed, now_ms, call);
            return receipt;
        }
        self.made += 1;
        // Not consecutive, growing, twenty digits, beyond 64 bits: as the service's are.
        let sequence = 18_880_000_000_000_000_000 + u128::from(self.made) * 256;
        let receipt = Receipt { message_id: message_id(self.made), sequence };
        if let Some(key) = dedup_key {
            self.remembered.insert(key, &receipt, now_ms);
        }
        self.counters.accepted += 1;
        self.note(&message, receipt.message_id.clone(), Fate::Accepted(sequence), now_ms, call);
        if self.options.keep_messages {
            self.keep(message, &receipt, now_ms);
        }
        receipt
    }

    /// Notes an entry that is refused with `code`.
    pub(crate) fn refuse(&mut self, message: &Message, code: &str, now_ms: u64, call: u64) {
        self.counters.received += 1;
        self.counters.refused += 1;
        self.note(message, String::new(), Fate::Refused(code.into()), now_ms, call);
    }

    /// Hands out up to `most` messages, hidden for `visibility_ms` (the queue's own when `None`).
    pub(crate) fn receive(&mut self, most: usize, visibility_ms: Option<u64>, now_ms: u64) -> Vec<Handed> {
        self.return_overdue(now_ms);
        let until_ms = now_ms + visibility_ms.unwrap_or(self.options.visibility_ms);
        let mut out = Vec::new();
        while out.len() < most {
            let Some(name) = self.ready.pop_front() else { break };
            let Some(line) = self.lines.get_mut(&name) else { continue };
            while out.len() < most {
                let Some((kept, count)) = line.waiting.pop_front() else { break };
                self.handed += 1;
                let handle = format!("{}#{}", kept.message_id, self.handed);
                let receive_count = count + 1;
                self.handles.insert(handle.clone(), name.clone());
                out.push(Handed { handle: handle.clone(), message: kept.clone(), receive_count });
                line.flying.push(Flying { handle, until_ms, kept, receive_count });
            }
            self.locked.insert(name);
        }
        out
    }

    /// Deletes what `handle` was given for; false when the handle is unknown or its message went back meanwhile.
    pub(crate) fn delete(&mut self, handle: &str) -> bool {
        let Some(name) = self.handles.remove(handle) else { return false };
        let Some(line) = self.lines.get_mut(&name) else { return false };
        let before = line.flying.len();
        line.flying.retain(|flying| flying.handle != handle);
        let deleted = line.flying.len() < before;
        self.counters.deleted += u64::from(deleted);
        if line.flying.is_empty() {
            self.locked.remove(&name);
            if line.waiting.is_empty() {
                self.lines.remove(&name);
            } else {
                self.ready.push_back(name);
            }
        }
        deleted
    }

    /// Removes all messages. Deduplication ids, counters and the log stay.
    pub(crate) fn purge(&mut self) {
        self.lines.clear();
        self.ready.clear();
        self.locked.clear();
        self.handles.clear();
    }

    /// Messages waiting and in flight.
    pub(crate) fn depth(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len() + line.flying.len()).sum()
    }

    fn keep(&mut self, message: Message, receipt: &Receipt, now_ms: u64) {
        let name = match (&message.group, self.options.fifo) {
            (Some(group), true) => group.clone(),
            _ => receipt.message_id.clone(),
        };
        let line = self.lines.entry(name.clone()).or_default();
        if line.waiting.is_empty() && line.flying.is_empty() {
            self.ready.push_back(name);
        }
        let kept =
            Kept { message, message_id: receipt.message_id.clone(), sequence: receipt.sequence, sent_ms: now_ms };
        line.waiting.push_back((Arc::new(kept), 0));
    }

    fn note(&mut self, message: &Message, message_id: String, fate: Fate, at_ms: u64, call: u64) {
        if self.options.keep_log {
            let Message { body, group, dedup, attributes, .. } = message.clone();
            self.log.push(Arrival { at_ms, call, message_id, body, group, dedup, attributes, fate });
        }
    }

    /// Puts messages whose visibility timeout has passed back to the head of their line, in their old order.
    fn return_overdue(&mut self, now_ms: u64) {
        let overdue: Vec<String> = (self.locked.iter())
            .filter(|name| self.lines.get(*name).is_some_and(|l| l.flying.iter().any(|f| f.until_ms <= now_ms)))
            .cloned()
            .collect();
        for name in overdue {
            let Some(line) = self.lines.get_mut(&name) else { continue };
            let (mut back, still): (Vec<_>, Vec<_>) = line.flying.drain(..).partition(|f| f.until_ms <= now_ms);
            line.flying = still;
            back.sort_by_key(|flying| flying.kept.sequence);
            for flying in back.into_iter().rev() {
                self.handles.remove(&flying.handle);
                line.waiting.push_front((flying.kept, flying.receive_count));
            }
            if line.flying.is_empty() {
                self.locked.remove(&name);
                self.ready.push_back(name);
            }
        }
    }
}

/// A message id in the service's shape; distinct within a queue.
fn message_id(made: u64) -> String {
    format!("{:08x}-0000-4000-8000-{:012x}", made >> 32, made & 0xffff_ffff)
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
