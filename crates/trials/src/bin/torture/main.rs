//! `cargo torture`: the power goes at any moment, and the journal keeps its promises.
//!
//! ```text
//! load ──► journal ──► recorder ──► disk model ──► image after a cut ──► journal opens ──► checked, goes on
//!   └─────────── marks: acknowledged, sent, settled, trimmed ───────────────────────────────┘
//! ```
//!
//! The real journal is put under load in a folder in RAM while every write and sync is recorded (`crates/power-cut`), with
//! what the outside world was told in the same order. Then the power is cut, in the model, at many moments of that one run,
//! each time with other luck for what was not synced; the folder is rebuilt, opened by the real journal, and held against
//! what was told. A recording that does not give the real folder back, byte for byte, ends the run without a verdict.
//!
//! Every choice depends on the seed and the cut's number alone, except the order in which threads run: so the trace of a
//! run in which something broke is kept, and is what `--seed S --cut K` cuts again.
#![allow(clippy::disallowed_methods, reason = "stands in for the agent, which starts threads")]

mod chain;
mod coming;
mod disk;
mod draft;
mod expected;
mod faults;
mod kept;
mod life;
mod load;
mod marks;
mod options;
mod phase;
mod quarantine;
mod session;
mod tally;
mod world;

use clap::Parser;
use expected::Expected;
use kept::Of;
use life::{End, Lives};
use load::Plan;
use marks::Recorded;
use options::{Options, Sabotage};
use power_cut::{Device, Disk, Event};
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use tally::Tally;
use testkit::random::Random;

/// Exit status when nothing could be judged; 1 says that a promise was broken, 2 that the command line is wrong.
const BROKEN: u8 = 3;
/// Cuts of one recorded run. Part of what a cut's number means, so never a choice of the command line.
const CUTS_PER_RUN: u64 = 25;
/// Violations told in words.
const TOLD: usize = 5;

fn main() -> ExitCode {
    let options = Options::parse();
    let others = std::panic::take_hook();
    // sled ends a thread where the disk refuses it. That is caught, and no news.
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|place| place.file().contains("/sled-")) {
            others(panic);
        }
    }));
    match options.sabotage {
        Some(Sabotage::StockFlush) => {
            tidegate::failpoints::arm(tidegate::failpoints::Failpoint::StockFlush);
            no_range_sync::tell(power_cut::range_synced);
        }
        Some(Sabotage::CursorFirst) => tidegate::failpoints::arm(tidegate::failpoints::Failpoint::CursorFirst),
        Some(Sabotage::ForgedFrame) => tidegate::failpoints::arm(tidegate::failpoints::Failpoint::ForgedFrame),
        Some(Sabotage::StaleSlot) => tidegate::failpoints::arm(tidegate::failpoints::Failpoint::StaleSlot),
        Some(Sabotage::ForgetHoles) => tidegate::failpoints::arm(tidegate::failpoints::Failpoint::ForgetHoles),
        Some(Sabotage::NoDirSync) | None => {}
    }
    match torture(&options) {
        Ok(tally) => judge(&options, &tally),
        Err(text) => {
            let _ = writeln!(stderr(), "torture: no verdict: {text} (seed {})", options.seed);
            ExitCode::from(BROKEN)
        }
    }
}

/// Records run after run and cuts each of them.
fn torture(options: &Options) -> Result<Tally, String> {
    let folder =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).map_err(|error| error.to_string())?;
    let mut tally = Tally::default();
    let (first, last) = options.cut.map_or((0, options.cuts.max(1)), |cut| (cut, cut + 1));
    for run in first / CUTS_PER_RUN..last.div_ceil(CUTS_PER_RUN) {
        let plan = Plan::draw(mix(options.seed, run), options.sabotage == Some(Sabotage::NoDirSync));
        let kept = options.cut.and_then(|_| kept::load(options.seed, Of::Run(run)));
        let recorded = match kept {
            Some(recorded) => recorded,
            None => {
                let recorded = in_folder(&folder.path().join("run"), |folder| plan.record(folder))?;
                tally.proven += 1;
                recorded
            }
        };
        tally.runs += 1;
        recorded.marks.iter().for_each(|mark| tally.mark(mark));
        let noted = |event: &Event| matches!(event, Event::Rename { to, .. } if to == "log/spent");
        tally.out_of_turn += u64::from(recorded.trace.iter().any(noted));
        let cuts = first.max(run * CUTS_PER_RUN)..last.min((run + 1) * CUTS_PER_RUN);
        let bad = in_folder(&folder.path().join("lives"), |folder| {
            // The run itself needs its records back: only what comes after a cut takes payloads for records.
            let forged = options.sabotage == Some(Sabotage::ForgedFrame);
            if forged {
                tidegate::failpoints::arm(tidegate::failpoints::Failpoint::FrameInFrame);
            }
            let bad = cut_run(options, &plan, &recorded, cuts.clone(), folder, &mut tally);
            tidegate::failpoints::disarm(tidegate::failpoints::Failpoint::FrameInFrame);
            bad
        })?;
        if bad && options.sabotage.is_none() {
            kept::save(options.seed, Of::Run(run), &recorded)?;
        }
    }
    Ok(tally)
}

fn in_folder<T>(folder: &Path, work: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir(folder).map_err(told)?;
    let done = work(folder)?;
    std::fs::remove_dir_all(folder).map_err(told)?;
    Ok(done)
}

/// One cut that was drawn.
struct Cut {
    number: u64,
    device: Device,
    moment: usize,
    random: Random,
}

/// Cuts one run at all its moments; whether anything broke.
fn cut_run(
    options: &Options,
    plan: &Plan,
    recorded: &Recorded,
    numbers: std::ops::Range<u64>,
    folder: &Path,
    tally: &mut Tally,
) -> Result<bool, String> {
    let phases = phase::phases(recorded, false);
    let draw = |number: u64| {
        let mut random = Random::seeded(mix(options.seed ^ 0x5eed, number));
        let device = if number.is_multiple_of(2) { Device::Plain } else { Device::Volatile };
        let moment = phase::moment(recorded, &phases, &mut random);
        Cut { number, device: options.device.only().unwrap_or(device), moment, random }
    };
    let mut cuts: Vec<Cut> = numbers.map(draw).collect();
    cuts.sort_by_key(|cut| cut.moment);
    let mut broken = false;
    for device in [Device::Plain, Device::Volatile] {
        // One sweep per device: the disk and what was told grow from cut to cut.
        let (mut disk, mut expected, mut done) = (Disk::new(device), Expected::new(plan.seed, plan.bounds), 0);
        for cut in cuts.iter_mut().filter(|cut| cut.device == device) {
            recorded.trace[done..cut.moment].iter().try_for_each(|event| disk.apply(event))?;
            expected.take_all(recorded, done..cut.moment);
            done = cut.moment;
            tally.of(device).0 += 1;
            tally.phase(device, phases[cut.moment]);
            let kept = options.cut.and_then(|number| kept::load(options.seed, Of::Cut(number)));
            let lives = Lives { plan, device, folder, kept };
            match lives.cut(&disk, &expected, &mut cut.random, tally) {
                Ok(()) => {}
                Err(End::Violations(wrong, between)) => {
                    if let Some(between) = between.filter(|_| options.sabotage.is_none()) {
                        kept::save(options.seed, Of::Cut(cut.number), &between)?;
                    }
                    broken = true;
                    tally.of(device).1 += 1;
                    tell(options, cut, phases[cut.moment].word(), &wrong, tally.bad());
                }
                Err(End::Broken(text)) => return Err(format!("cut {}: {text}", cut.number)),
            }
        }
    }
    Ok(broken)
}

fn tell(options: &Options, cut: &Cut, phase: &str, wrong: &[String], bad: u64) {
    if bad > TOLD as u64 && options.cut.is_none() {
        return;
    }
    let most = if options.cut.is_some() { usize::MAX } else { TOLD };
    let _ = writeln!(
        stderr(),
        "error: cut {} ({:?} device, {phase}, after event {}): --seed {} --cut {0}",
        cut.number,
        cut.device,
        cut.moment,
        options.seed
    );
    for text in wrong.iter().take(most) {
        let _ = writeln!(stderr(), "    {text}");
    }
}

fn judge(options: &Options, tally: &Tally) -> ExitCode {
    let devices = [(Device::Plain, "plain", tally.plain), (Device::Volatile, "volatile", tally.volatile)];
    let (passed, verdict) = match options.sabotage {
        None => (tally.bad() == 0, if tally.bad() == 0 { "KEPT" } else { "BROKEN" }.to_owned()),
        Some(sabotage) => {
            let missed = |(device, name, (cuts, bad)): &(Device, &str, (u64, u64))| {
                let least = sabotage.least_percent(*device).filter(|_| *cuts > 0)?;
                let said = format!("{name} device: {bad} of {cuts}, at least {least} % expected");
                (*bad == 0 || bad * 100 < cuts * least).then_some(said)
            };
            let mut missed: Vec<String> = devices.iter().filter_map(missed).collect();
            if tally.bad() == 0 && missed.is_empty() {
                missed.push("no cut showed it".to_owned());
            }
            match missed.is_empty() {
                true => (true, format!("CAUGHT {}", sabotage.name())),
                false => (false, format!("NOT CAUGHT {} ({})", sabotage.name(), missed.join("; "))),
            }
        }
    };
    let _ = writeln!(stdout(), "torture: {verdict}: {tally}; seed {}", options.seed);
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mix(seed: u64, number: u64) -> u64 {
    Random::seeded(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).bits()
}
