//! `tidegate acknowledge`: a person has seen what was lost; from then on only what comes after is a finding.

use crate::cli::agent_client::real;
use crate::cli::output::{complain, note, say, say_json};
use crate::cli::{ExitCode, agent_client, held};
use crate::config::{Config, ConfigError, Whereabouts};
use crate::status::acknowledged::{Acknowledgement, Request, TEXT_CHARS};
use crate::status::control::SOCKET;
use crate::status::findings::codes::{Code, LOSSES};
use std::path::Path;

#[derive(clap::Args, Debug)]
pub(super) struct AcknowledgeOptions {
    /// Codes of the findings, as `status --json` gives them; default: all losses.
    #[arg(value_name = "CODE", value_parser = code)]
    codes: Vec<String>,
    /// Why it is settled, in at most 200 characters; kept with it.
    #[arg(long, value_name = "TEXT", value_parser = short)]
    note: Option<String>,
    /// Who acknowledges; default: the user who is logged in.
    #[arg(long, value_name = "NAME", value_parser = short)]
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

/// What is kept whole.
fn short(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=TEXT_CHARS => Ok(text.to_owned()),
        many => Err(format!("it has {many} characters, and at most {TEXT_CHARS} are kept; shorten it")),
    }
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
        Ok(None) if runs(&at) => {
            complain!(
                "the agent runs and has no control socket ({}), by which alone it can be told; the agent's log says why: journalctl -u tidegate",
                at.journal.join(SOCKET).display()
            );
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

/// Whether an agent is seen on the journal, by its page or by its hold.
fn runs(at: &Whereabouts) -> bool {
    let own = real(&at.journal);
    let by_page = agent_client::status_at(at)
        .is_some_and(|status| status["journal"]["path"].as_str().is_some_and(|path| real(Path::new(path)) == own));
    by_page || held::held().journals.contains(&own)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_longer_than_is_kept_is_refused() {
        assert_eq!(short("seen by Ada"), Ok("seen by Ada".to_owned()));
        assert!(short(&"ü".repeat(200)).is_ok());
        assert!(short(&"x".repeat(201)).is_err_and(|why| why.contains("201") && why.contains("at most 200")));
    }
}
