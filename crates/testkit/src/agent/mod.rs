//! The agent under test, as its users meet it: a binary, a configuration file, credentials as downloaded, signals, and a
//! status page. Nothing of it is linked here.

mod config;
pub mod program;

pub use config::{AgentConfig, QueueTarget, credentials_csv};

use crate::port::HeldPort;
use crate::process::{Memory, Process};
use crate::{Error, Result, http};
use config::credentials_name;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// The agent's binary, its folder and its process. The folder outlives the process: a start after a kill finds the
/// journal as it was left.
#[derive(Debug)]
pub struct AgentProcess {
    program: PathBuf,
    // Fields go in this order: the process ends before its folder does.
    process: Option<Process>,
    folder: TempDir,
    port: HeldPort,
    config: AgentConfig,
}

impl AgentProcess {
    /// Prepares a folder with configuration and credentials; nothing is started yet.
    pub fn prepare(program: impl Into<PathBuf>, config: AgentConfig) -> Result<AgentProcess> {
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for the agent"))?;
        let agent = AgentProcess { program: program.into(), folder, port: HeldPort::take()?, config, process: None };
        agent.write_files()?;
        Ok(agent)
    }

    /// Prepares, starts and waits until the status server answers.
    pub async fn start(program: impl Into<PathBuf>, config: AgentConfig) -> Result<AgentProcess> {
        let mut agent = AgentProcess::prepare(program, config)?;
        agent.spawn()?;
        agent.wait_ready(Duration::from_secs(20)).await?;
        Ok(agent)
    }

    /// Starts the process with the folder as it is; nothing is awaited.
    pub fn spawn(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(self.config_path()).current_dir(self.folder.path());
        command.envs(self.config.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start("agent", &mut command, &self.folder.path().join("agent.log"))?);
        Ok(())
    }

    /// From the next start on another build of the agent continues with the folder.
    pub fn set_program(&mut self, program: impl Into<PathBuf>) {
        self.program = program.into();
    }

    /// Waits until the status server answers; the error quotes the agent's last words.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let addr = self.status_addr();
        let answers = || async move { http::get(addr, "/status.json").await.ok().map(drop) };
        self.running()?.wait_until("status server", within, answers).await
    }

    /// The status as JSON.
    pub async fn status(&self) -> Result<Value> {
        let reply = http::get(self.status_addr(), "/status.json").await?;
        let what = "reading the agent's status";
        if reply.status != 200 {
            return Err(Error::peer(what, format!("http {}", reply.status)));
        }
        serde_json::from_slice(&reply.body).map_err(|error| Error::peer(what, error))
    }

    /// Waits until the status satisfies `done`, and gives it; the error shows the last one and the agent's last words.
    pub async fn wait_status(
        &mut self,
        what: &str,
        within: Duration,
        done: impl Fn(&Value) -> bool + Send + Sync,
    ) -> Result<Value> {
        let addr = self.status_addr();
        let done = &done;
        let ready = || async move {
            let reply = http::get(addr, "/status.json").await.ok()?;
            serde_json::from_slice::<Value>(&reply.body).ok().filter(done)
        };
        let waited = self.running()?.wait_until(what, within, ready).await;
        match waited {
            Err(Error::Timeout { what, after, detail }) => {
                let last = self.status().await.map_or_else(|error| error.to_string(), |status| format!("{status:#}"));
                Err(Error::Timeout { what, after, detail: format!("\n{last}{detail}") })
            }
            other => other,
        }
    }

    /// SIGKILL: its power cut, but for what the page cache keeps.
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// SIGSTOP: it stops, with its connections open, until [`AgentProcess::thaw`].
    pub fn freeze(&mut self) -> Result<()> {
        self.running()?.freeze()
    }

    /// SIGCONT: it runs again after [`AgentProcess::freeze`].
    pub fn thaw(&mut self) -> Result<()> {
        self.running()?.thaw()
    }

    /// Whether it was started and not killed or stopped since.
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// SIGTERM, and its exit status.
    pub async fn term(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = self.running()?.terminate(within).await?;
        self.process = None;
        Ok(status)
    }

    /// Waits for an end that it comes to by itself.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = self.running()?.wait(within).await?;
        self.process = None;
        Ok(status)
    }

    /// Starts it again where it was left, and waits until the status server answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        self.spawn()?;
        self.wait_ready(Duration::from_secs(20)).await
    }

    /// SIGHUP after the configuration and credentials were written anew.
    pub fn reload(&mut self, config: AgentConfig) -> Result<()> {
        self.config = config;
        self.write_files()?;
        self.running()?.signal_hup()
    }

    /// SIGHUP alone: whatever waits is to be tried at once.
    pub fn retry(&mut self) -> Result<()> {
        self.running()?.signal_hup()
    }

    /// Writes configuration and credentials as `config` says; a running agent is not told.
    pub fn rewrite(&mut self, config: AgentConfig) -> Result<()> {
        self.config = config;
        self.write_files()
    }

    /// Resident memory now and at its peak.
    pub fn memory(&self) -> Result<Memory> {
        self.process.as_ref().ok_or_else(not_running)?.memory()
    }

    /// Resident memory now, bytes.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.memory().map(|memory| memory.resident)
    }

    /// The configuration in force.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// The agent's working folder, a temporary one.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The journal's folder, below [`AgentProcess::folder`].
    pub fn journal_path(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// The configuration file, below [`AgentProcess::folder`].
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }

    /// Address of its status server.
    pub fn status_addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Everything it has logged since its folder was made.
    pub fn log(&self) -> String {
        fs::read(self.folder.path().join("agent.log"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    fn write_files(&self) -> Result<()> {
        let write = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            // Whole or not at all: an agent that starts at this moment must not read half of it.
            let fresh = path.with_extension("fresh");
            let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path));
            written.map_err(Error::io(format!("writing {}", path.display())))
        };
        for queue in &self.config.queues {
            write(&credentials_name(queue), &credentials_csv(&queue.key))?;
        }
        write("tidegate.toml", &self.config.toml(self.folder.path(), self.status_addr()))
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().ok_or_else(not_running)
    }
}

fn not_running() -> Error {
    Error::peer("agent", "it is not running")
}
