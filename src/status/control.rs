//! The control socket: how commands on this machine ask the running agent, `control` in the journal's folder.
//!
//! It answers what the status server answers; `GET /config.toml` with the configuration in effect; and
//! `GET /messages?filter=…&count=…&within=…` with the next messages that the agent receives on these filters (each
//! percent-encoded, several may be given), as soon as there are `count` of them or `within` seconds are over. And it does
//! what changes something: `POST /quarantine/requeue` and `POST /quarantine/drop`, each with a JSON list of ids (`"q17"`)
//! and records' numbers, or `null` for all of them; `POST /quarantine/add` with a list of numbers; `POST /acknowledge`, with who,
//! a note, and which codes. It serves only the agent's own user and root, by what the kernel says
//! of the peer, whatever the file's permissions are. Slow ones make room for others as on the page
//! ([`crate::status::places`]); a wait for messages does not, and at most eight wait at a time.

use crate::status::answers::Site;
use crate::status::connections::Connections;
use crate::status::door::Door;
use crate::status::places::Peer;
use crate::status::server::REFUSED_PAUSE;
use crate::status::{StatusHub, orders};
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// The socket's name in the journal's folder.
pub const SOCKET: &str = "control";
const BIND_RETRY: Duration = Duration::from_secs(60);
/// A connection lasts as long as the longest wait, and some. A client that hangs up ends it.
const CONTROL_TIME: Duration = Duration::from_secs(orders::WITHIN_MAX_S + 60);

/// Serves the socket in `folder` until cancelled. The journal is open, so no other process's socket is there; where none
/// can be made (a FAT file system, a full disk) commands that only look still work.
pub async fn serve(folder: PathBuf, board: Arc<StatusHub>) -> Infallible {
    let (path, listener) = bind(&folder.join(SOCKET)).await;
    let _gone = Removed(path);
    let site = Site::new(board, Door::Control);
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_owner(&stream) => {
                connections.take(stream, Peer::Here, &site, CONTROL_TIME).await;
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
        let removed = std::fs::remove_file(path);
        match UnixListener::bind(path) {
            Ok(listener) => return (path.to_owned(), listener),
            Err(error) => {
                let error = nearer(removed, error);
                if !said {
                    tracing::info!(path = %path.display(), %error, "no control socket: `acknowledge`, and what changes `journal quarantine`, cannot be done while the agent runs");
                    said = true;
                }
                tokio::time::sleep(BIND_RETRY).await;
            }
        }
    }
}

/// Why there is no socket: where an old one cannot be removed, that is the cause, and "address in use" its consequence.
fn nearer(removed: io::Result<()>, bound: io::Error) -> io::Error {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => error,
        _ => bound,
    }
}

fn is_owner(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_socket_that_stays_is_named_with_its_cause() {
        let error = |kind: io::ErrorKind| io::Error::from(kind);
        let in_use = || error(io::ErrorKind::AddrInUse);
        assert_eq!(
            nearer(Err(error(io::ErrorKind::ReadOnlyFilesystem)), in_use()).kind(),
            io::ErrorKind::ReadOnlyFilesystem
        );
        assert_eq!(nearer(Err(error(io::ErrorKind::NotFound)), in_use()).kind(), io::ErrorKind::AddrInUse);
        assert_eq!(nearer(Ok(()), in_use()).kind(), io::ErrorKind::AddrInUse);
    }
}
