//! From a host to a TCP connection: its name within the limit, and one of its addresses within the limit.
//!
//! A name may have addresses that are black holes, of one family or of both: a firewall that drops, IPv6 that ends at the router. So an
//! address gets the whole limit, and the next one does not wait for it (RFC 8305): it goes after [`STAGGER`], or as soon as one has
//! failed, the families in turn. The first connection that comes about is taken, the others are given up. When each goes is pure
//! ([`Schedule`]).
//!
//! When the gateway's addresses or routes change, all of it begins anew: what was sent before went another way, and TCP's next try may
//! be seconds off.

use crate::sqs::connector::link::LinkChanges;
use crate::sqs::connector::traffic::Dialled;
use crate::sqs::connector::wire::WireControl;
use crate::sync::locked;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

/// Between two addresses of a name.
const STAGGER: Duration = Duration::from_millis(250);
/// When all have gone, one of those that keep silent goes again after this long, and then after twice as long each time: TCP's own
/// tries of a connection are further and further apart, and a link that comes back would wait for them. No more often: over a slow link
/// behind a queue of ours an answer takes ten seconds, and each try is in the way of all others.
const AGAIN: Duration = Duration::from_millis(1500);
/// A silent peer is noticed: first probe after this long without traffic, the next ones every [`PROBE_EVERY`].
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// Written bytes that the peer does not acknowledge for this long break the connection. At 2.4 kbit/s the first ten segments take
/// 48 s.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// No TCP connection came about.
#[derive(Debug, thiserror::Error)]
pub enum TcpError {
    /// The name has no address, or no name server answers.
    #[error("the name {host} has no address")]
    Name {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// None of the addresses takes a connection.
    #[error("{}", addresses(.first, *.count))]
    Address {
        /// The one whose failure tells most.
        first: SocketAddr,
        /// How many there are.
        count: usize,
        /// Its failure.
        source: io::Error,
    },
}

fn addresses(first: &SocketAddr, count: usize) -> String {
    match count {
        0 | 1 => first.to_string(),
        count => format!("{first} and {} more", count - 1),
    }
}

/// Connects to the host of a URI, once.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    /// For the name, and again for its addresses.
    limit: Option<Duration>,
    changes: LinkChanges,
    made: Arc<Mutex<Option<WireControl>>>,
}

impl Tcp {
    pub(super) fn new(limit: Option<Duration>, changes: LinkChanges) -> Tcp {
        Tcp { limit, changes, made: Arc::default() }
    }

    /// The connection, as soon as there is one.
    pub(super) fn made(&self) -> Option<WireControl> {
        locked(&self.made).clone()
    }

    async fn connect(&self, dst: &Uri) -> Result<TcpStream, TcpError> {
        let host = dst.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = dst.port_u16().unwrap_or(if dst.scheme_str() == Some("http") { 80 } else { 443 });
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => resolved(&host, port, self.limit).await.map_err(|source| TcpError::Name { host, source })?,
        };
        first_of(addresses, self.limit, connect).await
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = TcpError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, TcpError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TcpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dst: Uri) -> Self::Future {
        let tcp = self.clone();
        Box::pin(async move {
            let stream = loop {
                tokio::select! {
                    connected = tcp.connect(&dst) => break connected?,
                    () = tcp.changes.next() => {}
                }
            };
            prepare(&stream);
            *locked(&tcp.made) = Some(WireControl::of(&stream));
            Ok(TokioIo::new(stream))
        })
    }
}

/// Connects, and counts what that takes of the link.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut dialled = Dialled::to(address.ip());
    let connected = TcpStream::connect(address).await;
    dialled.ended(&connected);
    connected
}

/// The addresses of a name, at least one, as the system orders them.
async fn resolved(host: &str, port: u16, limit: Option<Duration>) -> io::Result<Vec<SocketAddr>> {
    let asking = tokio::net::lookup_host((host, port));
    let found = match limit {
        None => asking.await?,
        Some(limit) => tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("the name server gave no answer within {limit:?}")))
        })?,
    };
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

/// Where the kernel refuses one of these, a dead peer is noticed later.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PROBE_AFTER);
    let _ = sockopt::set_tcp_keepintvl(stream, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, PROBES);
    let _ = sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED.as_millis() as u32);
}

/// The first connection that comes about to one of `addresses`, of which there is one at least.
async fn first_of<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    limit: Option<Duration>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, TcpError> {
    let (count, start) = (addresses.len(), Instant::now());
    let mut schedule = Schedule::new(addresses, limit, start);
    let mut failed: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut under_way = FuturesUnordered::new();
    let mut waiting: VecDeque<SocketAddr> = VecDeque::new();
    loop {
        while let Some(address) = schedule.due(Instant::now()) {
            if !waiting.contains(&address) {
                waiting.push_back(address);
            }
            let connecting = connect(address);
            under_way.push(async move { (address, connecting.await) });
        }
        tokio::select! {
            ended = under_way.next() => match ended {
                Some((_, Ok(connection))) => return Ok(connection),
                Some((address, Err(error))) => {
                    waiting.retain(|other| *other != address);
                    failed.push((address, error));
                    schedule.failed(address, Instant::now());
                }
                None => break,
            },
            () = sleep_until(schedule.next_at()) => {}
            () = sleep_until(limit.map(|limit| start + limit)) => {
                let first = waiting.pop_front().expect("one is under way");
                let text = format!("nothing answered within {:?}", limit.unwrap_or_default());
                return Err(TcpError::Address { first, count, source: io::Error::new(io::ErrorKind::TimedOut, text) });
            }
        }
    }
    // That there is no way to a family says the least: most hosts lack one.
    let unreachable =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable);
    let telling = failed.iter().position(|(_, error)| !unreachable(error)).unwrap_or(0);
    let (first, source) = failed.swap_remove(telling);
    Err(TcpError::Address { first, count, source })
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Which address goes when. Pure.
#[derive(Debug)]
struct Schedule {
    left: VecDeque<SocketAddr>,
    /// Those that went and have not failed; to go again where there is a limit.
    gone: VecDeque<SocketAddr>,
    next: Instant,
    stagger: Duration,
    again: Duration,
    goes_again: bool,
}

impl Schedule {
    /// All within `limit`, however many there are.
    fn new(addresses: Vec<SocketAddr>, limit: Option<Duration>, now: Instant) -> Schedule {
        let turn = limit.map_or(STAGGER, |limit| limit / (addresses.len() as u32 + 1));
        let (left, gone) = (in_turn(addresses).into(), VecDeque::new());
        Schedule { left, gone, next: now, stagger: STAGGER.min(turn), again: AGAIN, goes_again: limit.is_some() }
    }

    /// The address that goes now.
    fn due(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.next_at().is_none_or(|at| now < at) {
            return None;
        }
        let address = self.left.pop_front().or_else(|| self.gone.pop_front())?;
        self.gone.push_back(address);
        if self.left.is_empty() {
            self.next = now + self.again;
            self.again *= 2;
        } else {
            self.next = now + self.stagger;
        }
        Some(address)
    }

    /// It does not go again, and the next one that has not gone goes at once.
    fn failed(&mut self, address: SocketAddr, now: Instant) {
        self.gone.retain(|other| *other != address);
        if !self.left.is_empty() {
            self.next = self.next.min(now);
        }
    }

    /// When the next one goes; `None`: never.
    fn next_at(&self) -> Option<Instant> {
        let any = !self.left.is_empty() || self.goes_again && !self.gone.is_empty();
        any.then_some(self.next)
    }
}

/// The families in turn, that of the first address first, each in its order (RFC 8305, section 4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests;
