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
//! received and disconnects; with it the writer's inbox ends, and the writer; drains give their flights a grace period; the
//! keeper writes the last state. Each step is bounded, and what a bound cuts off is only repeated: unacknowledged messages
//! by the broker, flights by the next run.
#![allow(clippy::disallowed_methods, reason = "the one place that starts tasks and threads")]

mod build;
mod names;
mod open_journal;
mod reload;

use crate::clock::Clock;
use crate::config::Config;
use crate::drain::{Drain, DrainOptions, DrainShared};
use crate::journal::{Closing, Journal, JournalError, Lane, OpenReport};
use crate::mqtt::{Intake, IntakeError, IntakeOptions};
use crate::network_watch::LinkWatch;
use crate::record::Number;
use crate::shutdown;
use crate::sqs::client::{SenderError, SqsSender};
use crate::status::{Histories, StatusHub, control, history, server};
use crate::tls::TlsError;
use build::Prepared;
pub(crate) use build::broker_tls;
use futures_util::FutureExt;
pub(crate) use open_journal::options as journal_options;
use reload::Orders;
use sd_notify::NotifyState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Flights may go on for so long after a stop.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at what was set aside.
const ASIDE_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// Before a drain or the state's keeper, ended by a panic, is started again.
const DRAIN_RESTART: Duration = Duration::from_secs(1);
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
    let histories = Histories::default();
    // What ran before a reload: gone back to when the new configuration turns out not to start.
    let mut before: Option<Config> = None;
    let mut closing: Option<Closing> = None;
    loop {
        let (next_sender, next) = oneshot::channel();
        let (running, again) = (prepared.config.clone(), hangups.clone());
        let (file, clock_, stop_) = (file.to_owned(), clock.clone(), stop.clone());
        let orders = Orders { file: file.clone(), clock: clock_, stop: stop_, hangups, next: next_sender };
        let outcome = run_once(prepared, &file, &clock, orders, histories.clone(), &mut closing).await;
        if let Some(closing) = &mut closing {
            // A read under way holds the journal for as long as a card stalls, and the next run would find our own lock.
            let mut stop = stop.clone();
            tokio::select! {
                _ = tokio::time::timeout(CLOSING, closing.wait()) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        match (outcome, before.take()) {
            (Ok(()), _) => {}
            (Err(error), None) => return Err(error),
            (Err(error), Some(old)) => {
                tracing::error!(%error, "the new configuration does not start, the old one is taken again");
                (prepared, hangups) = (Prepared::new(old, &clock)?, again);
                continue;
            }
        }
        match next.await {
            Ok(reload) if !*stop.borrow() => (prepared, hangups) = reload,
            _ => break,
        }
        before = Some(running);
        notify(&[NotifyState::Ready, NotifyState::Status("starting with the new configuration")]);
    }
    notify(&[NotifyState::Stopping]);
    helpers.shutdown().await;
    tracing::info!("stopped");
    Ok(())
}

/// Runs one configuration, until a stop or until a reload has another one.
async fn run_once(
    prepared: Prepared,
    file: &Path,
    clock: &Clock,
    orders: Orders,
    histories: Histories,
    closing: &mut Option<Closing>,
) -> Result<(), AgentError> {
    let Prepared { config, senders, broker_tls } = prepared;
    let board = Arc::new(StatusHub::new(&config, clock, histories));
    let mut helpers = JoinSet::new();
    let (halt_sender, stop) = watch::channel(false);
    let (retry_sender, retry) = watch::channel(0);
    helpers.spawn(orders.take(config.clone(), board.clone(), halt_sender, retry_sender));
    if let Some(listen) = config.status.listen {
        let (token_file, board, retry) = (config.status.token_file.clone(), board.clone(), retry.clone());
        helpers.spawn(async move { match server::serve(listen, token_file, board, retry).await {} });
    }
    // What this process has had open is locked by a read of its own at most, or taken for a moment: neither ends the agent.
    let ours = closing.is_some();
    let Some((opened, recogniser)) = open_journal::open_journal(&config, clock, &board, stop.clone(), ours).await?
    else {
        helpers.shutdown().await;
        return Ok(());
    };
    let journal = opened.journal.clone();
    *closing = Some(journal.closing());
    open_journal::say_opened(&opened.report, &journal);
    board.opened(&journal, opened.report.in_ram);
    let config = settle_names(config, &opened.report, &journal, file, &board).await?;
    let (folder, asked) = (config.journal.path.clone(), board.clone());
    helpers.spawn(async move { match control::serve(folder, asked).await {} });

    let (appends, inbox) = mpsc::unbounded_channel();
    let (committed, tickets) = mpsc::unbounded_channel();
    let give_up = Arc::new(AtomicBool::new(false));
    let writer = opened.writer(config.journal.linger, inbox, committed, give_up.clone());
    let writer = thread("journal-writer", move || writer.run())?;
    let keeper = journal.clone();
    let keeper = thread("journal-keeper", move || keep_state(&keeper))?;

    let options = IntakeOptions {
        config: config.mqtt.clone(),
        tls: broker_tls,
        routes: build::routes(&config, &journal),
        journal: journal.id(),
        durable: journal.durable_number(),
        note_open_acks: {
            let journal = journal.clone();
            Arc::new(move |acks, soon| journal.note_open_acks(acks, soon))
        },
        clock: clock.clone(),
        memory: config.journal.path.join("intake"),
        retry: retry.clone(),
        show_payloads: config.status.show_payloads,
    };
    let (intake, shared) = Intake::new(options, recogniser, appends, tickets)?;
    board.intake(shared);
    let (link_returned, link) = watch::channel(0);
    helpers.spawn(watch_link(link_returned));
    helpers.spawn(sample(board.clone(), journal.durable_watch()));
    helpers.spawn(try_what_is_aside(journal.clone()));
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
    tracing::info!(gateway = config.gateway.id, journal = %journal.id(), epoch = journal.epoch().0, "running");

    // The intake ends by the stop alone; its own bound keeps a stuck journal from holding it.
    let mut intakes = JoinSet::new();
    intakes.spawn(intake.run(stop.clone()));
    end_of(&mut intakes, "intake").await;
    // Without intake or writer there is no point in going on: a supervisor's restart is the cure.
    let outcome = if *stop.borrow() { Ok(()) } else { Err(AgentError::Ended) };
    give_up.store(true, Relaxed);
    end_of(&mut drains, "drain").await;
    join(writer).await;
    journal.stop_keeping();
    join(keeper).await;
    board.clear();
    // With the last clone goes the journal's lock: a reload opens it anew.
    helpers.shutdown().await;
    outcome
}

/// The configuration with the names in use, which the disk now keeps and the board shows.
async fn settle_names(
    config: Config,
    report: &OpenReport,
    journal: &Journal,
    file: &Path,
    board: &StatusHub,
) -> Result<Config, AgentError> {
    let (report, id, file) = (report.clone(), journal.id(), file.to_owned());
    let settled = tokio::task::spawn_blocking(move || names::settle(config, &report, id, &file)).await;
    let (config, remark) = settled.map_err(std::io::Error::other)?;
    board.named(&config, remark);
    Ok(config)
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
        tracing::error!(
            queue = options.queue.name,
            "a drain ended by a panic and is started again; please report this"
        );
        tokio::time::sleep(DRAIN_RESTART).await;
    }
}

/// Keeps the state file; after a panic another loop goes on, and what it has to write comes with the next change.
fn keep_state(journal: &Journal) {
    while catch_unwind(AssertUnwindSafe(|| journal.keep())).is_err() {
        tracing::error!(
            "the keeper of the journal's state panicked and is started again; please report this with the log"
        );
        std::thread::sleep(DRAIN_RESTART);
    }
}

/// Notes depth and lag for the page while something waits, and once when something comes; an idle agent sleeps.
async fn sample(board: Arc<StatusHub>, mut durable: watch::Receiver<Number>) {
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
        tracing::info!(%error, "netlink unavailable: reconnects wait for the retry timer");
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
