//! `tidegate init`: a few questions (or flags), a look at the broker's live topics, and a commented configuration that
//! loads. Nothing is overwritten unasked. An agent that runs at that broker is listened to; only where none does, a guest
//! connects.

mod propose;

use crate::cli::agent_client::{self, Agent};
use crate::cli::new_file::{NewFile, Owner};
use crate::cli::output::{complain, note, say};
use crate::cli::profiles::no_profile;
use crate::cli::{ExitCode, at_broker};
use crate::config::effective::quoted;
use crate::config::queue_url::QueueUrl;
use crate::config::{BrokerAddress, Config};
use crate::mqtt::probe::visit;
use crate::profile::{Profile, ProfileOptions};
use crate::record::Message;
use crate::visible;
use propose::{Proposal, propose};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Messages that it looks at, at most.
const MESSAGES: usize = 500;
const BROKER: &str = "mqtt://127.0.0.1:1883";
const CREDENTIALS: &str = "/etc/tidegate/credentials.csv";

/// How the command was asked; what is not said is asked for.
#[derive(clap::Args, Debug)]
pub(super) struct InitOptions {
    /// The broker, such as mqtt://127.0.0.1:1883.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// Its user name.
    #[arg(long)]
    username: Option<String>,
    /// File with its password in the first line.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The queue's URL, as the SQS console shows it.
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// Where the access key's .csv is or will be.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// A label for this gateway; default: its host name.
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
    /// The profile, instead of a proposal from what the broker carries.
    #[arg(long)]
    profile: Option<String>,
    /// How long to look at the broker; 0 not to look.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    listen: u64,
    /// Take the proposals and defaults without asking.
    #[arg(long, short)]
    yes: bool,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

pub(super) fn init(file: &Path, options: &InitOptions) -> ExitCode {
    match made(file, options, &mut Answers { yes: options.yes }) {
        Ok(code) => code,
        Err(why) => {
            complain!("{why}");
            ExitCode::Failed
        }
    }
}

fn made(file: &Path, options: &InitOptions, answers: &mut Answers) -> Result<ExitCode, String> {
    if file.exists() && !options.force {
        let question = format!("{} is there already. Replace it (its old text goes to FILE.old)? [no]", file.display());
        if options.yes || !answers.ask(&question, "no")?.starts_with(['y', 'Y']) {
            return Err(format!(
                "{} stays as it is; to replace it: --force, or name another with --config",
                file.display()
            ));
        }
    }
    let broker = answers.or(options.broker.clone(), "The broker?", BROKER)?;
    let routes = routes(file, options, &broker, answers)?;
    let queue = queue(options, answers)?;
    let credentials = match &options.credentials {
        Some(path) => path.display().to_string(),
        None => answers.ask(&format!("Where will the access key's .csv be? [{CREDENTIALS}]"), CREDENTIALS)?,
    };
    let text = text(options, &broker, &queue, &credentials, &routes);
    Config::parse(&text, file, &BTreeMap::new()).map_err(|problems| {
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("this would not be a good configuration:\n{}", said.join("\n"))
    })?;
    write(file, &text).map_err(|error| format!("cannot write {}: {error}; run it as root?", file.display()))?;
    say!("Wrote {}. Next:", file.display());
    if !Path::new(&credentials).exists() {
        say!("    tidegate credentials import FILE.csv     # the access key, as the IAM console gave it");
    }
    say!("    tidegate policy                          # what that user must be allowed");
    say!("    tidegate check                           # the whole way, step by step");
    say!("    systemctl enable --now tidegate");
    Ok(ExitCode::Done)
}

/// Questions on standard error, answers from standard input, so that both can be piped.
struct Answers {
    yes: bool,
}

impl Answers {
    /// The answer, or `default` for an empty one or when nothing is to be asked.
    fn ask(&mut self, question: &str, default: &str) -> Result<String, String> {
        if self.yes {
            return Ok(default.to_owned());
        }
        crate::cli::output::err(format_args!("{question} "));
        let _ = io::stderr().flush();
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(0) => Err("no answer: give it as a flag, see tidegate init --help".to_owned()),
            Ok(_) if line.trim().is_empty() => Ok(default.to_owned()),
            Ok(_) => Ok(line.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn or(&mut self, given: Option<String>, question: &str, default: &str) -> Result<String, String> {
        given.map_or_else(|| self.ask(&format!("{question} [{default}]"), default), Ok)
    }
}

fn queue(options: &InitOptions, answers: &mut Answers) -> Result<String, String> {
    if let Some(url) = &options.queue {
        return QueueUrl::parse(url).map(|_| url.clone());
    }
    loop {
        let url = answers.ask("The queue's URL, as the SQS console shows it?", "")?;
        match QueueUrl::parse(&url) {
            Ok(_) => return Ok(url),
            // With `--yes` there is no person to ask again, so that is the end.
            Err(why) if answers.yes => return Err(format!("{why}; give it with --queue")),
            Err(why) => note!("{why}"),
        }
    }
}

/// The routes: named, or proposed from what the broker carries.
fn routes(file: &Path, options: &InitOptions, broker: &str, answers: &mut Answers) -> Result<Vec<Proposal>, String> {
    let named = |name: &str| {
        let known = Profile::names().into_iter().find(|known| *known == name);
        let profile = known.ok_or_else(|| no_profile(name))?;
        let topics = if propose::filters_of(profile).is_empty() { vec!["#".to_owned()] } else { Vec::new() };
        Ok(vec![Proposal { profile, topics, messages: 0, qos0: 0, example: String::new() }])
    };
    if let Some(name) = &options.profile {
        return named(name);
    }
    let seen = if options.listen == 0 { Vec::new() } else { look(file, options, broker) };
    let proposals = propose(&seen);
    for proposal in &proposals {
        let weak = if proposal.qos0 > 0 { format!(", {} with QoS 0", proposal.qos0) } else { String::new() };
        say!("  {}: {} messages{weak}, such as {}", proposal.profile, proposal.messages, proposal.example);
    }
    if proposals.is_empty() {
        let name = answers.ask("Which profile (tidegate profiles lists them)? [auto]", "auto")?;
        return named(&name);
    }
    let answer = answers.ask("Take these as routes, or name one profile? [yes]", "yes")?;
    if answer.starts_with(['y', 'Y']) { Ok(proposals) } else { named(&answer) }
}

/// What the broker carries, as far as it can be seen: where it cannot, the command says so and continues.
fn look(file: &Path, options: &InitOptions, broker: &str) -> Vec<Message> {
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/any";
    let routes = [Proposal { profile: "auto", topics: vec!["#".into()], messages: 0, qos0: 0, example: String::new() }];
    let text = text(options, broker, queue, CREDENTIALS, &routes);
    let Ok(config) = Config::parse(&text, Path::new("init"), &BTreeMap::new()) else {
        note!(
            "{broker} does not look like a broker's URL, so init asks no broker; expected mqtt://HOST:PORT or mqtts://HOST:PORT"
        );
        return Vec::new();
    };
    let within = Duration::from_secs(options.listen);
    let seen = match running(file, &config) {
        Ok(Some(agent)) => {
            say!(
                "Listening to the running agent for {} s; only what its routes subscribe to is seen …",
                options.listen
            );
            agent_client::messages(&agent, &["#".to_owned()], MESSAGES, within)
        }
        Ok(None) => {
            say!("Looking at what {broker} carries, for {} s …", options.listen);
            let seen =
                at_broker(&config, async |tls| visit(&config.mqtt, tls, &["#".to_owned()], within, MESSAGES).await);
            seen.and_then(|seen| seen.map_err(|refused| format!("{}; {}", refused.why, refused.remedy)))
                .map(|seen| seen.messages)
        }
        Err(why) => Err(why),
    };
    match seen {
        Ok(seen) if seen.is_empty() => {
            say!("Nothing came.");
            Vec::new()
        }
        Ok(seen) => seen,
        Err(why) => {
            note!("topics not read: {why}");
            Vec::new()
        }
    }
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

fn text(options: &InitOptions, broker: &str, queue: &str, credentials: &str, routes: &[Proposal]) -> String {
    let mut out = String::from(
        "# Made by `tidegate init`. Every further key, with its default and its reason: `tidegate config default`.\n\n",
    );
    match &options.gateway {
        Some(id) => _ = write!(out, "[gateway]\nid = {}\n\n", quoted(id)),
        None => out.push_str("# [gateway]\n# id = \"…\"   # a label; default: this machine's host name\n\n"),
    }
    let _ = writeln!(out, "[mqtt]\nurl = {}", quoted(broker));
    if let Some(user) = &options.username {
        let _ = writeln!(out, "username = {}", quoted(user));
    }
    if let Some(path) = &options.password_file {
        let _ = writeln!(out, "password_file = {}", quoted(&path.display().to_string()));
    }
    let _ = write!(out, "\n[queues.main]\nurl = {}\ncredentials_file = {}\n", quoted(queue), quoted(credentials));
    for route in routes {
        out.push('\n');
        if !route.example.is_empty() {
            let example: String = visible::line(&route.example).chars().take(120).collect();
            let _ = writeln!(out, "# {} messages were seen, such as {example}", route.messages);
        }
        if route.qos0 > 0 {
            let remedy = Profile::named(route.profile, ProfileOptions::default()).map(|profile| profile.qos_remedy());
            let _ = writeln!(out, "# {} of them came with QoS 0, which is lost while the agent is away:", route.qos0);
            let _ = writeln!(out, "# {}.", remedy.unwrap_or_default());
        }
        let _ = writeln!(out, "[[routes]]\nprofile = \"{}\"", route.profile);
        if !route.topics.is_empty() {
            let topics: Vec<String> = route.topics.iter().map(|topic| quoted(topic)).collect();
            let _ = writeln!(out, "topics = [{}]", topics.join(", "));
        }
        out.push_str("queue = \"main\"\n");
    }
    out
}

/// What was there is kept beside it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    // Of the service's group: closed to it, the service ends with exit code 3, and is not started again.
    let group = crate::cli::credentials::service_user().map(|(_, group)| group);
    let mut out = NewFile::beside(file, 0o640, Owner { user: None, group })?;
    out.write_all(text.as_bytes())?;
    if file.exists() {
        let mut old = file.as_os_str().to_owned();
        old.push(".old");
        std::fs::rename(file, old)?;
    }
    out.put()
}
