//! `tidegate run`: the agent.

use crate::agent::{self, AgentError};
use crate::cli::{ExitCode, load};
use crate::journal::JournalError;
use crate::logging;
use std::path::Path;

pub(super) fn run(file: &Path) -> ExitCode {
    logging::start();
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    // One thread for all tasks: what is slow (disk, names) has its own threads.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the system refuses to start the agent");
            return ExitCode::Failed;
        }
    };
    let outcome = runtime.block_on(agent::run(config, file));
    // A blocking call that hangs on the disk must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            tracing::error!(%error, "not started");
            code_of(&error)
        }
    }
}

fn code_of(error: &AgentError) -> ExitCode {
    match error {
        AgentError::Journal(JournalError::Locked(_)) => ExitCode::JournalHeld,
        AgentError::Journal(JournalError::Newer(_)) => ExitCode::JournalNewer,
        AgentError::BrokerTls(_) | AgentError::Intake(_) | AgentError::Sender(_) => ExitCode::Configuration,
        AgentError::Journal(_) | AgentError::System(_) | AgentError::Ended => ExitCode::Failed,
    }
}
