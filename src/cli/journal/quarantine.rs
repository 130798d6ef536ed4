//! `tidegate journal quarantine …`: what can never be sent, and what to do with it.

use crate::cli::journal::list::say_payload;
use crate::cli::journal::record::Line;
use crate::cli::journal::{failed, view};
use crate::cli::output::{complain, note, say, say_json, say_text};
use crate::cli::{ConfigFile, ExitCode, agent_client, load};
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{Journal, JournalError, Named, Quarantined, Requeued, View};
use crate::logging;
use clap::Subcommand;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

#[derive(Subcommand, Debug)]
pub(crate) enum QuarantineCommand {
    /// List it.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show one thing, and why it cannot be sent.
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Its id, as `list` gives it (q17), or its record's number.
        #[arg(value_name = "ID")]
        named: Named,
        /// Its payload, too.
        #[arg(long)]
        payload: bool,
    },
    /// Give up records that wait and do not get through.
    Add {
        #[command(flatten)]
        file: ConfigFile,
        /// Their numbers, as `status` and `journal list` give them.
        #[arg(value_name = "NUMBER", required = true)]
        numbers: Vec<u64>,
    },
    /// Send records again, marked as possible duplicates.
    Requeue {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        which: Which,
    },
    /// Delete records for good; export them first to keep a copy.
    Drop {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        which: Which,
    },
}

/// Which of them.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Their ids, as `list` gives them (q17), or their records' numbers.
    #[arg(value_name = "ID")]
    names: Vec<Named>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

impl Which {
    fn names(&self) -> Option<&[Named]> {
        (!self.all).then_some(&self.names)
    }
}

/// What is changed, and of what.
enum Change<'a> {
    Add(&'a [u64]),
    Requeue(Option<&'a [Named]>),
    Drop(Option<&'a [Named]>),
}

impl Change<'_> {
    /// Where the agent takes it, and with what body.
    fn request(&self) -> (&'static str, String) {
        let (path, body) = match self {
            Change::Add(numbers) => ("/quarantine/add", serde_json::to_string(numbers)),
            Change::Requeue(names) => ("/quarantine/requeue", serde_json::to_string(names)),
            Change::Drop(names) => ("/quarantine/drop", serde_json::to_string(names)),
        };
        (path, body.unwrap_or_default())
    }

    fn verb(&self) -> &'static str {
        match self {
            Change::Add(_) => "put into quarantine",
            Change::Requeue(_) => "requeued",
            Change::Drop(_) => "dropped",
        }
    }
}

pub(super) fn quarantine(command: &QuarantineCommand) -> Result<ExitCode, ExitCode> {
    match command {
        QuarantineCommand::List { file, json } => list(&view(&load(&file.config)?)?, *json),
        QuarantineCommand::Show { file, named, payload } => show(&view(&load(&file.config)?)?, *named, *payload),
        QuarantineCommand::Add { file, numbers } => change(&load(&file.config)?, &Change::Add(numbers)),
        QuarantineCommand::Requeue { file, which } => change(&load(&file.config)?, &Change::Requeue(which.names())),
        QuarantineCommand::Drop { file, which } => change(&load(&file.config)?, &Change::Drop(which.names())),
    }
}

/// What is in it, or why it cannot be told.
pub(super) fn entries(view: &View) -> Result<Vec<Quarantined>, ExitCode> {
    view.quarantined().map_err(|error| {
        complain!("the quarantine cannot be read: {error}");
        ExitCode::Failed
    })
}

fn list(view: &View, json: bool) -> Result<ExitCode, ExitCode> {
    let entries = entries(view)?;
    for entry in &entries {
        if json {
            say_json(&Line::quarantined(view, entry, false).json());
            continue;
        }
        let queue = entry.place.and_then(|(lane, _)| view.lane_name(lane)).unwrap_or("-");
        let (id, number, bytes) = (entry.id.to_string(), entry.record.number, entry.record.draft.message.payload.len());
        say!("{id:>6}  {number:>8}  {queue:<12}  {bytes:>7} bytes  {}", entry.record.draft.message.topic);
        say!("                  {}: {}", entry.code, entry.text);
    }
    if entries.is_empty() {
        note!("the quarantine is empty; a finding that records went there ends with: sudo tidegate acknowledge");
    }
    Ok(ExitCode::Done)
}

fn show(view: &View, named: Named, payload: bool) -> Result<ExitCode, ExitCode> {
    let entries = entries(view)?;
    // A number may mean several: what is shown tells them apart.
    let mut found = entries.iter().filter(|entry| named.is(entry)).peekable();
    if found.peek().is_none() {
        complain!("{named} is not in quarantine; `tidegate journal quarantine list` shows what is");
        return Err(ExitCode::Failed);
    }
    for entry in found {
        say_text!("{}", Line::quarantined(view, entry, false).facts());
        say_payload(&entry.record.draft.message.payload, payload);
    }
    Ok(ExitCode::Done)
}

/// By the agent where one runs, else by ourselves.
fn change(config: &Config, change: &Change<'_>) -> Result<ExitCode, ExitCode> {
    let (path, body) = change.request();
    let outcome = match agent_client::change(config, path, &body) {
        Ok(Some((200, body))) => serde_json::from_slice(&body).map_err(|error| {
            complain!("cannot read the agent's reply ({error}); do agent and command have the same version?");
            ExitCode::Failed
        })?,
        Ok(Some((_, body))) => {
            complain!("{}", String::from_utf8_lossy(&body).trim_end());
            return Err(ExitCode::Failed);
        }
        Ok(None) => alone(config, change)?,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            complain!("the journal's control socket: {error}; run it with sudo");
            return Err(ExitCode::Failed);
        }
        Err(error) => {
            complain!(
                "the agent that holds the journal does not answer ({error}); try again, or stop it: systemctl stop tidegate"
            );
            return Err(ExitCode::Failed);
        }
    };
    told(&outcome, change.verb())
}

fn told(outcome: &Requeued, verb: &str) -> Result<ExitCode, ExitCode> {
    let done: Vec<String> = outcome.done.iter().map(|(id, number)| format!("{id} (record {number})")).collect();
    match done.is_empty() {
        true => say!("nothing was {verb}"),
        false => say!("{verb}: {}", done.join(", ")),
    }
    for (named, why) in &outcome.refused {
        complain!("{named} {why}");
    }
    if outcome.refused.is_empty() { Ok(ExitCode::Done) } else { Err(ExitCode::Failed) }
}

/// No agent runs: the journal is opened for this alone.
fn alone(config: &Config, change: &Change<'_>) -> Result<Requeued, ExitCode> {
    // There has to be one: this command must not make one.
    view(config)?;
    as_owner(config)?;
    logging::start();
    let opened = Journal::open(&crate::agent::options::journal(config), &Clock::new(None));
    let opened = opened.map_err(|error| match error {
        JournalError::Locked(_) => {
            complain!(
                "a running agent holds the journal and has no control socket; stop it first: systemctl stop tidegate"
            );
            ExitCode::JournalHeld
        }
        error => failed(&error),
    })?;
    let outcome = match change {
        Change::Add(numbers) => opened.quarantine_by_hand(numbers),
        Change::Requeue(names) => opened.requeue(*names),
        Change::Drop(names) => opened.journal.drop_quarantined(*names),
    };
    outcome.map_err(|error| failed(&error))
}

/// Files that root makes here would be closed to the agent: root continues as the user that the journal belongs to.
fn as_owner(config: &Config) -> Result<(), ExitCode> {
    let folder = std::fs::metadata(&config.journal.path).map_err(|error| {
        complain!("{}: {error}", config.journal.path.display());
        ExitCode::Failed
    })?;
    if !rustix::process::geteuid().is_root() || folder.uid() == 0 {
        return Ok(());
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "tidegate".into());
    let error = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .uid(folder.uid())
        .gid(folder.gid())
        .exec();
    complain!("cannot go on as the journal's user {}: {error}", folder.uid());
    Err(ExitCode::Failed)
}
