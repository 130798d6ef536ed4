//! Opening the journal, for as long as it takes, and what is said about what was found.

use crate::agent::{OPEN_RETRY, options};
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{Journal, JournalError, JournalOptions, OpenReport, Opened, volume};
use crate::mqtt::{self, dedup::Deduplicator, names};
use crate::record::Draft;
use crate::status::StatusHub;
use crate::topic::route_of;
use tokio::sync::watch;

/// Which journal is opened, which says what a refusal means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// The first one of this process: tried again for as long as the disk refuses. Another process's lock ends the agent.
    First,
    /// The one that a reload has closed: tried again while the disk refuses, and while it is held, by a read of our own at most.
    Again,
    /// Another one after a reload: a refusal ends this run, and the former configuration, which works, is taken again.
    Another,
}

/// Opens the journal. `None`: stopped before it opened.
///
/// # Errors
/// It will not be opened: see [`Opening`].
pub(super) async fn open_journal(
    config: &Config,
    clock: &Clock,
    board: &StatusHub,
    mut stop: watch::Receiver<bool>,
    opening: Opening,
) -> Result<Option<(Opened, Deduplicator)>, JournalError> {
    let mut said = String::new();
    loop {
        let (options, config, clock) = (options::journal(config), config.clone(), clock.clone());
        let open = tokio::task::spawn_blocking(move || open_once(&options, &config, &clock)).await;
        let error = match open {
            Ok(Ok(opened)) => {
                board.wait_for(None);
                return Ok(Some(opened));
            }
            Ok(Err(error)) if opening == Opening::Another => return Err(error),
            Ok(Err(error @ JournalError::Locked(_))) if opening == Opening::First => return Err(error),
            Ok(Err(error @ JournalError::Newer(_))) => return Err(error),
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

fn open_once(options: &JournalOptions, config: &Config, clock: &Clock) -> Result<(Opened, Deduplicator), JournalError> {
    names::readable(&options.path)
        .map_err(|source| JournalError::Io { path: options.path.join("intake/names"), source })?;
    let mut opened = Journal::open(options, clock)?;
    let (run, ids) = (opened.journal.run(), (&*config.mqtt.url, &*config.mqtt.client_id));
    let mut recogniser = mqtt::recall(&options.path.join("intake"), ids, run, opened.report.former);
    opened.heads().into_iter().for_each(|delivery| recogniser.seed_head(delivery));
    if let Some(acks) = opened.open_acks() {
        recogniser.seed_acks(acks);
    }
    let readers = config.routes.clone();
    let opened_journal = opened.journal.clone();
    opened.each_of_tail(&mut |record| {
        opened_journal.note_own(record);
        // A record of an older release has the id that it gave; a redelivery of it is read by today's rules.
        let Draft { message, received, identity, .. } = &record.draft;
        let reader = route_of(readers.iter().map(|route| &route.topics), &message.topic).map(|index| &readers[index]);
        let today = reader.and_then(|route| route.profile.of(message).identify(message, *received, run.journal).key);
        recogniser.seed(record, today.as_deref().filter(|today| Some(*today) != identity.key.as_deref()));
    });
    Ok((opened, recogniser))
}

pub(super) fn say_opened(report: &OpenReport, journal: &Journal) {
    if report.made {
        tracing::info!(path = %journal.path().display(), "journal made");
    }
    if report.state_lost {
        tracing::error!(
            "the journal's state file is damaged: what is still on disk is sent again, marked as possible duplicates"
        );
    }
    if report.slot_lost {
        tracing::warn!(
            "one of the two halves of the journal's state file is damaged: what waits is marked as possible duplicates"
        );
    }
    if report.copied {
        tracing::warn!(journal = %journal.id(), "this journal was on another machine before: it continues under a new id");
    } else if report.new_id && !report.made {
        tracing::warn!(journal = %journal.id(), "the journal's id is lost with its state: it continues under a new one");
    }
    if report.machine_unknown {
        tracing::info!(journal = %journal.id(), "nothing tells this machine from another; the journal keeps its id");
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
            queue = lane,
            "records wait for a queue that is not configured; add a section [queues.…] of this name, which needs no route, to send them"
        );
    }
    if report.in_ram {
        let media: Vec<String> = volume::media().iter().map(|path| path.display().to_string()).collect();
        tracing::error!(path = %journal.path().display(), flash = media.join(", "), "the journal lies in RAM and is lost at a power cut; set journal.path to a folder on flash");
    }
}
