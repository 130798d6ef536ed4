//! The queue model against what the service promises its consumers.

use super::*;
use crate::fake_sqs::DEDUP_WINDOW_MS;
use crate::fake_sqs::message::Attributes;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn message(group: &str, dedup: Option<&str>, body: &str) -> Message {
    Message {
        body: body.into(),
        group: Some(group.into()),
        dedup: dedup.map(Into::into),
        attributes: Attributes::default(),
        attributes_md5: None,
    }
}

fn bodies(handed: &[Handed]) -> Vec<&str> {
    handed.iter().map(|h| &*h.message.message.body).collect()
}

#[test]
fn a_group_in_flight_waits_until_its_timeout() {
    let mut queue = Queue::new(QueueOptions::fifo());
    for body in ["a1", "a2", "a3"] {
        queue.accept(message("a", Some(body), body), 0, 1);
    }
    queue.accept(message("b", Some("b1"), "b1"), 0, 1);
    let first = queue.receive(2, None, 0);
    assert_eq!(bodies(&first), ["a1", "a2"]);
    assert_eq!(bodies(&queue.receive(10, None, 1)), ["b1"]);
    assert!(queue.receive(10, None, 29_999).is_empty());
    let again = queue.receive(10, None, 30_000);
    assert_eq!(bodies(&again), ["a1", "a2", "a3"]);
    assert_eq!(again[0].receive_count, 2);
    assert!(!queue.delete(&first[0].handle), "an overdue handle deletes nothing");
    assert!(queue.delete(&again[0].handle));
}

#[test]
fn deduplication_lasts_five_minutes_even_for_deleted_messages() {
    let mut queue = Queue::new(QueueOptions::fifo());
    let first = queue.accept(message("a", Some("id"), "x"), 1_000, 1);
    let handed = queue.receive(1, None, 1_000);
    assert!(queue.delete(&handed[0].handle));
    assert_eq!(queue.accept(message("a", Some("id"), "x"), 1_000 + DEDUP_WINDOW_MS - 1, 2), first);
    assert_eq!(queue.depth(), 0);
    let later = queue.accept(message("a", Some("id"), "x"), 1_000 + DEDUP_WINDOW_MS, 3);
    assert!(later.sequence > first.sequence);
    assert_eq!((queue.depth(), queue.counters.accepted, queue.counters.absorbed), (1, 2, 1));
}

#[test]
fn in_high_throughput_mode_deduplication_is_per_group() {
    for (per_group, depth) in [(false, 1), (true, 2)] {
        let mut queue = Queue::new(QueueOptions { dedup_per_group: per_group, ..QueueOptions::fifo() });
        queue.accept(message("a", Some("id"), "x"), 0, 1);
        queue.accept(message("b", Some("id"), "x"), 0, 1);
        assert_eq!(queue.depth(), depth);
    }
}

#[test]
fn a_standard_queue_locks_no_group() {
    let mut queue = Queue::new(QueueOptions::standard());
    for body in ["1", "2", "3"] {
        queue.accept(message("a", None, body), 0, 1);
    }
    assert_eq!(queue.receive(1, None, 0).len(), 1);
    assert_eq!(queue.receive(10, None, 0).len(), 2);
}

proptest! {
    /// Whatever is received, deleted or left to time out: per group, deletions come in the order of acceptance, and
    /// nothing accepted is lost.
    #[test]
    fn groups_keep_their_order_and_nothing_is_lost(steps in prop::collection::vec((0u8..4, 0u8..3), 1..200)) {
        let mut queue = Queue::new(QueueOptions::fifo());
        let (mut now, mut made) = (0, 0u32);
        let mut held: Vec<Handed> = Vec::new();
        let mut deleted: BTreeMap<String, Vec<u128>> = BTreeMap::new();
        for (step, arg) in steps {
            match step {
                0 => {
                    made += 1;
                    queue.accept(message(&format!("g{arg}"), Some(&made.to_string()), "x"), now, 1);
                }
                1 => held.extend(queue.receive(usize::from(arg) + 1, None, now)),
                2 if !held.is_empty() => {
                    let taken = held.remove(0);
                    if queue.delete(&taken.handle) {
                        let group = taken.message.message.group.clone().unwrap();
                        deleted.entry(group).or_default().push(taken.message.sequence);
                    }
                }
                _ => now += 10_000 * u64::from(arg),
            }
        }
        for order in deleted.values() {
            prop_assert!(order.is_sorted(), "{order:?}");
        }
        let gone: usize = deleted.values().map(Vec::len).sum();
        prop_assert_eq!(gone + queue.depth(), made as usize);
    }
}
