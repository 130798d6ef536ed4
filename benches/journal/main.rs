//! What the journal costs: bytes on the device, syncs, time, system calls, beside the least that it could cost.
//!
//!     cargo bench --bench journal -- [--folder FOLDER] [--records N] [--live SECONDS] [--only PART]
//!
//! In one run: append and fdatasync of the same bytes to one file; a plain segment file behind the same interface
//! (`plain.rs`); the journal. Records have 300 bytes of payload from 200 devices, and go through in groups of 50, of 20 and of
//! 1, are read back and settled. Then an opening with a backlog (100,000 records unless `--records` says otherwise), a flood
//! of 20,000 and a steady 100 per second, both through the drain that ships, towards a queue that answers after 20 ms. Parts
//! are `bytes`, `time`, `memory` and `traffic`.
//!
//! Each figure is printed beside its limit, with the ratio of the two. It ends non-zero when a record is missing or is
//! not what went in, and never for a figure: they depend on disk and machine. At 1 message per second the bench does not
//! wait for real time: commits of one, with the state file written as often as it is within so many seconds; `--live`
//! sends for so long in real time instead.
//!
//! Bytes are counted twice. *device*: sectors written to the block device that holds the folder, with the file system's
//! own journal, and with the writes of all other processes: give it its own file system (a loop device) to have them
//! alone. The limits are held against these. A file that grows costs there even where it is only appended to, hence the
//! ratio to that. *pages*: what this process made dirty and did not remove before it was written (`/proc/self/io`): only
//! this process's, but without the file system's journal and inodes, and by whole folios of the page cache: where the
//! kernel keeps large ones, one changed block counts as all of it. System calls are counted by `strace` where it is
//! there, in a run of their own, without those of opening and closing; bench and drain run in the first thread, the
//! others are the journal's; context switches by thread, without threads that have ended.
#![allow(clippy::print_stdout, reason = "figures for a person")]
#![allow(clippy::disallowed_methods, reason = "it stands in for the agent, which starts threads and opens files")]

mod counts;
mod pages;
mod plain;
mod real;
mod resident;
mod store;
mod traffic;

use counts::Counts;
use pages::Pages;
use plain::{OneFile, Segments};
use real::{Keeping, Real};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use store::{DEVICES, Message, Outcome, PAYLOAD_BYTES, Store};
use traffic::Load;

/// Records, records per commit, and the limit for device bytes per payload byte.
const GROUPS: [(u64, u64, Option<f64>); 3] = [(20_000, 50, Some(2.0)), (10_000, 20, Some(3.0)), (1_000, 1, None)];
const SYNCS_PER_COMMIT: f64 = 1.1;
const BYTES_AT_ONE_PER_SECOND: f64 = 8_000.0;
/// Of the rate of append and fdatasync.
const COMMIT_RATE: f64 = 0.8;
const OPEN_SECONDS: f64 = 0.2;
const READ_BACK_BYTES: f64 = 5_000.0;
const CALLS_PER_RECORD: f64 = 25.0;
const FLOOD: Load = Load { records: 20_000, per_second: 0, devices: DEVICES };
/// Fewer groups than the flights take: the drain's window fills, and most of it is read again when its turn comes.
const FEW: Load = Load { devices: 20, ..FLOOD };
const STEADY: Load = Load { records: 1_000, per_second: 100, devices: DEVICES };
/// Commits that are timed, each of 20, in turn with the others.
const TIMED: usize = 300;
/// At 1 message per second the state file is written once per so many records: every 30 s (`src/journal/ledger/cadence.rs`).
const STATE_EVERY: u64 = 30;

fn row(what: &str, value: f64, unit: &str) {
    println!("{what:58} {value:10.2} {unit}");
}

/// `least`: the limit is the least that it should be.
fn held(what: &str, value: f64, limit: f64, unit: &str, least: bool) {
    let sign = if least { "≥" } else { "≤" };
    println!("{what:58} {value:10.2} {unit:5} limit {sign} {limit:8.2} ratio {:6.2}", value / limit);
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, otherwise: u64) -> Outcome<u64> {
    Ok(option(name).map_or(Ok(otherwise), |text| text.parse())?)
}

/// The journal and what it is measured beside, each in its own folder.
const SUBJECTS: [&str; 3] = ["append + fdatasync", "segment files", "journal"];

fn open(subject: &str, folder: &Path, keeping: Keeping) -> Outcome<Box<dyn Store>> {
    let folder = folder.join(subject.replace(' ', ""));
    Ok(match subject {
        "append + fdatasync" => Box::new(OneFile::open(&folder)?),
        "segment files" => Box::new(Segments::open(&folder)?),
        _ => Box::new(Real::open(&folder, keeping)?),
    })
}

fn messages(first: u64, count: u64) -> Vec<Message> {
    (first..first + count).map(Message::of).collect()
}

/// A figure of each subject, with the limit for the journal's.
fn table(what: &str, figures: [f64; 3], unit: &str, limit: Option<(f64, bool)>) {
    let [file, segments, journal] = figures;
    print!("{what:34} {file:9.2} {segments:9.2} {journal:9.2} {unit:2}");
    match limit {
        Some((limit, least)) => println!(" {} {limit:8.2} {:6.2}", if least { "≥" } else { "≤" }, journal / limit),
        None => println!(),
    }
}

fn heading(what: &str) {
    println!("\n{what}");
    println!("{:34} {:>9} {:>9} {:>9}     {:>7} {:>6}", "", "file", "segments", "journal", "limit", "ratio");
}

/// What a subject's records cost.
struct Cost {
    all: Counts,
    /// Syncs while the bench waited for a commit.
    in_commits: u64,
    /// What was in its files before it was drained, where it is the journal.
    pages: Pages,
    commits: u64,
    time: Duration,
}

/// Fills and drains a subject in groups.
fn cost(subject: &str, folder: &Path, records: u64, group: u64) -> Outcome<Cost> {
    let slow = group == 1;
    let folder = tempfile::tempdir_in(folder)?;
    let mut store = open(subject, folder.path(), if slow { Keeping::Asked } else { Keeping::Thread })?;
    let before = Counts::flushed(folder.path());
    let (mut commits, mut in_commits, mut drained, mut time) = (0, 0, 0, Duration::ZERO);
    for first in (1..=records).step_by(group as usize) {
        let since = counts::syncs();
        let commit = store.commit(messages(first, group))?;
        in_commits += counts::syncs() - since;
        commits += commit.commits;
        time += commit.time;
        if slow {
            drained += store.drain(group)?;
            if first % STATE_EVERY == 0 {
                store.note_state()?;
            }
        }
    }
    let pages = if subject == "journal" { Pages::below(&folder.path().join(subject))? } else { Pages::default() };
    drained += store.drain(records)?;
    if drained != records {
        return Err(format!("{subject}: {drained} of {records} came back").into());
    }
    store.close()?;
    Ok(Cost { all: Counts::flushed(folder.path()) - before, in_commits, pages, commits, time })
}

fn groups(folder: &Path, (records, group, limit): (u64, u64, Option<f64>)) -> Outcome<()> {
    heading(&format!("{records} records in groups of {group}, filled and drained; bytes per byte of payload:"));
    let mut costs = Vec::new();
    for subject in SUBJECTS {
        costs.push(cost(subject, folder, records, group)?);
    }
    let of = |figure: &dyn Fn(&Cost) -> f64| std::array::from_fn(|at| figure(&costs[at]));
    let payload = (records * PAYLOAD_BYTES as u64) as f64;
    let (count, floor) = (records as f64, costs[0].all.device as f64);
    table("device bytes", of(&|cost| cost.all.device as f64 / payload), "", limit.map(|limit| (limit, false)));
    table("device bytes, of the file's", of(&|cost| cost.all.device as f64 / floor), "", None);
    table("bytes of pages", of(&|cost| cost.all.pages as f64 / payload), "", None);
    let Pages { all, lists, longest } = costs[2].pages;
    row("of sled's messages, its list of trees", lists as f64 / all as f64 * 100.0, "%");
    row("the longest list, which it keeps in memory", longest as f64 / 1e3, "KB");
    let syncs = of(&|cost| cost.in_commits as f64 / cost.commits as f64);
    table("syncs per commit", syncs, "", Some((SYNCS_PER_COMMIT, false)));
    table("all syncs per commit", of(&|cost| cost.all.syncs as f64 / cost.commits as f64), "", None);
    table("records per commit", of(&|cost| count / cost.commits as f64), "", None);
    table("time per commit, mean", of(&|cost| cost.time.as_secs_f64() * 1e3 / cost.commits as f64), "ms", None);
    if group == 1 {
        let limit = Some((BYTES_AT_ONE_PER_SECOND, false));
        table("device bytes per record, 1/s", of(&|cost| cost.all.device as f64 / count), "B", limit);
        table("bytes of pages per record, 1/s", of(&|cost| cost.all.pages as f64 / count), "B", None);
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// Commits of 20 in turn: the machine's other work hits all of them alike.
fn commit_time(folder: &Path) -> Outcome<()> {
    heading(&format!("commits of 20, {TIMED} of each in turn, medians:"));
    let folder = tempfile::tempdir_in(folder)?;
    let mut stores =
        SUBJECTS.iter().map(|subject| open(subject, folder.path(), Keeping::Asked)).collect::<Outcome<Vec<_>>>()?;
    let mut times = vec![Vec::new(); SUBJECTS.len()];
    for first in (1..).step_by(20).take(TIMED) {
        for (store, times) in stores.iter_mut().zip(&mut times) {
            times.push(store.commit(messages(first, 20))?.time);
        }
    }
    let medians: [f64; 3] = std::array::from_fn(|at| median(&mut times[at]));
    table("time per commit", medians.map(|time| time * 1e3), "ms", None);
    table("rate, of the file's", medians.map(|time| medians[0] / time), "", Some((COMMIT_RATE, true)));
    stores.into_iter().try_for_each(Store::close)
}

fn opening(folder: &Path, records: u64) -> Outcome<()> {
    heading(&format!("opening with {records} records waiting, the page cache warm:"));
    let mut figures = [[f64::NAN; 3]; 4];
    for (at, subject) in SUBJECTS.iter().enumerate().skip(1) {
        let folder = tempfile::tempdir_in(folder)?;
        let mut store = open(subject, folder.path(), Keeping::Thread)?;
        for first in (1..=records).step_by(1_000) {
            store.commit(messages(first, 1_000.min(records + 1 - first)))?;
        }
        store.close()?;
        let since = Instant::now();
        let mut store = open(subject, folder.path(), Keeping::Thread)?;
        figures[0][at] = since.elapsed().as_secs_f64();
        let mut drained = store.drain(1)?;
        figures[1][at] = since.elapsed().as_secs_f64();
        figures[2][at] = store.commit(messages(records + 1, 1))?.time.as_secs_f64() * 1e3;
        figures[3][at] = store.commit(messages(records + 2, 1))?.time.as_secs_f64() * 1e3;
        drained += store.drain(u64::MAX)?;
        if drained != records + 2 {
            return Err(format!("{subject}: {drained} of {records} came back").into());
        }
        store.close()?;
    }
    table("to open", figures[0], "s", Some((OPEN_SECONDS, false)));
    table("to the first record", figures[1], "s", None);
    table("first commit after it", figures[2], "ms", None);
    table("second commit", figures[3], "ms", None);
    Ok(())
}

/// A run in its own process; with `traced`, gives its system calls instead: all, and those of the journal's threads.
fn child(folder: &Path, load: Load, traced: bool) -> Outcome<Option<Vec<u64>>> {
    let folder = tempfile::tempdir_in(folder)?;
    let calls = folder.path().join("calls");
    let itself = std::env::current_exe()?;
    let mut command = match traced {
        true => {
            let mut strace = Command::new("strace");
            strace.args(["-ff", "-o"]).arg(&calls).arg(itself);
            strace
        }
        false => Command::new(itself),
    };
    command.arg("--traffic").arg(folder.path().join("journal"));
    let Load { records, per_second, devices } = load;
    let numbers = [records, u64::from(per_second), devices].map(|number| number.to_string());
    command.args(["--records", &numbers[0], "--per-second", &numbers[1], "--devices", &numbers[2]]);
    let output = match command.output() {
        Err(error) if traced && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output?,
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    if traced {
        return traced_calls(folder.path()).map(Some);
    }
    Ok(Some(text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?))
}

/// Calls in strace's files, one per thread: all, and without those of the first thread, in which bench and drain run. What only
/// a rigged build asks for is left out.
fn traced_calls(folder: &Path) -> Outcome<Vec<u64>> {
    let mut counted = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let thread = path.extension().and_then(|id| id.to_str()).and_then(|id| id.parse::<u32>().ok());
        if let Some(thread) = thread {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            let is_call = |line: &&str| !line.starts_with(['+', '-']) && !line.contains("/rig-");
            counted.push((thread, text.lines().filter(is_call).count() as u64));
        }
    }
    let first = counted.iter().min().ok_or("strace left no file")?.1;
    let all = counted.iter().map(|(_, calls)| calls).sum::<u64>();
    Ok(vec![all, all - first])
}

fn traffic(folder: &Path, load: Load) -> Outcome<()> {
    let Load { records, per_second, devices } = load;
    let pace = if per_second == 0 { "as fast as it goes".to_owned() } else { format!("{per_second} per second") };
    println!("\n{records} records of {devices} devices through journal and drain, {pace}, per record:");
    let counted = child(folder, load, false)?.ok_or("it was not traced")?;
    let per = |count: u64| count as f64 / records as f64;
    let [device, pages, read, syncs, mallocs, switches, cpu_ms] = counted[..] else {
        return Err(format!("{counted:?}").into());
    };
    row("device bytes", per(device), "B");
    row("bytes of pages", per(pages), "B");
    row("syncs", per(syncs), "");
    match per_second {
        0 => held("bytes read back", per(read), READ_BACK_BYTES, "B", false),
        _ => row("bytes read back", per(read), "B"),
    }
    match child(folder, load, true)?.zip(child(folder, Load { records: 0, ..load }, true)?) {
        Some((all, opened)) => {
            let [calls, journals] = [0, 1].map(|which| per(all[which].saturating_sub(opened[which])));
            row("system calls", calls, "");
            match per_second {
                100 => held("system calls of the journal's threads", journals, CALLS_PER_RECORD, "", false),
                _ => row("system calls of the journal's threads", journals, ""),
            }
        }
        None => println!("no strace here: system calls are not counted"),
    }
    row("context switches", per(switches), "");
    row("allocations", per(mallocs), "");
    row("CPU time per 1,000 records", per(cpu_ms), "s");
    Ok(())
}

fn memory(folder: &Path) -> Outcome<()> {
    println!("\nresident memory by what the open generation holds, drained and trimmed, in MB:");
    println!("{:>10} {:>10} {:>12} {:>12} {:>12}", "records", "envelopes", "none in it", "all in it", "closed");
    for records in [640, 1_280, 2_560, 4_000] {
        let folder = tempfile::tempdir_in(folder)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--resident").arg(folder.path().join("journal")).args(["--records", &records.to_string()]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let bytes: Vec<f64> = text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [opened, open, closed] = bytes[..] else {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        };
        let kilobytes = records * (PAYLOAD_BYTES as u64 + 100) / 1000;
        println!("{records:10} {kilobytes:7} KB {:12.2} {:12.2} {:12.2}", opened / 1e6, open / 1e6, closed / 1e6);
    }
    Ok(())
}

fn run() -> Outcome<()> {
    if let Some(folder) = option("--resident") {
        let [opened, open, closed] = resident::run(Path::new(&folder), number("--records", 0)?)?;
        println!("{opened} {open} {closed}");
        return Ok(());
    }
    if let Some(folder) = option("--traffic") {
        let per_second = number("--per-second", 0)? as u32;
        let load = Load { records: number("--records", 0)?, per_second, devices: number("--devices", DEVICES)? };
        let counts = traffic::run(Path::new(&folder), load)?;
        let Counts { device, pages, read, syncs, mallocs, switches, cpu_ms } = counts;
        println!("{device} {pages} {read} {syncs} {mallocs} {switches} {cpu_ms}");
        return Ok(());
    }
    let folder = option("--folder").map_or_else(std::env::temp_dir, PathBuf::from);
    let (records, live) = (number("--records", 100_000)?, number("--live", 0)?);
    let only = option("--only");
    let is_wanted = |part: &str| only.as_ref().is_none_or(|only| only == part);
    if is_wanted("bytes") {
        GROUPS.iter().try_for_each(|group| groups(&folder, *group))?;
    }
    if is_wanted("time") {
        commit_time(&folder)?;
        opening(&folder, records)?;
    }
    if is_wanted("memory") {
        memory(&folder)?;
    }
    if is_wanted("traffic") {
        [FLOOD, FEW, STEADY].into_iter().try_for_each(|load| traffic(&folder, load))?;
        if live > 0 {
            traffic(&folder, Load { records: live, per_second: 1, devices: DEVICES })?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("journal: {error}");
            ExitCode::FAILURE
        }
    }
}
