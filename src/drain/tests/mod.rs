//! A drain between a real journal and a scripted queue.
#![allow(clippy::disallowed_methods, reason = "tests stand in for the agent, which starts threads")]

mod chain;
mod faults;
mod filtered;
mod look_ahead;
mod nodes;
mod partial;

use super::*;
use crate::clock::Clock;
use crate::config::{BodyFormat, OnFull, Ordering};
use crate::journal::{Append, Bounds, Item, Journal, JournalOptions, Lane};
use crate::record::{Draft, Identity, KeyKind, Message, TimeSource};
use crate::sqs::client::attempt_limit;
use crate::sqs::entry::RenderOptions;
use crate::sqs::{AcceptedEntry, Answer, BatchSender, Entry, Fault, FaultClass, RefusedEntry, SendOutcome};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What the queue does with one call.
#[derive(Clone, Copy, Debug)]
enum Act {
    Accept,
    /// Accepts, and the answer is lost.
    AcceptThenDrop,
    /// Never gets the request.
    Unreachable,
    /// Accepts, and answers nothing about it.
    Empty,
    /// Refuses the k-th entry for the moment and accepts the others.
    RefuseOne(usize),
    /// Accepts all and leaves the k-th out of the answer.
    OmitOne(usize),
    Throttle,
    Denied,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Accept),
        1 => Just(Act::AcceptThenDrop),
        1 => Just(Act::Unreachable),
        1 => Just(Act::Empty),
        2 => (0usize..10).prop_map(Act::RefuseOne),
        1 => (0usize..10).prop_map(Act::OmitOne),
        1 => Just(Act::Throttle),
        1 => Just(Act::Denied),
    ]
}

/// A FIFO queue that deduplicates, driven by a script; accepts everything once the script has ended.
#[derive(Debug, Default)]
struct Queue {
    script: Mutex<Vec<Act>>,
    arrived: Mutex<Vec<(String, String)>>,
    seen: Mutex<HashSet<String>>,
    raw: Mutex<Vec<Entry>>,
    in_flight: Mutex<HashMap<String, usize>>,
    overlaps: Mutex<usize>,
}

/// What order is kept within: the group, of Sparkplug's (which have levels) group and edge node.
fn ordered_by(group: &str) -> String {
    group.split('/').take(2).collect::<Vec<_>>().join("/")
}

impl Queue {
    fn take(&self, entry: &Entry) {
        let id = entry.dedup.clone().expect("a FIFO queue");
        if self.seen.lock().unwrap().insert(id.clone()) {
            self.arrived.lock().unwrap().push((entry.group.clone(), id));
        }
    }
}

fn fault(class: FaultClass, never_sent: bool) -> SendOutcome {
    SendOutcome::Fault(Fault {
        class,
        code: None,
        text: "scripted".into(),
        remedy: String::new(),
        never_sent,
        retry_after: None,
    })
}

impl BatchSender for Queue {
    async fn send(&self, entries: &[Entry]) -> SendOutcome {
        let groups: HashSet<String> = entries.iter().map(|entry| ordered_by(&entry.group)).collect();
        for group in groups {
            let mut in_flight = self.in_flight.lock().unwrap();
            let flights = in_flight.entry(group).or_default();
            *self.overlaps.lock().unwrap() += usize::from(*flights > 0);
            *flights = 1;
        }
        // Gives other flights of the lane the chance to be in the air at the same time.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.raw.lock().unwrap().extend_from_slice(entries);
        let act = self.script.lock().unwrap().pop().unwrap_or(Act::Accept);
        let yes = |index| AcceptedEntry { index, md5_matches: true, sequence_number: None };
        let mut answer = Answer::default();
        let mut outcome = None;
        for (index, entry) in entries.iter().enumerate() {
            match act {
                Act::RefuseOne(k) if k == index => {
                    answer.refused.push(RefusedEntry { index, code: "InternalError".into(), text: "scripted".into() });
                }
                Act::OmitOne(k) if k == index => self.take(entry),
                Act::Accept | Act::RefuseOne(_) | Act::OmitOne(_) => {
                    self.take(entry);
                    answer.accepted.push(yes(index));
                }
                Act::Empty => self.take(entry),
                Act::AcceptThenDrop => {
                    self.take(entry);
                    outcome = Some(fault(FaultClass::Link, false));
                }
                Act::Unreachable => outcome = Some(fault(FaultClass::Link, true)),
                Act::Throttle => outcome = Some(fault(FaultClass::SlowDown, false)),
                Act::Denied => outcome = Some(fault(FaultClass::WaitForConfiguration, false)),
            }
        }
        for entry in entries {
            self.in_flight.lock().unwrap().insert(ordered_by(&entry.group), 0);
        }
        outcome.unwrap_or(SendOutcome::Answer(answer))
    }

    fn attempt_limit(&self, bytes: usize) -> Duration {
        attempt_limit(Duration::from_secs(1), bytes)
    }

    fn is_mended(&self) -> bool {
        false
    }
}

/// A journal with records of some groups in it, and what is needed to drain it.
struct Rig {
    _dir: tempfile::TempDir,
    lane: Lane,
    keys: Vec<(String, String)>,
    /// While more may come.
    writer: Option<(mpsc::UnboundedSender<Append<()>>, std::thread::JoinHandle<()>)>,
}

impl Rig {
    /// Appends a record, and comes back when it is durable.
    fn append(&mut self, draft: Draft) {
        self.keys.push((draft.identity.group.clone(), draft.identity.key.clone().expect("a key")));
        let (inbox, _) = self.writer.as_ref().expect("a writer");
        inbox.send(Append { item: Item::Record(Box::new(draft)), ticket: () }).unwrap();
        self.until_durable();
    }

    fn until_durable(&self) {
        let last = self.keys.len() as u64;
        while self.lane.durable().borrow().0 < last {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nothing more comes.
    fn close(&mut self) {
        if let Some((inbox, thread)) = self.writer.take() {
            drop(inbox);
            thread.join().unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.close();
    }
}

fn rig(groups: &[u8]) -> Rig {
    loaded(groups, 200)
}

/// A rig whose records weigh `bytes`, and the keys of those that `pick` names by their index.
fn heavy(groups: &[u8], bytes: usize, pick: impl Fn(usize) -> bool) -> (Rig, Vec<String>) {
    let rig = loaded(groups, bytes);
    let picked = rig.keys.iter().enumerate().filter(|(n, _)| pick(*n)).map(|(_, (_, key))| key.clone()).collect();
    (rig, picked)
}

fn loaded(groups: &[u8], bytes: usize) -> Rig {
    let named = groups.iter().enumerate().map(|(n, group)| (format!("g{group}"), format!("k{n}")));
    journaled(named.map(|(group, key)| move |lane: &Lane| draft(&group, &key, lane, bytes)))
}

/// A rig of the drafts that are made for its lane.
fn journaled<D: FnOnce(&Lane) -> Draft>(drafts: impl Iterator<Item = D>) -> Rig {
    let mut rig = living(drafts);
    rig.close();
    rig
}

/// The same, to which more may be appended.
fn living<D: FnOnce(&Lane) -> Draft>(drafts: impl Iterator<Item = D>) -> Rig {
    let dir = crate::testing::fast_dir();
    let options = JournalOptions {
        path: dir.path().join("journal"),
        bounds: Bounds { max_bytes: 1 << 30, max_age: None, min_free: 0, on_full: OnFull::DropOldest },
        reserve_bytes: 0,
        generation_bytes: 64 * 1024,
        quiet: Duration::from_millis(1),
        lanes: vec!["main".into()],
        silent: vec![],
        absorbing: vec!["main".into()],
        machine: "/".into(),
        runtime: None,
    };
    let opened = Journal::open(&options, &Clock::new(None)).unwrap();
    let lane = opened.journal.lane("main").unwrap();
    let (inbox, receiver) = mpsc::unbounded_channel();
    let (committed, _) = mpsc::unbounded_channel();
    let writer = opened.writer(Duration::ZERO, receiver, committed, Arc::new(AtomicBool::new(false)));
    let mut keys = Vec::new();
    for draft in drafts {
        let draft = draft(&lane);
        keys.push((draft.identity.group.clone(), draft.identity.key.clone().expect("a key")));
        inbox.send(Append { item: Item::Record(Box::new(draft)), ticket: () }).unwrap();
    }
    let writer = Some((inbox, std::thread::spawn(|| writer.run())));
    let rig = Rig { _dir: dir, lane, keys, writer };
    rig.until_durable();
    rig
}

fn draft(group: &str, key: &str, lane: &Lane, bytes: usize) -> Draft {
    Draft {
        received: Default::default(),
        message: Message {
            topic: "t".into(),
            payload: vec![b'x'; bytes].into(),
            qos: 1,
            retain: false,
            dup: false,
            packet_id: 1,
        },
        profile: "test".into(),
        identity: Identity {
            key: Some(key.into()),
            key_kind: KeyKind::Native,
            group: group.into(),
            device: None,
            record_type: "raw".into(),
            event_time: None,
            time_source: TimeSource::Arrival,
        },
        lanes: vec![lane.id()],
        duplicate: None,
    }
}

fn options(ordering: Ordering) -> DrainOptions {
    DrainOptions {
        queue: "main".into(),
        rendering: RenderOptions {
            format: BodyFormat::CloudEvents,
            fifo: true,
            type_prefix: "tidegate".into(),
            gateway_id: "g".into(),
            site: "s".into(),
            rectype: None,
            redact: Vec::new(),
        },
        ordering,
        max_in_flight: 4,
        batch_bytes: 64 * 1024,
        link_probe: true,
        grace: Duration::from_secs(1),
        link: watch::channel(0).1,
        retry: watch::channel(0).1,
    }
}

/// Drains until nothing waits; time is paused, so that waits cost nothing.
async fn drain_all(rig: &Rig, queue: &Arc<Queue>, ordering: Ordering) -> DrainStatus {
    let shared = Arc::new(DrainShared::default());
    let drain = Drain::new(rig.lane.clone(), queue.clone(), options(ordering), &Clock::new(None), shared.clone());
    let (stop, stopped) = watch::channel(false);
    let lane = rig.lane.clone();
    let watch = async move {
        while lane.waiting() > 0 {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        stop.send_replace(true);
    };
    tokio::join!(drain.run(stopped), watch);
    shared.lock().clone()
}

fn by_group(records: &[(String, String)]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    records.iter().for_each(|(group, key)| groups.entry(group).or_default().push(key));
    groups
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_record_arrives_once_in_order_whatever_the_queue_does(
        groups in prop::collection::vec(0u8..8, 1..150),
        script in prop::collection::vec(act(), 0..40),
    ) {
        let rig = rig(&groups);
        let queue = Arc::new(Queue { script: Mutex::new(script), ..Queue::default() });
        let status = run(drain_all(&rig, &queue, Ordering::Strict));
        let arrived = queue.arrived.lock().unwrap().clone();
        prop_assert_eq!(arrived.len(), rig.keys.len());
        prop_assert_eq!(by_group(&arrived), by_group(&rig.keys));
        prop_assert_eq!(*queue.overlaps.lock().unwrap(), 0, "a group in one flight at a time");
        prop_assert_eq!(status.accepted as usize, rig.keys.len());
        prop_assert_eq!(status.inversions, 0);
        let facts = rig.lane.journal().stats().lanes.remove(0);
        prop_assert_eq!((facts.waiting, facts.accepted), (0, rig.keys.len() as u64));
    }

    #[test]
    fn packed_loses_nothing_and_counts_what_it_inverts(
        groups in prop::collection::vec(0u8..3, 1..150),
        script in prop::collection::vec(act(), 0..40),
    ) {
        let rig = rig(&groups);
        let queue = Arc::new(Queue { script: Mutex::new(script), ..Queue::default() });
        let status = run(drain_all(&rig, &queue, Ordering::Packed));
        let arrived = queue.arrived.lock().unwrap().clone();
        prop_assert_eq!(arrived.len(), rig.keys.len());
        prop_assert_eq!(*queue.overlaps.lock().unwrap(), 0);
        if by_group(&arrived) != by_group(&rig.keys) {
            prop_assert!(status.inversions > 0, "an inversion is counted");
        }
    }
}

#[test]
fn an_empty_answer_is_not_hammered() {
    let rig = rig(&[1]);
    let queue = Arc::new(Queue { script: Mutex::new(vec![Act::Empty; 12]), ..Queue::default() });
    let before = std::time::Instant::now();
    let elapsed = run(async {
        let start = tokio::time::Instant::now();
        drain_all(&rig, &queue, Ordering::Strict).await;
        start.elapsed()
    });
    assert!(elapsed > Duration::from_secs(2), "{elapsed:?} of paused time for twelve attempts");
    assert!(before.elapsed() < Duration::from_secs(60));
}
