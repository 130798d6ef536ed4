//! `tidegate forget-session`: ends a session that the broker keeps: the agent's, when it is not to come back, or that of a
//! client id which it had before.
//!
//! A broker keeps queueing for a persistent session for ever. What waits there is lost by this, so the command refuses
//! what a running agent of this machine uses, whatever file and journal that agent has: the one that answers on this
//! configuration's journal or page, or at the usual place; and each that holds a journal ([`held`]), by the names that it
//! keeps there. Another client id's session may be ended beside it.

use crate::agent::forget_command::forget_command;
use crate::cli::agent_client::Agent;
use crate::cli::held::{self, Held};
use crate::cli::output::{complain, say};
use crate::cli::{ExitCode, agent_client, at_broker, load};
use crate::config::{BrokerAddress, Config, Whereabouts};
use crate::mqtt::names;
use crate::mqtt::probe::{changes_ids, forget};
use serde_json::Value;
use std::path::Path;

const STOP: &str = "stop it first: systemctl stop tidegate";

pub(super) fn forget_session(file: &Path, client_id: Option<&str>) -> ExitCode {
    let mut config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let client = client_id.unwrap_or(&config.mqtt.client_id).to_owned();
    let session = Session { client: &client, broker: &config.mqtt.address };
    let agent = agent_client::agent(&config);
    let refused = refusal(&agent, &client).or_else(|| elsewhere(&config, &session));
    if let Some(why) = refused.or_else(|| of_holders(&mute(held::held(), &agent, &config), &session, &config)) {
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
    match agent {
        Agent::None => None,
        Agent::Mute(why) => Some(format!("an agent runs, and does not say which session it needs ({why}); {STOP}")),
        Agent::Runs(status) => match &status["intake"]["client_id"] {
            Value::String(used) if used != client => None,
            Value::String(_) => Some(format!("the agent runs, and needs the session of {client}; {STOP}")),
            _ => Some(format!("the agent does not say yet which session it needs; ask again in a moment, or {STOP}")),
        },
    }
}

/// A client's session at a broker.
struct Session<'a> {
    client: &'a str,
    broker: &'a BrokerAddress,
}

impl Session<'_> {
    /// Whether a client at the broker `url` has this session, as far as the URLs tell.
    fn is_of(&self, client: &str, url: &str) -> bool {
        client == self.client && BrokerAddress::of(url).is_none_or(|broker| broker.may_be(self.broker))
    }

    /// Why an agent with this status keeps its session. Pure.
    fn needed_by(&self, status: &Value) -> Option<String> {
        let intake = &status["intake"];
        let (client, url) = (intake["client_id"].as_str()?, intake["url"].as_str()?);
        let journal = status["journal"]["path"].as_str().unwrap_or("-");
        self.is_of(client, url)
            .then(|| format!("the agent on the journal {journal} runs, and needs the session of {client}; {STOP}"))
    }
}

/// What an agent says that has another journal, and answers where this file's or the package's agent would.
fn elsewhere(config: &Config, session: &Session<'_>) -> Option<String> {
    let mut places = vec![Whereabouts::from(config)];
    // A proving run's agents are not this machine's.
    if crate::failpoints::agents_below().is_none() {
        places.push(Whereabouts::usual());
    }
    places.iter().find_map(|at| session.needed_by(&agent_client::status_at(at)?))
}

/// Without the agent on this configuration's journal where that has answered: it knows better than what it keeps.
fn mute(mut held: Held, agent: &Agent, config: &Config) -> Held {
    if matches!(agent, Agent::Runs(_)) {
        let own = agent_client::real(&config.journal.path);
        held.journals.retain(|journal| *journal != own);
    }
    held
}

/// What the holders of journals keep there: an agent without a socket and a page has a session, too.
fn of_holders(held: &Held, session: &Session<'_>, config: &Config) -> Option<String> {
    let own = agent_client::real(&config.journal.path);
    for journal in &held.journals {
        let kept = names::kept(journal, &config.mqtt.url);
        let needs = match &kept {
            Some(kept) if *journal == own => kept.client_id == session.client,
            Some(kept) => session.is_of(&kept.client_id, &kept.url),
            None => *journal == own,
        };
        if needs {
            return Some(format!(
                "an agent runs on the journal {}, which keeps the session of {}, and does not answer; {STOP}",
                journal.display(),
                session.client
            ));
        }
    }
    let process = held.hidden?;
    Some(format!(
        "an agent of another user runs (process {process}), and only root sees which session it needs; run it with sudo, or {STOP}"
    ))
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

    #[test]
    fn an_agents_session_is_its_own_whatever_its_journal() {
        let broker = BrokerAddress::of("mqtt://localhost").expect("a broker");
        let session = Session { client: "roof", broker: &broker };
        let of = |client: &str, url: &str| {
            let intake = serde_json::json!({ "client_id": client, "url": url });
            session.needed_by(&serde_json::json!({ "intake": intake, "journal": { "path": "/former" } }))
        };
        for url in ["mqtt://127.0.0.1:1883", "mqtts://localhost"] {
            assert!(of("roof", url).is_some_and(|why| why.contains("the agent on the journal /former")), "{url}");
            assert_eq!(of("cellar", url), None, "{url}");
        }
        assert_eq!(of("roof", "mqtt://broker.lan"), None);
        assert_eq!(session.needed_by(&serde_json::json!({ "intake": null })), None);
    }
}
