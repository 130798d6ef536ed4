//! The status server: small, read-only, on loopback.
//!
//! | route | answer |
//! |---|---|
//! | `GET /status.json` | the snapshot ([`super::StatusSnapshot`]) |
//! | `GET /livez` | 200 while the process turns |
//!
//! A connection gets ten seconds and 16 KiB for a request's head, and at most 32 are open, so that nobody can use it to hold up the agent.

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

const CONNECTIONS_MAX: usize = 32;
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request; hyper would hold 400 KiB for each connection.
const HEAD_BYTES_MAX: usize = 16 * 1024;
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

/// Answers on one connection until its peer has gone.
pub(crate) async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, board: Arc<Board>) {
    let service = service_fn(|request: Request<Incoming>| answer(request, board.clone()));
    // A peer that breaks off is its own affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_head_without_end_is_refused_before_it_takes_memory() {
        let text = "[queues.main]\nurl = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n\
                    credentials_file = \"key.csv\"\n[[routes]]\nprofile = \"chirpstack-v4\"\nqueue = \"main\"\n";
        let config = Config::parse(text, "tidegate.toml".as_ref(), &Default::default()).expect("a configuration");
        let board = Arc::new(Board::new(&config, &Clock::new(None)));
        // A pipe of one byte: what the peer could write is what the server took.
        let (peer, wire) = tokio::io::duplex(1);
        let (mut answers, mut requests) = tokio::io::split(peer);
        let sending = async move {
            let mut taken = 0;
            requests.write_all(b"GET /livez HTTP/1.1\r\n").await.expect("the request's line");
            while taken < 4 * HEAD_BYTES_MAX && requests.write_all(b"x: y\r\n").await.is_ok() {
                taken += 6;
            }
            let _ = requests.shutdown().await;
            taken
        };
        let mut answer = String::new();
        let ((), taken, _) = tokio::join!(serve_connection(wire, board), sending, answers.read_to_string(&mut answer));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(taken <= HEAD_BYTES_MAX + 4096, "{taken} bytes were taken in");
    }
}
