//! The status server: small, read-only, on loopback.
//!
//! | route | answer |
//! |---|---|
//! | `GET /status.json` | the snapshot ([`super::StatusSnapshot`]) |
//! | `GET /livez` | 200 while the process turns |
//!
//! A connection gets ten seconds and at most 32 are open, so that nobody can use it to hold up the agent.

use super::Board;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS_MAX: usize = 32;
const CONNECTION_TIME: Duration = Duration::from_secs(10);
const BIND_RETRY: Duration = Duration::from_secs(10);

/// Serves the board until cancelled. An address that cannot be had is said once and tried again: the agent's work does
/// not hang on its status.
#[allow(clippy::disallowed_methods, reason = "one task per connection, ended with the server that agent.rs owns")]
pub async fn serve(listen: SocketAddr, board: Arc<Board>) -> Infallible {
    let listener = bind(listen).await;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                if connections.len() < CONNECTIONS_MAX {
                    let serve = serve_connection(stream, board.clone());
                    connections.spawn(async move { drop(tokio::time::timeout(CONNECTION_TIME, serve).await) });
                }
            }
            // Out of descriptors, most likely: leave what there is to the stages.
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
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
                tokio::time::sleep(BIND_RETRY).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, board: Arc<Board>) {
    let service = service_fn(|request: Request<Incoming>| answer(request, board.clone()));
    // A peer that breaks off is its own affair.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, board: Arc<Board>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/status.json") => {
            let snapshot = tokio::task::spawn_blocking(move || serde_json::to_vec(&board.snapshot())).await;
            match snapshot {
                Ok(Ok(json)) => (StatusCode::OK, "application/json", json),
                _ => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", b"no snapshot\n".to_vec()),
            }
        }
        (&Method::GET, "/livez") => (StatusCode::OK, "text/plain", b"live\n".to_vec()),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, "text/plain", b"not found\n".to_vec()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", b"read-only\n".to_vec()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
