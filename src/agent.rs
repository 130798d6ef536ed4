//! The wiring diagram: builds the stages, owns every task and thread, orders start and stop.
//!
//! ```text
//! intake ──appends──► writer ──durable──► drains ──► queues
//!    ▲                  │  └─ keeper (state file)
//!    └────tickets───────┘
//! ```
//!
//! Start: READY to systemd first, then the journal, then everything at once; broker and network may come when they
//! like. Stop: the intake commits and acknowledges what it has received and disconnects; with it the writer's inbox
//! ends, and the writer; drains give their flights a grace period; the keeper writes the last state. Each step is
//! bounded, and what a bound cuts off is only repeated: unacknowledged messages by the broker, flights by the next run.
#![allow(clippy::disallowed_methods, reason = "the one place that starts tasks and threads")]

use crate::clock::Clock;
use crate::config::{BrokerAddress, Config};
use crate::drain::{Drain, DrainOptions, DrainShared};
use crate::journal::{
    Bounds, GENERATION_BYTES, Journal, JournalError, JournalOptions, Lane, OpenReport, Opened, RESERVE_BYTES, place,
};
use crate::link::LinkWatch;
use crate::mqtt::repeats::Recogniser;
use crate::mqtt::{self, Intake, IntakeError, IntakeOptions, Route};
use crate::record::LaneId;
use crate::record::profile::Profile;
use crate::shutdown;
use crate::sqs::client::{SenderError, SqsSender};
use crate::status::{Board, history, server};
use crate::tls::{self, TlsError, TlsOptions};
use futures_util::FutureExt;
use sd_notify::NotifyState;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Flights may go on for so long after a stop.
const GRACE: Duration = Duration::from_secs(10);
/// Before a drain that ended by a panic is started again.
const DRAIN_RESTART: Duration = Duration::from_secs(1);
/// Between attempts to open a journal that the disk refuses.
const OPEN_RETRY: Duration = Duration::from_secs(5);

/// Why the agent does not run. Everything else runs degraded, visibly.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Another process holds the journal, a newer tidegate wrote it, or this binary cannot sync.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The broker's TLS settings.
    #[error("[mqtt]: {0}")]
    BrokerTls(#[from] TlsError),
    /// The broker's other settings.
    #[error("[mqtt]: {0}")]
    Intake(#[from] IntakeError),
    /// A queue's settings.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// A stage ended that never should.
    #[error("intake or journal writer ended without being told to; please report this with the log")]
    Ended,
    /// The system refuses signals or threads.
    #[error("the system refuses to start the agent: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// See [`AgentError`]; on all of them nothing was changed and nothing is lost.
pub async fn run(config: Config) -> Result<(), AgentError> {
    let clock = Clock::new(None);
    let board = Arc::new(Board::new(&config, &clock));
    let (stop_sender, stop) = watch::channel(false);
    let mut helpers = JoinSet::new();
    helpers.spawn(async move { drop(shutdown::stop_on_signal(stop_sender).await) });
    let (retry_sender, retry) = watch::channel(0);
    helpers.spawn(shutdown::retry_on_signal(shutdown::hangups()?, retry_sender));
    // Settings first: what is wrong in them is said at once, not when the journal is open.
    let senders = senders(&config, &clock)?;
    let broker_tls = broker_tls(&config, &clock)?;
    notify(&[NotifyState::Ready, NotifyState::Status("starting")]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        helpers.spawn(feed_watchdog(period / 2));
    }
    if let Some(listen) = config.status.listen {
        let board = board.clone();
        helpers.spawn(async move { match server::serve(listen, board).await {} });
    }
    let Some((opened, recogniser)) = open_journal(&config, &clock, &board, stop.clone()).await? else {
        return Ok(());
    };
    let journal = opened.journal.clone();
    say_opened(&opened.report, &journal);
    board.opened(&journal, opened.report.in_ram);

    let (appends, inbox) = mpsc::unbounded_channel();
    let (committed, tickets) = mpsc::unbounded_channel();
    let give_up = Arc::new(AtomicBool::new(false));
    let writer = opened.writer(config.journal.linger, inbox, committed, give_up.clone());
    let writer = thread("journal-writer", move || writer.run())?;
    let keeper = journal.clone();
    let keeper = thread("journal-keeper", move || keeper.keep())?;

    let options = IntakeOptions {
        config: config.mqtt.clone(),
        tls: broker_tls,
        routes: routes(&config, &journal),
        journal: journal.id(),
        durable: journal.durable_number(),
        clock: clock.clone(),
        memory: config.journal.path.join("intake"),
        retry: retry.clone(),
    };
    let (intake, shared) = Intake::new(options, recogniser, appends, tickets)?;
    board.intake(shared);
    let (link_returned, link) = watch::channel(0);
    helpers.spawn(watch_link(link_returned));
    helpers.spawn(sample(board.clone(), journal.durable_watch()));
    let mut drains = JoinSet::new();
    for (queue, sender) in config.queues.iter().zip(senders) {
        let lane = journal.lane(&queue.name).expect("opened with every configured queue");
        let options = DrainOptions {
            queue: queue.clone(),
            records: config.records.clone(),
            gateway_id: config.gateway.id.clone(),
            site: config.gateway.site.clone(),
            grace: GRACE,
            link: link.clone(),
            retry: retry.clone(),
        };
        let shared = Arc::new(DrainShared::default());
        board.drain(&queue.name, shared.clone());
        drains.spawn(keep_draining(lane, Arc::new(sender), options, clock.clone(), shared, stop.clone()));
    }
    notify(&[NotifyState::Status("running")]);
    tracing::info!(gateway = config.gateway.id, journal = %journal.id(), epoch = journal.epoch(), "running");

    // The intake ends by the stop alone; its own bound keeps a stuck journal from holding it.
    let mut intakes = JoinSet::new();
    intakes.spawn(intake.run(stop.clone()));
    end_of(&mut intakes, "intake").await;
    // Without intake or writer there is no point in going on: a supervisor's restart is the cure.
    let outcome = if *stop.borrow() { Ok(()) } else { Err(AgentError::Ended) };
    notify(&[NotifyState::Stopping]);
    give_up.store(true, Relaxed);
    end_of(&mut drains, "drain").await;
    join(writer).await;
    journal.stop_keeping();
    join(keeper).await;
    board.clear();
    helpers.shutdown().await;
    tracing::info!("stopped");
    outcome
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
        tracing::error!(lane = options.queue.name, "a drain ended by a panic and is started again; please report this");
        tokio::time::sleep(DRAIN_RESTART).await;
    }
}

fn senders(config: &Config, clock: &Clock) -> Result<Vec<SqsSender>, SenderError> {
    let mut senders: Vec<SqsSender> = Vec::new();
    for queue in &config.queues {
        let beside = senders.iter().find_map(|sender| sender.beside(queue));
        senders.push(match beside {
            Some(sender) => sender,
            None => SqsSender::new(queue, clock)?,
        });
    }
    Ok(senders)
}

pub(crate) fn broker_tls(config: &Config, clock: &Clock) -> Result<Option<Arc<rustls::ClientConfig>>, TlsError> {
    if !matches!(config.mqtt.address, BrokerAddress::Tls { .. }) {
        return Ok(None);
    }
    let options = TlsOptions {
        ca_file: config.mqtt.ca_file.clone(),
        client_cert_file: config.mqtt.client_cert_file.clone(),
        client_key_file: config.mqtt.client_key_file.clone(),
        exclusive_ca: true,
        alpn_http1: false,
    };
    tls::client_config(&options, clock).map(Some)
}

fn routes(config: &Config, journal: &Journal) -> Vec<Route> {
    let id = journal.id();
    let route = |route: &crate::config::RouteConfig| {
        let lanes: Vec<LaneId> = route.queues.iter().filter_map(|queue| journal.lane_id(queue)).collect();
        let profile = route.profile.clone();
        let chosen = Chosen::default();
        Route {
            filters: route.topics.clone(),
            profile: route.profile.name().to_owned(),
            identify: Arc::new(move |message, received| {
                let reader = profile.of(message);
                chosen.note(&profile, reader, &message.topic);
                (reader.identify(message, received, id), reader.name())
            }),
            lanes,
        }
    };
    config.routes.iter().map(route).collect()
}

/// What `auto` has chosen on a route so far: each choice is said once.
#[derive(Default)]
struct Chosen(Mutex<BTreeSet<&'static str>>);

impl Chosen {
    fn note(&self, asked: &Profile, reader: &Profile, topic: &str) {
        if std::ptr::eq(asked, reader) {
            return;
        }
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(reader.name());
        if new {
            tracing::info!(profile = reader.name(), topic, "chosen by topic and payload");
        }
    }
}

/// Opens the journal, trying again for as long as the disk refuses. `None`: stopped before it opened.
async fn open_journal(
    config: &Config,
    clock: &Clock,
    board: &Board,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<(Opened, Recogniser)>, JournalError> {
    let mut said = String::new();
    loop {
        let silent = config.queues.iter().filter(|queue| !queue.gap_records);
        let options = JournalOptions {
            path: config.journal.path.clone(),
            bounds: Bounds {
                max_bytes: config.journal.max_bytes,
                max_age: config.journal.max_age,
                min_free: config.journal.min_free,
                on_full: config.journal.on_full,
            },
            reserve_bytes: RESERVE_BYTES,
            generation_bytes: crate::rig::generation_bytes().unwrap_or(GENERATION_BYTES),
            lanes: config.queues.iter().map(|queue| queue.name.clone()).collect(),
            silent: silent.map(|queue| queue.name.clone()).collect(),
        };
        let clock = clock.clone();
        let open = tokio::task::spawn_blocking(move || open_once(&options, &clock)).await;
        let error = match open {
            Ok(Ok(opened)) => {
                board.wait_for(None);
                return Ok(Some(opened));
            }
            Ok(Err(error @ (JournalError::Locked(_) | JournalError::Newer(_) | JournalError::NotSynced(_)))) => {
                return Err(error);
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        if said != error {
            tracing::error!(
                error,
                "journal cannot be opened, tried again; check that the folder exists, belongs to the agent's user and has space"
            );
            board.wait_for(Some(error.clone()));
            said = error;
        }
        tokio::select! {
            () = tokio::time::sleep(OPEN_RETRY) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        }
    }
}

fn open_once(options: &JournalOptions, clock: &Clock) -> Result<(Opened, Recogniser), JournalError> {
    let mut opened = Journal::open(options, clock)?;
    let mut recogniser = mqtt::recall(&options.path.join("intake"), opened.journal.id());
    opened.over_long().into_iter().for_each(|delivery| recogniser.seed_over_long(delivery));
    opened.each_of_tail(&mut |record| recogniser.seed(record));
    Ok((opened, recogniser))
}

fn say_opened(report: &OpenReport, journal: &Journal) {
    if report.made {
        tracing::info!(path = %journal.path().display(), "journal made");
    }
    if report.state_lost {
        tracing::error!(
            "the journal's state file is damaged: what is still on disk is sent again, marked as possible duplicates"
        );
    }
    if report.new_id && !report.made {
        tracing::warn!(journal = %journal.id(), "this card was cloned or its state lost: the journal goes on under a new id");
    }
    if report.missing > 0 {
        tracing::error!(
            records = report.missing,
            "records at the journal's end cannot be read back, they are counted as damaged"
        );
    }
    if report.in_doubt > 0 {
        tracing::error!(
            records = report.in_doubt,
            "the last commit before the crash is damaged: most likely the crash tore it before it was acknowledged, and the broker delivers it again; if the card is failing, these records may be lost"
        );
    }
    for lane in &report.stranded {
        tracing::error!(
            lane,
            "records wait for a queue that is not configured any more; configure it again under this name to send them"
        );
    }
    if report.in_ram {
        let media: Vec<String> = place::media().iter().map(|path| path.display().to_string()).collect();
        tracing::error!(path = %journal.path().display(), flash = media.join(", "), "the journal lies in RAM and is lost at a power cut; set journal.path to a folder on flash");
    }
}

/// Notes depth and lag for the page while something waits, and once when something comes; an idle agent sleeps.
async fn sample(board: Arc<Board>, mut durable: watch::Receiver<u64>) {
    let step = Duration::from_secs(history::HOUR_STEP_S);
    loop {
        durable.mark_unchanged();
        let sampled = board.clone();
        let waiting = tokio::task::spawn_blocking(move || sampled.sample()).await.unwrap_or(false);
        if !waiting && durable.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(step).await;
    }
}

/// Tells the drains when an address or a route has come. Without it their waits for the link run out.
async fn watch_link(returned: watch::Sender<u64>) {
    let watched = async {
        let mut link = LinkWatch::open()?;
        loop {
            link.returned().await?;
            returned.send_modify(|n| *n += 1);
        }
    };
    let ended: std::io::Result<()> = watched.await;
    if let Err(error) = ended {
        tracing::info!(%error, "the kernel does not tell of the link's return: waits for it run out");
    }
}

async fn feed_watchdog(period: Duration) {
    // Fed by the scheduler alone: a card that stalls for ten seconds is no reason to be killed.
    let mut tick = tokio::time::interval(period);
    loop {
        tick.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Waits for every task of a set; a panic in one is said and ends only that task.
async fn end_of(tasks: &mut JoinSet<()>, name: &str) {
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
