//! Findings about the journal and its disk. Pure.

use crate::journal::{Bound, WriterHealth};
use crate::mqtt::{IntakeState, OutageKind};
use crate::size;
use crate::status::findings::{Code, Finding, counted};
use crate::status::{JournalStatus, StatusSnapshot, history};
use std::path::Path;

/// A card that collects its garbage takes some seconds; one that finishes nothing for so many hangs.
const STUCK_S: u64 = 20;
/// ENOSPC, as an error's text ends.
const NO_SPACE: &str = "os error 28";
/// With so many bytes free a disk that has no space lacks something else.
pub(crate) const PLENTY: u64 = 4 << 20;
/// What a person does where bytes are free and files cannot be made.
pub(crate) const NO_INODE: &str =
    "its bytes are free and its inodes used up: find the folder with very many small files, and remove them";

/// The command that shows how many inodes there are.
pub(crate) fn inodes_of(path: &Path) -> String {
    format!("df -i '{}'", path.display())
}

pub(super) fn findings(journal: &JournalStatus, status: &StatusSnapshot) -> Vec<Finding> {
    let facts = &journal.facts;
    let mut all: Vec<Finding> = writing(journal, status).into_iter().collect();
    if !facts.in_place {
        let path = journal.path.display();
        let what =
            format!("{path} is no longer the folder that the agent has open: it was moved, replaced or unmounted");
        all.push(Finding::act(Code::JournalMoved, what).command(format!("findmnt --target '{path}'")));
    }
    if facts.set_aside > 0 {
        let parts = counted(facts.set_aside as u64, "part", "parts");
        let what = format!("{parts} of the journal cannot be read and was set aside");
        all.push(Finding::act(Code::JournalSetAside, what).count(facts.set_aside as u64));
    }
    if facts.foreign > 0 {
        let parts = counted(facts.foreign as u64, "part", "parts");
        let what = format!("{parts} of another journal lay in the journal's folder, and are set aside");
        let look = format!("sudo ls -l '{}'", journal.path.join("aside").display());
        all.push(Finding::act(Code::JournalForeign, what).count(facts.foreign as u64).command(look));
    }
    // One may be an accident, and cost nothing.
    if facts.writer_panics > 1 {
        let what = format!("the journal's writer panicked {} times since the start", facts.writer_panics);
        all.push(Finding::act(Code::JournalWriterPanics, what).count(facts.writer_panics));
    }
    // One fault, once: while nothing is written that says so, and why.
    let writes = facts.writer == WriterHealth::Fine;
    if let Some(free) = journal.free_bytes.filter(|free| *free < facts.min_free && writes) {
        let what = format!("only {} MiB are free on the journal's disk, less than journal.min_free", free >> 20);
        all.push(Finding::act(Code::JournalDiskLow, what));
    }
    if !facts.reserve && writes {
        let what = "the journal's reserve for a full disk is given up or was never made";
        all.push(Finding::waiting(Code::JournalNoReserve, what));
    }
    if journal.in_ram {
        let what = format!("the journal ({}) lies in RAM", journal.path.display());
        all.push(Finding::act(Code::JournalInRam, what));
    }
    all
}

/// Why nothing is written, the nearest cause alone.
fn writing(journal: &JournalStatus, status: &StatusSnapshot) -> Option<Finding> {
    let since_s = status.intake.as_ref().and_then(|intake| intake.stuck_s);
    match &journal.facts.writer {
        WriterHealth::Full { bound } => {
            let what = match (bound, journal.free_bytes) {
                (Bound::MinFree, Some(free)) => format!(
                    "the journal is full ({}): its disk has {} free, and has to keep {} free",
                    bound.key(),
                    size::text(free),
                    size::text(journal.facts.min_free)
                ),
                _ => format!("the journal is full ({}): it takes {}", bound.key(), size::text(journal.facts.bytes)),
            };
            let finding =
                Finding::act(Code::JournalFull, what).about(bound.key()).remedy(bound.remedy()).since(since_s);
            let free = format!("df -h '{}'", journal.path.display());
            return Some(if *bound == Bound::MinFree { finding.command(free) } else { finding });
        }
        WriterHealth::Failing { error } if journal.facts.read_only => {
            let what = format!("the journal's disk is read-only (journal cannot be written: {error})");
            return Some(Finding::act(Code::JournalReadOnly, what));
        }
        WriterHealth::Failing { error } => {
            let what = format!("journal cannot be written: {error}");
            let finding = Finding::act(Code::JournalUnwritable, what).since(since_s);
            let inodes = error.contains(NO_SPACE) && journal.free_bytes.is_some_and(|free| free >= PLENTY);
            return Some(if inodes { finding.remedy(NO_INODE).command(inodes_of(&journal.path)) } else { finding });
        }
        WriterHealth::Fine if journal.facts.read_only => {
            return Some(Finding::act(Code::JournalReadOnly, "the journal's disk is read-only"));
        }
        WriterHealth::Fine => {}
    }
    let intake = status.intake.as_ref()?;
    if let Some(stuck_s) = intake.stuck_s.filter(|stuck_s| *stuck_s >= STUCK_S) {
        let messages = counted(intake.unacked_messages, "message waits", "messages wait");
        let what =
            format!("{messages} for the journal's disk, which has finished nothing for {}", history::span(stuck_s));
        return Some(Finding::act(Code::JournalStalled, what).since(Some(stuck_s)).count(intake.unacked_messages));
    }
    let full = matches!(intake.state, IntakeState::Offline { cause: OutageKind::Behind, .. });
    full.then(|| {
        let what = "as much as mqtt.max_unacked_bytes allows waits for the journal's disk";
        Finding::waiting(Code::JournalBehind, what).since(Some(intake.state_for_s))
    })
}
