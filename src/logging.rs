//! Logs: to journald where standard error is its stream ([`crate::journald`]), otherwise to standard error.
//!
//! One line per state change, never per message above DEBUG. WARN: odd, nothing lost. ERROR: lost, or a person must act.
//! Nothing in a line acts on the terminal that shows it ([`crate::visible`]), and no message can forge a line: what follows
//! a line end in it is set in.
//! `TIDEGATE_LOG` sets the level (`debug`, or `tidegate::drain=debug,info`); default `info`.

use crate::journald::Journald;
use crate::visible;
use std::io::{self, Write};
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
    let journald = Journald::of_this_service();
    let text = journald.is_none().then(|| {
        // Without colours: they are made of the very characters that no line may have.
        tracing_subscriber::fmt::layer().with_writer(|| Shown(io::stderr())).with_ansi(false).with_target(false)
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

/// A log's end, which gets one event at each write.
struct Shown<W>(W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let lines = text.strip_suffix('\n').unwrap_or(&text).replace('\n', "\n    ");
        self.0.write_all(format!("{}\n", visible::text(&lines)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_event_is_one_line_with_inset_lines_below(event in "(?s).{0,40}") {
            let mut out = Vec::new();
            Shown(&mut out).write_all(format!("{event}\n").as_bytes()).unwrap();
            let out = String::from_utf8(out).unwrap();
            prop_assert!(out.ends_with('\n') && out.lines().skip(1).all(|line| line.starts_with("    ")), "{out:?}");
            prop_assert!(out.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()), "{out:?}");
        }
    }
}
