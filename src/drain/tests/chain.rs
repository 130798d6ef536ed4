//! The chain that a lane states is the one that its reader computes from the messages.

use super::*;
use crate::journal::ChainStats;
use crate::record::Position;
use crate::record::chain::{self, HOLE, START, link};
use serde_json::Value;

/// A queue that refuses the records of some groups for the moment, and of some for good.
#[derive(Debug, Default)]
struct Picky {
    held: Mutex<HashSet<String>>,
    hopeless: HashSet<String>,
    taken: Mutex<Vec<Entry>>,
}

impl BatchSender for Picky {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut answer = Answer::default();
        for (index, entry) in entries.iter().enumerate() {
            let code = match () {
                () if self.held.lock().unwrap().contains(&entry.group) => "InternalError",
                () if self.hopeless.contains(&entry.group) => "InvalidMessageContents",
                () => {
                    self.taken.lock().unwrap().push(entry.clone());
                    answer.accepted.push(AcceptedEntry { index, md5_matches: true, sequence_number: None });
                    continue;
                }
            };
            answer.refused.push(RefusedEntry { index, code: code.into(), text: "scripted".into() });
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

/// Position and digest, of what the message says.
fn read(entry: &Entry) -> (u64, chain::Digest) {
    let event: Value = serde_json::from_str(&entry.body).unwrap();
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    let position = text("sequence").rsplit('-').next().unwrap().parse().unwrap();
    (position, chain::digest(Position(position), &text("id"), &text("mqtttopic"), text("data").as_bytes()))
}

/// What a reader of these messages computes; a position without one is a hole. The first copy of a message counts.
fn sum_of(entries: &[Entry], chain: &ChainStats) -> String {
    let mut known = HashMap::new();
    entries.iter().map(read).for_each(|(position, digest)| _ = known.entry(position).or_insert(digest));
    let of = |position: Position| known.get(&position.0).copied().unwrap_or(HOLE);
    let sum = chain.since.until(chain.next).fold(START, |value, position| link(&value, &of(position)));
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stats(rig: &Rig) -> ChainStats {
    rig.lane.journal().stats().lanes.remove(0).chain.expect("it is kept")
}

/// Drains until nothing waits and the chain has come to the cursor. What is held is held until all others have arrived.
fn drained<S: BatchSender>(rig: &Rig, queue: &Arc<S>, settings: DrainOptions, mut look: impl FnMut()) {
    run(async {
        let shared = Arc::new(DrainShared::default());
        let drain = Drain::new(rig.lane.clone(), queue.clone(), settings, &Clock::new(None), shared);
        let (stop, stopped) = watch::channel(false);
        let until = async {
            while rig.lane.waiting() > 0 || rig.lane.chain_lags() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                look();
            }
            stop.send_replace(true);
        };
        tokio::join!(drain.run(stopped), until);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_queue_does_the_chain_is_its_readers_own(
        groups in prop::collection::vec(0u8..8, 1..150),
        script in prop::collection::vec(act(), 0..40),
        packed: bool,
    ) {
        let rig = rig(&groups);
        let queue = Arc::new(Queue { script: Mutex::new(script), ..Queue::default() });
        let ordering = if packed { Ordering::Packed } else { Ordering::Strict };
        drained(&rig, &queue, options(ordering), || {});
        let chain = stats(&rig);
        prop_assert_eq!((chain.since, chain.next.0), (Position(1), groups.len() as u64 + 1));
        prop_assert_eq!(&chain.value, &sum_of(&queue.raw.lock().unwrap(), &chain));
    }
}

#[test]
fn the_chain_rereads_what_exceeds_kept_digests_behind_held_groups() {
    const MANY: usize = 9_000;
    let groups: Vec<u8> = (0..MANY).map(|n| if n == 2 { 0 } else { 1 + (n % 50) as u8 }).collect();
    let rig = rig(&groups);
    let queue = Arc::new(Picky { held: Mutex::new(["g0".to_owned()].into()), ..Picky::default() });
    drained(&rig, &queue, options(Ordering::Packed), || {
        if queue.taken.lock().unwrap().len() == MANY - 1 {
            assert_eq!(stats(&rig).next, Position(3));
            queue.held.lock().unwrap().clear();
        }
    });
    let chain = stats(&rig);
    assert_eq!((chain.since, chain.next.0, chain.restarts), (Position(1), MANY as u64 + 1, 0));
    assert_eq!(chain.value, sum_of(&queue.taken.lock().unwrap(), &chain));
}

#[test]
fn what_goes_into_quarantine_is_a_hole_of_it() {
    let rig = rig(&[1, 2, 3, 2, 1, 4]);
    let queue = Arc::new(Picky { hopeless: ["g2".to_owned()].into(), ..Picky::default() });
    drained(&rig, &queue, options(Ordering::Strict), || {});
    let chain = stats(&rig);
    assert_eq!((rig.lane.journal().stats().lanes[0].quarantined, chain.next), (2, Position(7)));
    let mut taken = queue.taken.lock().unwrap().clone();
    assert_eq!(chain.value, sum_of(&taken, &chain));
    let gone = taken.remove(1);
    assert_ne!(chain.value, sum_of(&taken, &chain), "one message less");
    taken.push(Entry { body: gone.body.replace("xxxx", "xxxy"), ..gone });
    assert_ne!(chain.value, sum_of(&taken, &chain), "one that was changed");
}

#[test]
fn changed_settings_restart_the_chain_behind_all_attempted_records() {
    let mut rig = living((0..40).map(|n| move |lane: &Lane| draft("g", &format!("k{n}"), lane, 200)));
    let queue = Arc::new(Queue::default());
    drained(&rig, &queue, options(Ordering::Packed), || {});
    let first = stats(&rig);
    drained(&rig, &queue, options(Ordering::Packed), || {});
    assert_eq!((stats(&rig).since, stats(&rig).value), (Position(1), first.value));
    let mut other = options(Ordering::Packed);
    other.rendering.redact = vec!["/a".parse().unwrap()];
    drained(&rig, &queue, other.clone(), || {});
    assert_eq!((stats(&rig).since, stats(&rig).next, stats(&rig).restarts), (Position(41), Position(41), 1));
    let more = draft("g", "later", &rig.lane, 200);
    rig.append(more);
    drained(&rig, &queue, other, || {});
    let chain = stats(&rig);
    assert_eq!((chain.since, chain.next), (Position(41), Position(42)));
    assert_eq!(chain.value, sum_of(&queue.raw.lock().unwrap(), &chain));
    assert_eq!(rig.lane.journal().stats().lanes[0].accepted, 41);
}
