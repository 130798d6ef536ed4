//! The wiring diagram: builds the stages, owns every task and thread, orders start and stop.
//!
//! ```text
//! intake ──appends──► writer ──durable──► drains ──► queues
//!    ▲                  │  └─ keeper (state file)
//!    └────tickets───────┘
//! ```
//!
//! Start: READY to systemd first, then the journal, then everything at once; broker and network may come when they
//! like. A reload stops everything and starts it anew in the same process, once the new configuration has proved that it
//! can be run ([`reload`]); the broker keeps the session meanwhile. Stop: the intake commits and acknowledges what it has
//! received and disconnects, and beside it the last health record is written, and sent where the queue takes it at once; with both
//! the writer's inbox ends, and the writer; drains give their flights a grace period; the keeper writes the last state. Each step is bounded, and what a bound cuts off is only repeated: unacknowledged messages
//! by the broker, flights by the next run.
#![allow(clippy::disallowed_methods, reason = "the one place that starts tasks and threads")]

mod build;
pub(crate) mod forget_command;
mod health_records;
pub(crate) mod names;
mod open_journal;
pub(crate) mod options;
mod reload;
mod signals;
mod stages;

use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{Closing, Journal, JournalError, OpenReport};
use crate::mqtt::{Intake, IntakeError};
use crate::shutdown;
use crate::sqs::client::SenderError;
use crate::status::health_record::Cause;
use crate::status::watch::FindingsWatch;
use crate::status::{Histories, HubOptions, StatusHub};
use crate::tls::TlsError;
use build::Prepared;
use health_records::HealthRecords;
use open_journal::Opening;
use reload::{Holds, Orders};
use sd_notify::NotifyState;
use signals::Signals;
use stages::WriterThreads;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// A journal that a reload closes is waited for as long, and after that the next opening waits for it.
const CLOSING: Duration = Duration::from_secs(60);
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

/// Runs the agent until SIGTERM or SIGINT. `file` is where the configuration came from, and is read again at a SIGHUP.
///
/// # Errors
/// See [`AgentError`]; on all of them nothing was changed and nothing is lost.
pub async fn run(config: Config, file: &Path) -> Result<(), AgentError> {
    let clock = Clock::new(None);
    let (stop_sender, stop) = watch::channel(false);
    let mut helpers = JoinSet::new();
    helpers.spawn(async move { drop(shutdown::stop_on_signal(stop_sender).await) });
    let (hangup_sender, mut hangups) = watch::channel(0);
    helpers.spawn(shutdown::count_hangups(shutdown::hangups()?, hangup_sender));
    // Settings first: what is wrong in them is said at once, not when the journal is open.
    let mut prepared = Prepared::new(config, &clock)?;
    notify(&[NotifyState::Ready, NotifyState::Status("starting")]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        helpers.spawn(feed_watchdog(period / 2));
    }
    let (histories, told) = (Histories::default(), Arc::default());
    // Why the configuration on disk is not the one that runs.
    let mut refused: Option<String> = None;
    // What ran before a reload: gone back to when the new configuration turns out not to start.
    let mut before: Option<Config> = None;
    let mut closing: Option<(PathBuf, Closing)> = None;
    loop {
        let (next_sender, next) = oneshot::channel();
        let (running, again) = (prepared.config.clone(), hangups.clone());
        let (file, clock_, stop_) = (file.to_owned(), clock.clone(), stop.clone());
        let orders = Orders { file: file.clone(), clock: clock_, stop: stop_, hangups, next: next_sender };
        let page = (histories.clone(), refused.take(), &told);
        let outcome = run_once(prepared, &file, &clock, orders, page, &mut closing).await;
        if let Some((_, closing)) = &mut closing {
            // A read under way holds the journal for as long as a card stalls, and the next run would find our own lock.
            let mut stop = stop.clone();
            tokio::select! {
                _ = tokio::time::timeout(CLOSING, closing.wait()) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        let holds = match (outcome, before.take()) {
            (Ok(holds), _) => holds,
            (Err(error), None) => return Err(error),
            (Err(error), Some(old)) => {
                refused = Some(reload::refused(&format!("the new configuration does not start: {error}")));
                (prepared, hangups) = (Prepared::new(old, &clock)?, again);
                continue;
            }
        };
        (prepared, hangups) = match next.await {
            Ok(reload) if !*stop.borrow() => reload,
            _ => break,
        };
        match holds.and_then(|holds| reload::left_behind(&running, &prepared.config, &holds)) {
            Some(why) => {
                refused = Some(reload::refused(&why));
                prepared = Prepared::new(running, &clock)?;
            }
            None => before = Some(running),
        }
        notify(&[NotifyState::Ready, NotifyState::Status("starting with the new configuration")]);
    }
    notify(&[NotifyState::Stopping]);
    helpers.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// Runs one configuration, until a stop or until a reload has another one. Gives what the journal holds then; `None`: it was not
/// opened. `refused`: why the configuration on disk is another one.
async fn run_once(
    prepared: Prepared,
    file: &Path,
    clock: &Clock,
    orders: Orders,
    (histories, refused, told): (Histories, Option<String>, &Arc<Mutex<FindingsWatch>>),
    closing: &mut Option<(PathBuf, Closing)>,
) -> Result<Option<Holds>, AgentError> {
    let Prepared { config, senders, broker } = prepared;
    let hub = Arc::new(StatusHub::new(options::hub(&config), clock, histories));
    hub.reload_refused(refused);
    let mut helpers = JoinSet::new();
    let (halt, stop) = watch::channel(false);
    let (retry_sender, retry) = watch::channel(0);
    let ending = orders.stop.clone();
    helpers.spawn(orders.take(config.clone(), hub.clone(), halt, retry_sender));
    stages::serve_page(&mut helpers, &config, &hub, &retry);
    helpers.spawn(stages::watch_findings(hub.clone(), told.clone()));
    let opening = match closing {
        None => Opening::First,
        Some((path, _)) if *path == config.journal.path => Opening::Again,
        Some(_) => Opening::Another,
    };
    let opened = open_journal::open_journal(&config, clock, &hub, stop.clone(), opening).await?;
    let Some((opened, dedup)) = opened else {
        helpers.shutdown().await;
        return Ok(None);
    };
    let journal = opened.journal.clone();
    *closing = Some((config.journal.path.clone(), journal.closing()));
    open_journal::say_opened(&opened.report, &journal);
    hub.opened(&journal, opened.report.in_ram);
    let config = settle_names(config, &opened.report, &journal, file, &hub).await?;

    let made = opened.report.made;
    let (writer, appends, tickets) = WriterThreads::start(opened, config.journal.linger)?;
    let intake = options::intake(&config, broker, (&journal, made), clock, &retry);
    // The writer goes on until the last health record is in its hand.
    let writer_goes_on = appends.clone();
    let (intake, shared) = Intake::new(intake, dedup, appends, tickets)?;
    hub.intake(shared);
    let link = stages::start_helpers(&mut helpers, &config, &journal, &hub);
    let end_drains = watch::Sender::new(false);
    let signals = Signals { stop: end_drains.subscribe(), retry, link };
    let mut drains = stages::start_drains(&mut helpers, &config, senders, &journal, &hub, clock, &signals);
    let first = if opening == Opening::First { Cause::Start } else { Cause::Reload };
    let health = HealthRecords::new(&config, &journal, &hub, clock, first);
    let mut last_words = stages::start_health_records(health, &stop, ending, end_drains.clone());
    notify(&[NotifyState::Status("running")]);
    tracing::info!(gateway = config.gateway.id, journal = %journal.id(), epoch = journal.epoch().0, "running");

    // The intake ends by the stop alone; its own bound keeps a stuck journal from holding it.
    let mut intakes = JoinSet::new();
    intakes.spawn(intake.run(stop.clone()));
    stages::end_of(&mut intakes, "intake").await;
    // Without intake or writer there is no point in going on: a supervisor's restart is the cure.
    let outcome = if *stop.borrow() { Ok(()) } else { Err(AgentError::Ended) };
    if outcome.is_err() {
        last_words.shutdown().await;
        end_drains.send_replace(true);
    }
    stages::end_of(&mut last_words, "health records").await;
    drop(writer_goes_on);
    writer.give_up();
    stages::end_of(&mut drains, "drain").await;
    writer.end().await;
    hub.clear();
    let holds = tokio::task::spawn_blocking(move || Holds::of(&journal)).await.ok();
    // With the last clone goes the journal's lock: a reload opens it anew.
    helpers.shutdown().await;
    outcome.map(|()| holds)
}

/// The configuration with the names in use, which the disk now keeps and the hub shows.
async fn settle_names(
    config: Config,
    report: &OpenReport,
    journal: &Journal,
    file: &Path,
    hub: &StatusHub,
) -> Result<Config, AgentError> {
    let (report, id, file) = (report.clone(), journal.id(), file.to_owned());
    let settled = tokio::task::spawn_blocking(move || names::settle(config, &report, id, &file)).await;
    let (config, remark) = settled.map_err(std::io::Error::other)?;
    let HubOptions { names, config: text, .. } = options::hub(&config);
    hub.named(names, text, remark);
    Ok(config)
}

async fn feed_watchdog(period: Duration) {
    // Fed by the scheduler alone: a card that stalls for ten seconds must not get the agent killed.
    let mut tick = tokio::time::interval(period);
    loop {
        tick.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Without systemd the message has no receiver.
    let _ = sd_notify::notify(states);
}
