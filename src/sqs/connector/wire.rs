//! A connection that was made: what the kernel tells of it, and how it ends.
//!
//! A task that waits for an answer sees how it gets on by [`WireControl`], and can end it. Each look counts what it
//! carried ([`traffic`](super::traffic)).

use crate::clock::suspended_ms;
use crate::sqs::connector::traffic::OfConnection;
use crate::sync::locked;
use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tcp_progress::Progress;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection to the proxy (https:// or not), or directly to the server.
pub(super) type First = MaybeHttpsStream<TokioIo<TcpStream>>;

/// What the kernel takes beyond what it has sent: more would be the next attempt's delay, and cannot be taken back.
const UNSENT_BYTES: u32 = 16 * 1024;

/// No connection lives over a suspend that is longer than this, in ms: peers and NATs forget it, and the two clocks by which
/// a suspend is seen are read one after the other.
pub(super) const SUSPEND_MS: u64 = 10_000;

/// The last second, since 1970, at which the certificate of a connection's peer is valid. It is among the extensions of
/// every answer over a TLS connection, a resumed one included; nowhere else.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerEnd(pub(super) i64);

/// A connection that knows its peer's certificate's end, and takes nothing more to write once the machine was suspended:
/// the half of a request that was left over would arrive as no limit of ours reckons with.
pub(super) struct Wire {
    pub(super) stream: MaybeHttpsStream<First>,
    pub(super) peer_end: Option<PeerEnd>,
    /// How long the machine had been suspended when the connection was made.
    pub(super) suspended_ms: u64,
    pub(super) control: WireControl,
}

/// A connection as those see it who wait for an answer on it. Among the extras of every answer and of a captured connection.
#[derive(Clone, Debug)]
pub(super) struct WireControl(Arc<Controlled>);

#[derive(Debug)]
struct Controlled {
    /// The same socket; `None` once the connection is gone.
    socket: Mutex<Option<OwnedFd>>,
    /// The gateway's side of it.
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    made: Instant,
    carried: OfConnection,
    abandoned: AtomicBool,
    /// The task that the connection lives in.
    task: AtomicWaker,
}

impl WireControl {
    pub(super) fn of(tcp: &TcpStream) -> WireControl {
        // An older kernel takes more, and tells less.
        let _ = tcp_progress::bound_unsent(tcp, UNSENT_BYTES);
        let peer = tcp.peer_addr().ok();
        WireControl(Arc::new(Controlled {
            socket: Mutex::new(tcp.as_fd().try_clone_to_owned().ok()),
            local: tcp.local_addr().ok(),
            peer,
            made: Instant::now(),
            carried: OfConnection::to(peer.map(|peer| peer.ip())),
            abandoned: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }))
    }

    /// The server, or the proxy on the way to it.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// Whether it was there before `start`.
    pub(super) fn is_older_than(&self, start: Instant) -> bool {
        self.0.made < start
    }

    /// Whether its address has left this machine, so that nothing can reach it any more.
    pub(super) fn address_is_gone(&self) -> bool {
        let bound = self.0.local.map(|mut local| {
            local.set_port(0);
            UdpSocket::bind(local)
        });
        matches!(bound, Some(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable)
    }

    /// What the kernel knows of its progress.
    ///
    /// # Errors
    /// The kernel does not tell, or the connection is gone.
    pub(super) fn progress(&self) -> io::Result<Progress> {
        let socket = locked(&self.0.socket);
        let progress = socket.as_ref().map_or(Err(io::ErrorKind::NotConnected.into()), tcp_progress::progress)?;
        self.0.carried.look(&progress);
        Ok(progress)
    }

    /// Ends the connection, whatever it still holds.
    pub(super) fn abandon(&self) {
        if let Some(socket) = locked(&self.0.socket).as_ref() {
            // Without it the connection ends as it always did.
            let _ = tcp_progress::reset_on_close(socket);
        }
        self.0.abandoned.store(true, SeqCst);
        self.0.task.wake();
    }

    /// Whether it was abandoned; otherwise the task of `cx` is woken when it is.
    fn is_abandoned(&self, cx: &Context<'_>) -> bool {
        self.0.task.register(cx.waker());
        self.0.abandoned.load(SeqCst)
    }
}

impl Drop for Controlled {
    /// One that never carried a request: a look whether the server takes connections, or one whose TLS came to nothing.
    fn drop(&mut self) {
        if let Some(Ok(progress)) = locked(&self.socket).as_ref().map(tcp_progress::progress) {
            self.carried.look(&progress);
        }
    }
}

impl Drop for Wire {
    /// What was not sent goes with it: nothing waits for its answer any more, and it would be in the way of the next attempt.
    fn drop(&mut self) {
        let progress = self.control.progress();
        let socket = locked(&self.control.0.socket).take();
        if let Some(socket) = socket
            && progress.is_ok_and(|progress| !progress.is_complete())
        {
            // Without it the connection ends as it always did.
            let _ = tcp_progress::reset_on_close(&socket);
        }
    }
}

impl Wire {
    /// Why nothing may be written any more.
    fn is_over(&self, cx: &Context<'_>) -> Option<io::Error> {
        if self.control.is_abandoned(cx) {
            return Some(io::Error::new(io::ErrorKind::ConnectionAborted, "the attempt was ended"));
        }
        let since = suspended_ms().saturating_sub(self.suspended_ms);
        (since > SUSPEND_MS).then(|| {
            let text = format!("the machine was suspended for {since} ms since the connection was made");
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        })
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected().extra(self.control.clone());
        match self.peer_end {
            None => connected,
            Some(end) => connected.extra(end),
        }
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.control.is_abandoned(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.is_over(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.is_over(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
