//! What cannot be read now is there nevertheless: the journal does not take a refusal for absence, books nothing as lost
//! and waits. A link that leads to itself is refused with ELOOP, for root too.

use super::*;
use crate::journal::tests::damage::generations;
use std::fs;
use std::os::unix::fs::symlink;

/// In place of `path`, something that is refused; the original is beside the journal meanwhile.
struct Refused {
    path: PathBuf,
    aside: tempfile::TempDir,
}

impl Refused {
    fn at(path: &Path) -> Refused {
        let aside = crate::testing::fast_dir();
        fs::rename(path, aside.path().join("it")).unwrap();
        symlink(path, path).unwrap();
        Refused { path: path.to_owned(), aside }
    }

    fn mend(self) {
        fs::remove_file(&self.path).unwrap();
        fs::rename(self.aside.path().join("it"), &self.path).unwrap();
    }
}

fn filled(path: &Path) -> JournalOptions {
    let options = options(path);
    let mut rig = start(&options);
    rig.append(1..=300);
    rig.end(false);
    options
}

/// Each of them was taken for one that is not there: the note's lanes were lost, and the line was written over.
#[test]
fn the_journal_waits_unchanged_while_a_small_file_is_refused() {
    let dir = crate::testing::fast_dir();
    let options = filled(dir.path());
    let folders = generations(dir.path());
    let notes = folders.iter().map(|folder| folder.join("generation"));
    for file in notes.chain([dir.path().join("format"), dir.path().join("state")]) {
        let refused = Refused::at(&file);
        let opened = Journal::open(&options, &Clock::new(None));
        assert!(matches!(opened, Err(JournalError::Io { .. })), "{}: {opened:?}", file.display());
        refused.mend();
        assert_eq!(generations(dir.path()).len(), folders.len());
    }
    let rig = start(&options);
    assert_eq!((rig.report.missing, rig.report.state_lost, rig.report.made), (0, false, false));
    assert_eq!(rig.read_all(), plain(1..=300));
    assert_eq!(rig.stats().damaged, 0);
    rig.end(false);
}

/// The lane that needs it waits; intake does not.
#[test]
fn a_refused_oldest_generation_stops_no_intake_under_age_bounds() {
    let dir = crate::testing::fast_dir();
    let mut options = filled(dir.path());
    options.bounds.max_age = Some(Duration::from_secs(3600));
    let mut rig = start(&options);
    let refused = Refused::at(&generations(dir.path())[0]);
    rig.append(301..=400);
    assert!(rig.lane().reader().read(10, 1 << 20).is_err());
    refused.mend();
    assert_eq!(rig.read_all(), plain(1..=400));
    assert_eq!((rig.stats().evicted, rig.stats().damaged), (0, 0));
    rig.end(false);
}

/// The writer looks at whatever it holds, unsent gap records among it, before it gives it up.
#[test]
fn a_generation_that_is_refused_is_not_evicted_unseen() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 3_000_000, OnFull::DropOldest);
    let mut rig = start(&options);
    let mut next = 1;
    while rig.journal.stats().bytes < 2_200_000 {
        rig.append(next..=next + 39);
        next += 40;
    }
    assert_eq!(rig.stats().evicted, 0);
    let refused = Refused::at(&generations(dir.path())[0]);
    rig.send(next..=next + 3999, &[rig.lane().id()]);
    let until = Instant::now() + Duration::from_secs(60);
    while rig.journal.stats().writer == WriterHealth::Fine {
        assert!(Instant::now() < until, "it was evicted: {:?}", rig.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rig.stats().evicted, 0);
    refused.mend();
    rig.await_tickets((next..=next + 3999).collect());
    assert!(rig.stats().evicted > 0);
    add_up(&rig.stats());
    rig.end(false);
}
