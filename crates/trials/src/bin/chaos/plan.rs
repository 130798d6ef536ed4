//! What goes wrong in one run, and when. Pure: a seed gives always the same plan.
//!
//! Chance alone would leave a class out of a short series of seeds. So the classes are a deck, shuffled once and for all;
//! each seed takes the next hand from it, and five seeds in a row see every class (but for those that this machine has no means for). What the seed decides by chance is
//! the order within the hand, how hard each fault is, and when it comes.

use crate::classes::{Act, CLASSES, Means, Needs, between};
use std::time::Duration;
use testkit::random::Random;

/// Faults of one run.
pub(crate) const HAND: usize = 13;
/// Further messages around a full disk.
const FILLING: usize = 400;
/// Seeds in a row after which every class was dealt.
pub(crate) const ROUND: u64 = (CLASSES.len() as u64).div_ceil(HAND as u64);

/// One fault among messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) class: usize,
    pub(crate) act: Act,
    /// Messages published around it.
    pub(crate) burst: usize,
    /// How far into them it comes.
    pub(crate) after: Duration,
}

/// Which lanes there are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Lanes {
    /// One, to a FIFO queue.
    One,
    /// The fleet's records go to a Standard queue, too.
    Both,
    /// The fleet publishes each uplink on two topics: one leads to this FIFO queue, the other to a second one.
    Apart,
}

/// How QoS 0 and 1 are mixed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mix {
    /// QoS 1 alone.
    None,
    /// Some sensors publish with QoS 0; the broker queues that, too, and sends without a window.
    NoWindow,
    /// The same with a window: Mosquitto then holds QoS 1 messages back until the next connection, so no order can be judged.
    Window,
}

/// What the world is like. Any round of seeds in a row sees each kind of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) lanes: Lanes,
    pub(crate) mix: Mix,
    /// The broker gives each message the lowest packet id that is free.
    pub(crate) small_ids: bool,
}

impl Shape {
    /// What kinds it is of, in words.
    pub(crate) fn kinds(self) -> [&'static str; 3] {
        let lanes = match self.lanes {
            Lanes::One => "one lane",
            Lanes::Both => "two lanes, one of them Standard",
            Lanes::Apart => "two lanes with routes of their own",
        };
        let mix = match self.mix {
            Mix::None => "QoS 1 alone",
            Mix::NoWindow => "QoS 0 and 1",
            Mix::Window => "QoS 0 and 1 in a window",
        };
        [lanes, mix, if self.small_ids { "lowest free packet ids" } else { "counted packet ids" }]
    }

    fn of(seed: u64) -> Shape {
        // Shifted against each other, and against the hands: over many seeds everything meets everything.
        let turn = |shift: u64, kinds: u64| (seed + seed / shift) % kinds;
        Shape {
            lanes: [Lanes::One, Lanes::Both, Lanes::Apart][turn(3 * ROUND, 3) as usize],
            mix: [Mix::NoWindow, Mix::None, Mix::Window][turn(ROUND, 3) as usize],
            small_ids: turn(2 * ROUND, 2) == 0,
        }
    }
}

/// One run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) shape: Shape,
}

impl Plan {
    /// Whether its uplink has a link of its own.
    pub(crate) fn has_link(&self) -> bool {
        self.steps.iter().any(|step| CLASSES[step.class].needs == Needs::Link)
    }
}

/// The class that shows a sabotage: dealt to every seed of its run, on top of the hand.
pub(crate) fn bait(sabotage: &str) -> Option<&'static str> {
    Some(match sabotage {
        "ack-early" | "stale-acks" => "broker forgets during a slow commit",
        "overtake" => "entry refused for now",
        "no-mark" => "killed in doubt, back after six minutes",
        "forget-parked" => "permission taken away",
        "sent-is-accepted" => "silent link",
        // Equal readings are in every world, and need no fault.
        "same-is-repeat" => "broker link cut",
        _ => return None,
    })
}

/// What is dealt otherwise than by the deck.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Deal {
    /// The name of a class that is dealt in any case.
    pub(crate) bait: Option<&'static str>,
    /// Names of the only classes that are dealt; empty: all.
    pub(crate) only: Vec<String>,
}

/// The plan of a seed on a machine of these means.
pub(crate) fn plan(seed: u64, means: Means, deal: &Deal) -> Plan {
    let wanted = |class: &usize| deal.only.is_empty() || deal.only.iter().any(|name| name == CLASSES[*class].name);
    let mut deck: Vec<usize> = (0..CLASSES.len()).filter(wanted).collect();
    shuffle(&mut deck, &mut Random::seeded(1));
    let mut random = Random::seeded(seed);
    let from = (seed % ROUND) as usize * HAND;
    let mut hand: Vec<usize> = (from..from + HAND).map(|place| deck[place % deck.len()]).collect();
    hand.extend(CLASSES.iter().position(|class| Some(class.name) == deal.bait));
    hand.retain(|class| CLASSES[*class].is_within(means));
    shuffle(&mut hand, &mut random);
    let steps = hand.into_iter().map(|class| {
        let act = (CLASSES[class].draw)(&mut random);
        let (burst, after) = (60 + random.below(140) as usize, between(&mut random, 10, 250));
        match CLASSES[class].needs {
            // Enough to outgrow the space that the journal's files have already.
            Needs::Disk => Step { class, act, burst: burst + FILLING, after: after / 5 },
            Needs::Nothing | Needs::Link => Step { class, act, burst, after },
        }
    });
    Plan { seed, steps: steps.collect(), shape: Shape::of(seed) }
}

fn shuffle(items: &mut [usize], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const ALL: Means = Means { disk: true, link: true };

    fn of(seed: u64) -> Plan {
        plan(seed, ALL, &Deal::default())
    }

    #[test]
    fn a_seed_fixes_its_plan_and_rounds_see_every_class() {
        assert_eq!(ROUND, 5, "as the documents say");
        for start in 0..50 {
            assert_eq!(of(start), of(start));
            let dealt: BTreeSet<usize> =
                (start..start + ROUND).flat_map(|seed| of(seed).steps).map(|step| step.class).collect();
            assert_eq!(dealt.len(), CLASSES.len());
            let shapes = || (start..start + ROUND).map(Shape::of);
            let lanes: BTreeSet<Lanes> = shapes().map(|shape| shape.lanes).collect();
            let mixes: BTreeSet<Mix> = shapes().map(|shape| shape.mix).collect();
            let ids: BTreeSet<bool> = shapes().map(|shape| shape.small_ids).collect();
            assert_eq!((lanes.len(), mixes.len(), ids.len()), (3, 3, 2), "from {start}");
            let links: BTreeSet<bool> = (start..start + ROUND).map(|seed| of(seed).has_link()).collect();
            assert_eq!(links.len(), 2, "some uplinks have a link of their own, some have none");
        }
        assert_ne!(of(3).steps, of(3 + ROUND).steps);
    }

    #[test]
    fn a_bait_is_dealt_to_every_seed() {
        for name in
            ["ack-early", "stale-acks", "overtake", "no-mark", "forget-parked", "same-is-repeat", "sent-is-accepted"]
        {
            let deal = Deal { bait: bait(name), only: Vec::new() };
            let dealt =
                |seed| plan(seed, ALL, &deal).steps.iter().any(|step| Some(CLASSES[step.class].name) == deal.bait);
            assert!(deal.bait.is_some() && (0..10).all(dealt), "{name}");
        }
    }

    #[test]
    fn without_the_means_no_fault_that_needs_them_is_dealt() {
        for means in [Means { disk: false, link: true }, Means { disk: true, link: false }] {
            let deal = Deal { bait: Some("silent link"), only: Vec::new() };
            let mut dealt = (0..20).flat_map(|seed| plan(seed, means, &deal).steps);
            assert!(dealt.all(|step| CLASSES[step.class].is_within(means)));
        }
    }

    #[test]
    fn only_the_classes_that_are_named_are_dealt() {
        let only = ["slow link", "lossy link", "moved link"].map(str::to_owned);
        let deal = Deal { bait: None, only: only.to_vec() };
        for seed in 0..20 {
            let dealt: BTreeSet<&str> =
                plan(seed, ALL, &deal).steps.iter().map(|step| CLASSES[step.class].name).collect();
            assert_eq!(dealt, only.iter().map(String::as_str).collect());
        }
    }
}
