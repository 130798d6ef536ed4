//! What the writer is asked to requeue, and how the caller learns what became of it.

use crate::journal::handle::append::weight;
use crate::journal::limits::{COMMIT_BYTES, COMMIT_RECORDS};
use crate::journal::quarantine::Quarantined;
use crate::journal::quarantine::named::{Named, QuarantineId};
use crate::record::Number;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::mpsc;

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Requeued {
    /// What left the quarantine: its id there, and its record's number.
    pub done: Vec<(QuarantineId, Number)>,
    /// What stays there, and why.
    pub refused: Vec<(Named, String)>,
}

impl Requeued {
    pub(crate) fn len(&self) -> usize {
        self.done.len() + self.refused.len()
    }

    pub(crate) fn and(&mut self, other: Requeued) {
        self.done.extend(other.done);
        self.refused.extend(other.refused);
    }
}

/// The requests to the writer, and what of them its commit holds.
#[derive(Debug, Default)]
pub(crate) struct Requeues {
    last: u64,
    pub(crate) asked: Vec<Request>,
    /// In the commit that the writer is at, each with its request.
    pub(crate) leaving: Vec<(u64, QuarantineId)>,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ticket: u64,
    /// What the writer has not taken yet.
    ids: BTreeSet<QuarantineId>,
    pub(crate) answer: mpsc::Sender<Requeued>,
}

/// The caller that asked, until the writer has answered for all `count` things.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) ticket: u64,
    pub(crate) count: usize,
    pub(crate) answers: mpsc::Receiver<Requeued>,
}

/// A thing that goes into the next commit.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) ticket: u64,
    pub(crate) answer: mpsc::Sender<Requeued>,
    pub(crate) entry: Quarantined,
}

impl Requeues {
    pub(crate) fn ask(&mut self, ids: BTreeSet<QuarantineId>) -> Asker {
        self.last += 1;
        let (ticket, count) = (self.last, ids.len());
        let (answer, answers) = mpsc::channel();
        self.asked.push(Request { ticket, ids, answer });
        Asker { ticket, count, answers }
    }

    pub(crate) fn has(&self, id: QuarantineId) -> bool {
        self.asked.iter().any(|request| request.ids.contains(&id)) || self.leaving.iter().any(|(_, other)| *other == id)
    }

    /// Takes a request back; gives how many of it are on their way.
    pub(crate) fn take_back(&mut self, ticket: u64) -> usize {
        self.asked.retain(|request| request.ticket != ticket);
        self.leaving.iter().filter(|(other, _)| *other == ticket).count()
    }

    /// What of `entries` goes into the next commit, oldest request first.
    pub(crate) fn portion(&self, entries: Vec<Quarantined>) -> Vec<Leaving> {
        let mut bytes = 0;
        let mut portion = Vec::new();
        for entry in entries {
            let Some(request) = self.asked.iter().find(|request| request.ids.contains(&entry.id)) else { continue };
            bytes += weight(&entry.record.draft);
            if !portion.is_empty() && (bytes > COMMIT_BYTES || portion.len() == COMMIT_RECORDS) {
                break;
            }
            portion.push(Leaving { ticket: request.ticket, answer: request.answer.clone(), entry });
        }
        portion
    }

    /// The portion leaves, without what was taken back meanwhile.
    pub(crate) fn leave(&mut self, portion: &mut Vec<Leaving>) {
        portion.retain(|Leaving { ticket, entry, .. }| {
            let request = self.asked.iter_mut().find(|request| request.ticket == *ticket);
            request.is_some_and(|request| request.ids.remove(&entry.id))
        });
        self.asked.retain(|request| !request.ids.is_empty());
        self.leaving = portion.iter().map(|leaving| (leaving.ticket, leaving.entry.id)).collect();
    }

    /// Answers for all that is asked for and is not to be had.
    pub(crate) fn refuse(&mut self, why: &str) {
        for Request { ids, answer, .. } in self.asked.drain(..) {
            let refused = ids.into_iter().map(|id| (Named::Id(id), why.to_owned())).collect();
            // The caller may have gone.
            let _ = answer.send(Requeued { refused, ..Requeued::default() });
        }
    }
}
