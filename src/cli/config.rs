//! `tidegate config …`: configurations, shown.

use crate::agent::options;
use crate::cli::credentials::is_somebody_else;
use crate::cli::output::{complain, say, say_text};
use crate::cli::{ConfigFile, ExitCode, agent_client, load, load_noting};
use crate::config::effective::{Setting, as_file, difference, quoted};
use crate::config::{Config, DEFAULT_TOML, size_text};
use crate::journal::{Bounds, volume};
use crate::mqtt::names;
use clap::Subcommand;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Print every key with its default, unit and reason.
    Default,
    /// Print the effective configuration.
    Show(ConfigFile),
    /// Print what differs from the defaults, a file or the running agent.
    Diff {
        #[command(flatten)]
        file: ConfigFile,
        /// Another configuration.
        #[arg(value_name = "OTHER", conflicts_with = "running")]
        other: Option<PathBuf>,
        /// The running agent's: what the next SIGHUP will change.
        #[arg(long)]
        running: bool,
    },
}

pub(super) fn config(command: &ConfigCommand) -> ExitCode {
    let done = match command {
        ConfigCommand::Default => {
            say_text!("{DEFAULT_TOML}");
            return ExitCode::Done;
        }
        ConfigCommand::Show(file) => show(&file.config),
        ConfigCommand::Diff { file, other: Some(other), .. } => against_file(&file.config, other),
        ConfigCommand::Diff { file, running: true, .. } => against_running(&file.config),
        ConfigCommand::Diff { file, .. } => against_defaults(&file.config),
    };
    done.err().unwrap_or(ExitCode::Done)
}

fn show(file: &Path) -> Result<(), ExitCode> {
    let (config, set) = load_noting(file)?;
    let kept = names::kept(&config.journal.path, &config.mqtt.url).is_some();
    let comment = |setting: &Setting| match &*setting.path() {
        path if set.contains(path) => "",
        "gateway.id" | "mqtt.client_id" if kept => "  # kept with the journal",
        path if path.starts_with("journal.#") => "  # default on this partition",
        _ => "  # default",
    };
    say_text!("{}", as_file(&with_bounds(&config), comment));
    Ok(())
}

/// The settings, and as comments the journal's bounds that go by the partition: saved as a file, they are not fixed by it.
fn with_bounds(config: &Config) -> Vec<Setting> {
    let (mut rows, journal) = (config.settings(), &config.journal);
    let bounds = Bounds::of(&options::bounds(journal), volume::space(&journal.path));
    let ours =
        [("# max_bytes", journal.max_bytes, bounds.max_bytes), ("# min_free", journal.min_free, bounds.min_free)];
    let end = rows.iter().rposition(|row| row.section == "[journal]").map_or(0, |last| last + 1);
    let ours = ours.into_iter().filter(|(_, given, _)| given.is_none());
    let of = |(key, _, bytes)| Setting { section: "[journal]".into(), nth: 1, key, value: quoted(&size_text(bytes)) };
    rows.splice(end..end, ours.map(of));
    rows
}

fn against_defaults(file: &Path) -> Result<(), ExitCode> {
    let (config, set) = load_noting(file)?;
    let rows: Vec<Setting> = config.settings().into_iter().filter(|row| set.contains(&row.path())).collect();
    let defaults = defaults();
    let otherwise = |row: &Setting| {
        let section = if row.section.starts_with("[queues.") { "[queues.main]" } else { &row.section };
        !defaults.contains(&(section.to_owned(), row.key.to_owned(), row.value.clone()))
    };
    let rows: Vec<Setting> = rows.into_iter().filter(otherwise).collect();
    say_text!("{}", as_file(&rows, |_| ""));
    Ok(())
}

/// Section, key and value of every fixed default, as the reference file shows them.
fn defaults() -> BTreeSet<(String, String, String)> {
    let mut section = String::new();
    let mut all = BTreeSet::new();
    for line in DEFAULT_TOML.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            all.insert((section.clone(), key.to_owned(), value.to_owned()));
        }
    }
    all
}

fn against_file(file: &Path, other: &Path) -> Result<(), ExitCode> {
    let (config, other) = (load(file)?, load(other)?);
    lines(&difference(&config.settings(), &other.settings()));
    Ok(())
}

fn against_running(file: &Path) -> Result<(), ExitCode> {
    let config = load(file)?;
    let said = match agent_client::get(&config, "/config.toml") {
        Ok((200, body)) => String::from_utf8_lossy(&body).into_owned(),
        Ok((404, _)) if is_somebody_else() => {
            complain!("the running agent shows its configuration to root alone: run it with sudo");
            return Err(ExitCode::Failed);
        }
        Ok((status, _)) => {
            complain!(
                "the running agent does not show its configuration (HTTP {status}); do agent and command have the same version?"
            );
            return Err(ExitCode::Failed);
        }
        Err(error) => {
            complain!("no agent answers: {error}");
            return Err(ExitCode::NotRunning);
        }
    };
    // It shows every key with its value in effect: no environment has a say in it any more.
    let running = Config::parse(&said, file, &Default::default()).map_err(|problems| {
        problems.iter().for_each(|problem| complain!("{problem}"));
        ExitCode::Failed
    })?;
    lines(&difference(&running.settings(), &config.settings()));
    Ok(())
}

fn lines(lines: &[String]) {
    lines.iter().for_each(|line| say!("{line}"));
    if lines.is_empty() {
        say!("no difference");
    }
}
