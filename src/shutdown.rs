//! Signals: turned into one stop, or into one more try of whatever waits.
//!
//! SIGTERM (systemd) and SIGINT (a technician's Ctrl-C) mean the same: an ordered stop. A second one of either does not
//! hurry it: the grace periods of the stages bound it already. SIGHUP says that something was mended: the configuration is
//! read again, and whatever waits, for whatever cause, tries at once and begins anew with short waits.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// SIGHUPs from now on; until it is called one ends the process, so before systemd hears READY.
///
/// # Errors
/// The system refuses the handler.
pub fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Counts each SIGHUP. To be run as a task; it does not end.
pub async fn count_hangups(mut hangups: Signal, count: watch::Sender<u64>) {
    while hangups.recv().await.is_some() {
        count.send_modify(|n| *n += 1);
    }
}
