//! `tidegate status`: what the running agent says of itself, or what the journal tells without it.

mod table;

use crate::cli::credentials::is_somebody_else;
use crate::cli::output::{clear, complain, say, say_json, say_text};
use crate::cli::{ExitCode, agent_client};
use crate::config::{Config, ConfigError, Whereabouts};
use crate::journal::{JournalError, View, ViewStats};
use crate::size;
use crate::status::findings::{Code, Finding, Severity};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;
pub(in crate::cli) use table::refuses;
use table::table;

/// Between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct StatusOptions {
    /// Print the whole snapshot as JSON.
    #[arg(long)]
    json: bool,
    /// Refresh every two seconds, until Ctrl-C.
    #[arg(long, conflicts_with_all = ["json", "exit_code"])]
    watch: bool,
    /// Exit with 10 if something waits, with 11 if a person must act.
    #[arg(long)]
    exit_code: bool,
}

/// Where the agent is, and what is wrong with the file that says so.
struct Known {
    at: Whereabouts,
    mistake: Option<ConfigError>,
}

impl Known {
    fn of(file: &Path) -> Result<Known, ConfigError> {
        match Config::load(file) {
            Ok(config) => Ok(Known { at: Whereabouts::from(&config), mistake: None }),
            Err(mistake @ ConfigError::Problems(_)) => {
                Ok(Known { at: Whereabouts::of_file(file)?, mistake: Some(mistake) })
            }
            Err(error) => Err(error),
        }
    }
}

pub(super) fn status(file: &Path, options: StatusOptions) -> ExitCode {
    let known = match Known::of(file) {
        Ok(known) => known,
        Err(error) => {
            complain!("{error}");
            return ExitCode::Configuration;
        }
    };
    if !options.watch {
        return look(&known, options);
    }
    loop {
        if io::stdout().is_terminal() {
            clear();
        }
        look(&known, options);
        say!("");
        std::thread::sleep(WATCH);
    }
}

fn look(known: &Known, options: StatusOptions) -> ExitCode {
    let json = options.json;
    let error = match ask_at(&known.at) {
        Ok(mut snapshot) => {
            if let Some(mistake) = &known.mistake {
                note_mistake(&mut snapshot, mistake);
            }
            match json {
                true => say_json(&snapshot),
                false => say_text!("{}", table(&snapshot)),
            }
            return if options.exit_code { code_of(&snapshot) } else { ExitCode::Done };
        }
        Err(error) => error,
    };
    if let Some(mistake) = &known.mistake {
        complain!("{mistake}");
        return ExitCode::Configuration;
    }
    complain!("no agent answers: {error}; is it running? look at: systemctl status tidegate");
    match View::open(&known.at.journal).and_then(|view| view.stats()) {
        Ok(facts) if json => say_json(&serde_json::json!({ "running": false, "journal": facts })),
        Ok(facts) => say_text!("{}", alone(&facts)),
        Err(error @ JournalError::Io { .. }) if is_somebody_else() => {
            complain!("{error}; only root and the agent's user may read the journal: run it with sudo");
        }
        Err(error) => complain!("{error}"),
    }
    ExitCode::NotRunning
}

/// The running agent's snapshot.
pub(super) fn ask(config: &Config) -> io::Result<Value> {
    ask_at(&config.into())
}

fn ask_at(at: &Whereabouts) -> io::Result<Value> {
    let (status, body) = agent_client::get_at(at, "/status.json")?;
    match serde_json::from_slice(&body) {
        Ok(snapshot) if status == 200 => Ok(snapshot),
        Ok(_) => Err(io::Error::other(format!("the answer is {status}"))),
        Err(error) if status == 200 => Err(io::Error::other(format!(
            "what answers is not a tidegate agent ({error}); is another program on status.listen?"
        ))),
        Err(_) => Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))),
    }
}

/// What a snapshot's health is to a script.
fn code_of(snapshot: &Value) -> ExitCode {
    match snapshot["health"].as_str() {
        Some("fine") => ExitCode::Done,
        Some("waiting") => ExitCode::Waiting,
        Some("act") => ExitCode::Act,
        _ => ExitCode::Failed,
    }
}

/// Adds the finding that the file has a mistake, unless the agent was told to take it and says so.
fn note_mistake(snapshot: &mut Value, mistake: &ConfigError) {
    let findings = snapshot["findings"].as_array().cloned().unwrap_or_default();
    if findings.iter().any(|finding| finding["code"] == Code::ConfigurationRefused.word()) {
        return;
    }
    let first = match mistake {
        ConfigError::Problems(problems) => problems.first().map(ToString::to_string),
        _ => None,
    };
    let why = first.unwrap_or_else(|| mistake.to_string());
    let why = why.lines().next().unwrap_or_default();
    let what = format!("the configuration file has a mistake: {why}");
    let finding = Finding::new(Code::ConfigurationMistake, Severity::Act, what);
    let line = Value::from(finding.line());
    let Ok(finding) = serde_json::to_value(finding) else { return };
    for (name, value) in [("findings", finding), ("remarks", line)] {
        match snapshot[name].as_array_mut() {
            Some(list) => list.insert(0, value),
            None => snapshot[name] = Value::from(vec![value]),
        }
    }
    snapshot["health"] = "act".into();
}

/// What the journal tells without an agent.
fn alone(facts: &ViewStats) -> String {
    let mut out =
        String::from("from the journal alone; what was accepted in its last second may still count as waiting\n");
    let _ = writeln!(
        out,
        "{:<10} {}, {}, generations {}, quarantine {}",
        "journal",
        facts.path.display(),
        size::text(facts.bytes),
        facts.generations,
        facts.quarantine
    );
    for lane in &facts.lanes {
        let _ = writeln!(
            out,
            "{:<10} {}: waiting {}, accepted {}, evicted {}, quarantined {}, damaged {}, appended {}",
            "queue",
            lane.name,
            lane.waiting,
            lane.accepted,
            lane.evicted,
            lane.quarantined,
            lane.damaged,
            lane.appended
        );
    }
    if facts.journal_id.is_none() && !facts.just_made {
        out.push_str("the state file is damaged: at the next start everything on disk counts as waiting\n");
    }
    out
}
