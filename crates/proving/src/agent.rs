//! The agent under test, as its users meet it: a binary, a configuration file, credentials as downloaded, signals, and a
//! status page. Nothing of it is linked here.

use crate::port::HeldPort;
use crate::process::{Memory, Process};
use crate::stub::{AccessKey, SqsStub};
use crate::{Error, Result, http};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// One queue of the configuration.
#[derive(Clone, Debug)]
pub struct QueueTarget {
    /// NAME in `[queues.NAME]`.
    pub name: String,
    /// Queue URL.
    pub url: String,
    /// SQS endpoint, if not AWS's own.
    pub endpoint: Option<String>,
    /// Key for the credentials file.
    pub key: AccessKey,
    /// Further lines of the table.
    pub extra: String,
}

impl QueueTarget {
    /// The stub's queue `queue` under the name `name`, with the stub's agent key.
    pub fn on_stub(name: &str, stub: &SqsStub, queue: &str) -> QueueTarget {
        QueueTarget {
            name: name.into(),
            url: stub.queue_url(queue),
            endpoint: Some(stub.endpoint()),
            key: AccessKey::agent(),
            extra: String::new(),
        }
    }
}

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// `gateway.id`.
    pub gateway: String,
    /// `mqtt.url`.
    pub broker_url: String,
    /// Further lines of `[mqtt]`.
    pub mqtt_extra: String,
    /// The queues; the route leads to all of them.
    pub queues: Vec<QueueTarget>,
    /// Further lines of `[journal]`, its path apart.
    pub journal_extra: String,
    /// Topic filters of the one route; empty: the profile's own.
    pub topics: Vec<String>,
    /// Profile of the one route.
    pub profile: String,
    /// Whole tables to add at the end, further routes say.
    pub extra: String,
    /// Environment of the process (`RUST_LOG` …).
    pub environment: Vec<(String, String)>,
}

impl AgentConfig {
    /// Gateway `hq-tower-roof`, one ChirpStack v4 route to `queue`.
    pub fn new(broker: SocketAddr, queue: QueueTarget) -> AgentConfig {
        AgentConfig {
            gateway: "hq-tower-roof".into(),
            broker_url: format!("mqtt://{broker}"),
            mqtt_extra: String::new(),
            queues: vec![queue],
            journal_extra: String::new(),
            topics: Vec::new(),
            profile: "chirpstack-v4".into(),
            extra: String::new(),
            environment: Vec::new(),
        }
    }

    /// The configuration file's text, for a working folder and a status address.
    pub fn toml(&self, folder: &Path, status: SocketAddr) -> String {
        let path = |name: &str| quoted(&folder.join(name).to_string_lossy());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |args: std::fmt::Arguments<'_>| _ = text.write_fmt(format_args!("{args}\n"));
        line(format_args!("[gateway]\nid = {}\n", quoted(&self.gateway)));
        line(format_args!("[mqtt]\nurl = {}\n{}\n", quoted(&self.broker_url), self.mqtt_extra));
        line(format_args!("[journal]\npath = {}\n{}\n", path("journal"), self.journal_extra));
        for queue in &self.queues {
            line(format_args!("[queues.{}]\nurl = {}", queue.name, quoted(&queue.url)));
            line(format_args!("credentials_file = {}", path(&credentials_name(queue))));
            if let Some(endpoint) = &queue.endpoint {
                line(format_args!("endpoint = {}", quoted(endpoint)));
            }
            line(format_args!("{}\n", queue.extra));
        }
        line(format_args!("[[routes]]\nprofile = {}", quoted(&self.profile)));
        if !self.topics.is_empty() {
            line(format_args!("topics = {}", list(&self.topics)));
        }
        let names: Vec<&String> = self.queues.iter().map(|queue| &queue.name).collect();
        match names.as_slice() {
            [name] => line(format_args!("queue = {}\n", quoted(name))),
            names => line(format_args!("queues = {}\n", list(names))),
        }
        line(format_args!("[status]\nlisten = {}\n\n{}", quoted(&status.to_string()), self.extra));
        text
    }
}

/// A credentials file exactly as the IAM console's download: header, one line, CRLF, with a byte order mark.
pub fn credentials_csv(key: &AccessKey) -> String {
    format!("\u{feff}Access key ID,Secret access key\r\n{},{}\r\n", key.id, key.secret)
}

/// A TOML string; JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list<S: AsRef<str>>(items: &[S]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item.as_ref())).collect::<Vec<_>>().join(", "))
}

fn credentials_name(queue: &QueueTarget) -> String {
    format!("credentials-{}.csv", queue.name)
}

/// The agent's binary, its folder and its process. The folder outlives the process: a start after a kill finds the
/// journal as it was left.
#[derive(Debug)]
pub struct AgentProcess {
    program: PathBuf,
    folder: TempDir,
    port: HeldPort,
    config: AgentConfig,
    process: Option<Process>,
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

    /// Its working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its journal's folder.
    pub fn journal_path(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Its configuration file.
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
            fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
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
