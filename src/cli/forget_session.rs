//! `tidegate forget-session`: ends a session that the broker keeps: the agent's, when it is not to come back, or that of a
//! client id which it had before.
//!
//! A broker keeps queueing for a persistent session for ever. What waits there is lost by this, so the command refuses
//! what a running agent uses; another client id's may be ended beside it.

use crate::agent::forget_command::forget_command;
use crate::cli::agent_client::Agent;
use crate::cli::output::{complain, say};
use crate::cli::{ExitCode, agent_client, at_broker, load};
use crate::config::Config;
use crate::mqtt::probe::{changes_ids, forget};
use serde_json::Value;
use std::path::Path;

pub(super) fn forget_session(file: &Path, client_id: Option<&str>) -> ExitCode {
    let mut config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let client = client_id.unwrap_or(&config.mqtt.client_id).to_owned();
    if let Some(why) = refusal(&agent_client::agent(&config), &client) {
        complain!("{why}");
        return ExitCode::Failed;
    }
    let own = client == config.mqtt.client_id;
    config.mqtt.client_id.clone_from(&client);
    match end(&config, own) {
        Ok(()) => {
            say!("{} keeps no session of client {client} any more", config.mqtt.url);
            ExitCode::Done
        }
        Err(why) => {
            complain!("the session of {client} is not ended: {why}; then: {}", forget_command(&client, file));
            ExitCode::Failed
        }
    }
}

/// Why the session of `client` is not to be touched now. Pure.
fn refusal(agent: &Agent, client: &str) -> Option<String> {
    let stop = "stop it first: systemctl stop tidegate";
    match agent {
        Agent::None => None,
        Agent::Mute(why) => Some(format!("an agent runs, and does not say which session it needs ({why}); {stop}")),
        Agent::Runs(status) => match &status["intake"]["client_id"] {
            Value::String(used) if used != client => None,
            Value::String(_) => Some(format!("the agent runs, and needs the session of {client}; {stop}")),
            _ => Some(format!("the agent does not say yet which session it needs; ask again in a moment, or {stop}")),
        },
    }
}

/// `own`: it is the agent's. Where the broker gives clients other ids, every other one means the agent's, too.
fn end(config: &Config, own: bool) -> Result<(), String> {
    let ended = at_broker(config, async |broker| {
        if !own && changes_ids(broker).await? {
            return Ok(false);
        }
        forget(broker).await.map(|()| true)
    })?;
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!(
            "{} gives clients other ids (use_username_as_clientid or the like), and it would be the agent's own; take that setting away at the broker",
            config.mqtt.url
        )),
        Err(not) if not.remedy.is_empty() => Err(not.why),
        Err(not) => Err(format!("{}; {}", not.why, not.remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_another_clients_session_is_deleted_beside_a_running_agent(used in "[ab]", client in "[ab]") {
            let runs = |intake: Value| Agent::Runs(Box::new(serde_json::json!({ "intake": intake })));
            let said = refusal(&runs(serde_json::json!({ "client_id": used })), &client);
            prop_assert_eq!(said.is_some(), used == client);
            prop_assert!(refusal(&runs(Value::Null), &client).is_some(), "it may be about to connect");
            prop_assert!(refusal(&Agent::Mute("x".into()), &client).is_some());
            prop_assert!(refusal(&Agent::None, &client).is_none());
        }
    }
}
