//! The status server: small, read-only, on loopback, or with a token on any network.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | the page ([`crate::status::page`]), `GET /page.css` its style, `GET /page.js` its script |
//! | `GET /status.json` | the snapshot ([`crate::status::StatusSnapshot`]) |
//! | `GET /metrics` | the same for Prometheus ([`crate::status::metrics`]) |
//! | `GET /livez` | 200 while the process turns |
//! | `GET /readyz` | 200 while messages are taken and become durable, else 503 and the findings |
//!
//! On loopback a request must name this machine; elsewhere each one must carry the token ([`crate::status::token`]). A
//! connection gets ten seconds, of them three and 16 KiB for the head of each request, and one of 32 places
//! ([`crate::status::places`]), so that no client can use it to hold up the agent or to shut others out.

use crate::status::StatusHub;
use crate::status::answers::Site;
use crate::status::connections::Connections;
use crate::status::door::Door;
use crate::status::places::Peer;
use crate::status::seat::CONNECTION_TIME;
use crate::status::token::TokenFile;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

const BIND_RETRY: Duration = Duration::from_secs(10);
/// Pause after the system refuses a connection, most likely for lack of descriptors: it leaves those there are to the stages.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Serves the board until cancelled. An address that cannot be had is logged once and tried again: the agent's work does
/// not hang on its status. `hangups` counts SIGHUPs: the operator may have mended something, perhaps the token's file.
pub async fn serve(
    listen: SocketAddr,
    token_file: Option<PathBuf>,
    board: Arc<StatusHub>,
    hangups: watch::Receiver<u64>,
) -> Infallible {
    let Some(path) = token_file else { return accept(listen, Site::new(board, Door::Loopback)).await };
    let file = TokenFile::new(path, board.clone());
    let accept = async {
        file.opened().await;
        accept(listen, Site::new(board, Door::Token(file.clone()))).await
    };
    tokio::select! {
        never = accept => never,
        never = file.watch(hangups) => never,
    }
}

async fn accept(listen: SocketAddr, site: Site) -> Infallible {
    let listener = bind(listen).await;
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let peer = Peer::of(from.ip(), stream.local_addr().ok().map(|to| to.ip()));
                connections.take(stream, peer, &site, CONNECTION_TIME).await;
            }
            Err(_) => sleep(REFUSED_PAUSE).await,
        }
    }
}

async fn bind(listen: SocketAddr) -> TcpListener {
    let mut said = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => return listener,
            Err(error) => {
                if !said {
                    tracing::warn!(%listen, %error, "status server cannot listen, tried again; is another agent running, or status.listen taken?");
                    said = true;
                }
                sleep(BIND_RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
