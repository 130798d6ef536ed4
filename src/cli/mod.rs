//! The command line: one file per command, one meaning per exit code.

mod acknowledge;
mod agent_client;
mod bundle;
mod check;
mod config;
mod credentials;
mod explain;
mod forget_session;
mod held;
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

use crate::agent::names::resolved;
use crate::agent::options;
use crate::clock::{self, Clock};
use crate::config::{Config, DEFAULT_PATH};
use crate::mqtt::BrokerOptions;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use output::complain;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process;
use std::sync::LazyLock;

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
    /// A check failed.
    CheckFailed = 7,
    /// `journal verify` found records missing.
    JournalDamaged = 8,
    /// `status --exit-code`: something waits and goes on by itself.
    Waiting = 10,
    /// `status --exit-code`: a person must act.
    Act = 11,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> process::ExitCode {
        process::ExitCode::from(code as u8)
    }
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done                      5  journal of a newer tidegate
  1  failed                    6  no agent answers
  2  wrong command line        7  a check failed
  3  invalid configuration     8  records missing in the journal
  4  journal held by another process
  10, 11  status --exit-code: waiting, a person must act

Logs go to standard error, or to journald under systemd.
TIDEGATE_LOG sets the level: debug, info, warn, error.";

/// Release, commit, day of the build, target: what support asks for first.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let built = clock::rfc3339_ms(clock::build_time_s().saturating_mul(1000)).unwrap_or_default();
        let day = built.split('T').next().unwrap_or_default();
        let (release, commit, target) = (env!("CARGO_PKG_VERSION"), env!("TIDEGATE_COMMIT"), env!("TIDEGATE_TARGET"));
        format!("{release} (commit {commit}, built {day}, {target})")
    });
    &VERSION
}

/// The commands by what a person wants to do.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Set up", &["init", "credentials", "policy", "check"]),
    ("Run", &["run", "status", "acknowledge"]),
    ("Inspect", &["explain", "journal", "config", "profiles"]),
    ("Support", &["bundle", "forget-session", "completions", "help"]),
];

/// The command line, its help with the commands in groups.
fn command_line() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    let mut help = "{about}\n\n{usage-heading} {usage}\n".to_owned();
    for (heading, names) in GROUPS {
        help.push_str(&format!("\n{heading}:\n"));
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string);
            help.push_str(&format!("  {name:15} {}\n", about.unwrap_or_default()));
        }
    }
    help.push_str("\nOptions:\n{options}{after-help}");
    command.help_template(help).version(version())
}

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
    /// Show the agent's state, or the journal's if no agent runs.
    Status {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: status::StatusOptions,
    },
    /// Acknowledge losses: `status` tells only what comes after.
    Acknowledge {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: acknowledge::AcknowledgeOptions,
    },
    /// Check configuration, broker, disk and queues.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: check::CheckOptions,
    },
    /// Write a configuration from your answers and the broker's topics.
    Init {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: init::InitOptions,
    },
    /// Show the SQS message for a payload, without sending it.
    Explain {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        options: explain::ExplainOptions,
    },
    /// Write a support bundle without secrets or payloads.
    Bundle {
        #[command(flatten)]
        file: ConfigFile,
        /// The file to write.
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
    /// Install the queues' access key; make the status page's token.
    #[command(subcommand)]
    Credentials(Credentials),
    /// Print completions for a shell, to source at its start.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// List the profiles: one for each network server.
    Profiles {
        /// Show this profile in full, with a route to copy.
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration: in effect, changed, or the defaults.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// List, export and verify the journal; manage its quarantine.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Delete a session on the broker: the agent's, or a former id's.
    ///
    /// Refused while an agent of this machine needs the session, whatever
    /// its file and journal are. An agent in a container or on another
    /// machine is not seen: stop it first. With sudo every agent here is.
    ForgetSession {
        #[command(flatten)]
        file: ConfigFile,
        /// The session's client id; default: the agent's own.
        #[arg(long, value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        client_id: Option<String>,
    },
}

#[derive(Subcommand, Debug)]
enum Credentials {
    /// Install the IAM console's .csv, readable by the agent alone.
    Import {
        #[command(flatten)]
        file: ConfigFile,
        /// The .csv, as downloaded; "-" reads standard input.
        #[arg(value_name = "FILE")]
        download: PathBuf,
        /// The file to write; default: where the configuration reads it.
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// Put it into systemd's credential store; encrypted where there is a TPM.
        #[arg(long, conflicts_with = "to")]
        systemd: bool,
    },
    /// Make the status page's token, for a look from other machines.
    Token {
        #[command(flatten)]
        file: ConfigFile,
        /// The file to write; default: where the configuration reads it.
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// Replace the token that is there.
        #[arg(long)]
        force: bool,
    },
}

/// Runs what the command line asks for.
pub fn main() -> process::ExitCode {
    let parsed = command_line().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let command = parsed.unwrap_or_else(|error| refused(&error)).command;
    let code = match command {
        Command::Run(file) => run::run(&file.config),
        Command::Status { file, options } => status::status(&file.config, options),
        Command::Acknowledge { file, options } => acknowledge::acknowledge(&file.config, &options),
        Command::Check { file, options } => check::check(&file.config, &options),
        Command::Init { file, options } => init::init(&file.config, &options),
        Command::Explain { file, options } => explain::explain(&file.config, &options),
        Command::Bundle { file, out } => bundle::bundle(&file.config, &out),
        Command::Policy { file, kms_key } => policy::policy(&file.config, kms_key.as_deref()),
        Command::Credentials(Credentials::Import { file, download, to, systemd }) => {
            credentials::import(&download, to.as_deref(), &file.config, systemd)
        }
        Command::Credentials(Credentials::Token { file, to, force }) => {
            credentials::token(to.as_deref(), &file.config, force)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "tidegate", &mut script);
            // A reader of only its first lines closes the pipe early.
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

/// Ends a wrong command line as every other error of a command; help and version as they are.
fn refused(error: &clap::Error) -> ! {
    if error.use_stderr() {
        output::note!("{}", error.render().to_string().trim_end());
        process::exit(error.exit_code());
    }
    error.exit()
}

/// Loads the configuration, with the names that its journal keeps, or says what is wrong with it.
fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    load_noting(path).map(|(config, _)| config)
}

/// [`load`], and the paths of the keys that file or environment set.
fn load_noting(path: &std::path::Path) -> Result<(Config, BTreeSet<String>), ExitCode> {
    match Config::load_noting(path) {
        Ok((config, set)) => Ok((resolved(config), set)),
        Err(error) => {
            complain!("{error}");
            Err(ExitCode::Configuration)
        }
    }
}

/// Does something at the broker of the configuration, on its own runtime.
///
/// # Errors
/// It cannot even be begun, and why.
fn at_broker<T>(config: &Config, work: impl AsyncFnOnce(&BrokerOptions) -> T) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let broker = options::broker(config, &Clock::new(None)).map_err(|error| format!("[mqtt]: {error}"))?;
    let done = runtime.block_on(work(&broker));
    // A name that does not resolve must not hold up the end.
    runtime.shutdown_background();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let command = command_line();
        let mut known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        known.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(known, grouped);
        let help = command_line().render_help().to_string();
        for group in ["Set up:", "Run:", "Inspect:", "Support:", "Exit codes:"] {
            assert!(help.contains(group), "{help}");
        }
    }

    /// Read on a phone's terminal: an imperative of one short sentence.
    #[test]
    fn a_command_says_in_one_short_sentence_what_it_does() {
        fn look(command: &clap::Command, wrong: &mut Vec<String>) {
            for command in command.get_subcommands() {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                if about.is_empty() || about.chars().count() > 70 || about.contains(". ") {
                    wrong.push(format!("{}: {about}", command.get_name()));
                }
                look(command, wrong);
            }
        }
        let mut wrong = Vec::new();
        look(&Cli::command(), &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_version_tells_commit_day_and_target() {
        let version = version();
        assert!(version.starts_with(concat!(env!("CARGO_PKG_VERSION"), " (commit ")), "{version}");
        assert!(version.contains(", built 20") && version.contains("-linux-"), "{version}");
        assert_eq!(command_line().render_version(), format!("tidegate {version}\n"));
    }
}
