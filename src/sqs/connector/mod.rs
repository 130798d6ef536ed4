//! HTTP under the AWS SDK: our own connector behind its `HttpClient` trait, HTTP/1.1 only.
//!
//! It is ours because of what it must do: judge certificates by our clock, refuse bad proxy settings instead of going
//! around the proxy ([`proxy`]), bound an answer's size, and above all tell a request that was never sent from one that
//! may have been accepted ([`fault`]).
//!
//! HTTP/1.1 because a connection then carries one request: a request that times out takes its connection with it, and the
//! next one dials anew. Over HTTP/2 a frozen connection stays in the pool and every later request fails on it.
//!
//! All work of a call lives inside its future, so dropping the future (the SDK's attempt timeout does) ends the call.
//! The pool hands idle connections out for 25 s, less than the time after which NATs of cellular networks forget them. An attempt on one
//! that still carries nothing ends within seconds ([`watch`]).
//! A request that was queued on a connection which turned out closed before a byte was written is dialled again by the
//! pool; nothing else is ever retried here.
//!
//! tokio's timers do not see a suspend: a limit of ten seconds ends ten *waking* seconds later. So what is true for a while
//! only is judged where the bytes leave, by the boot's clock ([`body`]), and no connection is written to after a suspend
//! ([`dial`]).

mod body;
mod dial;
pub(super) mod ended;
pub mod fault;
mod link;
pub mod proxy;
mod returned;
pub mod tcp;
pub mod traffic;
pub(super) mod watch;
mod wire;

use crate::clock::{Clock, suspended_ms};
use crate::sqs::connector::body::TimedBody;
use crate::sqs::connector::watch::Attempt;
use crate::sqs::limits::ANSWER_BYTES;
use crate::sync::locked;
use crate::tls::ClientTls;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use dial::Dial;
use fault::NetError;
use http::Uri;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as PoolError, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use link::LinkChanges;
use proxy::ProxySettings;
use rustls::ClientConfig;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use wire::{PeerEnd, SUSPEND_MS};

/// How long an idle connection may be used again.
const IDLE: Duration = Duration::from_secs(25);

/// A link that is there takes a connection in this time; one over a satellite or 2.4 kbit/s does in two seconds.
const REACH: Duration = Duration::from_secs(3);

/// Connectors kept: one per pair of timeouts. The queue's client has one pair, a credential chain a few.
const CONNECTORS: usize = 8;

/// The SDK's HTTP client; cheap to clone, one pool behind all clones.
#[derive(Clone)]
pub struct Http(Arc<Shared>);

struct Shared {
    tls: ClientTls,
    proxy: Arc<ProxySettings>,
    proxy_tls: Arc<ClientConfig>,
    clock: Clock,
    idle_connections: usize,
    connectors: Mutex<Vec<(Timeouts, SharedHttpConnector)>>,
    changes: LinkChanges,
    /// Calls that failed for the network.
    failures: AtomicU64,
}

impl Shared {
    fn dial(&self, limit: Option<Duration>) -> Dial {
        Dial::new(&self.tls, self.proxy.clone(), self.proxy_tls.clone(), limit, self.changes.clone())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Timeouts {
    connect: Option<Duration>,
    read: Option<Duration>,
}

impl Http {
    /// An HTTP client. `proxy_tls` is for the way to an https:// proxy: it must not offer ALPN nor a client certificate.
    /// `clock` learns the service's time. `idle_connections` is the most to keep per host.
    pub fn new(
        tls: ClientTls,
        proxy: ProxySettings,
        proxy_tls: Arc<ClientConfig>,
        clock: Clock,
        idle_connections: usize,
    ) -> Http {
        let (connectors, changes) = (Mutex::default(), LinkChanges::none());
        let (proxy, failures) = (Arc::new(proxy), AtomicU64::new(0));
        Http(Arc::new(Shared { tls, proxy, proxy_tls, clock, idle_connections, connectors, changes, failures }))
    }

    /// Calls so far that failed for the network, whosever they were.
    pub(super) fn failures(&self) -> u64 {
        self.0.failures.load(Relaxed)
    }

    /// The gateway's addresses or routes have changed: no idle connection is used again, and one under way has to show that it lives.
    pub(super) fn link_changed(&self) {
        self.0.changes.tell();
    }

    /// Whether `endpoint` takes a connection, through the proxy where there is one: TCP, and a tunnel, without TLS.
    pub(super) async fn reach(&self, endpoint: Uri) -> bool {
        tokio::time::timeout(REACH, self.0.dial(Some(REACH)).reach(endpoint)).await.unwrap_or(false)
    }

    fn connector(&self, timeouts: Timeouts) -> Connector {
        let pools = Pools { shared: self.0.clone(), connect_timeout: timeouts.connect, current: Mutex::default() };
        Connector { pools, clock: self.0.clock.clone(), read_timeout: timeouts.read }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("proxy", &self.0.proxy).finish_non_exhaustive()
    }
}

impl HttpClient for Http {
    /// Asked at every attempt: a connector that were not kept would have an empty pool each time.
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let timeouts = Timeouts { connect: settings.connect_timeout(), read: settings.read_timeout() };
        let mut kept = locked(&self.0.connectors);
        if let Some((_, connector)) = kept.iter().find(|(of, _)| *of == timeouts) {
            return connector.clone();
        }
        let connector = SharedHttpConnector::new(self.connector(timeouts));
        if kept.len() == CONNECTORS {
            kept.remove(0);
        }
        kept.push((timeouts, connector.clone()));
        connector
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("tidegate", None))
    }
}

/// The pool of a connector; another one after every suspend, every change of the gateway's network, and every connection that turned out
/// dead. Idle connections are counted in waking time, so after a night the pool would still hand out those of the evening.
struct Pools {
    shared: Arc<Shared>,
    connect_timeout: Option<Duration>,
    current: Mutex<Option<Pool>>,
}

#[derive(Clone)]
struct Pool {
    client: Client<Dial, TimedBody>,
    /// How long the machine had been suspended when it was made, in ms.
    suspended_ms: u64,
    /// Changes of the network until then.
    changes: u64,
    dead: Arc<AtomicBool>,
}

impl Pools {
    /// The pool to use now. Cheap.
    fn current(&self) -> Pool {
        let (suspended_ms, changes) = (suspended_ms(), self.shared.changes.count());
        let is_good = |pool: &Pool| {
            let awake = suspended_ms.saturating_sub(pool.suspended_ms) <= SUSPEND_MS;
            awake && pool.changes == changes && !pool.dead.load(Relaxed)
        };
        let mut current = locked(&self.current);
        match &*current {
            Some(pool) if is_good(pool) => pool.clone(),
            _ => {
                let pool = Pool { client: self.build(), suspended_ms, changes, dead: Arc::default() };
                *current = Some(pool.clone());
                pool
            }
        }
    }

    fn build(&self) -> Client<Dial, TimedBody> {
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(self.shared.idle_connections)
            .build(self.shared.dial(self.connect_timeout))
    }
}

struct Connector {
    pools: Pools,
    clock: Clock,
    read_timeout: Option<Duration>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("read_timeout", &self.read_timeout).finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let captured = capture_connection(&mut request);
        let supervised = captured.clone();
        if let Some(slot) = request.extensions().get::<CaptureSmithyConnection>() {
            // Lets the SDK take a connection out of the pool after an answer that makes it suspect.
            slot.set_connection_retriever(move || {
                captured.connection_metadata().as_ref()?;
                let captured = captured.clone();
                let poison = move || {
                    if let Some(connected) = captured.connection_metadata().as_ref() {
                        connected.poison();
                    }
                };
                Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
            });
        }
        let attempt = request.extensions().get::<Attempt>().copied();
        let leaves_by_ms = attempt.and_then(|attempt| attempt.leaves_by_ms);
        let pool = self.pools.current();
        let answer = pool.client.request(request.map(|body| TimedBody::new(body, leaves_by_ms)));
        let (clock, read_timeout, shared) = (self.clock.clone(), self.read_timeout, self.pools.shared.clone());
        let changes = shared.changes.clone();
        let call = async move {
            let answer = match (attempt, read_timeout) {
                (Some(attempt), _) => {
                    let whole = attempt.supervise(read_whole(answer), &supervised, &changes).await;
                    whole.map_err(|ended| {
                        // Its idle siblings are as old.
                        pool.dead.store(true, Relaxed);
                        ConnectorError::timeout(ended.into())
                    })??
                }
                (None, None) => bounded(answer.await)?,
                (None, Some(limit)) => match tokio::time::timeout(limit, answer).await {
                    Ok(answer) => bounded(answer)?,
                    Err(_) => return Err(ConnectorError::timeout(NetError::no_answer(limit).into())),
                },
            };
            // What it carried counts now: the connection may be kept for long.
            let _ = watch::control_of(&supervised).map(|control| control.progress());
            learn_date(&clock, &answer);
            HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
        };
        HttpConnectorFuture::new(async move {
            call.await.inspect_err(|_| {
                shared.failures.fetch_add(1, Relaxed);
            })
        })
    }
}

/// An answer whose body is still to come, and no longer than answers are.
fn bounded(answer: Result<http::Response<Incoming>, PoolError>) -> Result<http::Response<SdkBody>, ConnectorError> {
    let answer = answer.map_err(fault::connector_error)?;
    Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, ANSWER_BYTES))))
}

/// An answer with all of its body, so that its last byte is waited for like its first.
async fn read_whole(answer: ResponseFuture) -> Result<http::Response<SdkBody>, ConnectorError> {
    let (parts, body) = answer.await.map_err(fault::connector_error)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(fault::cut_off)?;
    Ok(http::Response::from_parts(parts, SdkBody::from(body.to_bytes())))
}

/// Believes `Date` only from a peer whose certificate was verified, and no further than that certificate's end.
fn learn_date<B>(clock: &Clock, answer: &http::Response<B>) {
    let Some(PeerEnd(not_after_s)) = answer.extensions().get::<PeerEnd>() else { return };
    let date = answer.headers().get(http::header::DATE).and_then(|value| value.to_str().ok());
    let seconds = date
        .and_then(|text| httpdate::parse_http_date(text).ok())
        .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_secs()).ok());
    if let Some(seconds) = seconds {
        clock.learn(seconds, *not_after_s);
    }
}
