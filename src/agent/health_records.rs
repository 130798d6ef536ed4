//! Says in the stream how the gateway is: looks every few seconds, and hands a health record to the journal when one is due.
//!
//! At a stop the record is written before the drains are told to end, and a queue that takes records has a moment to take this
//! one: so a cloud team tells an orderly stop from a gateway that fell silent.

use crate::clock::Clock;
use crate::config::{Config, CredentialsSource};
use crate::drain::DrainState;
use crate::journal::Journal;
use crate::record::LaneId;
use crate::record::identity::payload_hash;
use crate::record::own::{HEALTH, draft};
use crate::sqs::credentials::read_csv;
use crate::status::health_record::{Beside, Cadence, Cause, Judgement, data};
use crate::status::{StatusHub, StatusSnapshot, flash};
use crate::tls;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// How long a look at disks may take.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// What a queue that takes records has at a stop, to take the last one.
const LAST: Duration = Duration::from_millis(1500);
/// Between two looks whether it has.
const LAST_LOOK: Duration = Duration::from_millis(20);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Writes health records for the queues that want them.
#[derive(Debug)]
pub(super) struct HealthRecords {
    journal: Journal,
    hub: Arc<StatusHub>,
    clock: Clock,
    lanes: Vec<(LaneId, String, Cadence)>,
    /// Queues with a key file.
    keys: Vec<(String, PathBuf)>,
    /// The client certificate towards the broker.
    certificate: Option<PathBuf>,
}

impl HealthRecords {
    /// For the queues of `config`; the first record says `first`.
    pub(super) fn new(
        config: &Config,
        journal: &Journal,
        hub: &Arc<StatusHub>,
        clock: &Clock,
        first: Cause,
    ) -> HealthRecords {
        let wanted = config.queues.iter().filter(|queue| queue.health_records);
        let random = || u64::from(getrandom::u32().unwrap_or_default());
        let lanes = wanted.filter_map(|queue| {
            Some((journal.lane_id(&queue.name)?, queue.name.clone(), Cadence::new(first, random())))
        });
        let keys = config.queues.iter().filter_map(|queue| match &queue.credentials {
            CredentialsSource::CsvFile(file) => Some((queue.name.clone(), file.clone())),
            CredentialsSource::AwsChain => None,
        });
        let (journal, hub, clock) = (journal.clone(), hub.clone(), clock.clone());
        let (lanes, certificate) = (lanes.collect(), config.mqtt.client_cert_file.clone());
        HealthRecords { journal, hub, clock, lanes, keys: keys.collect(), certificate }
    }

    /// Runs until `stop`; at the end of the process (`ending`) with a last record.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>, ending: watch::Receiver<bool>) {
        if self.lanes.is_empty() {
            return;
        }
        loop {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if *ending.borrow() {
            self.say_last().await;
        }
    }

    /// Says what is due, where nothing of the kind waits.
    async fn look(&mut self) {
        let Some(snapshot) = self.snapshot().await else { return };
        let now_ms = self.clock.now().boottime_ms;
        let judged = Judgement::of(&snapshot);
        let mut due = Vec::new();
        for (lane, name, cadence) in &mut self.lanes {
            if let Some(cause) = cadence.due(now_ms, &judged)
                && !self.journal.own_waits(*lane)
            {
                cadence.said(now_ms, judged.clone());
                due.push((*lane, name.clone(), cause));
            }
        }
        self.say(&snapshot, due).await;
    }

    async fn say_last(&self) {
        let Some(snapshot) = self.snapshot().await else { return };
        self.say(&snapshot, self.lanes.iter().map(|(lane, name, _)| (*lane, name.clone(), Cause::Stop)).collect())
            .await;
        let takes = |name: &String| {
            let queue = snapshot.queues.iter().find(|queue| queue.name == *name);
            queue.is_some_and(|queue| matches!(queue.drain.state, DrainState::Idle | DrainState::Draining))
        };
        let open: Vec<LaneId> = self.lanes.iter().filter(|(_, name, _)| takes(name)).map(|(lane, ..)| *lane).collect();
        let gone = async {
            while open.iter().any(|lane| self.journal.own_waits(*lane)) {
                tokio::time::sleep(LAST_LOOK).await;
            }
        };
        // What is not taken in time waits for the next start.
        let _ = tokio::time::timeout(LAST, gone).await;
    }

    async fn snapshot(&self) -> Option<StatusSnapshot> {
        let hub = self.hub.clone();
        looked(move || hub.snapshot()).await
    }

    async fn say(&self, snapshot: &StatusSnapshot, due: Vec<(LaneId, String, Cause)>) {
        if due.is_empty() {
            return;
        }
        let (hub, clock, keys) = (self.hub.clone(), self.clock.clone(), self.keys.clone());
        let certificate = self.certificate.clone();
        let folder = self.journal.path().to_owned();
        let known = looked(move || beside(&hub, &clock, &keys, certificate.as_deref(), &folder)).await;
        let Some(known) = known else { return };
        let now = self.clock.now();
        for (lane, name, cause) in due {
            let data = data(snapshot, &Beside { cause, ..known.clone() }, &name);
            self.journal.say(draft(self.journal.id(), now, lane, HEALTH, &data));
        }
    }
}

/// Looks at disks, off the runtime's threads. `None`: a file system did not answer in time, say one of the network; a stop must
/// not wait for it.
async fn looked<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(LOOK_TIME, tokio::task::spawn_blocking(look)).await.ok()?.ok()
}

/// What the snapshot does not know; reads files.
fn beside(
    hub: &StatusHub,
    clock: &Clock,
    keys: &[(String, PathBuf)],
    certificate: Option<&Path>,
    folder: &Path,
) -> Beside {
    let (configuration, boot) = (payload_hash(hub.config().as_bytes()), hex::encode(clock.boot().0));
    let keys = keys.iter().filter_map(|(name, file)| {
        let end = read_csv(file).ok()?.id_end()?.to_owned();
        Some((name.clone(), end, age_days(file, clock.now().wall_ms)?))
    });
    let keys = keys.collect();
    // By the latest of all clocks: one that lags makes no certificate younger.
    let now_s = clock.certificate_time_s();
    let certificate_days =
        certificate.and_then(tls::file_ends_s).map(|end_s| end_s.saturating_sub(now_s).div_euclid(DAY_MS / 1000));
    let flash = flash::wear(Path::new("/sys"), folder);
    Beside { cause: Cause::Start, configuration, boot, certificate_days, flash, keys }
}

/// Days since a file was written.
fn age_days(file: &Path, now_ms: i64) -> Option<u64> {
    let written_s = std::fs::metadata(file).ok()?.mtime();
    let age_ms = now_ms.saturating_sub(written_s.saturating_mul(1000));
    u64::try_from(age_ms / DAY_MS).ok().or(Some(0))
}
