//! `tidegate config …`: configurations, shown.
#![expect(clippy::print_stdout, reason = "what a person asked for on the command line")]

use super::ExitCode;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Print every key with its default, unit and reason: a file to start from.
    Default,
}

pub(super) fn config(command: &ConfigCommand) -> ExitCode {
    match command {
        ConfigCommand::Default => print!("{}", crate::config::DEFAULT_TOML),
    }
    ExitCode::Done
}
