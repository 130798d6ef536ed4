//! What a person has acknowledged of the losses: who, when and what, in the file `acknowledged` of the journal's folder.
//!
//! The file is JSON with a version, and is replaced as a whole: a power cut leaves the old one or the new one. One that cannot
//! be read counts as none, so that a loss is rather told again than hidden. The ledger and the intake keep their
//! counts; this file has only how far a person has seen them.

use crate::clock::{Clock, Trust, rfc3339_ms};
use crate::journal::files;
use crate::status::StatusSnapshot;
use crate::status::findings::losses::{Counts, losses};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The file's name in the journal's folder.
const FILE: &str = "acknowledged";
const VERSION: u32 = 1;
/// Acknowledgements that are kept for people, the latest ones.
const KEPT: usize = 20;
/// Longest name and note that are kept, in characters.
pub(crate) const TEXT_CHARS: usize = 200;

/// One kind of loss that was acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// The finding's code.
    pub code: String,
    /// Of which queue or topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How many, since the acknowledgement before.
    pub count: u64,
}

/// One acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who, as the command said.
    pub who: String,
    /// When, by the gateway's clock.
    pub at: String,
    /// Whether that clock was confirmed.
    pub clock_confirmed: bool,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What.
    pub what: Vec<Item>,
}

/// What the file holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    version: u32,
    pub(crate) counts: Counts,
    /// The oldest first.
    acknowledgements: Vec<Acknowledgement>,
}

/// What a person asks to be acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Who asks.
    pub(crate) who: String,
    /// Why.
    #[serde(default)]
    pub(crate) note: Option<String>,
    /// Which codes; none: all.
    #[serde(default)]
    pub(crate) codes: Vec<String>,
}

impl Acknowledged {
    /// Reads what the journal's folder holds. Blocks for a small read.
    pub(crate) fn read(folder: &Path) -> Acknowledged {
        let bytes = match std::fs::read(path(folder)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Acknowledged::default(),
            Err(error) => return unreadable(&error),
        };
        match serde_json::from_slice::<Acknowledged>(&bytes) {
            Ok(file) if file.version == VERSION => file,
            Ok(file) => unreadable(&format!("it is of version {}", file.version)),
            Err(error) => unreadable(&error),
        }
    }

    /// With everything acknowledged that `request` names and `status` shows; what that was. Pure.
    fn with(&self, request: &Request, status: &StatusSnapshot, clock: &Clock) -> (Acknowledged, Acknowledgement) {
        let mut next = Acknowledged { version: VERSION, ..self.clone() };
        let asked = |code: &str| request.codes.is_empty() || request.codes.iter().any(|asked| asked == code);
        let mut what = Vec::new();
        for loss in losses(status).into_iter().filter(|loss| asked(loss.code.word())) {
            let count = loss.open(&self.counts);
            if count > 0 {
                next.counts.insert(loss.key(), loss.count);
                what.push(Item { code: loss.code.word().to_owned(), about: loss.about, count });
            }
        }
        let short = |text: &str| text.chars().take(TEXT_CHARS).collect::<String>();
        let now = clock.now();
        let done = Acknowledgement {
            who: short(&request.who),
            at: rfc3339_ms(now.wall_ms).unwrap_or_default(),
            clock_confirmed: now.trust == Trust::Confirmed,
            note: request.note.as_deref().map(short),
            what,
        };
        if !done.what.is_empty() {
            next.acknowledgements.push(done.clone());
            let surplus = next.acknowledgements.len().saturating_sub(KEPT);
            next.acknowledgements.drain(..surplus);
        }
        (next, done)
    }

    /// Acknowledges, durably, what `request` names and `status` shows.
    ///
    /// # Errors
    /// The disk refuses; then nothing is acknowledged.
    pub(crate) fn acknowledge(
        &mut self,
        folder: &Path,
        request: &Request,
        status: &StatusSnapshot,
        clock: &Clock,
    ) -> io::Result<Acknowledgement> {
        let (next, done) = self.with(request, status, clock);
        if !done.what.is_empty() {
            files::replace(&path(folder), &serde_json::to_vec_pretty(&next)?)?;
            *self = next;
        }
        Ok(done)
    }

    /// The last acknowledgement.
    pub(crate) fn last(&self) -> Option<&Acknowledgement> {
        self.acknowledgements.last()
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn unreadable(why: &dyn std::fmt::Display) -> Acknowledged {
    tracing::warn!(%why, "what was acknowledged cannot be read: losses are told again; see `tidegate status`");
    Acknowledged::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::findings::tests::{healthy, lost};

    fn request(codes: &[&str]) -> Request {
        Request { who: "ada".into(), note: None, codes: codes.iter().map(|code| (*code).to_owned()).collect() }
    }

    fn open(acknowledged: &Acknowledged, status: &StatusSnapshot) -> Vec<(String, u64)> {
        let all = losses(status).into_iter().map(|loss| (loss.key(), loss.open(&acknowledged.counts)));
        all.filter(|(_, open)| *open > 0).collect()
    }

    #[test]
    fn acknowledgements_outlast_restarts_and_later_losses_stay_open() {
        let folder = tempfile::tempdir().expect("folder");
        let (clock, status) = (Clock::new(None), lost());
        let mut acknowledged = Acknowledged::read(folder.path());
        assert_eq!(open(&acknowledged, &status).len(), 6);
        let done = acknowledged.acknowledge(folder.path(), &request(&[]), &status, &clock).expect("kept");
        assert_eq!((done.what.len(), done.who.as_str()), (6, "ada"));
        let mut later = Acknowledged::read(folder.path());
        assert_eq!((&later, later.last()), (&acknowledged, Some(&done)));
        assert_eq!(open(&later, &status), []);
        let mut more = status.clone();
        more.journal.as_mut().expect("a journal").facts.lanes[0].evicted += 2;
        assert_eq!(open(&later, &more), [("records_evicted/main".to_owned(), 2)]);
        let done = later.acknowledge(folder.path(), &request(&["records_damaged"]), &more, &clock).expect("kept");
        assert_eq!(done.what, [], "nothing of that");
        assert_eq!(open(&later, &more).len(), 1);
    }

    #[test]
    fn only_the_codes_that_are_named_are_acknowledged() {
        let folder = tempfile::tempdir().expect("folder");
        let mut acknowledged = Acknowledged::default();
        let asked = request(&["session_lost"]);
        let done = acknowledged.acknowledge(folder.path(), &asked, &lost(), &Clock::new(None)).expect("kept");
        assert_eq!(done.what, [Item { code: "session_lost".into(), about: None, count: 2 }]);
        assert_eq!(open(&acknowledged, &lost()).len(), 5);
    }

    #[test]
    fn counts_of_another_journal_are_not_taken_for_acknowledged() {
        let folder = tempfile::tempdir().expect("folder");
        let mut acknowledged = Acknowledged::default();
        acknowledged.acknowledge(folder.path(), &request(&[]), &lost(), &Clock::new(None)).expect("kept");
        let mut anew = healthy();
        anew.journal.as_mut().expect("a journal").facts.lanes[0].evicted = 1;
        assert_eq!(open(&acknowledged, &anew), [("records_evicted/main".to_owned(), 1)]);
    }

    #[test]
    fn a_damaged_or_newer_file_acknowledges_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        for text in ["", "{", "{\"version\":2,\"counts\":{\"session_lost\":9},\"acknowledgements\":[]}", "[]"] {
            std::fs::write(path(folder.path()), text).expect("written");
            assert_eq!(Acknowledged::read(folder.path()), Acknowledged::default(), "{text}");
        }
    }

    #[test]
    fn a_disk_that_refuses_acknowledges_nothing() {
        let mut acknowledged = Acknowledged::default();
        let nowhere = Path::new("/nowhere");
        assert!(acknowledged.acknowledge(nowhere, &request(&[]), &lost(), &Clock::new(None)).is_err());
        assert_eq!(acknowledged, Acknowledged::default());
    }
}
