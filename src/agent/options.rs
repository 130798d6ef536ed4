//! From the configuration to the options of each stage: here, and nowhere else. A stage knows its options, not the file's sections.

use crate::agent::stages::Signals;
use crate::config::{Config, JournalConfig, QueueConfig};
use crate::drain::DrainOptions;
use crate::journal::{Bounds, BoundsOptions, GENERATION_BYTES, JournalOptions, QUIET, RESERVE_BYTES, volume};
use crate::sqs::client::SenderOptions;
use crate::sqs::entry::RenderOptions;
use std::path::PathBuf;
use std::time::Duration;

/// Where systemd makes the runtime folder by default.
const RUNTIME_FOLDER: &str = "/run/tidegate";
/// Flights may go on for so long after a stop.
const GRACE: Duration = Duration::from_secs(10);

/// What the configured journal is opened with.
pub(crate) fn journal(config: &Config) -> JournalOptions {
    let named = |which: fn(&QueueConfig) -> bool| -> Vec<String> {
        config.queues.iter().filter(|queue| which(queue)).map(|queue| queue.name.clone()).collect()
    };
    JournalOptions {
        path: config.journal.path.clone(),
        bounds: Bounds::of(&bounds(&config.journal), volume::space(&config.journal.path)),
        reserve_bytes: RESERVE_BYTES,
        generation_bytes: crate::failpoints::generation_bytes().unwrap_or(GENERATION_BYTES),
        quiet: crate::failpoints::quiet().unwrap_or(QUIET),
        lanes: named(|_| true),
        silent: named(|queue| !queue.gap_records),
        absorbing: named(|queue| queue.url.fifo),
        machine: crate::failpoints::machine().unwrap_or_else(|| "/".into()),
        runtime: runtime_folder(),
    }
}

/// The bounds as the configuration gives them.
pub(crate) fn bounds(section: &JournalConfig) -> BoundsOptions {
    let JournalConfig { max_bytes, max_age, min_free, on_full, .. } = *section;
    BoundsOptions { max_bytes, max_age, min_free, on_full }
}

/// What the sender of a queue is made with.
pub(crate) fn sender(queue: &QueueConfig) -> SenderOptions {
    SenderOptions {
        queue: queue.name.clone(),
        url: queue.url.text.clone(),
        region: queue.region.clone(),
        endpoint: queue.endpoint.clone(),
        allow_plain_http: queue.allow_plain_http,
        ca_file: queue.ca_file.clone(),
        credentials: queue.credentials.clone(),
        max_in_flight: queue.max_in_flight,
        connect_timeout: queue.connect_timeout,
        attempt_timeout: queue.attempt_timeout,
        link_probe: queue.link_probe,
    }
}

/// What the messages of a queue are rendered by.
pub(crate) fn rendering(config: &Config, queue: &QueueConfig) -> RenderOptions {
    RenderOptions {
        format: queue.body,
        fifo: queue.url.fifo,
        type_prefix: config.records.type_prefix.clone(),
        gateway_id: config.gateway.id.clone(),
        site: config.gateway.site.clone(),
        rectype: queue.rectype.clone(),
        redact: config.records.redact.clone(),
    }
}

/// What the drain of a queue is told.
pub(super) fn drain(config: &Config, queue: &QueueConfig, signals: &Signals) -> DrainOptions {
    DrainOptions {
        queue: queue.name.clone(),
        rendering: rendering(config, queue),
        ordering: queue.ordering,
        max_in_flight: queue.max_in_flight,
        batch_bytes: queue.batch_bytes,
        link_probe: queue.link_probe,
        grace: GRACE,
        link: signals.link.clone(),
        retry: signals.retry.clone(),
    }
}

/// The folder that systemd makes for the boot (`RuntimeDirectory=`), or the one that another supervisor made.
fn runtime_folder() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|folders| !folders.is_empty());
    let first = given.and_then(|folders| std::env::split_paths(&folders).next());
    first.or_else(|| Some(PathBuf::from(RUNTIME_FOLDER)).filter(|folder| folder.is_dir()))
}
