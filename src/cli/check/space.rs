//! How much the journal can take, and what is evicted when. Pure, but for [`steps`].

use crate::agent::options::bounds;
use crate::cli::agent_client::{self, Agent};
use crate::cli::check::Step;
use crate::cli::status::refuses;
use crate::config::{Config, OnFull};
use crate::journal::{Bound, Bounds, BoundsOptions, GENERATION_BYTES, RESERVE_BYTES, files, volume};
use crate::size;
use crate::status::history::span;
use serde_json::Value;
use std::path::Path;

const MIB: u64 = 1 << 20;
/// With less, all but the newest records go as soon as a generation is full.
const LEAST: u64 = 2 * DISK_PER_GENERATION;
/// What a full generation takes at most, as `docs/install.md` has it.
const DISK_PER_GENERATION: u64 = GENERATION_BYTES * 24 / 10;
/// What a message with a payload of 300 bytes takes at most, alone in its commit: docs/install.md.
const MESSAGE: u64 = 1_100;
/// A shorter outage than this should cost nothing.
const DAY_S: u64 = 86_400;

/// What there is on the journal's partition, in bytes, and what bounds it.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// Of the generations on disk.
    used: u64,
    free: u64,
    /// What the journal's reserve will take, where it is not there yet.
    reserve: u64,
    /// In effect.
    bounds: Bounds,
    /// Without any in the configuration.
    defaults: Bounds,
    /// Which the configuration names.
    max_bytes_given: bool,
    min_free_given: bool,
    agent: Option<Running>,
    /// Its disk can be written.
    takes: bool,
}

/// What the running agent says.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// Until it is full without an uplink; `None`: not known.
    holds_on_s: Option<u64>,
    waiting: u64,
}

/// `folder`: the journal's, or the nearest one above it that is there; `takes`: it could be written just now.
pub(super) fn steps(config: &Config, folder: &Path, takes: bool) -> Vec<Step> {
    let (journal, path) = (&config.journal, &config.journal.path);
    let Some(free) = volume::free_bytes(folder) else {
        return vec![Step::open("journal's space", "the system does not tell", "")];
    };
    let (given, space) = (bounds(journal), volume::space(path));
    let mut facts = Facts {
        used: files::disk_bytes(&path.join("log")),
        free,
        reserve: if path.join("reserve").exists() { 0 } else { RESERVE_BYTES },
        bounds: Bounds::of(&given, space),
        defaults: Bounds::of(&BoundsOptions { max_bytes: None, min_free: None, ..given }, space),
        max_bytes_given: journal.max_bytes.is_some(),
        min_free_given: journal.min_free.is_some(),
        agent: None,
        takes,
    };
    if let Agent::Runs(status) = agent_client::agent(config) {
        facts.ask(&status["journal"]);
    }
    facts.steps(path)
}

impl Facts {
    /// Takes what the running agent knows better: its own use, its rate, and the bounds that it drew from the partition.
    fn ask(&mut self, journal: &Value) {
        let of = |name: &str| journal[name].as_u64();
        let Some(used) = of("bytes") else { return };
        self.takes &= !refuses(journal);
        let lanes = journal["lanes"].as_array().into_iter().flatten();
        let waiting = lanes.filter_map(|lane| lane["waiting"].as_u64()).sum();
        self.used = used;
        self.agent = Some(Running { holds_on_s: of("holds_on_s"), waiting });
        if let (Some(bytes), false) = (of("max_bytes"), self.max_bytes_given) {
            self.bounds.max_bytes = bytes;
        }
        if let (Some(bytes), false) = (of("min_free"), self.min_free_given) {
            self.bounds.min_free = bytes;
        }
    }

    /// What the records may take with so much left free.
    fn reach(&self, min_free: u64) -> u64 {
        self.used.saturating_add(self.free.saturating_sub(min_free.saturating_add(self.reserve)))
    }

    /// The bound in bytes that comes first, and what the records may take up to it.
    fn first(&self) -> (Bound, u64) {
        let reach = self.reach(self.bounds.min_free);
        if reach < self.bounds.max_bytes { (Bound::MinFree, reach) } else { (Bound::MaxBytes, self.bounds.max_bytes) }
    }

    fn steps(&self, path: &Path) -> Vec<Step> {
        let (bound, most) = self.first();
        let mut steps = vec![self.space(path, most)];
        // How long a disk holds on that takes nothing is no question.
        if !self.takes {
            return steps;
        }
        steps.push(if most < LEAST { self.starved(bound) } else { self.outage(bound, most) });
        steps
    }

    fn space(&self, path: &Path, most: u64) -> Step {
        let (step, Bounds { max_bytes, min_free, .. }) = ("journal's space", self.bounds);
        let (free, reach) = (size::text(self.free), self.reach(min_free));
        let larger =
            format!("free space (df -h {}), or set journal.path to a folder on a larger partition", path.display());
        let reload = "sudo systemctl reload tidegate";
        if reach < LEAST {
            let found = format!(
                "{free} free, of which journal.min_free of {} leaves {} for records",
                size::text(min_free),
                size::text(reach)
            );
            let floor = self.defaults.min_free;
            let next = if self.min_free_given && floor < min_free && self.reach(floor) >= LEAST {
                format!("set journal.min_free = \"{}\", then: {reload}", size::text(floor))
            } else {
                larger
            };
            return Step::bad(step, found, next);
        }
        if self.max_bytes_given && reach < max_bytes {
            let found = format!(
                "{free} free and {} used, but journal.max_bytes is {} and journal.min_free {}",
                size::text(self.used),
                size::text(max_bytes),
                size::text(min_free)
            );
            let whole = reach / MIB;
            let next = if whole >= 16 {
                format!("free space, or set journal.max_bytes = \"{whole} MiB\", then: {reload}")
            } else {
                larger
            };
            return Step::bad(step, found, next);
        }
        Step::good(
            step,
            format!("{free} free, {} for records, {} of them used", size::text(most), size::text(self.used)),
        )
    }

    /// There is room for the newest generation alone.
    fn starved(&self, bound: Bound) -> Step {
        let key = bound.key();
        let found = match self.bounds.on_full {
            OnFull::DropOldest => format!("while the uplink is away, all but the newest records are evicted at {key}"),
            OnFull::Stop => format!("while the uplink is away, tidegate soon stops taking messages at {key}"),
        };
        Step::bad(EVICTION, found, "give the journal the space that the step above asks for")
    }

    /// What an outage of the uplink costs, and when.
    fn outage(&self, bound: Bound, most: u64) -> Step {
        let (key, room) = (bound.key(), most.saturating_sub(self.used));
        let waiting = self.agent.map_or(0, |agent| agent.waiting);
        let end = match self.bounds.on_full {
            OnFull::DropOldest => {
                format!(
                    "then the oldest records are evicted, {} of payloads at a time ({key})",
                    size::text(GENERATION_BYTES)
                )
            }
            OnFull::Stop => format!("then tidegate takes no more messages, and the broker holds them ({key})"),
        };
        if room == 0 && waiting > 0 {
            let found = match self.bounds.on_full {
                OnFull::DropOldest => {
                    format!("{waiting} records wait, and what comes evicts the oldest of them now ({key})")
                }
                OnFull::Stop => format!("{waiting} records wait, and no message is taken now ({key})"),
            };
            return Step::bad(EVICTION, found, bound.remedy());
        }
        let aged = |s: u64| self.bounds.max_age.map(|age| age.as_secs()).filter(|age| *age < s);
        match self.agent.and_then(|agent| agent.holds_on_s) {
            Some(s) if aged(s).is_some() => {
                let age = span(aged(s).unwrap_or_default());
                Step::good(
                    EVICTION,
                    format!("what waited for {age} is evicted (journal.max_age); there is room for {}", span(s)),
                )
            }
            Some(s) => {
                let found = format!("without an uplink it takes what comes for {}, {end}", span(s));
                let next = format!("a longer outage needs more: {}", bound_remedy(bound));
                if s < DAY_S { Step::open(EVICTION, found, next) } else { Step::good(EVICTION, found) }
            }
            None => {
                let count = room / MESSAGE / 1000 * 1000;
                let age = self.bounds.max_age.map_or_else(String::new, |age| {
                    format!(", or what waited for {} is evicted (journal.max_age)", span(age.as_secs()))
                });
                let found = format!("without an uplink it takes at least {count} messages of 300 bytes, {end}{age}");
                Step::good(EVICTION, found)
            }
        }
    }
}

const EVICTION: &str = "journal in an outage";

fn bound_remedy(bound: Bound) -> &'static str {
    match bound {
        Bound::MinFree => "free space, or set journal.path to a folder on a larger partition",
        _ => "raise journal.max_bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::CheckResult::{Bad, Good, Open};
    use std::time::Duration;

    const USUAL: Bounds =
        Bounds { max_bytes: 512 * MIB, max_age: None, min_free: 32 * MIB, on_full: OnFull::DropOldest };
    const SMALL: Bounds = Bounds { max_bytes: 18 * MIB, min_free: 3 * MIB, ..USUAL };

    fn facts(free: u64, bounds: Bounds) -> Facts {
        let given = |value, default| value != default;
        Facts {
            used: 0,
            free: free * MIB,
            reserve: 0,
            bounds,
            defaults: SMALL,
            max_bytes_given: given(bounds.max_bytes, SMALL.max_bytes),
            min_free_given: given(bounds.min_free, SMALL.min_free),
            agent: None,
            takes: true,
        }
    }

    fn said(facts: &Facts) -> Vec<Step> {
        facts.steps(Path::new("/j"))
    }

    #[test]
    fn check_finds_a_floor_too_high_and_suggests_one() {
        let steps = said(&facts(17, Bounds { min_free: 32 * MIB, ..SMALL }));
        assert_eq!((steps[0].mark, steps[1].mark), (Bad, Bad));
        assert!(steps[0].found.contains("journal.min_free of 32 MiB leaves 0 B"), "{steps:#?}");
        assert_eq!(steps[0].next, "set journal.min_free = \"3 MiB\", then: sudo systemctl reload tidegate");
        assert!(steps[1].found.contains("all but the newest records are evicted at journal.min_free"), "{steps:#?}");
        let steps = said(&facts(17, SMALL));
        assert_eq!((steps[0].mark, steps[1].mark), (Good, Good), "{steps:#?}");
        assert!(steps[0].found.contains("17 MiB free, 14 MiB for records"), "{steps:#?}");
        let steps = said(&Facts { reserve: 4 * MIB, ..facts(17, SMALL) });
        assert!(steps[0].found.contains("10 MiB for records"), "{steps:#?}");
        let steps = said(&facts(5, SMALL));
        assert!(steps[0].mark == Bad && steps[0].next.contains("larger partition"), "no value helps: {steps:#?}");
    }

    #[test]
    fn check_finds_a_written_bound_beyond_the_free_space() {
        let steps = said(&facts(103, Bounds { max_bytes: 512 * MIB, ..SMALL }));
        assert!(steps[0].mark == Bad && steps[0].next.contains("journal.max_bytes = \"100 MiB\""), "{steps:#?}");
        let steps = said(&Facts { max_bytes_given: false, ..facts(103, USUAL) });
        assert_eq!(steps[0].mark, Good, "by itself the floor keeps it in bounds: {steps:#?}");
    }

    #[test]
    fn what_the_agent_measured_says_when_what_is_evicted() {
        let with =
            |holds_on_s, waiting, bounds| Facts { agent: Some(Running { holds_on_s, waiting }), ..facts(103, bounds) };
        let last = |facts: &Facts| said(facts).pop().expect("the outage");
        let step = last(&with(Some(3 * DAY_S), 0, SMALL));
        assert!(
            step.mark == Good
                && step.found.contains("for 3 d 0 h, then the oldest records are evicted, 2 MiB of payloads at a time"),
            "{step:?}"
        );
        let step = last(&with(Some(3600), 0, SMALL));
        assert!(step.mark == Open && step.next.contains("raise journal.max_bytes"), "{step:?}");
        let step = last(&with(Some(3 * DAY_S), 0, Bounds { max_age: Some(Duration::from_secs(DAY_S)), ..SMALL }));
        assert!(step.found.starts_with("what waited for 1 d 0 h is evicted (journal.max_age)"), "{step:?}");
        let step = last(&with(Some(3 * DAY_S), 0, Bounds { on_full: OnFull::Stop, ..SMALL }));
        assert!(step.found.contains("takes no more messages"), "{step:?}");
        let step = last(&Facts { used: 18 * MIB, ..with(Some(0), 7249, SMALL) });
        assert!(step.mark == Bad && step.found.starts_with("7249 records wait"), "{step:?}");
        let step = last(&with(None, 0, SMALL));
        assert!(step.mark == Good && step.found.contains("at least 17000 messages of 300 bytes"), "{step:?}");
    }

    #[test]
    fn the_agents_own_bounds_count_where_the_file_has_none() {
        let journal = serde_json::json!({
            "bytes": 5, "max_bytes": 9, "min_free": 1, "holds_on_s": 60, "lanes": [{ "waiting": 2 }, { "waiting": 3 }],
        });
        let mut own = facts(17, SMALL);
        own.ask(&journal);
        assert_eq!((own.used, own.bounds.max_bytes, own.bounds.min_free), (5, 9, 1));
        assert_eq!(own.agent.map(|agent| (agent.holds_on_s, agent.waiting)), Some((Some(60), 5)));
        assert!(own.takes);
        let mut refused = journal.clone();
        refused["read_only"] = true.into();
        own.ask(&refused);
        assert!(
            !own.takes && said(&own).len() == 1,
            "check must not say how long the journal holds on: {:#?}",
            said(&own)
        );
        let mut written = facts(17, USUAL);
        written.ask(&journal);
        assert_eq!((written.bounds.max_bytes, written.bounds.min_free), (USUAL.max_bytes, USUAL.min_free));
    }
}
