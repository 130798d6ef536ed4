//! Mosquitto, the broker that the gateways run: a real process with a configuration of our making.
//!
//! The port is held while it is down, so it comes back where its clients look for it. Persistence is a folder of the
//! instance: what it saved is there after a stop, and what it had saved is there after a kill.

use crate::port::HeldPort;
use crate::process::{self, Memory, Process};
use crate::{Error, Result};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(20);
const REMEDY: &str = "run scripts/peers.sh, or install the package mosquitto";

/// Which Mosquitto to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MosquittoRelease {
    /// The one that is installed.
    Installed,
    /// One that was unpacked into this folder, with the libraries that it needs.
    Unpacked(PathBuf),
}

impl MosquittoRelease {
    /// The newer one that `scripts/peers.sh` unpacked under `repo`.
    pub fn newer(repo: &Path) -> MosquittoRelease {
        MosquittoRelease::Unpacked(repo.join(".peers/mosquitto-2.0.21"))
    }

    /// Its program, and where its own libraries are.
    fn find(&self) -> Result<(PathBuf, Option<PathBuf>)> {
        match self {
            MosquittoRelease::Installed => Ok((process::find_program("mosquitto", REMEDY)?, None)),
            MosquittoRelease::Unpacked(folder) => {
                let program = folder.join("usr/sbin/mosquitto");
                let missing =
                    || Error::Missing { what: folder.display().to_string(), remedy: super::program::REMEDY.into() };
                program.is_file().then(|| (program, Some(folder.join("lib")))).ok_or_else(missing)
            }
        }
    }
}

/// A TLS listener beside the plain one, on its own port.
#[derive(Clone, Debug)]
pub struct TlsListener {
    /// CA that client certificates are checked against (PEM).
    pub ca_file: PathBuf,
    /// The broker's certificate chain (PEM).
    pub cert_file: PathBuf,
    /// The broker's key (PEM).
    pub key_file: PathBuf,
    /// Refuse clients without a certificate.
    pub require_certificate: bool,
}

/// How Mosquitto is set up.
#[derive(Clone, Debug)]
pub struct MosquittoOptions {
    /// Which Mosquitto to run.
    pub release: MosquittoRelease,
    /// `max_inflight_messages`.
    pub max_inflight: u32,
    /// `max_queued_messages`; 0: no count, bounded by `max_queued_bytes` alone.
    pub max_queued_messages: u32,
    /// `max_queued_bytes`.
    pub max_queued_bytes: u64,
    /// Keep sessions on disk; saved at a stop and after so many changes.
    pub autosave_after_changes: Option<u32>,
    /// Users with their passwords; empty: any client may connect.
    pub users: Vec<(String, String)>,
    /// Lines of the access control file; empty: every client may do everything.
    pub acl: Vec<String>,
    /// A TLS listener beside the plain one, if any.
    pub tls: Option<TlsListener>,
    /// Further lines of the configuration.
    pub extra: String,
}

impl Default for MosquittoOptions {
    /// Window 100, unlimited count within 1 GiB, saved after 1,000 changes, open to any client.
    fn default() -> MosquittoOptions {
        MosquittoOptions {
            release: MosquittoRelease::Installed,
            max_inflight: 100,
            max_queued_messages: 0,
            max_queued_bytes: 1 << 30,
            autosave_after_changes: Some(1000),
            users: Vec::new(),
            acl: Vec::new(),
            tls: None,
            extra: String::new(),
        }
    }
}

/// A Mosquitto of our own; killed when dropped.
#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    libraries: Option<PathBuf>,
    folder: TempDir,
    port: HeldPort,
    tls_port: Option<HeldPort>,
    process: Option<Process>,
}

impl Mosquitto {
    /// Writes the configuration, starts it and waits until it accepts connections.
    pub async fn start(options: &MosquittoOptions) -> Result<Mosquitto> {
        let (program, libraries) = options.release.find()?;
        let folder = tempfile::tempdir().map_err(Error::io("making a folder for mosquitto"))?;
        let port = HeldPort::take()?;
        let tls_port = options.tls.as_ref().map(|_| HeldPort::take()).transpose()?;
        for (user, password) in &options.users {
            add_user(folder.path(), user, password).await?;
        }
        write(folder.path(), "acl", &(options.acl.join("\n") + "\n"))?;
        let tls_addr = tls_port.as_ref().map(HeldPort::addr);
        write(folder.path(), "mosquitto.conf", &configuration(options, folder.path(), port.addr(), tls_addr))?;
        let mut mosquitto = Mosquitto { program, libraries, folder, port, tls_port, process: None };
        mosquitto.restart().await?;
        Ok(mosquitto)
    }

    /// Address of the plain listener.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Address of the TLS listener, if there is one.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_port.as_ref().map(HeldPort::addr)
    }

    /// Starts it again with the same port and persistence (after [`Mosquitto::stop`] or [`Mosquitto::kill`]); kills it
    /// first when it is still running.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.path().join("mosquitto.conf"));
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut process = Process::start("mosquitto", &mut command, &self.folder.path().join("mosquitto.log"))?;
        process.wait_listening(self.addr(), PATIENCE).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Saves its sessions now (SIGUSR1) and waits until the file has been replaced. What it acknowledged before the call
    /// survives a kill after it; without, whatever came after its last save is gone, however often it saves by itself.
    pub async fn save(&mut self) -> Result<()> {
        let file = self.folder.path().join("mosquitto.db");
        let state = || std::fs::metadata(&file).ok().map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        let before = state();
        let process =
            self.process.as_mut().ok_or_else(|| Error::peer("saving mosquitto's sessions", "it is not running"))?;
        process.signal_usr1()?;
        process.wait_until("a save", PATIENCE, || async { state().filter(|now| Some(*now) != before).map(drop) }).await
    }

    /// SIGTERM: it saves its sessions and ends.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(PATIENCE).await.map(drop),
            None => Ok(()),
        }
    }

    /// SIGKILL: what it had not saved is gone (see [`Mosquitto::save`]).
    pub async fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// SIGKILL, and its memory goes, too: a broker without persistence, or one that was replaced.
    pub async fn forget(&mut self) -> Result<()> {
        self.kill().await?;
        match std::fs::remove_file(self.folder.path().join("mosquitto.db")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("removing mosquitto's sessions")(error))
            }
            _ => Ok(()),
        }
    }

    /// What it has logged, for a failing test.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    /// Its memory since its last start.
    pub fn memory(&self) -> Result<Memory> {
        self.process.as_ref().ok_or_else(|| Error::peer("mosquitto", "it is not running"))?.memory()
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }
}

async fn add_user(folder: &Path, user: &str, password: &str) -> Result<()> {
    let file = folder.join("passwords");
    if !file.exists() {
        write(folder, "passwords", "")?;
    }
    let tool = process::find_program("mosquitto_passwd", REMEDY)?;
    process::run(tool, &["-b", &file.to_string_lossy(), user, password], PATIENCE).await.map(drop)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}

fn configuration(options: &MosquittoOptions, folder: &Path, addr: SocketAddr, tls: Option<SocketAddr>) -> String {
    let folder = folder.display();
    let mut text = format!(
        "per_listener_settings false\n\
         max_inflight_messages {}\n\
         max_queued_messages {}\n\
         max_queued_bytes {}\n\
         sys_interval 1\n\
         log_dest stderr\n\
         allow_anonymous {}\n",
        options.max_inflight,
        options.max_queued_messages,
        options.max_queued_bytes,
        options.users.is_empty(),
    );
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| _ = text.write_fmt(args);
    // Started by root it would become another user, who cannot write into our folder; for others the line means nothing.
    line(format_args!("user root\n"));
    if !options.users.is_empty() {
        line(format_args!("password_file {folder}/passwords\n"));
    }
    if !options.acl.is_empty() {
        line(format_args!("acl_file {folder}/acl\n"));
    }
    if let Some(changes) = options.autosave_after_changes {
        line(format_args!(
            "persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval {changes}\n"
        ));
    }
    line(format_args!("{}\nlistener {} {}\n", options.extra, addr.port(), addr.ip()));
    if let (Some(tls), Some(at)) = (&options.tls, tls) {
        let (ca, cert, key) = (tls.ca_file.display(), tls.cert_file.display(), tls.key_file.display());
        line(format_args!("listener {} {}\ncafile {ca}\ncertfile {cert}\nkeyfile {key}\n", at.port(), at.ip()));
        line(format_args!("require_certificate {}\n", tls.require_certificate));
    }
    text
}
