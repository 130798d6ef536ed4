//! PendingGaps and their announcements, over crashes at every step between booking and gap record.

use super::*;
use crate::clock::Trust;
use crate::record::{Number, Position};
use serde_json::Value;

/// What the gap records say that wait in the main lane.
pub(crate) fn announced(rig: &Rig) -> Vec<Value> {
    let mut reader = rig.lane().reader();
    let mut found = Vec::new();
    loop {
        let some = reader.read(64, 1 << 20).unwrap();
        if some.is_empty() {
            return found;
        }
        let gaps = some.iter().filter(|read| read.record.draft.identity.record_type == "gap");
        found.extend(gaps.map(|read| serde_json::from_slice::<Value>(&read.record.draft.message.payload).unwrap()));
    }
}

/// Waits until nothing is left to announce.
pub(crate) fn until_told(rig: &Rig) {
    let mut durable = rig.journal.0.durable.subscribe();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while rig.stats().unannounced > 0 {
        runtime.block_on(durable.changed()).unwrap();
    }
}

/// Opens without a writer, so that nothing is announced, and does what a run does that is cut before it could.
fn cut_short(options: &JournalOptions, what: impl FnOnce(&Journal)) {
    let opened = Journal::open(options, &Clock::new(None)).unwrap();
    what(&opened.journal);
}

fn lose(journal: &Journal, from: u64, to: u64) {
    journal.0.book_damage(journal.lane_id(MAIN).unwrap(), Position(from), Position(to + 1), gaps::About::default());
}

#[test]
fn a_hole_is_announced_without_waiting_for_a_message() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=20);
    lose(&rig.journal, 5, 7);
    until_told(&rig);
    let gaps = announced(&rig);
    assert_eq!(gaps.len(), 1);
    assert_eq!((&gaps[0]["ranges"], &gaps[0]["count"]), (&serde_json::json!([[5, 7]]), &3.into()), "{gaps:?}");
    assert_eq!((&gaps[0]["reason"], &gaps[0]["lane"]), (&"damaged".into(), &MAIN.into()));
    add_up(&rig.stats());
    rig.end(false);
}

#[test]
fn an_unannounced_gap_survives_crashes_and_is_announced_once() {
    let dir = crate::testing::fast_dir();
    let options = options(dir.path());
    let mut rig = start(&options);
    rig.append(1..=100);
    rig.end(false);
    // Booked, and in no state file: as if it had never been.
    cut_short(&options, |journal| lose(journal, 10, 12));
    cut_short(&options, |journal| {
        assert_eq!(journal.stats().lanes[0].damaged, 0);
        lose(journal, 10, 12);
        lose(journal, 14, 14);
        journal.0.write_state().unwrap();
    });
    // In the state file, twice over.
    cut_short(&options, |journal| assert_eq!(journal.stats().lanes[0].unannounced, 4));
    let mut rig = start(&options);
    rig.append(101..=101);
    assert_eq!(announced(&rig).iter().map(|gap| gap["count"].as_u64().unwrap()).sum::<u64>(), 4);
    // Told, but the state file does not know: the gap record itself does.
    rig.end(true);
    for _ in 0..3 {
        let mut rig = start(&options);
        assert_eq!(rig.stats().unannounced, 0);
        rig.append(200..=200);
        let gaps = announced(&rig);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!(gaps[0]["ranges"], serde_json::json!([[10, 12], [14, 14]]));
        assert_eq!(rig.stats().damaged, 4);
        add_up(&rig.stats());
        rig.end(true);
    }
}

#[test]
fn a_gap_ending_an_earlier_run_is_announced_without_followers() {
    let dir = crate::testing::fast_dir();
    let options = JournalOptions { generation_bytes: 1 << 20, ..options(dir.path()) };
    let mut rig = start(&options);
    rig.append(1..=200);
    rig.end(false);
    let folder = std::fs::read_dir(dir.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::OpenOptions::new().write(true).open(folder.join("db")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let rig = start(&options);
    let left = rig.read_all().iter().filter(|(_, n)| *n > 0).count() as u64;
    until_told(&rig);
    let gaps = announced(&rig);
    assert!(rig.report.missing > 0 && (1..200).contains(&left));
    assert_eq!(gaps.iter().map(|gap| gap["count"].as_u64().unwrap()).sum::<u64>(), 200 - left);
    assert_eq!((rig.stats().damaged, rig.stats().waiting), (200 - left, left + gaps.len() as u64));
    rig.end(false);
}

#[test]
fn an_eviction_tells_times_and_groups() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 3_000_000, OnFull::DropOldest);
    // Of one whole generation: no rest, or it would be of two small ones, whose groups are counted one by one.
    let mut rig = start(&JournalOptions { quiet: QUIET, ..options });
    let id = rig.lane().id();
    let mut sent = 0;
    while rig.stats().evicted == 0 {
        for n in sent + 1..=sent + 100 {
            let mut draft = draft(n, &[id]);
            draft.received = Moment { wall_ms: n as i64 * 1000, boottime_ms: n, trust: Trust::Confirmed };
            draft.identity.group = format!("g{}", n % 25);
            rig.inbox.as_ref().unwrap().send(Append { item: Item::Record(Box::new(draft)), ticket: n }).unwrap();
        }
        rig.await_tickets((sent + 1..=sent + 100).collect());
        sent += 100;
    }
    until_told(&rig);
    let (stats, gaps) = (rig.stats(), announced(&rig));
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let gap = &gaps[0];
    assert_eq!((&gap["reason"], &gap["bound"]), (&"evicted".into(), &"journal.max_bytes".into()));
    assert_eq!((&gap["count"], &gap["ranges"]), (&stats.evicted.into(), &serde_json::json!([[1, stats.evicted]])));
    assert_eq!(gap["first_received"], "1970-01-01T00:00:01.000Z");
    assert_eq!(gap["last_received"], crate::clock::rfc3339_ms(stats.evicted as i64 * 1000).unwrap());
    let told = (gap["groups"].as_array().unwrap().len(), gap["further_groups"].as_u64().unwrap());
    assert_eq!(told, (20, 5), "{gap}");
    rig.end(false);
}

/// The queue is away for so long that the gap records are evicted, too: what they announced goes with the next one.
#[test]
fn what_an_evicted_gap_record_announced_is_announced_again() {
    let dir = crate::testing::fast_dir();
    let options = bounded(dir.path(), 3_000_000, OnFull::DropOldest);
    let mut rig = start(&options);
    rig.append(1..=10);
    lose(&rig.journal, 3, 4);
    for n in 0..70 {
        rig.append(n * 100 + 11..=n * 100 + 110);
    }
    until_told(&rig);
    let (stats, gaps) = (rig.stats(), announced(&rig));
    let first = rig.lane().cursor();
    assert!(stats.evicted > 1000 && first > Position(1000), "{stats:?}");
    let covered = |position: u64, reason: &str| {
        let ranges =
            gaps.iter().filter(|gap| gap["reason"] == reason).flat_map(|gap| gap["ranges"].as_array().unwrap());
        let ranges = ranges.map(|range| (range[0].as_u64().unwrap(), range[1].as_u64().unwrap()));
        ranges.filter(|(from, to)| (*from..=*to).contains(&position)).count()
    };
    assert!((3..=4).all(|position| covered(position, "damaged") == 1), "{gaps:?}");
    let evicted = (1..first.0).filter(|position| !(3..=4).contains(position));
    assert!(evicted.into_iter().all(|position| covered(position, "evicted") == 1), "{gaps:?}");
    let told: u64 = gaps.iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert_eq!(told, stats.evicted + stats.damaged);
    add_up(&stats);
    rig.end(false);
}

/// Otherwise a test that waits for a hole to be announced, and then reads, may find no announcement.
#[test]
fn a_record_the_ledger_calls_appended_can_be_read() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&JournalOptions { generation_bytes: 1 << 20, ..options(dir.path()) });
    let journal = rig.journal.clone();
    let looker = std::thread::spawn(move || {
        let mut appended = 0;
        while appended < 1_000 {
            appended = locked(&journal.0.books)[0].appended();
            let durable = *journal.0.durable.borrow();
            assert!(durable >= Number(appended), "{appended} in the books, {durable} to be read");
        }
    });
    let id = rig.lane().id();
    for n in 1..=1_000 {
        rig.send(n..=n, &[id]);
        rig.await_tickets(vec![n]);
    }
    looker.join().unwrap();
    rig.end(false);
}

/// A run that ended before it could announce a hole leaves it to the next one, which may not get a message for long.
#[test]
fn an_earlier_runs_gap_is_announced_without_a_message() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=3);
    rig.end(false);
    let opened = Journal::open(&options(dir.path()), &Clock::new(None)).unwrap();
    let lane = opened.journal.lane(MAIN).unwrap();
    let first = lane.reader().read(1, 1 << 20).unwrap().remove(0);
    assert!(lane.quarantine(&first.record, first.position, "Refused", "on purpose").unwrap());
    opened.journal.0.write_state().unwrap();
    drop((lane, opened));
    let rig = start(&options(dir.path()));
    let since = Instant::now();
    while rig.stats().unannounced > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", rig.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(rig.read_all().len(), 3, "two records and the gap record");
    rig.end(false);
}
