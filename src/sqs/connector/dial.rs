//! From a URI to a connection: name, TCP, proxy, TLS, all within one time limit.

use crate::clock::suspended_ms;
use crate::sqs::connector::fault::ProxyRefusal;
use crate::sqs::connector::proxy::ProxySettings;
use crate::tls::{ClientTls, LeafEnds};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
/// A connection to the proxy (https:// or not), or directly to the server.
type First = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A silent peer is noticed: first probe after this long without traffic, the next ones every [`PROBE_EVERY`].
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// Written bytes that the peer does not acknowledge for this long break the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// No connection lives over a suspend that is longer than this, in ms: peers and NATs forget it, and the two clocks by which
/// a suspend is seen are read one after the other.
pub(super) const SUSPEND_MS: u64 = 10_000;

/// The last second, since 1970, at which the certificate of a connection's peer is valid. It is among the extensions of
/// every answer over a TLS connection, a resumed one included; nowhere else.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerEnd(pub(super) i64);

/// Connects within the connect timeout.
#[derive(Clone)]
pub(super) struct Dial {
    https: HttpsConnector<ViaProxy>,
    limit: Option<Duration>,
    ends: LeafEnds,
}

impl Dial {
    pub(super) fn new(
        tls: &ClientTls,
        proxy: Arc<ProxySettings>,
        proxy_tls: Arc<ClientConfig>,
        limit: Option<Duration>,
    ) -> Dial {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBE_AFTER));
        tcp.set_keepalive_interval(Some(PROBE_EVERY));
        tcp.set_keepalive_retries(Some(PROBES));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        // Divided among a name's addresses, so that one that is a black hole leaves time for the others.
        tcp.set_connect_timeout(limit);
        let via = ViaProxy { to_proxy: HttpsConnector::from((tcp.clone(), proxy_tls)), tcp, proxy };
        Dial { https: HttpsConnector::from((via, tls.config.clone())), limit, ends: tls.ends.clone() }
    }
}

impl Service<Uri> for Dial {
    type Response = Wire;
    type Error = BoxError;
    type Future = Dialling<Wire>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, dst: Uri) -> Self::Future {
        let connecting = self.https.call(dst);
        let (limit, ends) = (self.limit, self.ends.clone());
        Box::pin(async move {
            let stream = match limit {
                None => connecting.await?,
                Some(limit) => tokio::time::timeout(limit, connecting).await.map_err(|_| {
                    io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}, TLS included"))
                })??,
            };
            let peer_end = match &stream {
                MaybeHttpsStream::Http(_) => None,
                MaybeHttpsStream::Https(tls) => {
                    let leaf = tls.inner().get_ref().1.peer_certificates().and_then(|chain| chain.first());
                    leaf.and_then(|leaf| ends.not_after_s(leaf)).map(PeerEnd)
                }
            };
            Ok(Wire { stream, peer_end, suspended_ms: suspended_ms() })
        })
    }
}

/// TCP to the server, or through a proxy's tunnel.
#[derive(Clone)]
struct ViaProxy {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxy: Arc<ProxySettings>,
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
            // The tunnel's error type is not exported: its text is all there is to tell this case by.
            connecting.await.map_err(|error| match error.to_string().contains("authorization required") {
                true => ProxyRefusal::Password.into(),
                false => error.into(),
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
}

impl Wire {
    fn is_of_before(&self) -> Option<io::Error> {
        let since = suspended_ms().saturating_sub(self.suspended_ms);
        (since > SUSPEND_MS).then(|| {
            let text = format!("the machine was suspended for {since} ms since the connection was made");
            io::Error::new(io::ErrorKind::ConnectionAborted, text)
        })
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        match self.peer_end {
            None => self.stream.connected(),
            Some(end) => self.stream.connected().extra(end),
        }
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.is_of_before() {
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
        if let Some(error) = self.is_of_before() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
