//! The broker: where it is, who we are there, and what it carries. It is asked with the answers a moment ago, so that a wrong
//! password is known while the person who has the right one is there.

use crate::cli::agent_client::{self, Agent};
use crate::cli::at_broker;
use crate::cli::credentials::of_service;
use crate::cli::init::InitOptions;
use crate::cli::init::answers::Answers;
use crate::cli::init::file::{self, BrokerKeys, Keys, QueueKeys};
use crate::cli::init::filters::filters;
use crate::cli::init::propose::Proposal;
use crate::cli::new_file;
use crate::cli::output::{note, say};
use crate::config::{BrokerAddress, Config, ConfigProblem};
use crate::mqtt::probe::{FilterAnswer, Look, ProbeReport, visit};
use crate::profile::REGISTRY;
use crate::record::Message;
use rustix::fs::{MemfdFlags, memfd_create};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BROKER: &str = "mqtt://127.0.0.1:1883";
/// Messages that it looks at, at most.
const MESSAGES: usize = 500;
/// How long a broker may take to answer which filters it grants.
const GRANT: Duration = Duration::from_secs(5);
/// How often the broker is asked with other answers.
const TRIES: usize = 5;
/// What is answered for no user name, where Enter takes the one before.
const NO_USER: &str = "-";
/// Where a password goes that was typed, beside the configuration.
const PASSWORD: &str = "mqtt-password";

/// The broker as it was given or answered.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) keys: BrokerKeys,
    /// Typed, and not in its file yet.
    password: Option<String>,
}

/// What is known of the broker.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) broker: Broker,
    pub(super) messages: Vec<Message>,
    /// Filters under which they were asked for.
    pub(super) asked: Vec<String>,
    /// The broker refuses `#` to this user.
    pub(super) all_refused: bool,
    /// An agent runs there, and was asked.
    pub(super) by_agent: bool,
    /// A guest got in, and may ask again.
    reached: bool,
}

impl Broker {
    /// Puts a password that was typed into its file.
    ///
    /// # Errors
    /// The file, and why it cannot be written.
    pub(super) fn keep_password(&self) -> Result<(), (PathBuf, io::Error)> {
        let (Some(password), Some(place)) = (&self.password, &self.keys.password_file) else { return Ok(()) };
        let line = format!("{password}\n");
        new_file::write(place, file::MODE, of_service(), line.as_bytes()).map_err(|error| (place.clone(), error))?;
        say!("The broker's password is in {}, which the agent can read and other users cannot.", place.display());
        Ok(())
    }

    /// Does something with a configuration for this broker; a password that was typed is in memory meanwhile, where a Ctrl-C
    /// leaves nothing of it.
    fn with<T>(&self, work: impl FnOnce(&Config) -> Result<T, String>) -> Result<T, String> {
        let mut keys = self.keys.clone();
        let typed = self.password.as_deref().map(in_memory).transpose();
        let typed = typed.map_err(|error| format!("no place for the password: {error}"))?;
        if let Some(file) = &typed {
            keys.password_file = Some(format!("/proc/self/fd/{}", file.as_raw_fd()).into());
        }
        work(&configured(&keys).map_err(|problems| problems.join("; "))?)
    }
}

/// A file that no folder has, and that ends with this process.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("tidegate", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// A configuration with this broker, and what else there has to be.
fn configured(broker: &BrokerKeys) -> Result<Config, Vec<String>> {
    let queue = QueueKeys::told_by("https://sqs.eu-west-1.amazonaws.com/123456789012/any", "any.csv");
    let any = [Proposal::unseen("auto", vec!["#".to_owned()])];
    let text = file::text(&Keys { gateway: None, broker, journal: None, queue: &queue, routes: &any });
    Config::parse(&text, Path::new("init"), &BTreeMap::new()).map_err(|problems| {
        let rest = |before: &str, text: &str| if text.is_empty() { String::new() } else { format!("{before}{text}") };
        let said = |problem: &ConfigProblem| {
            problem.found.clone() + &rest("; expected ", &problem.expected) + &rest("; ", &problem.suggestion)
        };
        problems.iter().map(said).collect()
    })
}

/// Asks for the broker, and looks at what it carries.
///
/// # Errors
/// There is no answer, or none that fits.
pub(super) fn meet(file: &Path, options: &InitOptions, answers: &mut Answers) -> Result<Met, String> {
    let mut tries = 0;
    let mut before = None;
    loop {
        tries += 1;
        let broker = broker(file, options, answers, before.as_ref())?;
        if options.listen == 0 {
            return Ok(Met::unseen(broker));
        }
        let why = match broker.with(|config| look(file, config, options, answers)) {
            Ok(seen) => return Ok(Met { broker, ..seen }),
            Err(why) => why,
        };
        note!("topics not read: {why}");
        // What flags say would be the same again.
        let again = options.broker.is_none() || options.username.is_none() && options.password_file.is_none();
        let again = again && tries < TRIES;
        if answers.yes || !again || !answers.agrees("Ask the broker again, with other answers?", true)? {
            return Ok(Met::unseen(broker));
        }
        before = Some(broker.keys);
    }
}

/// `before`: what was answered the last time, which Enter takes again.
fn broker(
    file: &Path,
    options: &InitOptions,
    answers: &mut Answers,
    before: Option<&BrokerKeys>,
) -> Result<Broker, String> {
    let read = |url: &str| {
        let keys = BrokerKeys { url: url.to_owned(), username: None, password_file: None };
        configured(&keys).map(|_| keys).map_err(|problems| problems.join("; "))
    };
    let mut keys = match &options.broker {
        Some(url) => read(url)?,
        None => {
            let usual = before.map_or(BROKER, |keys| &keys.url);
            answers.until(&format!("The broker? [{usual}]"), usual, "--broker", read)?
        }
    };
    let username = match &options.username {
        Some(user) => user.clone(),
        None => match before.and_then(|keys| keys.username.as_deref()) {
            Some(user) => answers.ask(&format!("The user name there? [{user}; {NO_USER} for none]"), user)?,
            None => answers.ask("The user name there? [none]", "")?,
        },
    };
    keys.username = (!["", NO_USER].contains(&&*username)).then_some(username);
    keys.password_file = options.password_file.as_deref().map(file::of_flag);
    let mut password = None;
    if let (Some(user), None, false) = (&keys.username, &keys.password_file, answers.yes) {
        let place = new_file::folder(file).join(PASSWORD);
        let (there, kept) = if place.exists() { (true, "; empty: as in its file") } else { (false, "") };
        let typed = answers.secret(&format!("The password of {user} (not shown{kept})?"))?;
        if there || !typed.is_empty() {
            keys.password_file = Some(std::path::absolute(&place).unwrap_or(place));
        }
        password = (!typed.is_empty()).then_some(typed);
    }
    Ok(Broker { keys, password })
}

impl Met {
    fn unseen(broker: Broker) -> Met {
        Met { broker, messages: Vec::new(), asked: Vec::new(), all_refused: false, by_agent: false, reached: false }
    }

    /// Which of these filters the broker refuses, as far as it can be asked.
    pub(super) fn refused(&self, filters: &[String]) -> Vec<String> {
        if !self.reached {
            return Vec::new();
        }
        let seen = self.broker.with(|config| guest(config, grants_of(filters))).unwrap_or_default();
        seen.filters.into_iter().filter(|(_, answer)| is_refusal(*answer)).map(|(filter, _)| filter).collect()
    }
}

/// Asks which filters are granted, and listens to nothing.
fn grants_of(filters: &[String]) -> Look<'_> {
    Look { filters, patience: GRANT, within: Duration::ZERO, most: 0, version: false }
}

/// Some brokers end the connection in the place of a refusal. One that is slow may grant it yet.
fn is_refusal(answer: FilterAnswer) -> bool {
    matches!(answer, FilterAnswer::Refused | FilterAnswer::Closed)
}

fn guest(config: &Config, look: Look<'_>) -> Result<ProbeReport, String> {
    let seen = at_broker(config, async |broker| visit(broker, look).await)?;
    seen.map_err(|refused| match &*refused.remedy {
        "" => refused.why,
        remedy => format!("{}; {remedy}", refused.why),
    })
}

/// What the broker carries.
///
/// # Errors
/// It cannot be seen, and why.
fn look(file: &Path, config: &Config, options: &InitOptions, answers: &mut Answers) -> Result<Met, String> {
    let within = Duration::from_secs(options.listen);
    let all = vec!["#".to_owned()];
    let keys = BrokerKeys { url: config.mqtt.url.clone(), username: None, password_file: None };
    let mut met = Met::unseen(Broker { keys, password: None });
    if let Some(agent) = running(file, config)? {
        say!("Listening to the running agent for {} s; only what its routes subscribe to is seen …", options.listen);
        met.messages = agent_client::messages(&agent, &all, MESSAGES, within)?;
        (met.asked, met.by_agent) = (all, true);
    } else {
        let seen = guest(config, grants_of(&all))?;
        met.all_refused = seen.filters.iter().any(|(_, answer)| is_refusal(*answer));
        met.asked = if met.all_refused { readable(options, answers)? } else { all };
        met.reached = true;
        say!("Looking at what {} carries, for {} s …", config.mqtt.url, options.listen);
        let seen = guest(config, Look::at(&met.asked, within, MESSAGES))?;
        met.asked =
            seen.filters.into_iter().filter(|(_, answer)| !is_refusal(*answer)).map(|(filter, _)| filter).collect();
        met.messages = seen.messages;
    }
    if met.messages.is_empty() {
        say!("Nothing came.");
    }
    Ok(met)
}

/// The topics that this user may read, where the broker does not let it read all: as a person says, else those of the profiles.
fn readable(options: &InitOptions, answers: &mut Answers) -> Result<Vec<String>, String> {
    note!("The broker refuses # to this user.");
    if !options.topics.is_empty() {
        return Ok(options.topics.clone());
    }
    let known: BTreeSet<String> =
        REGISTRY.iter().flat_map(|info| info.default_topics).map(|filter| (*filter).to_owned()).collect();
    let question = "Which topics may it read (filters, commas between them)? [those of network servers]";
    answers.until(question, "", "--topics", |answer| match answer {
        "" => Ok(known.iter().cloned().collect()),
        answer => filters(answer),
    })
}

/// The configuration of an agent that is at this broker now: that of the file which is to be replaced, or one on the usual
/// journal.
///
/// # Errors
/// One runs, and does not say where it is connected.
fn running(file: &Path, proposed: &Config) -> Result<Option<Config>, String> {
    for config in Config::load(file).ok().into_iter().chain([proposed.clone()]) {
        match agent_client::agent(&config) {
            Agent::None => {}
            Agent::Mute(why) => return Err(format!("an agent runs, and cannot be asked: {why}")),
            Agent::Runs(status) => {
                let url = status["intake"]["url"].as_str();
                let at = url.and_then(BrokerAddress::of);
                if at.is_none_or(|at| at.may_be(&proposed.mqtt.address)) {
                    return Ok(Some(config));
                }
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::first_line;

    #[test]
    fn a_typed_password_is_in_no_folder() {
        let url = BROKER.to_owned();
        let keys = BrokerKeys { url, username: Some("gateway".into()), password_file: Some("/nowhere/it".into()) };
        let broker = Broker { keys, password: Some("s3 cret".into()) };
        let looked = broker.with(|config| {
            let file = config.mqtt.password_file.clone().ok_or("no file")?;
            // For every connection anew.
            let read = [first_line::read(&file), first_line::read(&file)].map(Result::ok);
            Ok((file.starts_with("/proc/self/fd"), read))
        });
        assert_eq!(looked, Ok((true, [Some("s3 cret".into()), Some("s3 cret".into())])));
    }
}
