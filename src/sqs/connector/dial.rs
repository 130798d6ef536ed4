//! From a URI to a connection: name and TCP within a connect timeout each ([`tcp`](super::tcp)), proxy and TLS within three of them.

use crate::clock::suspended_ms;
use crate::sqs::connector::ended::Ended;
use crate::sqs::connector::fault::{ProxyRefusal, Silent};
use crate::sqs::connector::link::LinkChanges;
use crate::sqs::connector::proxy::ProxySettings;
use crate::sqs::connector::returned;
use crate::sqs::connector::tcp::Tcp;
use crate::sqs::connector::wire::{First, PeerEnd, Wire};
use crate::tls::ClientTls;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use rustls::ClientConfig;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Dialling<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// A proxy's tunnel and TLS may take so many times what TCP may: a certificate chain takes 15 s at 2.4 kbit/s.
const WITH_TLS: u32 = 3;
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
