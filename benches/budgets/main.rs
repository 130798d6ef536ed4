//! What the agent may cost a gateway, beside its limits: binary and package, memory, and the start with a backlog.
//!
//!     cargo bench --bench budgets -- [--sizes] [--records N] [--agent FILE] [--fill FOLDER | --journal FOLDER [--minutes N]]
//!
//! The agent that ships (built here unless named) journals a backlog (1 M records unless told otherwise) while its queue is
//! away, is killed, starts again and drains, all in a memory cgroup of 64 MB where that can be made (as root). It ends
//! non-zero when it is not drained, when a record is missing or there twice, and when a size is over its limit; memory and
//! times are printed only, because they depend on the machine. `--fill` has the journal itself make such a backlog in a folder, and
//! `--journal` starts with a copy of that, for a machine that would take hours to be sent as much, and drains it for `--minutes`
//! (10) or to its end. `--sizes` looks at what `scripts/cross.sh` and
//! `scripts/package.sh` left in `target`, and at nothing else.
#![allow(clippy::print_stdout, reason = "figures for a person")]
#![allow(clippy::disallowed_methods, reason = "the agent's edges are not those of its peers")]

#[path = "../journal/real.rs"]
#[allow(dead_code, reason = "more of it is the other bench's")]
mod real;
#[path = "../journal/store.rs"]
#[allow(dead_code, reason = "more of it is the other bench's")]
mod store;
mod waiting;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::fake_sqs::{SqsStub, StubOptions};
use testkit::fleet::{Fleet, FleetOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Limits of the design's budgets: of sizes, then of resident memory (glibc, static musl) when all is drained, and at its peaks.
const BINARY_BYTES: u64 = 7_000_000;
const PACKAGE_BYTES: u64 = 3_000_000;
const DRAINED_BYTES: [u64; 2] = [18_000_000, 12_000_000];
const PEAK_BYTES: [u64; 2] = [32_000_000, 24_000_000];
const FIRST_SEND: Duration = Duration::from_secs(2);
/// The memory bound of the cgroup, in bytes.
const CGROUP_BYTES: u64 = 64 << 20;
/// Published and drained before the first look at the memory.
const DRAINED: usize = 25_000;
/// After the last record, before the memory that stays is read: the agent gives back what a burst took within seconds.
const REST: Duration = Duration::from_secs(10);
/// An emulated machine takes an hour for what others do in a minute.
const LONG: Duration = Duration::from_secs(7200);
const QUEUE: &str = "site.fifo";

fn row(what: &str, value: f64, limit: f64, unit: &str) {
    println!("{what:46} {value:9.2} {unit:2}   limit {limit:6.2} {unit:2}   {:5.2}", value / limit);
}

fn megabytes(what: &str, bytes: u64, limit: u64) {
    row(what, bytes as f64 / 1e6, limit as f64 / 1e6, "MB");
}

/// Prints the sizes of what was built for gateways; whether all are within their limits, and how many there are. Packages
/// of this machine's own architecture, which is not a gateway's, are printed for comparison.
fn sizes() -> (bool, usize) {
    let (mut good, mut count) = (true, 0);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let mut entries: Vec<PathBuf> = Vec::new();
    for folder in [root.clone(), root.join("packages")] {
        entries.extend(std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (file, limit) = match name.ends_with(".deb") {
            true => (entry, PACKAGE_BYTES),
            false if name.contains("-linux-") => (entry.join("release/tidegate"), BINARY_BYTES),
            false => continue,
        };
        let Ok(facts) = file.metadata() else { continue };
        megabytes(&name, facts.len(), limit);
        if !name.contains("amd64") && !name.contains("x86_64") {
            good &= facts.len() <= limit;
            count += 1;
        }
    }
    (good, count)
}

/// A folder of the memory controller, whatever the version, with its bound; none where that cannot be made.
fn cgroup() -> Option<PathBuf> {
    let name = format!("tidegate-budgets-{}", std::process::id());
    [("memory", "memory.limit_in_bytes"), ("", "memory.max")].into_iter().find_map(|(controller, bound)| {
        let folder = Path::new("/sys/fs/cgroup").join(controller).join(&name);
        std::fs::create_dir(&folder).ok()?;
        if std::fs::write(folder.join(bound), CGROUP_BYTES.to_string()).is_ok() {
            return Some(folder);
        }
        let _ = std::fs::remove_dir(&folder);
        None
    })
}

/// A program that joins the cgroup and becomes the agent.
fn inside(cgroup: &Path, agent: &Path, folder: &Path) -> Outcome<PathBuf> {
    let file = folder.join("agent");
    let text =
        format!("#!/bin/sh\necho $$ >'{}'\nexec '{}' \"$@\"\n", cgroup.join("cgroup.procs").display(), agent.display());
    std::fs::write(&file, text)?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755))?;
    Ok(file)
}

fn count(status: &serde_json::Value, of: &str) -> u64 {
    status["journal"]["lanes"][0][of].as_u64().unwrap_or_default()
}

/// Prints what stays resident after the records that were drained last.
async fn at_rest(agent: &AgentProcess, kind: usize) -> Outcome<()> {
    tokio::time::sleep(REST).await;
    megabytes("resident after them, drained", agent.memory()?.resident, DRAINED_BYTES[kind]);
    Ok(())
}

/// A broker, a queue, and an agent's configuration for both.
async fn peers() -> Outcome<(Mosquitto, SqsStub, AgentConfig)> {
    let broker = Mosquitto::start(&MosquittoOptions::default()).await?;
    let stub = SqsStub::start(StubOptions::default())?;
    let mut config = AgentConfig::new(broker.addr(), QueueTarget::on_stub("main", &stub, QUEUE));
    config.journal_extra = "max_bytes = \"16 GiB\"".into();
    Ok((broker, stub, config))
}

async fn backlog(program: &Path, kind: usize, records: usize) -> Outcome<()> {
    let (broker, mut stub, config) = peers().await?;
    let mut agent = AgentProcess::start(program, config).await?;
    agent.wait_status("online", LONG, |s| s["intake"]["routes"][0]["filters"][0]["granted"] == true).await?;
    let mut fleet = Fleet::new(FleetOptions::new(broker.addr(), 200));
    fleet.publish(DRAINED).await?;
    agent.wait_status("drained", LONG, |s| count(s, "accepted") >= DRAINED as u64).await?;
    megabytes("resident at the peak of 25,000 in a burst", agent.memory()?.peak, PEAK_BYTES[kind]);
    at_rest(&agent, kind).await?;

    stub.close().await;
    let begun = Instant::now();
    fleet.publish(records).await?;
    agent.wait_status("journaled", LONG, |s| count(s, "waiting") >= records as u64).await?;
    let (took, size) = (begun.elapsed(), agent.status().await?["journal"]["bytes"].as_u64().unwrap_or_default());
    println!(
        "{records} records waiting ({} MB, {:.0} per second)",
        size / 1_000_000,
        records as f64 / took.as_secs_f64()
    );
    megabytes("resident while they came: peak", agent.memory()?.peak, PEAK_BYTES[kind]);

    stub.open()?;
    let before = stub.counters(QUEUE).received;
    let begun = Instant::now();
    agent.kill().await?;
    agent.spawn()?;
    stub.wait_for(QUEUE, LONG, |counters| counters.received > before).await?;
    row("start to first send, all of them waiting", begun.elapsed().as_secs_f64(), FIRST_SEND.as_secs_f64(), "s");
    let all = (DRAINED + records) as u64;
    let status = agent.wait_status("drained", LONG, |s| count(s, "accepted") >= all).await?;
    println!("drained at {:.0} per second", records as f64 / begun.elapsed().as_secs_f64());
    megabytes("resident while they drained: peak", agent.memory()?.peak, PEAK_BYTES[kind]);
    at_rest(&agent, kind).await?;
    if count(&status, "appended") != all || stub.counters(QUEUE).accepted != all {
        return Err(format!("{all} were to arrive, each once: {status:#}").into());
    }
    Ok(())
}

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The agent as it ships, without the faults of proving runs: in its own folder, because that is another build.
fn build() -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/plain");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--release", "--locked", "--bin", "tidegate", "--target-dir"]).arg(&folder);
    match command.current_dir(env!("CARGO_MANIFEST_DIR")).status()?.success() {
        true => Ok(folder.join("release/tidegate")),
        false => Err("the agent could not be built".into()),
    }
}

fn run() -> Outcome<bool> {
    let (good, count) = sizes();
    if std::env::args().any(|argument| argument == "--sizes") {
        return if count > 0 { Ok(good) } else { Err("nothing was built for a gateway: scripts/cross.sh".into()) };
    }
    let records = option("--records").map_or(Ok(1_000_000), |text| text.parse())?;
    if let Some(folder) = option("--fill") {
        waiting::fill(Path::new(&folder), records as u64)?;
        return Ok(true);
    }
    let agent = option("--agent").map_or_else(build, |path| Ok(PathBuf::from(path).canonicalize()?))?;
    megabytes("this machine's binary (for comparison)", agent.metadata()?.len(), BINARY_BYTES);
    let kind = usize::from(agent.to_string_lossy().contains("musl"));
    let folder = tempfile::tempdir()?;
    let cgroup = cgroup();
    let program = match &cgroup {
        Some(cgroup) => inside(cgroup, &agent, folder.path())?,
        None => {
            println!("no memory cgroup can be made here (root?): the agent runs without the 64 MB bound");
            agent
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let minutes: u64 = option("--minutes").map_or(Ok(10), |text| text.parse())?;
    let drained = runtime.block_on(async {
        match option("--journal") {
            Some(filled) => {
                let time = Duration::from_secs(60 * minutes);
                waiting::drain(&program, kind, Path::new(&filled), records as u64, time).await
            }
            None => backlog(&program, kind, records).await,
        }
    });
    drop(runtime);
    if let Some(cgroup) = cgroup {
        for most in ["memory.max_usage_in_bytes", "memory.peak"] {
            if let Ok(text) = std::fs::read_to_string(cgroup.join(most)) {
                megabytes("the cgroup's peak, page cache included", text.trim().parse()?, CGROUP_BYTES);
            }
        }
        let _ = std::fs::remove_dir(cgroup);
    }
    drained.map(|()| good)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("a size is over its limit");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("budgets: {error}");
            ExitCode::FAILURE
        }
    }
}
