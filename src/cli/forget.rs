//! `tidegate forget-session`: ends the session that the broker keeps for the agent, when the agent is not to come back.
//!
//! A broker goes on queueing for a persistent session for ever. What waits there is lost by this, so it is refused while
//! the agent runs.

use super::print::{complain, say};
use super::{ExitCode, ask, load};
use crate::agent::broker_tls;
use crate::clock::Clock;
use crate::mqtt::visit::forget;
use std::path::Path;

pub(super) fn forget_session(file: &Path) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if ask::is_running(&config) {
        complain!("the agent runs, and needs its session; stop it first: systemctl stop tidegate");
        return ExitCode::Failed;
    }
    let (client, url) = (&config.mqtt.client_id, &config.mqtt.url);
    let tls = match broker_tls(&config, &Clock::new(None)) {
        Ok(tls) => tls,
        Err(error) => {
            complain!("[mqtt]: {error}");
            return ExitCode::Failed;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain!("the system refuses a connection: {error}");
            return ExitCode::Failed;
        }
    };
    match runtime.block_on(forget(&config.mqtt, tls.as_ref())) {
        Ok(()) => {
            say!("{url} keeps nothing for {client} any more");
            ExitCode::Done
        }
        Err(not) => {
            let remedy = if not.remedy.is_empty() { String::new() } else { format!("; {}", not.remedy) };
            complain!("the session of {client} is not ended: {}{remedy}", not.why);
            ExitCode::Failed
        }
    }
}
