//! A link that can be cut: a TCP proxy on loopback between an agent and one of its peers.
//!
//! It plays what real links do: connections that break, connections that freeze without breaking, and the cruellest one,
//! a request that arrives and whose answer does not. It knows no protocol; an answer is what the peer sends first after
//! the client has sent something.

use crate::port::HeldPort;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// State that connections watch.
#[derive(Clone, Copy, Debug)]
struct Link {
    target: SocketAddr,
    /// Counts cuts: a connection ends when it changes.
    cuts: u64,
    /// Connections are not accepted; they wait in the listener's backlog.
    paused: bool,
    /// Nothing is carried; connections stay open.
    frozen: bool,
}

#[derive(Debug)]
struct Shared {
    link: watch::Sender<Link>,
    answers_to_drop: AtomicU64,
    dropped: AtomicU64,
    accepted: AtomicU64,
    /// Ports that its connections to the target had.
    ports: Mutex<BTreeSet<u16>>,
}

/// A running proxy; dropping it closes everything.
#[derive(Debug)]
pub struct CuttingProxy {
    port: HeldPort,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl CuttingProxy {
    /// Starts on a free loopback port towards `target`. Must be called inside a runtime.
    pub fn start(target: SocketAddr) -> Result<CuttingProxy> {
        CuttingProxy::at(HeldPort::take()?, target)
    }

    /// Starts on `port` towards `target`. Must be called inside a runtime.
    pub fn at(port: HeldPort, target: SocketAddr) -> Result<CuttingProxy> {
        let shared = Arc::new(Shared {
            link: watch::Sender::new(Link { target, cuts: 0, paused: false, frozen: false }),
            answers_to_drop: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            ports: Mutex::default(),
        });
        let mut proxy = CuttingProxy { port, shared, accepting: None };
        proxy.open()?;
        Ok(proxy)
    }

    /// Address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Sends new connections elsewhere; existing ones stay where they are.
    pub fn set_target(&self, target: SocketAddr) {
        self.change(|link| link.target = target);
    }

    /// Cuts every connection; new ones are accepted.
    pub fn cut(&self) {
        self.change(|link| link.cuts += 1);
    }

    /// Refuses connections from now on and cuts the existing ones. The port stays ours.
    pub async fn close(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            // Its sockets are closed once it has ended; the error says that it was aborted.
            let _ = task.await;
        }
    }

    /// Accepts connections again on the same port; nothing happens when it already does.
    pub fn open(&mut self) -> Result<()> {
        if self.accepting.is_none() {
            self.accepting = Some(tokio::spawn(accept(self.port.listen()?, self.shared.clone())));
        }
        Ok(())
    }

    /// Whether it accepts connections.
    pub fn is_open(&self) -> bool {
        self.accepting.is_some()
    }

    /// Stops accepting: to connect succeeds, and no answer comes. Existing connections continue.
    pub fn pause(&self) {
        self.change(|link| link.paused = true);
    }

    /// Accepts again, after a pause.
    pub fn resume(&self) {
        self.change(|link| link.paused = false);
    }

    /// Carries nothing in either direction while `on`: connections stay open, as on a link that died silently. What was
    /// held back is carried when it ends.
    pub fn black_hole(&self, on: bool) {
        self.change(|link| link.frozen = on);
    }

    /// The next `n` answers reach the proxy and no further: the connection is closed instead.
    pub fn drop_answers(&self, n: u64) {
        self.shared.answers_to_drop.store(n, Relaxed);
    }

    /// Answers dropped so far.
    pub fn answers_dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Relaxed)
    }

    /// Ports that its connections to the target have, or had: by these the target tells them.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.shared.ports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Link)) {
        self.shared.link.send_modify(change);
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        if let Some(task) = &self.accepting {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut link = shared.link.subscribe();
    let mut connections = JoinSet::new();
    loop {
        // The sender lives in `shared`: the wait cannot fail.
        let paused = link.wait_for(|link| !link.paused).await.is_err();
        tokio::select! {
            accepted = listener.accept(), if !paused => {
                if let Ok((client, _)) = accepted {
                    shared.accepted.fetch_add(1, Relaxed);
                    let shared = shared.clone();
                    connections.spawn(async move { carry(client, &shared).await });
                }
            }
            _ = link.changed() => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until either side ends it, it is cut, or an answer of it is dropped.
async fn carry(client: TcpStream, shared: &Shared) {
    let mut link = shared.link.subscribe();
    let Link { target, cuts, .. } = *link.borrow_and_update();
    let Ok(server) = TcpStream::connect(target).await else { return };
    let port = server.local_addr().map(|address| address.port());
    shared.ports.lock().unwrap_or_else(PoisonError::into_inner).extend(port);
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let asked = AtomicU64::new(0);
    let up = copy(from_client, to_server, shared, || {
        asked.store(1, Relaxed);
        Ok(())
    });
    let down = copy(from_server, to_client, shared, || {
        let is_answer = asked.swap(0, Relaxed) > 0;
        let take = |left: u64| left.checked_sub(1);
        if is_answer && shared.answers_to_drop.fetch_update(Relaxed, Relaxed, take).is_ok() {
            shared.dropped.fetch_add(1, Relaxed);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    });
    // One direction may end first (a half-closed connection); an error ends both.
    let both = async { tokio::try_join!(up, down).map(drop) };
    tokio::select! {
        _ = both => {}
        _ = link.wait_for(|link| link.cuts != cuts) => {}
    }
}

/// Copies until the end of `from`; `seen` may end the connection instead of letting bytes pass.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    seen: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut link = shared.link.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if link.wait_for(|link| !link.frozen).await.is_err() || count == 0 {
            return to.shutdown().await;
        }
        seen()?;
        to.write_all(&buffer[..count]).await?;
    }
}

/// A proxy in front of `http://host:port`, with the endpoint that leads through it.
pub fn in_front_of(endpoint: &str) -> Result<(CuttingProxy, String)> {
    let address = endpoint.strip_prefix("http://").and_then(|rest| rest.trim_end_matches('/').parse().ok());
    let target = address.ok_or_else(|| Error::peer("starting a proxy", format!("{endpoint} is no http://ip:port")))?;
    let proxy = CuttingProxy::start(target)?;
    let endpoint = format!("http://{}", proxy.addr());
    Ok((proxy, endpoint))
}
