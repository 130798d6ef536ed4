//! `tidegate acknowledge`: a person has seen what was lost; from then on only what comes after is a finding.

use crate::cli::output::{complain, note, say, say_json};
use crate::cli::{ExitCode, agent_client};
use crate::config::{Config, ConfigError, Whereabouts};
use crate::status::acknowledged::{Acknowledgement, Request};
use crate::status::findings::codes::{Code, LOSSES};
use std::path::Path;

#[derive(clap::Args, Debug)]
pub(super) struct AcknowledgeOptions {
    /// Codes of the findings, as `status --json` gives them; default: all losses.
    #[arg(value_name = "CODE", value_parser = code)]
    codes: Vec<String>,
    /// Why it is settled, in your words; kept with it.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who acknowledges; default: the user who is logged in.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Print what was acknowledged as JSON.
    #[arg(long)]
    json: bool,
}

/// Only what was lost can be acknowledged.
fn code(text: &str) -> Result<String, String> {
    let words = LOSSES.map(Code::word);
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("only losses are acknowledged: {}; anything else goes once it is mended", words.join(", ")))
}

pub(super) fn acknowledge(file: &Path, options: &AcknowledgeOptions) -> ExitCode {
    // It works with a mistake in the file, as `status` does.
    let at = match Config::load(file) {
        Ok(config) => Ok(Whereabouts::from(&config)),
        Err(ConfigError::Problems(_)) => Whereabouts::of_file(file),
        Err(error) => Err(error),
    };
    let at = match at {
        Ok(at) => at,
        Err(error) => {
            complain!("{error}");
            return ExitCode::Configuration;
        }
    };
    let who = options.who.clone().unwrap_or_else(person);
    let request = Request { who, note: options.note.clone(), codes: options.codes.clone() };
    let body = serde_json::to_string(&request).unwrap_or_default();
    match agent_client::change_at(&at, "/acknowledge", &body) {
        Ok(Some((200, body))) => match serde_json::from_slice::<Acknowledgement>(&body) {
            Ok(done) => said(&done, options.json),
            Err(error) => {
                complain!("the agent's answer cannot be read: {error}");
                ExitCode::Failed
            }
        },
        Ok(Some((404, _))) => {
            complain!("the running agent is of an older release; run: sudo systemctl restart tidegate");
            ExitCode::Failed
        }
        Ok(Some((status, body))) => {
            complain!("the agent answers {status}: {}", String::from_utf8_lossy(&body).trim());
            ExitCode::Failed
        }
        Ok(None) => {
            complain!("no agent runs on the journal {}; run: sudo systemctl start tidegate", at.journal.display());
            ExitCode::NotRunning
        }
        Err(error) => {
            complain!("the agent's control socket: {error}; run: sudo tidegate acknowledge");
            ExitCode::Failed
        }
    }
}

fn said(done: &Acknowledgement, json: bool) -> ExitCode {
    if json {
        say_json(&serde_json::to_string(done).unwrap_or_default());
        return ExitCode::Done;
    }
    for item in &done.what {
        let about = item.about.as_deref().map_or_else(String::new, |about| format!(" ({about})"));
        say!("acknowledged {}{about}: {}", item.code, item.count);
    }
    if done.what.is_empty() {
        note!("nothing to acknowledge; what else there is says: tidegate status");
    }
    ExitCode::Done
}

/// The user at the terminal: behind sudo, the one who called it.
fn person() -> String {
    let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let uid = rustix::process::getuid().as_raw();
    of("SUDO_USER").or_else(|| of("USER")).or_else(|| of("LOGNAME")).unwrap_or_else(|| format!("user {uid}"))
}
