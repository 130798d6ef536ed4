//! A slow, lossy, silent or moving link with the kernel's own TCP on both sides: `scripts/slow-link.py`, which says how it is made.

use crate::port::HeldPort;
use crate::{Error, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Bits per second, each way.
    pub bit_s: u32,
    /// Round trip, in ms.
    pub rtt_ms: u32,
    /// Packets lost, of a hundred.
    pub loss_percent: u32,
}

/// A link, for as long as it is kept.
#[derive(Debug)]
pub struct SlowLink {
    /// Its far end; the port is 0 until a listener is there.
    pub addr: SocketAddr,
    namespace: PathBuf,
    /// Its standard input's end ends it.
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl SlowLink {
    /// A link whose far end joins what comes to `target`.
    ///
    /// # Errors
    /// It cannot be made here; see [`can_shape`].
    pub async fn to(target: SocketAddr, shape: Shape) -> Result<SlowLink> {
        SlowLink::start(&["--target", &target.to_string()], shape).await
    }

    /// A link without a listener at its far end yet: see [`SlowLink::far_port`]. `seed` says which packets are lost.
    ///
    /// # Errors
    /// It cannot be made here; see [`can_shape`].
    pub async fn open(shape: Shape, seed: u64) -> Result<SlowLink> {
        SlowLink::start(&["--seed", &seed.to_string()], shape).await
    }

    async fn start(arguments: &[&str], shape: Shape) -> Result<SlowLink> {
        let what = "making a link by scripts/slow-link.py";
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/slow-link.py");
        let mut child = Command::new(script)
            .args(arguments)
            .args(["--rate", &shape.bit_s.to_string(), "--rtt", &shape.rtt_ms.to_string()])
            .args(["--loss", &shape.loss_percent.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::io(what))?;
        let stdout = child.stdout.take().ok_or_else(|| Error::peer(what, "no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await.map_err(Error::io(what))?.unwrap_or_default();
        let mut words = first.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let addr = match (word().parse(), word().parse()) {
            (Ok(ip), Ok(port)) => SocketAddr::new(ip, port),
            _ => return Err(Error::peer(what, format!("it says '{first}', which is no address"))),
        };
        Ok(SlowLink { addr, namespace: word().into(), child, lines })
    }

    /// A free port at its far end.
    pub fn far_port(&self) -> Result<HeldPort> {
        HeldPort::take_in(&self.namespace, self.addr.ip())
    }

    /// Changes it, by words of the script's; gives the answer.
    pub async fn tell(&mut self, words: &str) -> Result<String> {
        let what = format!("telling a link: {words}");
        let input = self.child.stdin.as_mut().ok_or_else(|| Error::peer(&*what, "it was ended"))?;
        input.write_all(format!("{words}\n").as_bytes()).await.map_err(Error::io(&*what))?;
        let answer = self.lines.next_line().await.map_err(Error::io(&*what))?;
        answer.ok_or_else(|| Error::peer(what, "it has ended"))
    }

    /// Gives it another shape; what is under way keeps its old times.
    pub async fn shape(&mut self, shape: Shape) -> Result<()> {
        let Shape { bit_s, rtt_ms, loss_percent } = shape;
        self.tell(&format!("shape {bit_s} {rtt_ms} {loss_percent}")).await.map(drop)
    }

    /// Packets that it took and that it lost, so far.
    pub async fn count(&mut self) -> Result<(u64, u64)> {
        let answer = self.tell("count").await?;
        let mut numbers = answer.split(' ').skip(1).map_while(|word| word.parse().ok());
        numbers.next().zip(numbers.next()).ok_or_else(|| Error::peer("counting packets", answer))
    }

    /// Ends it, and waits until nothing of it is left.
    pub async fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().await.map(drop).map_err(Error::io("ending a link"))
    }
}

/// Whether this is a machine on which a link can be made.
pub fn can_shape() -> bool {
    Path::new("/dev/net/tun").exists() && rustix::process::geteuid().is_root()
}

/// What it takes where [`can_shape`] says no.
pub const NEEDS: &str = "a link of its own needs root, /dev/net/tun, python3 and iproute2";
