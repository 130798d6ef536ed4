//! `tidegate journal …`: what lies in the journal, of a stopped agent or beside a running one.
//!
//! Looking reads the files and locks nothing. What changes something the command asks of the running agent, or does under the
//! journal's lock when none runs: as the user that the journal belongs to, so that the agent can use the files afterwards.

mod export;
mod list;
mod quarantine;
mod record;
mod verify;

use crate::cli::credentials::service_user;
use crate::cli::output::complain;
use crate::cli::profiles::did_you_mean;
use crate::cli::{ConfigFile, ExitCode, load};
use crate::config::Config;
use crate::journal::folder::{self, Trusted};
use crate::journal::{JournalError, View};
use crate::record::{LaneId, Record};
use clap::Subcommand;
use std::path::Path;

#[derive(Subcommand, Debug)]
pub(super) enum JournalCommand {
    /// List records, the oldest first; those that wait, unless told otherwise.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        choice: Choice,
        /// At most so many.
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
        limit: usize,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show one record.
    Show(Shown),
    /// Read the whole journal and report what cannot be read.
    Verify {
        #[command(flatten)]
        file: ConfigFile,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write records with their payloads to a file.
    Export {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        choice: Choice,
        /// Where to; "-" for standard output.
        #[arg(long, short, value_name = "FILE", default_value = "-")]
        out: std::path::PathBuf,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
        /// "ndjson": a JSON object per line. "cbor": the envelopes as they lie in the journal, one after the other.
        #[arg(long, value_enum, default_value_t = export::Format::Ndjson)]
        format: export::Format,
        /// What is in quarantine, instead of what is in the log.
        #[arg(long, conflicts_with_all = ["queue", "all", "from"])]
        quarantine: bool,
    },
    /// What can never be sent.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
}

/// Which record, and how much of it.
#[derive(clap::Args, Debug)]
pub(super) struct Shown {
    #[command(flatten)]
    file: ConfigFile,
    /// Its number, as `list` gives it.
    number: u64,
    /// Its payload, too.
    #[arg(long)]
    payload: bool,
}

/// Which records.
#[derive(clap::Args, Debug)]
pub(super) struct Choice {
    /// Of this queue alone.
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// From this number on.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    from: u64,
    /// All that is on disk, sent or not.
    #[arg(long)]
    all: bool,
}

/// Runs a command, and turns what went wrong into a text and an exit code.
pub(super) fn journal(command: &JournalCommand) -> ExitCode {
    let done = match command {
        JournalCommand::List { file, choice, limit, json } => {
            looked(&file.config, |view| list::list(view, choice, *limit, *json))
        }
        JournalCommand::Show(shown) => looked(&shown.file.config, |view| list::show(view, shown)),
        JournalCommand::Verify { file, json } => looked(&file.config, |view| verify::verify(view, *json)),
        JournalCommand::Export { file, choice, out, force, format, quarantine } => {
            let destination = export::Destination { out, force: *force };
            looked(&file.config, |view| match quarantine {
                true => export::quarantine(view, &destination, *format),
                false => export::export(view, choice, &destination, *format),
            })
        }
        JournalCommand::Quarantine(command) => quarantine::quarantine(command),
    };
    done.unwrap_or_else(|code| code)
}

/// Looks at the configured journal.
fn looked(file: &Path, look: impl FnOnce(&View) -> Result<ExitCode, ExitCode>) -> Result<ExitCode, ExitCode> {
    let config = load(file)?;
    look(&view(&config)?)
}

fn view(config: &Config) -> Result<View, ExitCode> {
    let path = &config.journal.path;
    let planted = folder::planted(path, &Trusted::with(service_user()));
    // Where this cannot be looked at, opening the view says why.
    if let Ok(Some(why)) = planted {
        return Err(failed(&JournalError::Planted(why)));
    }
    View::open(path).map_err(|error| failed(&error))
}

/// Prints the journal's trouble; returns the exit code for it.
fn failed(error: &JournalError) -> ExitCode {
    complain!("{error}");
    match error {
        JournalError::Newer(_) => ExitCode::JournalNewer,
        JournalError::Locked(_) => ExitCode::JournalHeld,
        JournalError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            complain!("only root and the agent's user may read it: run it with sudo");
            ExitCode::Failed
        }
        _ => ExitCode::Failed,
    }
}

impl Choice {
    /// The lane of the chosen queue, if one is.
    fn lane(&self, view: &View) -> Result<Option<LaneId>, ExitCode> {
        let Some(name) = &self.queue else { return Ok(None) };
        view.lane(name).map(Some).ok_or_else(|| {
            let names = view.lane_names();
            let hint = did_you_mean(name, names.iter().map(|name| &**name));
            complain!("the journal has no queue {name:?}: {hint}it has {}", names.join(", "));
            ExitCode::Usage
        })
    }

    /// Whether a record is among what was chosen.
    fn takes(&self, view: &View, record: &Record, lane: Option<LaneId>) -> bool {
        record
            .slots
            .iter()
            .filter(|slot| lane.is_none_or(|lane| lane == slot.lane))
            .any(|slot| self.all || view.waits(record, slot.lane))
    }
}
