//! The stages' tasks and threads: each started here, kept going over panics, and ended within its bound.

use crate::agent::health_records::HealthRecords;
use crate::agent::options;
use crate::agent::signals::Signals;
use crate::clock::Clock;
use crate::config::Config;
use crate::drain::{Drain, DrainOptions, DrainShared};
use crate::journal::{Append, Journal, Lane, Opened};
use crate::mqtt::PendingAck;
use crate::network_watch::LinkWatch;
use crate::record::Number;
use crate::sqs::BatchSender;
use crate::sqs::client::SqsSender;
use crate::status::watch::{Change, FindingsWatch};
use crate::status::{StatusHub, control, history, server};
use crate::sync::locked;
use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two looks at what was set aside.
const ASIDE_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks at the findings.
const FINDINGS_PAUSE: Duration = Duration::from_secs(10);
/// Before a drain or the state's keeper, ended by a panic, is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The journal's two threads.
#[derive(Debug)]
pub(super) struct WriterThreads {
    journal: Journal,
    writer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    give_up: Arc<AtomicBool>,
}

impl WriterThreads {
    /// Starts them. What the intake appends goes in at the one end, and comes back durable at the other.
    pub(super) fn start(opened: Opened, linger: Duration) -> std::io::Result<Started> {
        let (appends, inbox) = mpsc::unbounded_channel();
        let (committed, tickets) = mpsc::unbounded_channel();
        let give_up = Arc::new(AtomicBool::new(false));
        let journal = opened.journal.clone();
        let writer = opened.writer(linger, inbox, committed, give_up.clone());
        let writer = thread("journal-writer", move || writer.run())?;
        let kept = journal.clone();
        let keeper = thread("journal-keeper", move || keep_state(&kept))?;
        Ok((WriterThreads { journal, writer, keeper, give_up }, appends, tickets))
    }

    /// The writer need not wait any longer for a disk that refuses.
    pub(super) fn give_up(&self) {
        self.give_up.store(true, Relaxed);
    }

    /// Waits for the writer, then for the last state.
    pub(super) async fn end(self) {
        join(self.writer).await;
        self.journal.stop_keeping();
        join(self.keeper).await;
    }
}

/// The threads, the way into the journal, and the tickets that come back.
pub(super) type Started = (WriterThreads, UnboundedSender<Append<PendingAck>>, UnboundedReceiver<Vec<PendingAck>>);

/// The page and its API, where they are wanted.
pub(super) fn serve_page(
    helpers: &mut JoinSet<()>,
    config: &Config,
    hub: &Arc<StatusHub>,
    retry: &watch::Receiver<u64>,
) {
    if let Some(listen) = config.status.listen {
        let (token_file, hub, retry) = (config.status.token_file.clone(), hub.clone(), retry.clone());
        helpers.spawn(async move { match server::serve(listen, token_file, hub, retry).await {} });
    }
}

/// What runs beside the stages: the control socket, the watch for routes, samples, and another try of what is set aside.
/// Gives the count of routes that came.
pub(super) fn start_helpers(
    helpers: &mut JoinSet<()>,
    config: &Config,
    journal: &Journal,
    hub: &Arc<StatusHub>,
) -> watch::Receiver<u64> {
    let (folder, asked) = (config.journal.path.clone(), hub.clone());
    helpers.spawn(async move { match control::serve(folder, asked).await {} });
    let (returned, link) = watch::channel(0);
    helpers.spawn(watch_link(returned));
    helpers.spawn(sample(hub.clone(), journal.durable_watch()));
    helpers.spawn(try_what_is_aside(journal.clone()));
    link
}

/// A drain for each queue, with its sender, and among the `helpers` a look at its key's file.
pub(super) fn start_drains(
    helpers: &mut JoinSet<()>,
    config: &Config,
    senders: Vec<SqsSender>,
    journal: &Journal,
    hub: &StatusHub,
    clock: &Clock,
    signals: &Signals,
) -> JoinSet<()> {
    let mut drains = JoinSet::new();
    for (queue, sender) in config.queues.iter().zip(senders) {
        let lane = journal.lane(&queue.name).expect("opened with every configured queue");
        let options = options::drain(config, queue, signals);
        let shared = Arc::new(DrainShared::default());
        hub.drain(&queue.name, shared.clone());
        let sender = Arc::new(sender);
        helpers.spawn(watch_key_file(sender.clone(), shared.clone()));
        drains.spawn(keep_draining(lane, sender, options, clock.clone(), shared, signals.stop.clone()));
    }
    drains
}

/// What is said of the gateway's health in the stream, until `stop`; then the drains may end. `ending`: the process ends, and not only
/// this run.
pub(super) fn start_health_records(
    health: HealthRecords,
    stop: &watch::Receiver<bool>,
    ending: watch::Receiver<bool>,
    end_drains: watch::Sender<bool>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut stop = stop.clone();
    tasks.spawn(async move {
        if AssertUnwindSafe(health.run(stop.clone(), ending)).catch_unwind().await.is_err() {
            tracing::error!("health records ended by a panic, and come again at the next start; please report this");
        }
        // A closed channel is a stop, too.
        let _ = stop.wait_for(|stop| *stop).await;
        end_drains.send_replace(true);
    });
    tasks
}

/// Drains a lane; should a drain end by a panic, the next one goes on at the lane's cursor.
async fn keep_draining(
    lane: Lane,
    sender: Arc<SqsSender>,
    options: DrainOptions,
    clock: Clock,
    shared: Arc<DrainShared>,
    stop: watch::Receiver<bool>,
) {
    loop {
        let drain = Drain::new(lane.clone(), sender.clone(), options.clone(), &clock, shared.clone());
        if AssertUnwindSafe(drain.run(stop.clone())).catch_unwind().await.is_ok() {
            return;
        }
        tracing::error!(queue = options.queue, "a drain ended by a panic and is started again; please report this");
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

/// Looks at the file of a queue's key now and then, also while nothing is sent: a restart would read it.
async fn watch_key_file(sender: Arc<SqsSender>, shared: Arc<DrainShared>) {
    loop {
        tokio::time::sleep(FINDINGS_PAUSE).await;
        let (sender, shared) = (sender.clone(), shared.clone());
        let _ = tokio::task::spawn_blocking(move || shared.key_file(sender.key_file_trouble())).await;
    }
}

/// Keeps the state file; after a panic another loop goes on, and what it has to write comes with the next change.
fn keep_state(journal: &Journal) {
    while catch_unwind(AssertUnwindSafe(|| journal.keep())).is_err() {
        tracing::error!(
            "the keeper of the journal's state panicked and is started again; please report this with the log"
        );
        std::thread::sleep(RESTART_PAUSE);
    }
}

/// Notes depth and lag for the page while something waits, and once when something comes; an idle agent sleeps.
async fn sample(hub: Arc<StatusHub>, mut durable: watch::Receiver<Number>) {
    let step = Duration::from_secs(history::HOUR_STEP_S);
    loop {
        durable.mark_unchanged();
        let sampled = hub.clone();
        let waiting = tokio::task::spawn_blocking(move || sampled.sample()).await.unwrap_or(false);
        if !waiting && durable.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(step).await;
    }
}

/// Tells the log which findings have come and gone, and keeps how much the uplink has carried.
pub(super) async fn watch_findings(hub: Arc<StatusHub>, told: Arc<Mutex<FindingsWatch>>) {
    loop {
        tokio::time::sleep(FINDINGS_PAUSE).await;
        let (hub, told) = (hub.clone(), told.clone());
        let look = move || {
            let findings = hub.snapshot().findings;
            locked(&told).look(findings).iter().for_each(Change::log);
            hub.keep_usage(false);
        };
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

/// Tells the drains when addresses or routes have changed. Without it their waits for the link run out.
async fn watch_link(returned: watch::Sender<u64>) {
    let watched = async {
        let mut link = LinkWatch::open()?;
        loop {
            link.changed().await?;
            returned.send_modify(|n| *n += 1);
        }
    };
    let ended: std::io::Result<()> = watched.await;
    if let Err(error) = ended {
        tracing::info!(%error, "netlink unavailable: reconnects wait for the retry timer");
    }
}

/// Tries what the disk has refused for good again, now and once a day.
async fn try_what_is_aside(journal: Journal) {
    loop {
        let again = journal.clone();
        let _ = tokio::task::spawn_blocking(move || again.try_aside_again()).await;
        tokio::time::sleep(ASIDE_PAUSE).await;
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Waits for every task of a set. A panic ends only its own task, and the log says so.
pub(super) async fn end_of(tasks: &mut JoinSet<()>, name: &str) {
    while let Some(joined) = tasks.join_next().await {
        if let Err(error) = joined {
            tracing::error!(task = name, %error, "a task ended by a panic");
        }
    }
}

async fn join(thread: JoinHandle<()>) {
    // A thread's end is its own bound: the writer gives up on a refusing disk, the keeper writes one state.
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
}
