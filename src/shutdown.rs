//! Signals, turned into one stop.
//!
//! SIGTERM (systemd) and SIGINT (a technician's Ctrl-C) mean the same: an ordered stop. A second one of either does not
//! hurry it: the grace periods of the stages bound it already.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Waits for the first signal, then says stop to all who listen. To be run as a task.
pub async fn stop_on_signal(stop: watch::Sender<bool>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    stop.send_replace(true);
    Ok(())
}
