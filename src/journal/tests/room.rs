//! What the bounds are held against, what the writer does while it stands at one, and whose space comes back.

use super::*;
use std::os::unix::fs::MetadataExt;

/// Files of the journal that somebody has open and that have no name any more: their space does not come back.
fn held(journal: &Path) -> Vec<PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = open.filter_map(|fd| Some((std::fs::read_link(fd.path()).ok()?, std::fs::metadata(fd.path()).ok()?)));
    let gone = links.filter(|(path, facts)| path.starts_with(journal) && facts.nlink() == 0);
    gone.map(|(path, _)| path).collect()
}

#[test]
fn nobody_holds_the_files_of_a_generation_that_was_evicted() {
    let dir = crate::testing::fast_dir();
    let mut rig = start(&bounded(dir.path(), 3_000_000, OnFull::DropOldest));
    rig.append(1..=300);
    rig.journal.0.forget();
    let (lane, mut reader) = (rig.lane(), rig.lane().reader());
    let mut oldest = age::Oldest::new(Duration::from_secs(86_400));
    let first = rig.journal.0.log.firsts()[1];
    assert_eq!(reader.read(10, 1 << 20).unwrap().len(), 10);
    assert_eq!(lane.reread(2).unwrap().unwrap().number, 2);
    assert_eq!(oldest.upto(&rig.journal.0, true).unwrap(), None);
    let mut last = 300;
    while rig.journal.0.log.firsts()[0] < first {
        rig.append(last + 1..=last + 100);
        last += 100;
    }
    assert_eq!(held(dir.path()), Vec::<PathBuf>::new());
    // Who had it open goes on where the lane does.
    assert_eq!(lane.reread(2).unwrap(), None);
    let read = read_all(&mut reader);
    assert_eq!(read.last().map(|(_, n)| *n), Some(last));
    assert_eq!((read.len() as u64, rig.facts().damaged), (rig.facts().waiting, 0));
    drop((reader, lane, oldest));
    rig.end(false);
}
