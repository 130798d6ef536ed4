//! Conservation under chaos: the whole agent between a real Mosquitto and the SQS stub, under a seeded random plan of
//! faults, judged by what a consumer of the queues sees.
//!
//! ```text
//! fleets ─► Mosquitto ─► link (cut, frozen) ─► agent (killed, frozen, rebooted, reloaded) ─► uplink (cut, …) ─► stub (faults)
//!                  └─ perhaps the lowest free packet ids  └─ clocks moved, disk full or slow  └─ perhaps slow, lossy, silent, moved
//! ```
//!
//! Beside a network server's uplinks, which carry an identity, meters and lamps publish equal readings in a row, of which
//! only the broker's word tells whether one is a repeat. Every seed is its own world, with one lane or two, with QoS 1
//! alone or mixed, and a plan of thirteen faults ([`plan`]); at its end everything is healed, everything must arrive, and
//! lost, duplicated without saying so, out of order, missing without a gap record and false books are all 0. A class of
//! fault that was dealt three times and never really injected is a failure of the run. With `--sabotage` the agent breaks
//! one promise on purpose, and the run fails unless it notices.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the agent's edges are not those of its peers")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its verdict")]

mod acts;
mod classes;
mod links;
mod options;
mod plan;
mod routes;
mod run;
mod total;
mod world;

use clap::Parser;
use classes::Means;
use options::Options;
use plan::Deal;
use run::Outcome;
use std::path::Path;
use std::process::ExitCode;
use testkit::agent::program;
use testkit::link::SlowLink;
use testkit::small_disk::SmallDisk;
use tokio::task::JoinSet;
use total::Total;
use world::Setting;

/// Exit status when nothing could be judged.
const BROKEN: u8 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chaos: the system refuses to start threads: {error}");
            return ExitCode::from(BROKEN);
        }
    };
    match runtime.block_on(all(&options)) {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Whether a disk can be mounted here at all: said at once, not in the middle of the first seed.
async fn can_mount() -> testkit::Result<()> {
    let what = "full disks need a mount, and that needs root: run as root, or leave them out with --no-disk";
    let folder = tempfile::tempdir().map_err(|source| testkit::Error::Io { what: what.into(), source })?;
    let tried = SmallDisk::mount(folder.path(), 1).await;
    tried.map(drop).map_err(|error| testkit::Error::Peer { what: what.into(), text: error.to_string() })
}

/// Whether a link of its own can be made here. Where not, it says what is left out; where nothing may be left out
/// (`TIDEGATE_TESTS=strict`), that ends the run.
async fn can_shape() -> bool {
    let tried = match testkit::link::can_shape() {
        true => SlowLink::open(links::GOOD, 0).await.map_err(|error| error.to_string()),
        false => Err(testkit::link::NEEDS.to_owned()),
    };
    let tried =
        tried.map_err(|why| testkit::skipped(&format!("slow, lossy, silent and moved links are left out: {why}")));
    tried.is_ok()
}

/// Plays all seeds, a few at a time; whether the run is good.
async fn all(options: &Options) -> testkit::Result<bool> {
    if options.disk {
        can_mount().await?;
    }
    let means = Means { disk: options.disk, link: can_shape().await };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = program::find(options.agent.as_deref(), package, "chaos", &mut |text| println!("{text}")).await?;
    let setting = Setting { program, means, steps: options.steps, sabotage: options.sabotage.clone() };
    let mut total = Total::default();
    let mut seeds = options.seeds.clone();
    let mut worlds = JoinSet::new();
    let deal = Deal { bait: options.sabotage.as_deref().and_then(plan::bait), only: options.only.clone() };
    loop {
        // A sabotage that was caught needs no further seed.
        let enough = options.sabotage.is_some() && total.offended > 0;
        while worlds.len() < options.jobs && !enough {
            let Some(seed) = seeds.next() else { break };
            let (setting, plan) = (setting.clone(), plan::plan(seed, means, &deal));
            worlds.spawn(async move { run::run(&setting, &plan).await });
        }
        let Some(joined) = worlds.join_next().await else { break };
        let outcome = joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        tell(&outcome);
        total.add(&outcome);
    }
    Ok(total.tell(options, means))
}

/// One line for a seed, and all that is wrong with it.
fn tell(outcome: &Outcome) {
    let word = if outcome.is_clean() { "" } else { "  BROKEN" };
    let verdicts: Vec<String> =
        outcome.verdicts.iter().map(|v| format!("{v}, holes {}, marked {}", v.holes, v.duplicated_marked)).collect();
    let bare = &outcome.bare;
    println!(
        "seed {} ({}): {}; without identity: {} confirmed, lost {}, duplicated {}, out of order {}, marked {} ({:.1} s){word}",
        outcome.seed,
        outcome.shape.kinds().join(", "),
        verdicts.join("; second queue: "),
        bare.confirmed,
        bare.lost,
        bare.duplicated,
        bare.out_of_order,
        bare.marked,
        outcome.took.as_secs_f64()
    );
    if outcome.is_clean() {
        return;
    }
    let details = outcome.verdicts.iter().flat_map(|verdict| &verdict.details).chain(&bare.details);
    for text in outcome.offences.iter().chain(details) {
        println!("    {text}");
    }
    let file = std::env::temp_dir().join(format!("tidegate-chaos-{}.log", outcome.seed));
    if std::fs::write(&file, &outcome.log).is_ok() {
        println!("    the agent's log: {}", file.display());
    }
}
