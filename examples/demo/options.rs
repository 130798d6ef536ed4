//! The command line: few flags, read by hand; what is not known is refused.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use testkit::random::fresh_seed;

/// What `--help` prints, and every refusal.
pub(crate) const HELP: &str = "\
cargo demo: sensors publish, the uplink is cut, the agent is killed, everything comes back, a customer reads the queue.

  --seconds N    how long the sensors publish (default 30, 5 to 3600)
  --devices N    ChirpStack sensors (default 60, 1 to 100000)
  --rate N       messages per second of all sensors together (default 150, 1 to 20000)
  --seed N       payloads, ids and the moment of the kill; default: another one each time, printed at the end
  --agent FILE   use this tidegate binary instead of building one
  --keep         leave everything running after the verdict, and print where to look, until Ctrl-C

Exit status: 0 nothing lost, duplicated or out of order; 1 something was; 2 wrong command line; 3 no verdict.";

/// What the command line asks for.
pub(crate) enum Asked {
    Run(Options),
    Help,
}

/// How to run.
pub(crate) struct Options {
    pub(crate) seconds: u32,
    pub(crate) devices: usize,
    pub(crate) rate: u32,
    pub(crate) seed: u64,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) keep: bool,
    pub(crate) sabotage: Option<Sabotage>,
}

/// Tampers with what the consumer received, so that a test sees the verdict fail. Not in the help: a proof of the
/// checker, not a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    Drop,
    Duplicate,
    Reorder,
}

/// Reads the arguments; an error says which one is wrong, and why.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options =
        Options { seconds: 30, devices: 60, rate: 150, seed: fresh_seed(), agent: None, keep: false, sabotage: None };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let (flag, inline) = match argument.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        if inline.is_some() && matches!(&*flag, "--help" | "--keep") {
            return Err(format!("{flag} takes no value"));
        }
        let mut value =
            || inline.clone().or_else(|| arguments.next()).ok_or_else(|| format!("{flag} needs a value after it"));
        match &*flag {
            "-h" | "--help" => return Ok(Asked::Help),
            "--keep" => options.keep = true,
            "--seconds" => options.seconds = number(&flag, &value()?, 5..=3600)?,
            "--devices" => options.devices = number(&flag, &value()?, 1..=100_000)?,
            "--rate" => options.rate = number(&flag, &value()?, 1..=20_000)?,
            "--seed" => options.seed = number(&flag, &value()?, 0..=u64::MAX)?,
            "--agent" => options.agent = Some(value()?.into()),
            "--sabotage" => options.sabotage = Some(sabotage(&value()?)?),
            _ => return Err(format!("'{flag}' is not known")),
        }
    }
    Ok(Asked::Run(options))
}

fn number<T>(flag: &str, text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{flag} takes a whole number from {} to {}, not '{text}'", range.start(), range.end()))
}

fn sabotage(text: &str) -> Result<Sabotage, String> {
    match text {
        "drop" => Ok(Sabotage::Drop),
        "duplicate" => Ok(Sabotage::Duplicate),
        "reorder" => Ok(Sabotage::Reorder),
        _ => Err(format!("--sabotage takes drop, duplicate or reorder, not '{text}'")),
    }
}
