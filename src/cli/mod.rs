//! The command line: one file per command, one meaning per exit code.

mod agent_client;
mod bundle;
mod check;
mod config;
mod credentials;
mod explain;
mod forget_session;
mod init;
mod journal;
mod new_file;
mod output;
mod policy;
mod profiles;
mod run;
mod status;

#[cfg(test)]
pub(crate) use agent_client::messages_query;

use crate::clock::Clock;
use crate::config::{Config, DEFAULT_PATH};
use clap::{CommandFactory, Parser, Subcommand};
use output::complain;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

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
    /// `check` found something to mend.
    CheckFailed = 7,
    /// `journal verify` found records missing.
    JournalDamaged = 8,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code as u8)
    }
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong command line; 3 invalid configuration; 4 journal held by another process;
5 journal of a newer tidegate; 6 no agent answers; 7 check found something to mend;
8 journal verify found records missing.
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
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the agent until SIGTERM or SIGINT.
    Run(ConfigFile),
    /// Ask the running agent what is going on; without one, say what the journal alone tells.
    Status {
        #[command(flatten)]
        file: ConfigFile,
        /// Print the whole snapshot as JSON.
        #[arg(long)]
        json: bool,
        /// Go on, every two seconds, until Ctrl-C.
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Walk the whole way from the broker to the queues, and say what to mend. Works beside the running agent.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: check::CheckOptions,
    },
    /// Ask a few questions, look at the broker's topics, and write a configuration.
    Init {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: init::InitOptions,
    },
    /// Say what would become of a message, of a file or of the broker's next one. Sends nothing.
    Explain {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: explain::ExplainOptions,
    },
    /// Pack what somebody far away needs to help, with secrets removed.
    Bundle {
        #[command(flatten)]
        file: ConfigFile,
        /// Where to put it.
        #[arg(long, value_name = "FILE", default_value = "tidegate-bundle.tar")]
        out: PathBuf,
    },
    /// Print the least IAM policy for the configured queues.
    Policy {
        #[command(flatten)]
        file: ConfigFile,
        /// A customer's own KMS key that the queues are encrypted with.
        #[arg(long, value_name = "ARN")]
        kms_key: Option<String>,
    },
    /// The access key of the queues.
    #[command(subcommand)]
    Credentials(Credentials),
    /// Print completions for a shell: source them from its start-up file.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
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
    /// Look into the journal, of a stopped agent or beside a running one; empty its quarantine.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// End a session that the broker keeps: the agent's, when it is not to come back, or that of a former client id.
    ForgetSession {
        #[command(flatten)]
        file: ConfigFile,
        /// Whose session; default: the agent's own.
        #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        client_id: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
enum Credentials {
    /// Put the IAM console's .csv where the agent reads it, closed to others.
    Import {
        #[command(flatten)]
        file: ConfigFile,
        /// The .csv, as downloaded; "-" reads standard input.
        #[arg(value_name = "FILE")]
        download: PathBuf,
        /// Where to put it; default: where the configuration reads it.
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// Put it into systemd's credential store instead, and have the unit load it from there.
        #[arg(long, conflicts_with = "to")]
        systemd: bool,
    },
}

/// Runs what the command line asks for.
pub fn main() -> process::ExitCode {
    let code = match Cli::parse().command {
        Command::Run(file) => run::run(&file.config),
        Command::Status { file, json, watch } => status::status(&file.config, json, watch),
        Command::Check { file, options } => check::check(&file.config, &options),
        Command::Init { file, options } => init::init(&file.config, &options),
        Command::Explain { file, options } => explain::explain(&file.config, &options),
        Command::Bundle { file, out } => bundle::bundle(&file.config, &out),
        Command::Policy { file, kms_key } => policy::policy(&file.config, kms_key.as_deref()),
        Command::Credentials(Credentials::Import { file, download, to, systemd }) => {
            credentials::import(&download, to.as_deref(), &file.config, systemd)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidegate", &mut script);
            // Whoever reads only the head of it closes the pipe early.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), &script);
            ExitCode::Done
        }
        Command::Profiles { name, json } => profiles::profiles(name.as_deref(), json),
        Command::Config(command) => config::config(&command),
        Command::Journal(command) => journal::journal(&command),
        Command::ForgetSession { file, client_id } => {
            forget_session::forget_session(&file.config, client_id.as_deref())
        }
    };
    code.into()
}

/// Loads the configuration, with the names that its journal keeps, or says what is wrong with it.
fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    load_noting(path).map(|(config, _)| config)
}

/// [`load`], and the paths of the keys that file or environment set.
fn load_noting(path: &std::path::Path) -> Result<(Config, BTreeSet<String>), ExitCode> {
    match Config::load_noting(path) {
        Ok((config, set)) => Ok((crate::mqtt::names::resolved(config), set)),
        Err(error) => {
            complain!("{error}");
            Err(ExitCode::Configuration)
        }
    }
}

/// Does something at the broker, with the TLS that the configuration asks for, on a runtime of its own.
///
/// # Errors
/// It cannot even be begun, and why.
fn at_broker<T>(config: &Config, work: impl AsyncFnOnce(Option<&Arc<rustls::ClientConfig>>) -> T) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let tls = crate::agent::broker_tls(config, &Clock::new(None)).map_err(|error| format!("[mqtt]: {error}"))?;
    let done = runtime.block_on(work(tls.as_ref()));
    // A name that does not resolve must not hold up the end.
    runtime.shutdown_background();
    Ok(done)
}
