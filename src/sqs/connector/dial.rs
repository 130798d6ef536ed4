//! From a URI to a connection: name and TCP within a connect timeout each ([`tcp`](super::tcp)), proxy and TLS within three of them.

use crate::clock::suspended_ms;
use crate::sqs::connector::fault::{ProxyRefusal, Silent};
use crate::sqs::connector::link::LinkChanges;
use crate::sqs::connector::proxy::ProxySettings;
use crate::sqs::connector::returned;
use crate::sqs::connector::tcp::Tcp;
use crate::sqs::connector::watch::Ended;
use crate::sync::locked;
use crate::tls::ClientTls;
use futures_util::task::AtomicWaker;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tcp_progress::Progress;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
/// A connection to the proxy (https:// or not), or directly to the server.
type First = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A proxy's tunnel and TLS may take so many times what TCP may: a certificate chain takes 15 s at 2.4 kbit/s.
const WITH_TLS: u32 = 3;
/// What the kernel takes beyond what it has sent: more would be the next attempt's delay, and cannot be taken back.
const UNSENT_BYTES: u32 = 16 * 1024;

/// No connection lives over a suspend that is longer than this, in ms: peers and NATs forget it, and the two clocks by which
/// a suspend is seen are read one after the other.
pub(super) const SUSPEND_MS: u64 = 10_000;

/// The last second, since 1970, at which the certificate of a connection's peer is valid. It is among the extensions of
/// every answer over a TLS connection, a resumed one included; nowhere else.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerEnd(pub(super) i64);

/// Connects, within the limits of its parts.
#[derive(Clone)]
pub(super) struct Dial {
    tls: ClientTls,
    proxy: Arc<ProxySettings>,
    proxy_tls: Arc<ClientConfig>,
    limit: Option<Duration>,
    changes: LinkChanges,
}

impl Dial {
    pub(super) fn new(
        tls: &ClientTls,
        proxy: Arc<ProxySettings>,
        proxy_tls: Arc<ClientConfig>,
        limit: Option<Duration>,
        changes: LinkChanges,
    ) -> Dial {
        Dial { tls: tls.clone(), proxy, proxy_tls, limit, changes }
    }

    /// Whether TCP, and a proxy's tunnel, lead to the server.
    pub(super) async fn reach(self, dst: Uri) -> bool {
        self.way().call(dst).await.is_ok()
    }

    /// For one connection.
    fn way(&self) -> ViaProxy {
        let tcp = Tcp::new(self.limit, self.changes.clone());
        let to_proxy = HttpsConnector::from((tcp.clone(), self.proxy_tls.clone()));
        ViaProxy { tcp, to_proxy, proxy: self.proxy.clone() }
    }
}

impl Service<Uri> for Dial {
    type Response = Wire;
    type Error = BoxError;
    type Future = Dialling<Wire>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dst: Uri) -> Self::Future {
        let via = self.way();
        let (proxy, tcp) = (via.proxy.on_the_way_to(&dst), via.tcp.clone());
        let (server, proxy) = (dst.clone(), proxy.map(|proxy| proxy.uri().clone()));
        let connecting = HttpsConnector::from((via, self.tls.config.clone())).call(dst);
        let (limit, ends) = (self.limit.map(|limit| limit * WITH_TLS), self.tls.ends.clone());
        let (of_change, made, stands_still) = (self.changes.clone(), tcp.clone(), tcp.clone());
        Box::pin(async move {
            let failed = |kind, why: BoxError| Err(io::Error::new(kind, why).into());
            let away = AtomicBool::new(false);
            let connected = tokio::select! {
                connected = connecting => connected,
                () = of_change.break_of(move || made.made()) => {
                    failed(io::ErrorKind::ConnectionAborted, Ended::LinkChanged.into())
                }
                () = returned::without(|| stands_still.made(), &away) => {
                    failed(io::ErrorKind::ConnectionAborted, Ended::LinkReturned.into())
                }
                () = elapsed(limit) => {
                    let (server, proxy, limit) = (origin(&server), proxy.as_ref().map(origin), limit.unwrap_or_default());
                    Err(io::Error::new(io::ErrorKind::TimedOut, Silent { server, proxy, limit }).into())
                }
            };
            let stream = connected.map_err(|source| Unreached { server, proxy, source })?;
            let peer_end = match &stream {
                MaybeHttpsStream::Http(_) => None,
                MaybeHttpsStream::Https(tls) => {
                    let leaf = tls.inner().get_ref().1.peer_certificates().and_then(|chain| chain.first());
                    leaf.and_then(|leaf| ends.not_after_s(leaf)).map(PeerEnd)
                }
            };
            let control = tcp.made().ok_or("a connection without TCP")?;
            Ok(Wire { stream, peer_end, suspended_ms: suspended_ms(), control })
        })
    }
}

async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Which peer could not be reached, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}", on_the_way(.server, .proxy.as_ref()))]
struct Unreached {
    server: Uri,
    proxy: Option<Uri>,
    source: BoxError,
}

/// The server as people know it, and the proxy on the way to it.
fn on_the_way(server: &Uri, proxy: Option<&Uri>) -> String {
    match proxy {
        Some(proxy) => format!("{} by way of the proxy {}", named(server), named(proxy)),
        None => named(server),
    }
}

/// Without what may stand before the host.
fn named(uri: &Uri) -> String {
    uri.authority().map_or(String::new(), |peer| peer.host().to_owned() + &port_of(uri))
}

fn origin(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or("http"), named(uri))
}

/// TCP to the server, or through a proxy's tunnel.
#[derive(Clone)]
struct ViaProxy {
    tcp: Tcp,
    to_proxy: HttpsConnector<Tcp>,
    proxy: Arc<ProxySettings>,
}

/// With its colon, where one is given.
fn port_of(uri: &Uri) -> String {
    uri.port_u16().map_or(String::new(), |port| format!(":{port}"))
}

impl Service<Uri> for ViaProxy {
    type Response = First;
    type Error = BoxError;
    type Future = Dialling<First>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, dst: Uri) -> Self::Future {
        let Some(proxy) = self.proxy.on_the_way_to(&dst) else {
            let connecting = self.tcp.call(dst);
            return Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let connecting = tunnel.call(with_port(dst));
        Box::pin(async move {
            // The tunnel's error type is not exported: its text is all there is to tell these cases by.
            connecting.await.map_err(|error| {
                let text = error.to_string();
                match text {
                    text if text.contains("authorization required") => ProxyRefusal::Password.into(),
                    text if text.ends_with("unsuccessful") => ProxyRefusal::Tunnel.into(),
                    _ => BoxError::from(error),
                }
            })
        })
    }
}

/// The tunnel takes a URI without a port for 443, whatever its scheme.
fn with_port(dst: Uri) -> Uri {
    if dst.port().is_some() || dst.scheme_str() != Some("http") {
        return dst;
    }
    let mut parts = dst.clone().into_parts();
    parts.authority = dst.host().and_then(|host| format!("{host}:80").parse().ok());
    Uri::from_parts(parts).unwrap_or(dst)
}

/// A connection that knows its peer's certificate's end, and takes nothing more to write once the machine was suspended:
/// the half of a request that was left over would arrive as no limit of ours reckons with.
pub(super) struct Wire {
    stream: MaybeHttpsStream<First>,
    peer_end: Option<PeerEnd>,
    /// How long the machine had been suspended when the connection was made.
    suspended_ms: u64,
    control: WireControl,
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
    abandoned: AtomicBool,
    /// The task that the connection lives in.
    task: AtomicWaker,
}

impl WireControl {
    pub(super) fn of(tcp: &TcpStream) -> WireControl {
        // An older kernel takes more, and tells less.
        let _ = tcp_progress::bound_unsent(tcp, UNSENT_BYTES);
        WireControl(Arc::new(Controlled {
            socket: Mutex::new(tcp.as_fd().try_clone_to_owned().ok()),
            local: tcp.local_addr().ok(),
            peer: tcp.peer_addr().ok(),
            made: Instant::now(),
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
        socket.as_ref().map_or(Err(io::ErrorKind::NotConnected.into()), tcp_progress::progress)
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

impl Drop for Wire {
    /// What was not sent goes with it: nothing waits for its answer any more, and it would be in the way of the next attempt.
    fn drop(&mut self) {
        let socket = locked(&self.control.0.socket).take();
        if let Some(socket) = socket
            && tcp_progress::progress(&socket).is_ok_and(|progress| !progress.is_complete())
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
