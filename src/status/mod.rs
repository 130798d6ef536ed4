//! The status: one snapshot behind the page, `status.json`, the metrics and the commands.

pub(crate) mod acknowledged;
pub(crate) mod answers;
pub mod catalog;
pub(crate) mod connections;
pub mod control;
pub(crate) mod door;
pub mod findings;
pub mod flash;
mod growth;
pub mod health_record;
pub mod history;
pub mod metrics;
mod orders;
pub mod page;
mod parts;
mod places;
pub mod process;
pub(crate) mod seat;
pub mod server;
pub mod token;
pub mod uplink;
pub mod watch;

use crate::clock::{Clock, rfc3339_ms};
use crate::drain::DrainShared;
use crate::journal::{Journal, LaneStats, volume};
use crate::mqtt::names::Names;
use crate::mqtt::{IntakeShared, IntakeState, IntakeStatus};
use crate::sqs::connector::traffic::carried;
use crate::sync::locked;
use acknowledged::{Acknowledged, Acknowledgement};
use findings::losses::Counts;
use findings::readings::Readings;
use findings::{Facts, Finding, FirstSeen, Notes, Severity, findings};
use growth::Growth;
use history::{History, Point};
pub use parts::{JournalStatus, QueueStatus};
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use uplink::{Uplink, Usage};

/// The agent's health, in one word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Records flow, or nothing waits.
    Fine,
    /// Something is away; records wait in the journal and nothing needs to be done.
    Waiting,
    /// A person must act; nothing is lost yet, or what is lost is counted.
    Act,
}

/// The state of the whole agent at one instant.
#[derive(Clone, Debug, Serialize)]
pub struct StatusSnapshot {
    /// Version of the program.
    pub version: &'static str,
    /// The gateway's label, `gateway.id`.
    pub gateway: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The worst of the findings; fine without any.
    pub health: Health,
    /// The findings, each in one line.
    pub remarks: Vec<String>,
    /// What a person should know, the most urgent first.
    pub findings: Vec<Finding>,
    /// What becomes of readings.
    pub readings: Readings,
    /// Who acknowledged losses last, when, and what.
    pub acknowledged: Option<Acknowledgement>,
    /// Whether the wall clock is plausible.
    pub clock_plausible: bool,
    /// Whether the kernel, or the service's own time, confirms the wall clock.
    pub clock_confirmed: bool,
    /// The intake; absent until the journal is open.
    pub intake: Option<IntakeStatus>,
    /// The journal; absent until it is open.
    pub journal: Option<JournalStatus>,
    /// The queues, in the order of the configuration.
    pub queues: Vec<QueueStatus>,
    /// Bytes on the uplink, of IP packets.
    pub uplink: Uplink,
}

impl StatusSnapshot {
    /// Whether messages are taken from the broker and become durable.
    pub fn takes_messages(&self) -> bool {
        let online = self.intake.as_ref().is_some_and(|intake| matches!(intake.state, IntakeState::Online));
        let stands = |finding: &Finding| findings::STANDS_STILL.contains(&finding.code);
        self.journal.is_some() && online && !self.findings.iter().any(stands)
    }

    /// Puts in what the facts of the snapshot mean.
    fn judge(&mut self, notes: &Notes, acknowledged: &Counts, first_seen: &mut FirstSeen, now_ms: u64) {
        self.findings = findings(Facts { status: self, notes, acknowledged });
        first_seen.put_into(&mut self.findings, now_ms);
        self.readings = Readings::of(&self.findings, findings::losses::going_on(self));
        self.health = match self.findings.iter().map(|finding| finding.severity).max() {
            None => Health::Fine,
            Some(Severity::Waiting) => Health::Waiting,
            Some(Severity::Act) => Health::Act,
        };
        self.remarks = self.findings.iter().map(Finding::line).collect();
    }

    /// Lanes with records for which no queue is configured.
    pub fn stranded(&self) -> impl Iterator<Item = &LaneStats> {
        let lanes = self.journal.iter().flat_map(|journal| &journal.facts.lanes);
        lanes.filter(|lane| lane.waiting > 0 && self.queues.iter().all(|queue| queue.name != lane.name))
    }
}

/// What the status shows of the configuration.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// The names in use.
    pub names: Names,
    /// The configuration in effect, as a TOML file.
    pub config: String,
    /// Name and URL of each queue, in the order of the configuration.
    pub queues: Vec<(String, String)>,
    /// The journal's folder.
    pub journal: PathBuf,
}

/// Collects what each stage reports; filled while the agent starts.
#[derive(Debug)]
pub struct StatusHub {
    named: Mutex<Named>,
    queues: Vec<(String, String)>,
    path: PathBuf,
    clock: Clock,
    started_ms: u64,
    stages: Mutex<Stages>,
    histories: Histories,
    acknowledged: Mutex<Acknowledged>,
    acknowledging: Mutex<()>,
    growth: Mutex<Growth>,
    first_seen: Mutex<FirstSeen>,
    usage: Mutex<Usage>,
}

/// The names in use, and what depends on them: settled once the journal is open.
#[derive(Debug, Clone)]
struct Named {
    names: Names,
    /// The configuration in effect, as a TOML file.
    config: String,
    /// What a person has to decide about them.
    remark: Option<String>,
}

/// What each queue did, by name; shared, so that it outlives a reload.
pub type Histories = Arc<Mutex<HashMap<String, History>>>;

#[derive(Debug, Default, Clone)]
struct Stages {
    waiting_for: Option<String>,
    /// Why the page lets no client in, and what came of the last reload.
    page_closed: Option<String>,
    reload: Option<String>,
    journal: Option<(Journal, bool)>,
    intake: Option<Arc<IntakeShared>>,
    drains: Vec<(String, Arc<DrainShared>)>,
}

impl StatusHub {
    /// A board for what is configured, that continues `histories`.
    pub fn new(options: HubOptions, clock: &Clock, histories: Histories) -> StatusHub {
        let HubOptions { names, config, queues, journal } = options;
        StatusHub {
            named: Mutex::new(Named { names, config, remark: None }),
            queues,
            path: journal,
            clock: clock.clone(),
            started_ms: clock.now().boottime_ms,
            stages: Mutex::default(),
            histories,
            acknowledged: Mutex::default(),
            acknowledging: Mutex::default(),
            growth: Mutex::default(),
            first_seen: Mutex::default(),
            usage: Mutex::default(),
        }
    }

    fn stages<R>(&self, look: impl FnOnce(&mut Stages) -> R) -> R {
        look(&mut locked(&self.stages))
    }

    fn names_lock(&self) -> MutexGuard<'_, Named> {
        locked(&self.named)
    }

    /// The configuration in effect, as a file.
    pub fn config(&self) -> String {
        self.names_lock().config.clone()
    }

    /// The names in use.
    pub fn names(&self) -> Names {
        self.names_lock().names.clone()
    }

    /// Sets the names, and the configuration with them; `remark`: what a person has to decide about them.
    pub fn named(&self, names: Names, config: String, remark: Option<String>) {
        *self.names_lock() = Named { names, config, remark };
    }

    /// Notes why the agent cannot continue yet; `None`: it can.
    pub fn wait_for(&self, why: Option<String>) {
        self.stages(|stages| stages.waiting_for = why);
    }

    /// Notes why the page cannot be served; `None`: it can. Returns whether that changed.
    pub fn page_closed(&self, why: Option<String>) -> bool {
        self.stages(|stages| std::mem::replace(&mut stages.page_closed, why.clone()) != why)
    }

    /// Notes why the last reload of the configuration changed nothing; `None` when it did what it should.
    pub fn reload_refused(&self, why: Option<String>) {
        self.stages(|stages| stages.reload = why);
    }

    /// The journal, once it is open.
    pub fn journal(&self) -> Option<Journal> {
        self.stages(|stages| stages.journal.as_ref().map(|(journal, _)| journal.clone()))
    }

    /// Notes that the journal is open, and reads what was acknowledged of its losses, and carried. Blocks for two small reads.
    pub fn opened(&self, journal: &Journal, in_ram: bool) {
        *locked(&self.acknowledged) = Acknowledged::read(journal.path());
        *locked(&self.usage) = Usage::read(journal.path(), carried());
        self.stages(|stages| stages.journal = Some((journal.clone(), in_ram)));
    }

    /// Notes that the intake runs, and where its counts are.
    pub fn intake(&self, shared: Arc<IntakeShared>) {
        self.stages(|stages| stages.intake = Some(shared));
    }

    /// The intake, once it runs.
    pub fn intake_shared(&self) -> Option<Arc<IntakeShared>> {
        self.stages(|stages| stages.intake.clone())
    }

    /// Notes that a queue's drain runs, and where its counts are.
    pub fn drain(&self, queue: &str, shared: Arc<DrainShared>) {
        self.stages(|stages| stages.drains.push((queue.to_owned(), shared)));
    }

    /// Lets go of the stages, and so of the journal's lock.
    pub fn clear(&self) {
        self.keep_usage(true);
        self.stages(|stages| *stages = Stages::default());
    }

    /// Notes how deep each queue is now; returns whether anything waits. Call it each [`history::HOUR_STEP_S`] while it does.
    pub fn sample(&self) -> bool {
        // A later request is told since when something has been so.
        drop(self.snapshot());
        let stages = self.stages(|stages| stages.clone());
        let Some((journal, _)) = stages.journal else { return false };
        let now_ms = self.clock.now().boottime_ms;
        let taken = stages.intake.as_ref().map_or(0, |shared| shared.snapshot().taken_bytes);
        locked(&self.growth).note(growth::Sample { at_s: now_ms / 1000, bytes: taken });
        let mut histories = locked(&self.histories);
        let mut waiting = false;
        for lane in journal.stats().lanes {
            let drain = stages.drains.iter().find(|(queue, _)| *queue == lane.name);
            let lag_s = drain.map_or(0, |(_, shared)| shared.snapshot(now_ms).lag_s);
            waiting |= lane.waiting > 0;
            histories.entry(lane.name.clone()).or_default().note(point(&lane, lag_s, now_ms));
        }
        waiting
    }

    /// Acknowledges losses, durably; what that was. `None`: the journal is not open yet. Blocks.
    ///
    /// # Errors
    /// The disk refuses; then nothing is acknowledged.
    pub(crate) fn acknowledge(&self, request: &acknowledged::Request) -> std::io::Result<Option<Acknowledgement>> {
        let snapshot = self.snapshot();
        if snapshot.journal.is_none() || snapshot.intake.is_none() {
            return Ok(None);
        }
        // Looks at the status do not wait for the disk.
        let _one_at_a_time = locked(&self.acknowledging);
        let mut next = locked(&self.acknowledged).clone();
        let done = next.acknowledge(&self.path, request, &snapshot, &self.clock)?;
        *locked(&self.acknowledged) = next;
        for item in &done.what {
            let acknowledged::Item { code, about, count } = item;
            tracing::info!(who = done.who, code, about, count, "acknowledged");
        }
        Ok(Some(done))
    }

    /// The page of this moment. Looks at the disk, as [`StatusHub::snapshot`].
    pub fn page(&self) -> String {
        let snapshot = self.snapshot();
        let recent = self.stages(|stages| stages.intake.clone()).map(|shared| shared.recent()).unwrap_or_default();
        let histories = locked(&self.histories);
        let now = self.clock.now();
        let wall = self.clock.plausible().then(|| rfc3339_ms(now.wall_ms)).flatten();
        page::render(&snapshot, &histories, &recent, &page::Now { s: now.boottime_ms / 1000, wall })
    }

    /// The metrics of this moment, for Prometheus. Looks at the disk, as [`StatusHub::snapshot`].
    pub fn metrics(&self) -> String {
        metrics::render(&self.snapshot(), &process::Process::look(&self.clock))
    }

    /// The snapshot as JSON. Looks at the disk, as [`StatusHub::snapshot`].
    pub fn json(&self) -> Option<String> {
        serde_json::to_string(&self.snapshot()).ok().map(|json| crate::visible::json(&json).into_owned())
    }

    /// A snapshot. Looks at the disk: keep it off the runtime's threads.
    pub fn snapshot(&self) -> StatusSnapshot {
        let stages = self.stages(|stages| stages.clone());
        let now_ms = self.clock.now().boottime_ms;
        let journal = stages.journal.map(|(journal, in_ram)| JournalStatus {
            facts: journal.stats(),
            path: self.path.clone(),
            in_ram,
            free_bytes: volume::free_bytes(&self.path),
            holds_on_s: None,
        });
        let intake = stages.intake.map(|shared| shared.snapshot().look_for_password());
        let taken = intake.as_ref().map_or(0, |intake| intake.taken_bytes);
        let mut journal = journal;
        if let Some(journal) = &mut journal {
            let rate = locked(&self.growth).bytes_per_s(growth::Sample { at_s: now_ms / 1000, bytes: taken });
            let rate = rate.filter(|_| !journal.refuses());
            journal.holds_on_s = rate.and_then(|rate| growth::holds_on_s(journal.room(), rate));
        }
        let lane = |name: &str| journal.as_ref()?.facts.lanes.iter().find(|lane| lane.name == name).cloned();
        let drain = |name: &str| {
            stages.drains.iter().find(|(queue, _)| queue == name).map(|(_, shared)| shared.snapshot(now_ms))
        };
        let histories = locked(&self.histories);
        let queues = self.queues.iter().map(|(name, url)| {
            let (lane, drain) = (lane(name), drain(name).unwrap_or_default());
            let outlook = lane.as_ref().map(|lane| {
                let now = point(lane, drain.lag_s, now_ms);
                histories.get(name).cloned().unwrap_or_default().outlook(now)
            });
            QueueStatus { name: name.clone(), url: url.clone(), lane, drain, outlook }
        });
        let named = self.names_lock().clone();
        let acknowledged = locked(&self.acknowledged);
        let mut snapshot = StatusSnapshot {
            version: env!("CARGO_PKG_VERSION"),
            gateway: named.names.gateway_id,
            uptime_s: now_ms.saturating_sub(self.started_ms) / 1000,
            health: Health::Fine,
            remarks: Vec::new(),
            findings: Vec::new(),
            readings: Readings::default(),
            acknowledged: acknowledged.last().cloned(),
            clock_plausible: self.clock.plausible(),
            clock_confirmed: self.clock.confirmed(),
            intake,
            queues: queues.collect(),
            journal,
            uplink: self.uplink(),
        };
        let Stages { waiting_for, page_closed, reload, .. } = stages;
        let notes = Notes { waiting_for, page_closed, reload, names: named.remark };
        snapshot.judge(&notes, &acknowledged.counts, &mut locked(&self.first_seen), now_ms);
        snapshot
    }
}

/// A queue at this instant.
fn point(lane: &LaneStats, lag_s: u64, now_ms: u64) -> Point {
    Point { at_s: now_ms / 1000, waiting: lane.waiting, accepted: lane.accepted, lag_s }
}
