//! What the medium refuses for good: a lane waits for it, then continues without it; no other lane waits.

use super::*;
use crate::journal::disk::refusal::PATIENCE;
use crate::journal::tests::damage::generations;
use crate::record::Number;
use std::fs;

/// A link to nowhere in its place, as a repair of the file system may leave it.
fn spoil(what: &Path) -> PathBuf {
    let kept = what.with_extension("kept");
    let away = what.parent().unwrap().parent().unwrap().join(kept.file_name().unwrap());
    fs::rename(what, &away).unwrap();
    std::os::unix::fs::symlink("nowhere", what).unwrap();
    away
}

/// Reads until the reader has nothing more, however often it is refused. How often it was.
fn read_on(reader: &mut Reader) -> (Vec<u64>, usize) {
    let (mut numbers, mut refusals) = (Vec::new(), 0);
    loop {
        match reader.read(1_000, 1 << 20) {
            Ok(read) if read.is_empty() => return (numbers, refusals),
            Ok(read) => numbers.extend(read.iter().map(|read| read.record.number.0)),
            Err(_) => {
                refusals += 1;
                std::thread::sleep(PATIENCE / 4);
            }
        }
    }
}

/// A generation in the middle: 600 records waited behind one for good.
#[test]
fn a_lastingly_unreadable_generation_is_set_aside_and_announced() {
    for restart in [false, true] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=600);
        let firsts = rig.journal.0.log.firsts();
        assert!(firsts.len() > 3);
        let spoiled = generations(dir.path())[1].clone();
        let since = Instant::now();
        let kept = if restart {
            rig.end(false);
            let kept = spoil(&spoiled);
            rig = start(&options(dir.path()));
            kept
        } else {
            rig.journal.0.forget();
            spoil(&spoiled)
        };
        let mut reader = rig.lane().reader();
        let (read, _) = read_on(&mut reader);
        // How often it refused depends on how fast this machine is.
        assert!(since.elapsed() >= PATIENCE, "it was waited for");
        let missing = firsts[1]..firsts[2];
        let numbers: Vec<u64> = read.into_iter().filter(|number| *number <= 600).collect();
        assert_eq!(numbers, (1..=600).filter(|number| !missing.contains(&Number(*number))).collect::<Vec<_>>());
        let stats = rig.stats();
        assert_eq!((stats.damaged, rig.journal.stats().set_aside), (firsts[2] - firsts[1], 1));
        add_up(&stats);
        // What comes meanwhile is taken, and the hole is announced.
        rig.append(601..=610);
        let (more, _) = read_on(&mut reader);
        assert!(more.len() >= 10, "{more:?}");
        assert_eq!(rig.stats().unannounced, 0);
        assert_eq!(rig.journal.try_aside_again(), 0, "it cannot be read yet");
        // The disk gives it back: what was lost of it comes, once.
        let aside = dir.path().join("aside").join(spoiled.file_name().unwrap());
        fs::remove_file(&aside).unwrap();
        fs::rename(kept, aside).unwrap();
        assert_eq!(rig.journal.try_aside_again() as u64, firsts[2] - firsts[1]);
        let back = read_all_again(&mut reader);
        assert_eq!(
            back,
            missing.start.until(missing.end).map(|number| (format!("k{number}"), true)).collect::<Vec<_>>()
        );
        assert_eq!((rig.journal.try_aside_again(), rig.journal.stats().set_aside), (0, 0));
        rig.end(false);
    }
}

/// Keys of what the reader has left, and whether it says that it comes out of quarantine.
fn read_all_again(reader: &mut Reader) -> Vec<(String, bool)> {
    let read = reader.read(1_000, 1 << 20).unwrap();
    read.into_iter().map(|read| (read.record.key.clone(), read.record.requeued)).collect()
}

/// An unreadable newest generation or quarantine kept the journal shut for good.
#[test]
fn a_journal_opens_without_files_that_refused_long_enough() {
    for quarantine in [false, true] {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=600);
        let newest = *rig.journal.0.log.firsts().last().unwrap();
        rig.end(false);
        if quarantine {
            spoil(&dir.path().join("quarantine/kept"));
        } else {
            spoil(generations(dir.path()).last().unwrap());
        }
        let open = || Journal::open(&options(dir.path()), &Clock::new(None)).map(drop);
        let refused = open().expect_err("it is waited for");
        assert!(!matches!(refused, JournalError::Newer(_) | JournalError::Locked(_)), "{refused}");
        std::thread::sleep(PATIENCE);
        let deadline = Instant::now() + Duration::from_secs(10);
        while open().is_err() {
            assert!(Instant::now() < deadline, "it never opened");
            std::thread::sleep(PATIENCE / 4);
        }
        let mut rig = start(&options(dir.path()));
        let kept = if quarantine { 600 } else { (Number(newest - Number(1))).0 };
        rig.append(601..=605);
        let (read, _) = read_on(&mut rig.lane().reader());
        let (old, new): (Vec<u64>, Vec<u64>) = read.into_iter().partition(|number| *number <= kept);
        assert_eq!(old, (1..=kept).collect::<Vec<_>>());
        assert!(new.len() >= 5, "{new:?}");
        assert_eq!(rig.stats().damaged, 600 - kept);
        assert_eq!(rig.journal.stats().set_aside, 1);
        add_up(&rig.stats());
        rig.end(false);
    }
}

/// With a bound in age the writer looks for the oldest: that one cannot be read must not stop what comes.
#[test]
fn an_unreadable_generation_stops_no_appends_under_age_bounds() {
    let dir = crate::testing::fast_dir();
    let mut options = options(dir.path());
    options.bounds.max_age = Some(Duration::from_secs(64));
    let mut rig = start(&options);
    rig.append(1..=600);
    rig.journal.0.forget();
    spoil(&generations(dir.path())[0]);
    // Beyond the pause between two looks.
    std::thread::sleep(Duration::from_millis(1_100));
    rig.append(601..=610);
    assert_eq!(*locked(&rig.journal.0.health), WriterHealth::Fine);
    rig.end(false);
}
