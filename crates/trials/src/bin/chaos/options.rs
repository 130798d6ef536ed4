//! The command line.

use clap::builder::RangedU64ValueParser;
use std::ops::Range;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Exit status:
  0  every promise was kept, or the sabotage was caught
  1  not so
  2  wrong command line
  3  no verdict";

/// The whole agent between a real Mosquitto and an SQS stub, under seeded faults.
#[derive(clap::Parser, Debug)]
#[command(name = "chaos", bin_name = "cargo chaos", after_help = AFTER_HELP)]
#[command(args_override_self = true)]
pub(crate) struct Options {
    /// Play the seeds from A to B, B left out, or the one seed A.
    #[arg(long, value_name = "A..B", default_value = "0..5", value_parser = seeds)]
    pub(crate) seeds: Range<u64>,
    /// Play so many worlds at the same time, 1 to 16.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(1..=16))]
    pub(crate) jobs: usize,
    /// Put a fault into the agent; the run must catch it by the last seed.
    #[arg(long, value_name = "NAME", value_parser = sabotage)]
    pub(crate) sabotage: Option<String>,
    /// Leave out full disks, which need root to mount a small one.
    #[arg(long = "no-disk", action = clap::ArgAction::SetFalse)]
    pub(crate) disk: bool,
    /// Deal these classes of fault alone, by their names in the verdict, with commas between them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = class)]
    pub(crate) only: Vec<String>,
    /// Print each fault when it is over, and the time it took.
    #[arg(long)]
    pub(crate) steps: bool,
    /// Use this tidegate binary instead of building one.
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "it takes a number or A..B with A below B".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    match text.split_once("..") {
        None => number(text).map(|seed| seed..seed + 1),
        Some((from, to)) => Some(number(from)?..number(to)?).filter(|seeds| !seeds.is_empty()).ok_or_else(wrong),
    }
}

fn sabotage(name: &str) -> Result<String, String> {
    let known = crate::plan::bait(name).map(|_| name.to_owned());
    known.ok_or_else(|| "there is no such sabotage; see src/failpoints.rs".into())
}

fn class(name: &str) -> Result<String, String> {
    let known = crate::classes::CLASSES.iter().any(|class| class.name == name);
    known
        .then(|| name.to_owned())
        .ok_or_else(|| "there is no such class; see crates/trials/src/bin/chaos/classes.rs".into())
}
