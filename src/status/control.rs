//! The control socket: how commands on this machine ask the running agent, `control` in the journal's folder.
//!
//! It answers what the status server answers, and `GET /config.toml` with the configuration in effect; and it does what changes something: `POST /quarantine/requeue` and
//! `POST /quarantine/drop`, each with a JSON list of numbers, or `null` for all of them. Only the agent's own user and root
//! are served, by what the kernel says of the peer, whatever the file's permissions are.

use super::Board;
use super::server::{CONNECTION_TIME, Connections, Door, REFUSED_PAUSE};
use crate::journal::{Journal, JournalError, Requeued};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the journal's folder.
pub const SOCKET: &str = "control";
/// Largest body of a request: a few thousand numbers.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BIND_RETRY: Duration = Duration::from_secs(60);
/// A change waits for the disk.
const CHANGE_TIME: Duration = CONNECTION_TIME.saturating_mul(4);

/// Serves the socket in `folder` until cancelled. The journal is open, so nobody else's socket is there; where none can be
/// made (a FAT file system, a full disk) commands that only look still work.
pub async fn serve(folder: PathBuf, board: Arc<Board>) -> Infallible {
    let (path, listener) = bind(&folder.join(SOCKET)).await;
    let _gone = Removed(path);
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_owner(&stream) => {
                connections.take(stream, &board, &Door::Control, CHANGE_TIME);
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(REFUSED_PAUSE).await,
        }
    }
}

/// Takes the socket's name away when the server ends.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn bind(path: &Path) -> (PathBuf, UnixListener) {
    let mut said = false;
    loop {
        // Left by a run that was killed.
        let _ = std::fs::remove_file(path);
        match UnixListener::bind(path) {
            Ok(listener) => return (path.to_owned(), listener),
            Err(error) => {
                if !said {
                    tracing::info!(path = %path.display(), %error, "no control socket: `journal quarantine` can change nothing while the agent runs");
                    said = true;
                }
                tokio::time::sleep(BIND_RETRY).await;
            }
        }
    }
}

fn is_owner(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == ours)
}

/// Does what a request asks for. `None`: it is nothing of ours.
pub(super) async fn change(request: Request<Incoming>, board: &Board) -> Option<(StatusCode, String)> {
    let requeue = match request.uri().path() {
        "/quarantine/requeue" => true,
        "/quarantine/drop" => false,
        _ => return None,
    };
    let Some(journal) = board.journal() else {
        return Some((StatusCode::SERVICE_UNAVAILABLE, "the journal is not open yet\n".to_owned()));
    };
    let Some(numbers) = numbers(request.into_body()).await else {
        return Some((StatusCode::BAD_REQUEST, "a list of numbers, or null\n".to_owned()));
    };
    let changed = tokio::task::spawn_blocking(move || act(&journal, requeue, numbers.as_deref())).await;
    Some(match changed.map_err(io::Error::other) {
        Ok(Ok(outcome)) => (StatusCode::OK, serde_json::to_string(&outcome).unwrap_or_default()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    })
}

fn act(journal: &Journal, requeue: bool, numbers: Option<&[u64]>) -> Result<Requeued, JournalError> {
    if requeue { journal.requeue(numbers) } else { journal.drop_quarantined(numbers) }
}

async fn numbers(body: Incoming) -> Option<Option<Vec<u64>>> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
