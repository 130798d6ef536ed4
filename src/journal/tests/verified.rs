//! What a look at the whole journal says where generations are gone.

use super::*;
use crate::journal::inspect::{Verified, View};
use crate::journal::tests::damage::generations;
use std::fs;

fn verified(path: &Path) -> Verified {
    View::open(path).unwrap().verify(&mut |_, _| {}).unwrap()
}

/// What the next start books as damaged, once everything was read.
fn damaged_by_the_next_start(path: &Path) -> u64 {
    let rig = start(&options(path));
    rig.read_all();
    let damaged = rig.stats().damaged;
    rig.end(false);
    damaged
}

/// A journal of 600 records in several generations, the first `settled` of which have an outcome.
fn journal(path: &Path, settled: u64) -> Vec<Number> {
    let mut rig = start(&options(path));
    rig.append(1..=600);
    rig.read_all();
    settle(&rig, 1..=settled);
    let firsts = rig.journal.0.log.firsts();
    rig.end(false);
    assert!(verified(path).is_whole(), "{:?}", verified(path));
    firsts
}

#[test]
fn a_missing_log_is_told_in_numbers_and_records() {
    let dir = crate::testing::fast_dir();
    journal(dir.path(), 0);
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let found = verified(dir.path());
    assert_eq!((found.gone, found.lacking), (vec![(Number(1), Number(600))], vec![(MAIN.to_owned(), 600)]));
    assert_eq!(damaged_by_the_next_start(dir.path()), 600);
}

#[test]
fn each_generation_that_is_gone_is_told() {
    for place in ["oldest", "second", "newest"] {
        let dir = crate::testing::fast_dir();
        let firsts = journal(dir.path(), 0);
        assert!(firsts.len() > 3);
        let index = ["oldest", "second"].iter().position(|name| *name == place).unwrap_or(firsts.len() - 1);
        fs::remove_dir_all(&generations(dir.path())[index]).unwrap();
        let found = verified(dir.path());
        let lost = firsts.get(index + 1).map_or(601, |next| next.0) - firsts[index].0;
        assert_eq!((found.missing(), &found.lacking), (lost, &vec![(MAIN.to_owned(), lost)]), "{place}: {found:?}");
        assert_eq!(found.gone.is_empty(), index > 0, "the one before it tells of it");
        assert_eq!(damaged_by_the_next_start(dir.path()), lost);
    }
}

/// What has an outcome is needed no more, whether its generation is there or not.
#[test]
fn only_records_that_wait_are_told() {
    let dir = crate::testing::fast_dir();
    let firsts = journal(dir.path(), 0);
    let settled = firsts[1].0 + 3;
    let dir = crate::testing::fast_dir();
    journal(dir.path(), settled);
    let folders = generations(dir.path());
    let first_of = |folder: &Path| folder.file_name().unwrap().to_str().unwrap()[4..24].parse::<u64>().unwrap();
    for folder in folders.iter().filter(|folder| first_of(folder) < firsts[2].0) {
        fs::remove_dir_all(folder).unwrap();
    }
    let found = verified(dir.path());
    let lost = firsts[2].0 - 1 - settled;
    assert_eq!(found.lacking, [(MAIN.to_owned(), lost)], "{found:?}");
    assert_eq!(found.gone.last(), Some(&(Number(settled + 1).min(found.gone[0].0), firsts[2].before())));
    assert_eq!(damaged_by_the_next_start(dir.path()), lost);
}
