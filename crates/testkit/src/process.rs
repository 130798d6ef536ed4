//! A child process with its output in a file: started, awaited, stopped, killed, and its last words quoted on failure.

use crate::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Bytes of output that an error quotes.
const TAIL: u64 = 3000;
/// Pause between two looks at something that cannot be awaited (a port of another process).
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; both its outputs are appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        let what = format!("starting {name}");
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("opening {}", log.display())))?;
        let err = out.try_clone().map_err(Error::io(what.as_str()))?;
        let child = (command.stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true))
            .spawn()
            .map_err(Error::io(what.as_str()))?;
        Ok(Process { name: name.into(), child, log: log.into() })
    }

    /// Process id; `None` once it has ended and was awaited.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends SIGTERM; nothing happens when it has ended already.
    pub fn signal_term(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends SIGHUP: the agent reloads its configuration.
    pub fn signal_hup(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Sends SIGUSR1; what it means is the program's affair.
    pub fn signal_usr1(&self) -> Result<()> {
        self.signal(Signal::USR1)
    }

    /// Sends SIGSTOP: the process stops until [`Process::thaw`].
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT: it runs again after [`Process::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id as i32));
        let sent = pid.map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|error| Error::io(format!("sending {signal:?} to {}", self.name))(error.into()))
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal_term()?;
        self.wait(within).await
    }

    /// Sends SIGKILL and waits for the end: the process's power cut.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.map_err(Error::io(format!("killing {}", self.name)))
    }

    /// Waits for the end.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        match timeout(within, self.child.wait()).await {
            Ok(status) => status.map_err(Error::io(format!("waiting for {}", self.name))),
            Err(_) => Err(self.late("end", within)),
        }
    }

    /// Whether it is still running; an error with its last words when it is not.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().map_err(Error::io(format!("looking after {}", self.name)))? {
            None => Ok(()),
            Some(status) => {
                Err(Error::Exited { what: self.name.clone(), status: status.to_string(), detail: self.tail() })
            }
        }
    }

    /// Looks until `ready` gives something; gives up when the process ends or the time is up.
    pub async fn wait_until<T, F>(&mut self, what: &str, within: Duration, ready: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Option<T>>,
    {
        let deadline = Instant::now() + within;
        loop {
            if let Some(done) = ready().await {
                return Ok(done);
            }
            self.check_alive()?;
            if Instant::now() >= deadline {
                return Err(self.late(what, within));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until it accepts connections on `addr`.
    pub async fn wait_listening(&mut self, addr: SocketAddr, within: Duration) -> Result<()> {
        self.wait_until("listening", within, || async move { TcpStream::connect(addr).await.ok().map(drop) }).await
    }

    /// The end of its output, on a new line; empty when there is none.
    pub fn tail(&self) -> String {
        let read = || {
            let mut file = File::open(&self.log)?;
            let length = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        if text.trim().is_empty() { String::new() } else { format!("\n--- {} ---\n{}", self.name, text.trim_end()) }
    }

    /// Whole output so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Resident memory now and at its peak, bytes.
    pub fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.child.id().unwrap_or_default());
        let text = fs::read_to_string(&path).map_err(Error::io(path.as_str()))?;
        let bytes = |key: &str| {
            let value =
                text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.split_whitespace().next());
            value
                .and_then(|kib| kib.parse::<u64>().ok())
                .map(|kib| kib * 1024)
                .ok_or_else(|| Error::peer(path.as_str(), format!("no {key}")))
        };
        Ok(Memory { resident: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }

    fn late(&self, what: &str, after: Duration) -> Error {
        Error::Timeout { what: format!("{}: {what}", self.name), after, detail: self.tail() }
    }
}

/// Resident memory in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Resident now, in bytes.
    pub resident: u64,
    /// The most since the start.
    pub peak: u64,
}

/// Finds a program on `PATH`, or where the distribution keeps daemons.
pub fn find_program(name: &str, remedy: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    (folders.map(|folder| folder.join(name)))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::Missing { what: name.into(), remedy: remedy.into() })
}

/// Runs a helper to its end and gives its standard output; an error quotes what it said.
pub async fn run(program: impl AsRef<OsStr>, args: &[&str], within: Duration) -> Result<String> {
    let program = program.as_ref();
    let what = format!("{} {}", program.to_string_lossy(), args.first().unwrap_or(&""));
    let mut command = Command::new(program);
    let output = command.args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(within, output).await {
        Ok(output) => output.map_err(Error::io(what.as_str()))?,
        Err(_) => return Err(Error::Timeout { what, after: within, detail: String::new() }),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    Err(Error::Exited { what, status: output.status.to_string(), detail: format!("\n{}", said.trim_end()) })
}
