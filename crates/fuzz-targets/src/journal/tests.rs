//! What the targets of this file hold about themselves, on their own seeds.

use super::*;
use crate::journal::seeds::foreign_note;

#[test]
fn a_record_that_is_not_the_one_written_is_seen() {
    let mut record = records()[&7].clone();
    let passes = |record: &Record| std::panic::catch_unwind(|| check(record, Some(records()))).is_ok();
    assert!(passes(&record));
    record.draft.message.qos = 0;
    assert!(!passes(&record));
}

#[test]
fn a_note_of_another_generation_does_not_hide_new_records() {
    files(&foreign_note());
}

#[test]
fn damage_is_where_it_should_be_and_seals_hold() {
    assert_eq!(damage(b"abcdef", 1, 4, b"XYZ").as_deref(), Some(&b"abcdXYZ"[..]));
    assert_eq!(damage(b"abcdef", 3, 1, b"-").as_deref(), Some(&b"a-bcdef"[..]));
    assert_eq!(damage(b"abcdef", 7, 0, &[0, 0, 7, 3]).as_deref(), Some(&b"aacdef"[..]));
    assert_eq!(damage(b"abcdef", 4, 0, b""), None);
    let (path, original) = FILES[2];
    let sound = internals::scan(original).count();
    let at = original.windows(4).position(|four| four == b"TGfr").expect("a frame") + 40;
    let mut other = damage(original, 1, at, &[original[at] ^ 1]).expect("a file");
    assert_eq!(internals::scan(&other).count(), sound - 1);
    seal(path, &mut other);
    assert_eq!(internals::scan(&other).count(), sound);
}

#[test]
fn no_seed_fails_or_takes_long() {
    let since = std::time::Instant::now();
    parser_seeds().iter().for_each(|seed| parsers(seed));
    let seeds = file_seeds();
    for (index, seed) in seeds.iter().enumerate() {
        let before = since.elapsed();
        files(seed);
        let took = since.elapsed() - before;
        assert!(took < Duration::from_secs(20), "seed {index} of {} took {took:?}", seeds.len());
    }
}
