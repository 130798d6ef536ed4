//! One small HTTP GET or POST over a fresh loopback connection: enough to ask a status server.

use crate::{Error, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for a whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A status code and a body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The whole body, unchunked.
    pub body: Bytes,
}

/// `GET path` from `addr`, on its own connection, within 5 s.
pub async fn get(addr: SocketAddr, path: &str) -> Result<Reply> {
    call(addr, "GET", path).await
}

/// `POST path` with an empty body to `addr`, on its own connection, within 5 s.
pub async fn post(addr: SocketAddr, path: &str) -> Result<Reply> {
    call(addr, "POST", path).await
}

async fn call(addr: SocketAddr, method: &str, path: &str) -> Result<Reply> {
    let what = format!("{method} http://{addr}{path}");
    match timeout(PATIENCE, exchange(addr, method, path, &what)).await {
        Ok(reply) => reply,
        Err(_) => Err(Error::Timeout { what, after: PATIENCE, detail: String::new() }),
    }
}

async fn exchange(addr: SocketAddr, method: &str, path: &str, what: &str) -> Result<Reply> {
    let stream = TcpStream::connect(addr).await.map_err(Error::io(what))?;
    let broken = |error: hyper::Error| Error::peer(what, error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", addr.to_string())
        .body(Full::<Bytes>::default())
        .map_err(|error| Error::peer(what, error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(broken)?.to_bytes();
        Ok(Reply { status, body })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        reply = &mut answer => reply,
        _ = &mut connection => answer.await,
    }
}
