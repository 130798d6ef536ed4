//! A power cut at each step of what goes out of turn, on the modelled disk.

use crate::journal::tests::power_cut::{FROM_HERE, recorded, worst_cuts};
use crate::journal::tests::*;

/// A generation goes that lies behind a record that waits: at each step either it is there, or what it held is known to be settled.
#[test]
fn a_cut_while_generations_go_out_of_turn_damages_nothing() {
    const RECORDS: u64 = 20_000;
    let bounded = |dir: &Path| bounded(dir, 1_000_000, OnFull::Stop);
    let trace = recorded(|dir, recording| {
        let mut rig = start(&bounded(dir));
        let mut reader = rig.lane().reader();
        let (mut marked, mut most) = (false, 0);
        for n in (1..RECORDS).step_by(20) {
            rig.append(n..=n + 19);
            let read = read_all(&mut reader);
            rig.lane().settle(read.iter().filter(|(at, _)| *at > 1).map(|(at, _)| (Position(*at), Outcome::Accepted)));
            let stats = rig.journal.stats();
            if stats.generations < most {
                break;
            }
            most = stats.generations;
            if !marked && stats.bytes > 800_000 {
                recording.mark(FROM_HERE);
                marked = true;
            }
        }
        assert!(dir.join("log/spent").exists(), "one went out of turn");
        drop(reader);
        rig.end(true);
    });
    let mut went = 0;
    for (index, image) in worst_cuts(&trace).enumerate() {
        let dir = crate::testing::fast_dir();
        image.write_to(dir.path()).unwrap();
        let rig = start(&bounded(dir.path()));
        went += usize::from(dir.path().join("log/spent").exists());
        let read = rig.read_all();
        assert_eq!(read.first(), Some(&(1, 1)), "{index} events after the mark");
        assert!(read.iter().all(|(_, n)| *n > 0), "{index} events after the mark: nothing is announced");
        let stats = rig.stats();
        assert_eq!(
            (stats.damaged, stats.evicted, stats.unannounced),
            (0, 0, 0),
            "{index} events after the mark: {stats:?}"
        );
        assert_eq!(stats.appended, stats.accepted + stats.waiting);
        rig.end(true);
    }
    assert!(went > 0, "some cut was behind it");
}
