//! The command line: one file per command, one meaning per exit code.

mod config;
mod profiles;
mod run;
mod status;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process;

/// What the process's exit says. The unit file does not restart on those that a restart cannot cure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, or stopped as asked.
    Done = 0,
    /// Something that should not happen; the text says what.
    Failed = 1,
    /// The command line is wrong (clap's code).
    Usage = 2,
    /// The configuration is invalid; every problem is listed.
    Configuration = 3,
    /// Another process holds the journal.
    JournalHeld = 4,
    /// The journal has the format of a newer tidegate.
    JournalNewer = 5,
    /// No agent answers.
    NotRunning = 6,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code as u8)
    }
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong command line; 3 invalid configuration; 4 journal held by another process;
5 journal of a newer tidegate; 6 no agent answers.
Logs go to standard error, or to journald under systemd; TIDEGATE_LOG sets the level.";

/// Store-and-forward agent: local MQTT broker to AWS SQS, in order and without loss.
#[derive(Parser, Debug)]
#[command(name = "tidegate", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(clap::Args, Debug)]
struct ConfigFile {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/tidegate/tidegate.toml")]
    config: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the agent until SIGTERM or SIGINT.
    Run(ConfigFile),
    /// Ask the running agent what is going on.
    Status {
        #[command(flatten)]
        file: ConfigFile,
        /// Print the whole snapshot as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List what can be read, network server by network server.
    Profiles {
        /// Show one in full, with a route to copy.
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show configurations.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Runs what the command line asks for.
pub fn main() -> process::ExitCode {
    let code = match Cli::parse().command {
        Command::Run(file) => run::run(&file.config),
        Command::Status { file, json } => status::status(&file.config, json),
        Command::Profiles { name, json } => profiles::profiles(name.as_deref(), json),
        Command::Config(command) => config::config(&command),
    };
    code.into()
}

/// Loads the configuration or says what is wrong with it.
#[expect(clippy::print_stderr, reason = "what a person asked for on the command line")]
fn load(path: &std::path::Path) -> Result<crate::config::Config, ExitCode> {
    crate::config::Config::load(path).map_err(|error| {
        eprintln!("{error}");
        ExitCode::Configuration
    })
}
