//! Sabotage: every kind of offence must be caught, and nothing honest may be blamed.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn published(groups: usize, each: usize) -> Published {
    let item = |i: usize| Item { id: format!("id.{i}"), group: format!("g{}", i % groups), confirmed: true };
    Published { items: (0..groups * each).map(item).collect() }
}

/// A delivery of `id` at `position`, as a FIFO queue gives it to a consumer.
fn event(id: &str, group: &str, position: u64, marked: bool) -> Delivered {
    let mut body = json!({
        "specversion": "1.0", "id": id, "type": "tidegate.lorawan.uplink", "partitionkey": group,
        "gatewayid": "gw", "sequence": format!("{:016x}-{:010}-{position:020}", 5, 1), "data": { "x": 1 },
    });
    if marked {
        body["possibleduplicate"] = true.into();
    }
    delivery(&body, id, group)
}

fn gap(id: &str, position: u64, ranges: &[(u64, u64)]) -> Delivered {
    let body = json!({
        "specversion": "1.0", "id": id, "type": "tidegate.gap", "gatewayid": "gw",
        "sequence": format!("{:016x}-{:010}-{position:020}", 5, 1), "data": { "ranges": ranges },
    });
    delivery(&body, id, "tidegate.gap.0")
}

fn delivery(body: &serde_json::Value, id: &str, group: &str) -> Delivered {
    Delivered {
        message_id: String::new(),
        body: body.to_string().into(),
        group: Some(group.into()),
        dedup: Some(id.into()),
        sequence_number: Some("1".into()),
        attributes: BTreeMap::new(),
    }
}

fn honest(published: &Published) -> Vec<Delivered> {
    let deliver = |(i, item): (usize, &Item)| event(&item.id, &item.group, i as u64 + 1, false);
    published.items.iter().enumerate().map(deliver).collect()
}

#[test]
fn an_honest_delivery_is_clean_in_one_line() {
    let published = published(3, 4);
    let verdict = judge(&published, &honest(&published), Rules::FIFO);
    assert!(verdict.is_clean(), "{:?}", verdict.details);
    assert_eq!(verdict.to_string(), "published 12, delivered 12, lost 0, duplicated 0, out of order 0");
}

#[test]
fn an_unmarked_repeat_is_caught_and_a_marked_one_forgiven() {
    let published = published(2, 2);
    let mut delivered = honest(&published);
    delivered.push(event("id.0", "g0", 1, true));
    let verdict = judge(&published, &delivered, Rules::FIFO);
    assert_eq!((verdict.duplicated, verdict.duplicated_marked, verdict.is_clean()), (0, 1, true));
    delivered.push(event("id.1", "g1", 2, false));
    let verdict = judge(&published, &delivered, Rules::FIFO);
    assert_eq!((verdict.duplicated, verdict.delivered, verdict.is_clean()), (1, 4, false));
}

#[test]
fn on_a_standard_queue_a_marked_resend_may_come_first() {
    let published = published(1, 1);
    let standard = |marked| Delivered { dedup: None, sequence_number: None, ..event("id.0", "g0", 1, marked) };
    let clean = |marks: &[bool]| {
        let delivered: Vec<_> = marks.iter().map(|m| standard(*m)).collect();
        judge(&published, &delivered, Rules::STANDARD).is_clean()
    };
    assert!(clean(&[true, false]) && clean(&[false, true]));
    assert!(!clean(&[false, false]) && !clean(&[true, false, false]));
    let fifo = [event("id.0", "g0", 1, true), event("id.0", "g0", 1, false)];
    assert!(!judge(&published, &fifo, Rules::FIFO).is_clean(), "a FIFO queue keeps order: the later one must say so");
}

#[test]
fn a_missing_position_without_a_gap_record_is_a_hole() {
    let published = published(1, 1);
    let mut delivered = vec![event("id.0", "g0", 4, false)];
    let verdict = judge(&published, &delivered, Rules::FIFO);
    assert_eq!((verdict.holes, verdict.lost, verdict.is_clean()), (3, 0, false));
    delivered.push(gap("gap.1", 5, &[(1, 2)]));
    let verdict = judge(&published, &delivered, Rules::FIFO);
    assert_eq!((verdict.holes, verdict.announced), (1, 2));
    delivered.push(gap("gap.2", 6, &[(3, 3)]));
    assert!(judge(&published, &delivered, Rules::FIFO).is_clean());
    assert!(judge(&published, &delivered[..1], Rules { first_position: None, ..Rules::FIFO }).is_clean());
}

#[test]
fn shared_positions_strangers_and_unreadable_deliveries_are_caught() {
    let published = published(1, 2);
    let clash = [event("id.0", "g0", 1, false), event("id.1", "g0", 1, false)];
    assert_eq!(judge(&published, &clash, Rules::FIFO).clashes, 1);
    let mut delivered = honest(&published);
    delivered.push(event("id.99", "g0", 3, false));
    assert_eq!(judge(&published, &delivered, Rules::FIFO).strangers, 1);
    for spoil in [
        |d: &mut Delivered| d.dedup = Some("another".into()),
        |d: &mut Delivered| d.group = Some("another".into()),
        |d: &mut Delivered| d.body = d.body.replace("0000000001-", "1-").into(),
    ] {
        let mut delivered = honest(&published);
        spoil(&mut delivered[1]);
        let verdict = judge(&published, &delivered, Rules::FIFO);
        assert_eq!((verdict.unreadable, verdict.is_clean()), (1, false));
    }
}

#[test]
fn what_the_broker_never_acknowledged_may_come_or_not() {
    let mut published = published(1, 3);
    published.items[2].confirmed = false;
    let all = honest(&published);
    let verdict = judge(&published, &all, Rules::FIFO);
    assert_eq!((verdict.published, verdict.is_clean()), (3, true));
    let verdict = judge(&published, &all[..2], Rules::FIFO);
    assert_eq!((verdict.published, verdict.lost, verdict.is_clean()), (2, 0, true));
}

#[test]
fn raw_bodies_are_judged_by_their_attributes() {
    let attributes = |position: u64| {
        let sequence = format!("{:016x}-{:010}-{position:020}", 5, 1);
        BTreeMap::from([
            ("ce-id".into(), "id.0".into()),
            ("ce-sequence".into(), sequence),
            ("ce-source".into(), "//site/gw/raw".into()),
        ])
    };
    let raw =
        |position| Delivered { body: "21.5".into(), attributes: attributes(position), ..event("id.0", "g0", 1, false) };
    let published = published(1, 1);
    assert!(judge(&published, &[raw(1)], Rules::FIFO).is_clean());
    assert_eq!(judge(&published, &[raw(2)], Rules::FIFO).holes, 1);
}

proptest! {
    /// However groups are interleaved: as long as each keeps its order, the verdict is clean.
    #[test]
    fn interleaving_groups_is_no_offence(groups in 1usize..5, each in 1usize..20, seed: u64) {
        let published = published(groups, each);
        let mut lines: Vec<Vec<Delivered>> = vec![Vec::new(); groups];
        for (i, delivery) in honest(&published).into_iter().enumerate().rev() {
            lines[i % groups].push(delivery);
        }
        let mut random = crate::random::Random::seeded(seed);
        let mut delivered = Vec::new();
        while lines.iter().any(|l| !l.is_empty()) {
            let pick = random.below(groups as u64) as usize;
            delivered.extend(lines[pick].pop());
        }
        let verdict = judge(&published, &delivered, Rules::FIFO);
        prop_assert!(verdict.is_clean(), "{:?}", verdict.details);
    }

    /// One delivery removed, repeated or swapped with a neighbour of its group never passes.
    #[test]
    fn every_single_sabotage_is_caught(groups in 1usize..4, each in 2usize..12, at in any::<prop::sample::Index>(), kind in 0u8..3) {
        let published = published(groups, each);
        let mut delivered = honest(&published);
        let at = at.index(delivered.len());
        match kind {
            0 => {
                delivered.remove(at);
                let verdict = judge(&published, &delivered, Rules::FIFO);
                // The very last position leaves no hole behind: only the publisher's list tells.
                let holes = usize::from(at + 1 < published.items.len());
                prop_assert_eq!((verdict.lost, verdict.holes), (1, holes));
            }
            1 => {
                let copy = delivered[at].clone();
                delivered.push(copy);
                prop_assert_eq!(judge(&published, &delivered, Rules::FIFO).duplicated, 1);
            }
            _ => {
                let at = at.min(delivered.len() - groups - 1);
                delivered.swap(at, at + groups);
                prop_assert_eq!(judge(&published, &delivered, Rules::FIFO).out_of_order, 1);
            }
        }
    }
}
