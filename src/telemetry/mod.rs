//! Logs: to journald when under systemd, otherwise to standard error.
//!
//! One line per state change, never per message above DEBUG. WARN: odd, nothing lost. ERROR: lost, or a person must act.
//! `TIDEGATE_LOG` sets the level (`debug`, or `tidegate::drain=debug,info`); default `info`.

pub mod metrics;

use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets up the log for the process. Later calls change nothing.
pub fn start() {
    // Targets, not the regex-driven filter: it says the same in a megabyte less of binary.
    let wanted = std::env::var("TIDEGATE_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    // systemd sets this for a service whose output goes to the journal; fields then stay fields.
    let journald = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let text = journald.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
    });
    // A second start (in tests) keeps the first subscriber.
    let _ = registry.with(journald).with(text).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        // Most are sled's, over a failing disk, and are caught where sled is called.
        tracing::warn!(place, text, "a panic, kept to where it happened");
    }));
}
