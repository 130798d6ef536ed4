//! One device that is held must not hold up the others, however long it is held and however much it sends: not their records, not
//! the window, and not the memory that the lane takes.

use super::*;

/// Records in the window, in these tests.
const WINDOW: usize = 120;

/// A queue that refuses the records of some groups for the moment.
#[derive(Debug, Default)]
struct Refusing {
    groups: Mutex<HashSet<String>>,
    taken: Mutex<Vec<(String, String)>>,
}

impl BatchSender for Refusing {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut answer = Answer::default();
        for (index, entry) in entries.iter().enumerate() {
            if self.groups.lock().unwrap().contains(&entry.group) {
                answer.refused.push(RefusedEntry { index, code: "InternalError".into(), text: "scripted".into() });
            } else {
                self.taken.lock().unwrap().push((entry.group.clone(), entry.dedup.clone().unwrap()));
                answer.accepted.push(AcceptedEntry { index, md5_matches: true, sequence_number: None });
            }
        }
        SendOutcome::Answer(answer)
    }

    fn attempt_limit(&self, bytes: usize) -> Duration {
        attempt_limit(Duration::from_secs(1), bytes)
    }

    fn is_mended(&self) -> bool {
        false
    }
}

/// Drains with a small window until nothing waits. `held` groups are refused until all others have arrived. Gives the largest window
/// seen.
fn drained(rig: &Rig, held: &[&str], ordering: Ordering) -> (Vec<(String, String)>, usize) {
    let queue = Arc::new(Refusing::default());
    *queue.groups.lock().unwrap() = held.iter().map(|group| (*group).to_owned()).collect();
    let others = rig.keys.iter().filter(|(group, _)| !held.contains(&&**group)).count();
    let largest = run(async {
        let shared = Arc::new(DrainShared::default());
        let mut drain =
            Drain::new(rig.lane.clone(), queue.clone(), options(ordering), &Clock::new(None), shared.clone());
        drain.window = WINDOW;
        let (stop, stopped) = watch::channel(false);
        let look = async {
            let (start, mut largest) = (tokio::time::Instant::now(), 0);
            while rig.lane.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                largest = largest.max(shared.lock().window);
                let arrived = queue.taken.lock().unwrap().len();
                assert!(start.elapsed() < Duration::from_secs(3600), "{arrived} of {others}: {:?}", shared.lock());
                if arrived >= others {
                    queue.groups.lock().unwrap().clear();
                }
            }
            stop.send_replace(true);
            largest
        };
        tokio::join!(drain.run(stopped), look).1
    });
    (queue.taken.lock().unwrap().clone(), largest)
}

#[test]
fn a_held_device_that_keeps_sending_delays_no_other() {
    // One in ten is of the device that is held: 300 records, of which the window would hold 120.
    let groups: Vec<u8> = (0..3000u32).map(|n| if n % 10 == 0 { 0 } else { 1 + (n % 50) as u8 }).collect();
    for ordering in [Ordering::Strict, Ordering::Packed] {
        let rig = rig(&groups);
        let (taken, largest) = drained(&rig, &["g0"], ordering);
        assert_eq!(by_group(&taken), by_group(&rig.keys), "{ordering:?}: each once, in order");
        let of_held = taken.iter().position(|(group, _)| group == "g0").unwrap();
        assert_eq!(of_held, 2700, "{ordering:?}: all others came first");
        assert!(largest <= WINDOW + 2 * 256, "{ordering:?}: {largest} records in the window");
    }
}

#[test]
fn one_held_record_lets_any_number_behind_it_pass() {
    let groups: Vec<u8> = (0..3000u32).map(|n| if n == 0 { 0 } else { 1 + (n % 50) as u8 }).collect();
    let rig = rig(&groups);
    let (taken, largest) = drained(&rig, &["g0"], Ordering::Strict);
    assert_eq!(by_group(&taken), by_group(&rig.keys));
    assert!(largest <= WINDOW + 256, "{largest}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_record_arrives_once_in_order_whichever_group_is_held(
        groups in prop::collection::vec(0u8..12, 200..900),
        held in prop::collection::btree_set(0u8..12, 0..11),
        packed: bool,
    ) {
        let rig = rig(&groups);
        let names: Vec<String> = held.iter().map(|group| format!("g{group}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (taken, _) = drained(&rig, &names, if packed { Ordering::Packed } else { Ordering::Strict });
        prop_assert_eq!(by_group(&taken), by_group(&rig.keys));
    }
}
