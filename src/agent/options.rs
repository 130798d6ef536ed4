//! From the configuration to the options of each stage: here, and nowhere else. A stage knows its options, not the file's sections.

use crate::config::{Config, JournalConfig, QueueConfig};
use crate::journal::{Bounds, BoundsOptions, GENERATION_BYTES, JournalOptions, QUIET, RESERVE_BYTES, volume};
use crate::sqs::client::SenderOptions;
use std::path::PathBuf;

/// Where systemd makes the runtime folder by default.
const RUNTIME_FOLDER: &str = "/run/tidegate";

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

/// The folder that systemd makes for the boot (`RuntimeDirectory=`), or the one that another supervisor made.
fn runtime_folder() -> Option<PathBuf> {
    let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|folders| !folders.is_empty());
    let first = given.and_then(|folders| std::env::split_paths(&folders).next());
    first.or_else(|| Some(PathBuf::from(RUNTIME_FOLDER)).filter(|folder| folder.is_dir()))
}
