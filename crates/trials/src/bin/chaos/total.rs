//! The sum over all seeds, and the verdict.

use crate::classes::{CLASSES, Means};
use crate::options::Options;
use crate::plan::ROUND;
use crate::run::Outcome;
use std::collections::BTreeMap;
use testkit::checker::BareVerdict;

/// A class that was dealt so often and never found anything to break is not a test. One deal says nothing: a commit may
/// find space on a disk that is being filled.
const DEALS: u64 = 3;

/// Sums.
#[derive(Debug, Default)]
pub(crate) struct Total {
    seeds: u64,
    /// Seeds in which a promise was broken.
    pub(crate) offended: u64,
    first_offence: Option<u64>,
    published: usize,
    bare: BareVerdict,
    /// Seeds of each kind of world.
    shapes: BTreeMap<&'static str, u64>,
    reused_ids: u64,
    delivered: usize,
    lost: usize,
    duplicated: usize,
    marked: usize,
    out_of_order: usize,
    holes: usize,
    tally: BTreeMap<&'static str, u64>,
    longest_s: f64,
}

impl Total {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        if !outcome.is_clean() {
            self.offended += 1;
            self.first_offence = Some(self.first_offence.map_or(outcome.seed, |first| first.min(outcome.seed)));
        }
        for verdict in &outcome.verdicts {
            self.published += verdict.published;
            self.delivered += verdict.delivered;
            self.lost += verdict.lost;
            self.duplicated += verdict.duplicated;
            self.marked += verdict.duplicated_marked;
            self.holes += verdict.holes;
            // A Standard queue keeps no order.
            self.out_of_order += if verdict.is_ordered() { verdict.out_of_order } else { 0 };
        }
        self.bare.add(outcome.bare.clone());
        self.reused_ids += outcome.reused_ids;
        for kind in outcome.shape.kinds() {
            *self.shapes.entry(kind).or_default() += 1;
        }
        for (class, times) in &outcome.tally {
            *self.tally.entry(class).or_default() += times;
        }
        self.longest_s = self.longest_s.max(outcome.took.as_secs_f64());
    }

    /// Prints what was injected and the verdict; whether the run is good.
    pub(crate) fn tell(&self, options: &Options, means: Means) -> bool {
        if let Some(name) = &options.sabotage {
            return self.tell_sabotage(name);
        }
        println!("\nworlds:");
        for (kind, seeds) in &self.shapes {
            println!("  {seeds:6}  {kind}");
        }
        println!("  packet ids given again: {}\ninjected:", self.reused_ids);
        let mut missing = Vec::new();
        let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
        for class in CLASSES.iter().filter(|class| class.is_within(means) && wanted(class.name)) {
            let times = self.tally.get(class.name).copied().unwrap_or(0);
            println!("  {times:6}  {}", class.name);
            missing.extend((times == 0).then_some(class.name));
        }
        let often = self.seeds >= DEALS * ROUND;
        if !missing.is_empty() {
            let word = if often { "NEVER INJECTED" } else { "not injected (dealt fewer than three times)" };
            println!("  {word}: {}", missing.join(", "));
        }
        if !options.disk {
            println!("  NOT TRIED (--no-disk): full disks");
        }
        if !means.link {
            println!("  NOT TRIED (see the first line): slow, lossy, silent and moved links");
        }
        let good = self.offended == 0 && (missing.is_empty() || !often);
        println!(
            "\nchaos: {} seeds ({:?}), {} faults, published {} (without identity {}), delivered {}, lost {}, duplicated unmarked {}, out of order {}, \
             holes unannounced {}, seeds with an offence {}; marked resends {}, marked redeliveries {}, longest seed {:.1} s: {}",
            self.seeds,
            options.seeds,
            self.tally.values().sum::<u64>(),
            self.published,
            self.bare.confirmed,
            self.delivered,
            self.lost + self.bare.lost,
            self.duplicated + self.bare.duplicated,
            self.out_of_order + self.bare.out_of_order,
            self.holes,
            self.offended,
            self.marked,
            self.bare.marked,
            self.longest_s,
            if good { "every promise kept" } else { "BROKEN" }
        );
        if let Some(seed) = self.first_offence {
            println!("replay: cargo chaos --seeds {seed}");
        }
        good
    }

    fn tell_sabotage(&self, name: &str) -> bool {
        match self.first_offence {
            Some(seed) => println!(
                "\nchaos: sabotage {name} caught at seed {seed}, after {} seeds: lost {}, duplicated unmarked {}, out of order {}",
                self.seeds,
                self.lost + self.bare.lost,
                self.duplicated + self.bare.duplicated,
                self.out_of_order + self.bare.out_of_order
            ),
            None => println!("\nchaos: sabotage {name} NOT CAUGHT within {} seeds", self.seeds),
        }
        self.first_offence.is_some()
    }
}
