//! `tidegate forget-session`: ends the session that the broker keeps for the agent, when the agent is not to come back.
//!
//! A broker goes on queueing for a persistent session for ever. What waits there is lost by this, so it is refused while
//! the agent runs.

use super::print::{complain, say};
use super::{ExitCode, ask, at_broker, load};
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
    match at_broker(&config, async |tls| forget(&config.mqtt, tls).await) {
        Ok(Ok(())) => {
            say!("{url} keeps nothing for {client} any more");
            ExitCode::Done
        }
        Ok(Err(not)) => {
            let remedy = if not.remedy.is_empty() { String::new() } else { format!("; {}", not.remedy) };
            complain!("the session of {client} is not ended: {}{remedy}", not.why);
            ExitCode::Failed
        }
        Err(why) => {
            complain!("{why}");
            ExitCode::Failed
        }
    }
}
