//! The command line: few flags, read by hand; what is not known is refused.

use std::path::PathBuf;

/// What `--help` prints, and every refusal.
pub(crate) const HELP: &str = "\
cargo run --release --example chaos: the whole agent between a real Mosquitto and an SQS stub, under seeded faults.

  --seeds A..B       seeds to play, B left out (default 0..5); a single number plays one seed
  --jobs N           worlds at the same time (default 2, 1 to 16)
  --sabotage NAME    put a fault into the agent on purpose; the run must catch it within the seeds, and then exits 0
  --no-disk          leave out full disks, which need root (a small file system is mounted)
  --steps            print each fault when it is over, and the time it took
  --agent FILE       use this tidegate binary instead of building one

Exit status: 0 every promise was kept (or the sabotage was caught); 1 not; 2 wrong command line; 3 no verdict.";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Run(Options),
    Help,
}

/// How to run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seeds: std::ops::Range<u64>,
    pub(crate) jobs: usize,
    pub(crate) sabotage: Option<String>,
    pub(crate) disk: bool,
    pub(crate) steps: bool,
    pub(crate) agent: Option<PathBuf>,
}

/// Reads the arguments; an error says which one is wrong, and why.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options { seeds: 0..5, jobs: 2, sabotage: None, disk: true, steps: false, agent: None };
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value after it"));
        match &*flag {
            "-h" | "--help" => return Ok(Asked::Help),
            "--no-disk" => options.disk = false,
            "--steps" => options.steps = true,
            "--seeds" => options.seeds = seeds(&value()?)?,
            "--jobs" => {
                let text = value()?;
                let jobs = text.parse().ok().filter(|jobs| (1..=16).contains(jobs));
                options.jobs = jobs.ok_or_else(|| format!("--jobs takes a number from 1 to 16, not '{text}'"))?;
            }
            "--sabotage" => {
                let name = value()?;
                crate::plan::bait(&name)
                    .ok_or_else(|| format!("there is no sabotage '{name}'; see src/failpoints.rs"))?;
                options.sabotage = Some(name);
            }
            "--agent" => options.agent = Some(value()?.into()),
            _ => return Err(format!("'{flag}' is not known")),
        }
    }
    Ok(Asked::Run(options))
}

fn seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let wrong = || format!("--seeds takes a number or A..B with A below B, not '{text}'");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    match text.split_once("..") {
        None => number(text).map(|seed| seed..seed + 1),
        Some((from, to)) => Some(number(from)?..number(to)?).filter(|seeds| !seeds.is_empty()).ok_or_else(wrong),
    }
}
