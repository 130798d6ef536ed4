//! Into quarantine and out of it again: nothing twice, nothing later than the answer said, nothing announced for ever.

use super::*;
use crate::journal::tests::room::at_the_bound;
use crate::record::Position;

/// The first `count` records of the main lane that wait, put into quarantine.
fn refuse(rig: &Rig, count: usize) {
    let mut reader = rig.lane().reader();
    let mut left = count;
    while left > 0 {
        let read = reader.read(left.min(64), 1 << 20).unwrap();
        assert!(!read.is_empty());
        left -= read.len();
        for read in read {
            assert!(rig.lane().quarantine(&read.record, read.position, "Refused", "on purpose").unwrap());
        }
    }
}

/// Heads of messages too large to be journaled, one after the other.
fn keep_heads(rig: &mut Rig, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        let item =
            Item::Head { draft: Box::new(draft(n, &[])), why: Unjournaled::Oversize, bytes: 1 << 23, delivery: n };
        rig.inbox.as_ref().unwrap().send(Append { item, ticket: n }).unwrap();
        rig.await_tickets(vec![n]);
    }
}

fn ids(rig: &Rig) -> Vec<String> {
    rig.journal.quarantined().unwrap().iter().map(|entry| entry.id.to_string()).collect()
}

fn named(names: &[&str]) -> Vec<Named> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn quarantine_ids_are_unique_and_ambiguous_numbers_are_refused() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    let lanes = [rig.lane().id(), rig.journal.lane_id("audit").unwrap()];
    // Both heads have the number of the record that comes next, which two lanes cannot send.
    keep_heads(&mut rig, 1..=2);
    rig.send(3..=3, &lanes);
    rig.await_tickets(vec![3]);
    refuse(&rig, 1);
    let number = rig.journal.quarantined().unwrap()[2].record.number;
    assert!(rig.journal.quarantined().unwrap().iter().all(|entry| entry.record.number == number));
    let by_number = [Named::Number(number.0)];
    let outcome = rig.journal.drop_quarantined(Some(&by_number)).unwrap();
    assert_eq!((outcome.done.len(), outcome.refused.len(), ids(&rig).len()), (0, 1, 3));
    assert!(outcome.refused[0].1.contains("q1, q2, q3"), "{:?}", outcome.refused);
    let outcome = rig.journal.drop_quarantined(Some(&named(&["q1", "q1", "q9"]))).unwrap();
    assert_eq!((outcome.done.len(), &outcome.refused[0].0), (1, &named(&["q9"])[0]));
    assert_eq!(ids(&rig), ["q2", "q3"]);
    // The head can only be dropped.
    let outcome = rig.journal.requeue(Some(&named(&["q2", "q3"]))).unwrap();
    assert_eq!((outcome.done[0].0.to_string(), outcome.refused[0].0), ("q3".into(), named(&["q2"])[0]));
    // A number that names one record in both of its lanes is not ambiguous.
    rig.journal.drop_quarantined(None).unwrap();
    rig.send(4..=4, &lanes);
    rig.await_tickets(vec![4]);
    for lane in ["main", "audit"].map(|name| rig.journal.lane(name).unwrap()) {
        let read = lane.reader().read(9, 1 << 20).unwrap().into_iter().find(|read| read.record.key == "k4").unwrap();
        assert!(lane.quarantine(&read.record, read.position, "Refused", "on purpose").unwrap());
    }
    assert_eq!(ids(&rig), ["q4", "q5"], "an id is not given again to something else");
    let number = rig.journal.quarantined().unwrap()[0].record.number;
    let outcome = rig.journal.requeue(Some(&[Named::Number(number.0)])).unwrap();
    assert_eq!((outcome.done.len(), outcome.refused), (2, vec![]));
    rig.end(false);
}

/// The file as 0.1.0 writes it: without ids.
fn without_ids(file: &Path) {
    use serde_cbor::Value;
    let bytes = std::fs::read(file).unwrap();
    let frames = frame::scan(&bytes, None, drop).flat_map(|frame| {
        let Value::Map(mut kept) = serde_cbor::from_slice(&frame.body()).unwrap() else { panic!("a map") };
        assert!(kept.remove(&Value::Text("i".into())).is_some());
        frame::split(frame.number, 1, None, &serde_cbor::to_vec(&Value::Map(kept)).unwrap()).concat()
    });
    std::fs::write(file, frames.collect::<Vec<u8>>()).unwrap();
}

#[test]
fn what_an_earlier_release_kept_has_an_id_that_stays() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    refuse(&rig, 4);
    without_ids(&rig.journal.quarantine_file());
    assert_eq!(ids(&rig), ["q1", "q2", "q3", "q4"]);
    refuse(&rig, 1);
    assert_eq!(ids(&rig), ["q1", "q2", "q3", "q4", "q5"]);
    rig.journal.drop_quarantined(Some(&named(&["q2"]))).unwrap();
    assert_eq!(ids(&rig), ["q1", "q3", "q4", "q5"]);
    rig.end(false);
    let rig = start(&options(dir.path()));
    let listed = View::open(dir.path()).unwrap().quarantined().unwrap();
    assert_eq!(listed.iter().map(|entry| entry.id.to_string()).collect::<Vec<_>>(), ids(&rig));
    refuse(&rig, 1);
    assert_eq!(ids(&rig), ["q1", "q3", "q4", "q5", "q6"]);
    let positions: Vec<Position> =
        rig.journal.quarantined().unwrap().iter().map(|entry| entry.place.unwrap().1).collect();
    assert_eq!(positions, [1, 3, 4, 5, 6].map(Position));
    rig.end(false);
}

#[test]
fn a_moved_or_emptied_quarantine_file_is_noticed_before_appending() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=10);
    refuse(&rig, 2);
    let file = rig.journal.quarantine_file();
    std::fs::rename(&file, dir.path().join("aside")).unwrap();
    refuse(&rig, 3);
    assert_eq!((rig.journal.quarantined().unwrap().len(), rig.journal.stats().quarantine.entries), (3, 3));
    std::fs::write(&file, b"").unwrap();
    refuse(&rig, 1);
    let stats = rig.journal.stats().quarantine;
    assert_eq!((rig.journal.quarantined().unwrap().len(), stats.entries), (1, 1));
    assert_eq!(stats.bytes, std::fs::metadata(&file).unwrap().len());
    std::fs::rename(dir.path().join("aside"), &file).unwrap();
    refuse(&rig, 1);
    assert_eq!((rig.journal.quarantined().unwrap().len(), rig.journal.stats().quarantine.entries), (3, 3));
    rig.end(false);
}

#[test]
fn what_was_kept_twice_comes_back_once() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=2);
    let read = rig.lane().reader().read(1, 1 << 20).unwrap().remove(0);
    // A cut between the file and the state: the next run puts it there once more.
    for _ in 0..2 {
        assert!(rig.lane().quarantine(&read.record, read.position, "Refused", "on purpose").unwrap());
    }
    gaps::until_told(&rig);
    let appended = rig.stats().appended;
    rig.journal.requeue(None).unwrap();
    assert_eq!((rig.stats().appended, rig.journal.quarantined().unwrap().len()), (appended + 1, 0));
    assert_eq!(std::fs::metadata(rig.journal.quarantine_file()).unwrap().len(), 0, "both copies left");
    rig.end(false);
}

/// Numbers of the first records of all commits.
fn firsts(journal: &Path) -> BTreeSet<Number> {
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(journal.join("log")).unwrap() {
        let bytes = std::fs::read(folder.unwrap().path().join("db")).unwrap();
        found
            .extend(frame::scan(&bytes, None, drop).filter(|frame| frame.previous.is_some()).map(|frame| frame.number));
    }
    found
}

#[test]
fn a_requeue_is_cut_into_commits_of_the_usual_size() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&JournalOptions { generation_bytes: 1 << 22, quiet: QUIET, ..options(dir.path()) });
    rig.append(1..=2_300);
    refuse(&rig, 2_300);
    gaps::until_told(&rig);
    let before = *rig.journal.0.durable.borrow();
    // However slow the machine is: an emulated one took longer than a person is let wait.
    rig.journal.requeue_within(None, Duration::from_secs(600)).unwrap();
    let high = *rig.journal.0.durable.borrow();
    assert_eq!((high - before, rig.journal.quarantined().unwrap().len()), (2_300, 0));
    let mut firsts: Vec<Number> = firsts(dir.path()).into_iter().filter(|first| *first > before).collect();
    firsts.push(high.next());
    let largest = firsts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(largest <= crate::journal::limits::COMMIT_RECORDS as u64, "{firsts:?}");
    rig.end(false);
}

#[test]
fn an_unanswered_request_is_not_carried_out_later() {
    let dir = crate::testing::fast_dir();
    let (mut rig, mut tickets) = at_the_bound(dir.path());
    let error = rig.journal.requeue_within(None, Duration::from_millis(300)).unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{error}");
    let mut reader = rig.lane().reader();
    let mut back = 0;
    while tickets < 6_000 {
        let read = reader.read(1_000, 1 << 20).unwrap();
        back += read.iter().filter(|read| read.record.requeued).count();
        rig.lane().settle(read.iter().map(|read| (read.position, Outcome::Accepted)));
        tickets += rig.committed.try_recv().map_or(0, |some| some.len() as u64);
    }
    back += reader.read(6_000, 1 << 24).unwrap().iter().filter(|read| read.record.requeued).count();
    assert_eq!((back, rig.journal.quarantined().unwrap().len()), (0, 3));
    drop(reader);
    rig.end(false);
}

#[test]
fn entries_being_requeued_are_not_dropped_or_requeued_again() {
    let dir = crate::testing::fast_dir();
    let (rig, _) = at_the_bound(dir.path());
    let (nothing, asker) = rig.journal.ask(Some(&named(&["q1"]))).unwrap();
    let again = rig.journal.requeue_within(Some(&named(&["q1"])), Duration::ZERO).unwrap();
    assert_eq!(again.refused, [(named(&["q1"])[0], "is being requeued already".to_owned())]);
    let outcome = rig.journal.drop_quarantined(None).unwrap();
    let done: Vec<String> = outcome.done.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!((done, ids(&rig)), (vec!["q2".to_owned(), "q3".to_owned()], vec!["q1".to_owned()]));
    let error = rig.journal.answered(nothing, asker, |answers| answers.try_recv().ok(), "").unwrap_err().to_string();
    assert!(error.contains("0 were requeued, 1 stay in quarantine"), "{error}");
    rig.journal.drop_quarantined(None).unwrap();
    assert!(ids(&rig).is_empty());
    rig.end(false);
}

#[test]
fn a_refused_gap_record_is_counted_and_never_announced() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=20);
    rig.journal.0.book_damage(rig.lane().id(), Position(5), Position(8), About::default());
    gaps::until_told(&rig);
    let mut reader = rig.lane().reader();
    let gap = reader.read(64, 1 << 20).unwrap().pop().unwrap();
    assert_eq!((gap.position, &*gap.record.draft.identity.record_type), (Position(21), "gap"));
    assert!(rig.lane().quarantine(&gap.record, gap.position, "Refused", "on purpose").unwrap());
    rig.append(21..=21);
    let stats = rig.stats();
    assert_eq!((stats.quarantined, stats.unannounced, stats.appended), (1, 0, 22), "{stats:?}");
    add_up(&stats);
    drop(reader);
    rig.end(false);
}
