//! Damage × place: whatever happens to a journal's files, it opens, keeps order, and accounts for every record.
//!
//! A failing case prints its seed and is kept in proptest's regression file, from where it is replayed.

use super::*;
use crate::journal::tests::gaps::announced;
use crate::record::Number;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

const RECORDS: u64 = 700;

/// One way in which a card fails.
#[derive(Clone, Debug)]
enum Damage {
    /// Single bits, at these parts of the file's length.
    Bits(Vec<f64>),
    /// A run of 4 KB pages that come back as zeros.
    ZeroPages(f64, usize),
    /// A run of pages that come back as something else.
    Noise(f64, usize),
    /// The file ends here.
    Truncated(f64),
    /// The file is gone.
    Removed,
    /// The whole folder is gone.
    FolderRemoved,
    /// The manifest is gone or is something else.
    Note(bool),
}

fn damage() -> impl Strategy<Value = Damage> {
    let part = 0.0..1.0f64;
    prop_oneof![
        3 => prop::collection::vec(part.clone(), 1..12).prop_map(Damage::Bits),
        2 => (part.clone(), 1usize..64).prop_map(|(at, pages)| Damage::ZeroPages(at, pages)),
        1 => (part.clone(), 1usize..64).prop_map(|(at, pages)| Damage::Noise(at, pages)),
        2 => part.prop_map(Damage::Truncated),
        1 => Just(Damage::Removed),
        1 => Just(Damage::FolderRemoved),
        1 => any::<bool>().prop_map(Damage::Note),
    ]
}

impl Damage {
    fn strike(&self, folder: &Path) {
        let db = folder.join("db");
        match self {
            Damage::Removed => return fs::remove_file(db).unwrap(),
            Damage::FolderRemoved => return fs::remove_dir_all(folder).unwrap(),
            Damage::Note(true) => return fs::remove_file(folder.join("generation")).unwrap(),
            Damage::Note(false) => return fs::write(folder.join("generation"), b"something else").unwrap(),
            _ => {}
        }
        let mut bytes = fs::read(&db).unwrap();
        let place = |part: &f64| ((bytes.len() as f64) * part) as usize;
        match self {
            Damage::Bits(parts) => {
                for at in parts.iter().map(place).collect::<Vec<_>>() {
                    bytes[at] ^= 1 << (at % 8);
                }
            }
            Damage::ZeroPages(part, pages) | Damage::Noise(part, pages) => {
                let from = place(part) / 4096 * 4096;
                let to = (from + pages * 4096).min(bytes.len());
                let noise = matches!(self, Damage::Noise(..));
                for (at, byte) in bytes[from..to].iter_mut().enumerate() {
                    *byte = if noise { (at * 31 % 251) as u8 } else { 0 };
                }
            }
            Damage::Truncated(part) => bytes.truncate(place(part)),
            _ => unreachable!("done above"),
        }
        fs::write(&db, bytes).unwrap();
    }
}

pub(crate) fn generations(journal: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(journal.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    folders
}

/// First number of a generation's folder.
fn first_of(folder: &Path) -> u64 {
    let name = folder.file_name().unwrap().to_str().unwrap();
    name["gen-".len()..].split('.').next().unwrap().parse().unwrap()
}

/// Opens what is left, appends ten more, reads it all, and holds it against what was there.
fn check(path: &Path, first_expected: u64, spared: &[(u64, u64)]) {
    let options = options(path);
    let mut rig = start(&options);
    rig.append(RECORDS + 1..=RECORDS + 10);
    let read = rig.read_all();
    let positions: Vec<u64> = read.iter().map(|(position, _)| *position).collect();
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "order is kept");
    let records: Vec<u64> = read.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
    assert!(records.windows(2).all(|pair| pair[0] < pair[1]), "and of the records, too");
    assert!(records.ends_with(&(RECORDS + 1..=RECORDS + 10).collect::<Vec<_>>()), "intake goes on");
    for (from, end) in spared {
        let there = records.iter().filter(|n| (from..end).contains(n)).count() as u64;
        assert_eq!(there, end - from, "an undamaged generation loses nothing: {from}..{end}");
    }
    // The announcements may come after what was read so far.
    while rig.stats().unannounced > 0 {
        std::thread::yield_now();
    }
    let stats = rig.stats();
    add_up(&stats);
    let gaps = announced(&rig);
    let told: u64 = gaps.iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert_eq!(told, stats.damaged, "what is counted as damaged is announced: {gaps:?}");
    let covered = |position: u64| {
        gaps.iter()
            .flat_map(|gap| gap["ranges"].as_array().unwrap())
            .any(|range| (range[0].as_u64().unwrap()..=range[1].as_u64().unwrap()).contains(&position))
    };
    let there: BTreeSet<u64> = rig.read_all().into_iter().map(|(position, _)| position).collect();
    for position in first_expected..=stats.appended {
        assert!(there.contains(&position) || covered(position), "position {position} is neither there nor announced");
    }
    assert_eq!(stats.waiting, there.len() as u64);
    rig.end(false);
    // And a second time, from what the first one wrote down.
    let rig = start(&options);
    assert_eq!((rig.stats().damaged, rig.stats().waiting), (stats.damaged, stats.waiting));
    let again: BTreeSet<u64> = rig.read_all().into_iter().map(|(position, _)| position).collect();
    assert_eq!((again, rig.stats().damaged), (there, stats.damaged));
    rig.end(false);
}

/// Each case writes, damages and opens a whole journal; `PROPTEST_CASES` asks for more of them.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_read_in_order_or_counted_and_announced(
        strikes in prop::collection::vec((0.0..1.0f64, damage()), 1..4),
        (settled, crash) in prop_oneof![(0u64..300).prop_map(|settled| (settled, false)), Just((0, true))],
    ) {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=RECORDS);
        rig.read_all();
        settle(&rig, 1..=settled);
        // Without its last state write; the one of a second ago is there.
        rig.journal.0.write_state().unwrap();
        rig.end(crash);
        let folders = generations(dir.path());
        let hit: BTreeSet<usize> = strikes.iter().map(|(place, _)| (folders.len() as f64 * place) as usize).collect();
        for (place, damage) in &strikes {
            let folder = &folders[(folders.len() as f64 * place) as usize];
            if folder.join("db").exists() && folder.join("generation").exists() {
                damage.strike(folder);
            }
        }
        let bounds: Vec<u64> = folders.iter().map(|f| first_of(f)).chain([RECORDS + 1]).collect();
        let after = |at: usize| bounds[at].max(settled + 1);
        let spared = (0..folders.len()).filter(|index| !hit.contains(index));
        let spared: Vec<_> = spared.map(|index| (after(index), after(index + 1))).collect();
        check(dir.path(), settled + 1, &spared);
    }
}

/// A generation folder counts only with its note; without it, it was never in use. So a note that is lost must not be
/// lost silently: its records are damaged.
#[test]
fn a_generation_with_records_survives_losing_its_metadata_file() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&options(dir.path()));
    rig.append(1..=RECORDS);
    rig.end(false);
    let folders = generations(dir.path());
    for folder in [&folders[0], &folders[folders.len() / 2], folders.last().unwrap()] {
        fs::remove_file(folder.join("generation")).unwrap();
    }
    check(dir.path(), 1, &[(1, RECORDS + 1)]);
}

/// Every other file: removed, emptied, zeroed, or filled with something else.
#[test]
fn the_journal_opens_whole_whichever_small_file_fails() {
    let files = ["state", "format", "lock", "quarantine/kept", "log/*/conf", "log/*/generation"];
    for file in files {
        for how in ["removed", "emptied", "zeroed", "replaced"] {
            let dir = crate::testing::fast_dir();
            let mut rig = start(&options(dir.path()));
            rig.append(1..=RECORDS);
            let id = rig.journal.id();
            rig.end(false);
            let paths = match file.strip_prefix("log/*/") {
                Some(name) => generations(dir.path()).iter().map(|folder| folder.join(name)).collect(),
                None => vec![dir.path().join(file)],
            };
            for path in paths {
                let length = fs::metadata(&path).unwrap().len() as usize;
                match how {
                    "removed" => fs::remove_file(&path).unwrap(),
                    "emptied" => fs::write(&path, []).unwrap(),
                    "zeroed" => fs::write(&path, vec![0; length]).unwrap(),
                    _ => fs::write(&path, "something else ".repeat(600)).unwrap(),
                }
            }
            check(dir.path(), 1, &[(1, RECORDS + 1)]);
            let rig = start(&options(dir.path()));
            assert_eq!(rig.journal.id(), id, "{file} {how}");
            rig.end(false);
        }
    }
}

#[test]
fn one_damaged_state_slot_costs_a_write_and_nothing_else() {
    for slot in 0..2 {
        let dir = crate::testing::fast_dir();
        let mut rig = start(&options(dir.path()));
        rig.append(1..=RECORDS);
        rig.read_all();
        settle(&rig, 1..=100);
        rig.end(false);
        let path = dir.path().join("state");
        let mut bytes = fs::read(&path).unwrap();
        bytes[slot * 4096 + 40] ^= 1;
        fs::write(&path, bytes).unwrap();
        let rig = start(&options(dir.path()));
        assert!(!rig.report.state_lost && rig.report.missing == 0, "slot {slot}: {:?}", rig.report);
        let read = rig.read_all();
        assert!(read.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0) && read.last() == Some(&(RECORDS, RECORDS)));
        add_up(&rig.stats());
        assert_eq!(rig.stats().damaged, 0, "slot {slot}");
        rig.end(false);
    }
}

/// The journal's options on a board with this serial number; `None`: a machine that tells nothing of itself.
pub(crate) fn on_board(journal: &Path, machine: &Path, serial: Option<&str>) -> JournalOptions {
    let tree = machine.join("proc/device-tree");
    fs::create_dir_all(&tree).unwrap();
    match serial {
        Some(serial) => fs::write(tree.join("serial-number"), serial).unwrap(),
        None => drop(fs::remove_file(tree.join("serial-number"))),
    }
    JournalOptions { machine: machine.to_owned(), ..options(journal) }
}

#[test]
fn a_copied_card_gets_a_new_id_and_sends_everything() {
    let (dir, machine) = (crate::testing::fast_dir(), tempfile::tempdir().unwrap());
    let on = |serial| on_board(dir.path(), machine.path(), serial);
    let mut rig = start(&on(Some("board-one")));
    rig.append(1..=20);
    let id = rig.journal.id();
    rig.end(false);
    let rig = start(&on(None));
    assert!(rig.report.machine_unknown && !rig.report.new_id && rig.journal.id() == id, "no evidence keeps the id");
    rig.end(false);
    let rig = start(&on(Some("board-two")));
    assert!(rig.report.copied && rig.report.new_id && rig.journal.id() != id);
    assert_eq!(rig.read_all(), plain(1..=20));
    let new = rig.journal.id();
    rig.end(false);
    let rig = start(&on(Some("board-two")));
    assert!(!rig.report.new_id && !rig.report.machine_unknown && rig.journal.id() == new, "and keeps it");
    rig.end(false);
}

#[test]
fn two_journal_copies_never_give_two_records_one_id() {
    let (one, two) = (crate::testing::fast_dir(), crate::testing::fast_dir());
    let mut rig = start(&options(one.path()));
    rig.append(1..=3);
    rig.end(false);
    testkit::folder::copy(one.path(), two.path()).unwrap();
    let keys = [one.path(), two.path()].map(|path| {
        let mut rig = start(&options(path));
        let lane = rig.lane().id();
        let mut anonymous = draft(4, &[lane]);
        anonymous.identity.key = None;
        anonymous.identity.key_kind = KeyKind::Arrival;
        let item = Item::Record(Box::new(anonymous));
        rig.inbox.as_ref().unwrap().send(Append { item, ticket: 4 }).unwrap();
        rig.await_tickets(vec![4]);
        let (journal, key) = (rig.journal.id(), rig.journal.0.recall(Number(4)).expect("just written").key.clone());
        rig.end(false);
        (journal, key)
    });
    assert_eq!(keys[0].0, keys[1].0, "nothing tells these two apart");
    assert_ne!(keys[0].1, keys[1].1);
}

/// A journal of 51 records whose state file does not know the last one yet.
fn behind_its_last_commit() -> tempfile::TempDir {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&JournalOptions { generation_bytes: 1 << 20, ..options(dir.path()) });
    rig.append(1..=50);
    rig.journal.0.write_state().unwrap();
    let state = fs::read(dir.path().join("state")).unwrap();
    rig.append(51..=51);
    rig.end(true);
    fs::write(dir.path().join("state"), state).unwrap();
    dir
}

/// One flipped bit in the only record of the last commit, which the state file does not know yet: torn by a cut, or
/// damaged after it was acknowledged? The journal cannot tell, so it says so.
#[test]
fn a_damaged_commit_above_high_water_is_reported_in_doubt() {
    let dir = behind_its_last_commit();
    let sound = start(&options(dir.path()));
    assert_eq!((sound.report.in_doubt, sound.stats().appended), (0, 51), "undamaged it is simply there");
    sound.end(false);

    let dir = behind_its_last_commit();
    let db = generations(dir.path())[0].join("db");
    let mut bytes = fs::read(&db).unwrap();
    let base = bytes.as_ptr() as usize;
    let frames = frame::scan(&bytes, None, drop).filter(|frame| frame.number == Number(51));
    let copies: Vec<usize> = frames.map(|frame| frame.bytes.as_ptr() as usize - base).collect();
    copies.iter().for_each(|at| bytes[at + 100] ^= 8);
    assert!(!copies.is_empty());
    fs::write(&db, bytes).unwrap();
    let rig = start(&options(dir.path()));
    assert_eq!((rig.report.in_doubt, rig.report.missing), (1, 0));
    assert_eq!(rig.read_all(), plain(1..=50));
    rig.end(false);
}
