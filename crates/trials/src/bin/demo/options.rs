//! The command line.

use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use testkit::random::fresh_seed;

const AFTER_HELP: &str = "\
Exit status:
  0  nothing lost, duplicated or out of order
  1  something was
  2  wrong command line
  3  no verdict";

/// Sensors publish, the uplink is cut, the agent is killed, everything comes back, a customer reads the queue.
#[derive(clap::Parser)]
#[command(name = "demo", bin_name = "cargo demo", after_help = AFTER_HELP, args_override_self = true)]
pub(crate) struct Options {
    /// Let the sensors publish for so many seconds, 5 to 3600.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(5..=3600))]
    pub(crate) seconds: u32,
    /// Run so many ChirpStack sensors, 1 to 100000.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub(crate) devices: usize,
    /// Publish so many messages per second in all, 1 to 20000.
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) rate: u32,
    /// Draw payloads, ids and the kill's moment from N [default: a new one, printed].
    #[arg(long, value_name = "N", default_value_t = fresh_seed(), hide_default_value = true)]
    pub(crate) seed: u64,
    /// Use this tidegate binary instead of building one.
    #[arg(long, value_name = "FILE")]
    pub(crate) agent: Option<PathBuf>,
    /// Leave all running after the verdict, say where, until Ctrl-C.
    #[arg(long)]
    pub(crate) keep: bool,
    // Not in the help: a proof of the checker, not a feature.
    #[arg(long, hide = true)]
    pub(crate) sabotage: Option<Sabotage>,
}

/// Tampers with what the consumer received, so that a test sees the verdict fail.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    Drop,
    Duplicate,
    Reorder,
}
