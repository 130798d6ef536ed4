//! The status server: small, read-only, on loopback, or with a token on any network.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | the page ([`super::page`]), `GET /page.css` its style |
//! | `GET /status.json` | the snapshot ([`super::StatusSnapshot`]) |
//! | `GET /metrics` | the same for Prometheus ([`crate::telemetry::metrics`]) |
//! | `GET /livez` | 200 while the process turns |
//! | `GET /readyz` | 200 while messages are taken, else 503 and why |
//!
//! On loopback a request must name this machine; elsewhere each one must carry the token ([`super::token`]).
//! A connection gets ten seconds and 16 KiB for a request's head, and at most 32 are open, so that nobody can use it to hold up the agent.

use super::token::Token;
use super::{Board, control};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const CONNECTIONS_MAX: usize = 32;
pub(super) const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request; hyper would hold 400 KiB for each connection.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const BIND_RETRY: Duration = Duration::from_secs(10);
/// After a connection that the system refuses, out of descriptors most likely: leave what there is to the stages.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Before a wrong token is answered: with so many connections at a time, few can be tried.
const WRONG_TOKEN: Duration = Duration::from_secs(1);

/// Where a request comes in, and so what it must show and may do.
#[derive(Clone, Debug)]
pub enum Door {
    /// A loopback address: whoever is on this machine.
    Loopback,
    /// Any address: who has the token.
    Token(Token),
    /// The control socket: root and the agent's user, who may also change something.
    Control,
}

/// Serves the board until cancelled. An address that cannot be had is said once and tried again: the agent's work does
/// not hang on its status.
pub async fn serve(listen: SocketAddr, token_file: Option<PathBuf>, board: Arc<Board>) -> Infallible {
    let door = door(token_file.as_deref(), &board).await;
    let listener = bind(listen).await;
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.take(stream, &board, &door, CONNECTION_TIME),
            Err(_) => tokio::time::sleep(REFUSED_PAUSE).await,
        }
    }
}

/// The connections that a server has open, ended with it.
#[derive(Default)]
pub(super) struct Connections(JoinSet<()>);

impl Connections {
    /// Serves one more, for so long at most; hangs up when there are too many.
    #[allow(clippy::disallowed_methods, reason = "one task per connection, ended with the server that agent.rs owns")]
    pub(super) fn take(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        board: &Arc<Board>,
        door: &Door,
        time: Duration,
    ) {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < CONNECTIONS_MAX {
            let serve = serve_connection(stream, board.clone(), door.clone());
            self.0.spawn(async move { drop(tokio::time::timeout(time, serve).await) });
        }
    }
}

/// The door that the configuration asks for: never an open one because a token cannot be read.
async fn door(token_file: Option<&Path>, board: &Board) -> Door {
    let Some(file) = token_file else { return Door::Loopback };
    loop {
        match Token::read(file) {
            Ok(token) => {
                board.page_closed(None);
                return Door::Token(token);
            }
            Err(error) => {
                let why = format!("the status page stays closed: status.token_file {}: {error}", file.display());
                if board.page_closed(Some(why.clone())) {
                    tracing::error!("{why}");
                }
                tokio::time::sleep(BIND_RETRY).await;
            }
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
pub(crate) async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, board: Arc<Board>, door: Door) {
    let service = service_fn(|request: Request<Incoming>| answer(request, board.clone(), door.clone()));
    // A peer that breaks off is its own affair.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    board: Arc<Board>,
    door: Door,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let refused = refusal(&request, &door).await;
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = match request.uri().path() {
        _ if refused.is_some() => refused.unwrap_or_default(),
        _ if !get => match (door, request.method() == Method::POST) {
            (Door::Control, true) => match control::change(request, &board).await {
                Some((status, body)) => (status, TEXT, body),
                None => (StatusCode::NOT_FOUND, TEXT, "not found\n".into()),
            },
            _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "read-only\n".into()),
        },
        "/" => made(board, HTML, |board| Some(board.page())).await,
        "/page.css" => (StatusCode::OK, "text/css; charset=utf-8", super::page::STYLE.into()),
        "/status.json" => made(board, "application/json", |board| board.json()).await,
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            made(board, kind, |board| Some(crate::telemetry::metrics::render(&board.snapshot()))).await
        }
        "/config.toml" if matches!(door, Door::Control) => (StatusCode::OK, TEXT, board.config()),
        "/messages" if matches!(door, Door::Control) => {
            let (status, body) = control::messages(request.uri().query().unwrap_or_default(), &board).await;
            (status, TEXT, body)
        }
        "/livez" => (StatusCode::OK, TEXT, "live\n".into()),
        "/readyz" => ready(board).await,
        _ => (StatusCode::NOT_FOUND, TEXT, "not found\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tidegate\", charset=\"UTF-8\""));
    }
    Ok(response)
}

/// What is answered to a request that may not come in by this door.
async fn refusal(request: &Request<Incoming>, door: &Door) -> Option<(StatusCode, &'static str, String)> {
    match door {
        Door::Loopback if !asks_for_us(request) => {
            Some((StatusCode::MISDIRECTED_REQUEST, TEXT, "ask for the address itself\n".into()))
        }
        Door::Token(token) if !token.is_given(request.headers().get(header::AUTHORIZATION)) => {
            // The first request of every browser carries none, and is no guess.
            if request.headers().contains_key(header::AUTHORIZATION) {
                tokio::time::sleep(WRONG_TOKEN).await;
            }
            Some((StatusCode::UNAUTHORIZED, TEXT, "the token of status.token_file, as the password\n".into()))
        }
        _ => None,
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// On every answer: nothing is kept, nothing comes from elsewhere, nobody frames it or guesses at types.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Whether the request names this machine as browsers write it: a page of somebody else's whose name was made to point
/// here would name itself. A request without a name comes from no browser.
fn asks_for_us(request: &Request<Incoming>) -> bool {
    let Some(host) = request.headers().get(header::HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<http::uri::Authority>().ok()) else {
        return false;
    };
    crate::sqs::url::is_loopback_host(authority.host())
}

/// Something that looks at the disk, made off the runtime's threads.
async fn made(
    board: Arc<Board>,
    kind: &'static str,
    make: impl FnOnce(&Board) -> Option<String> + Send + 'static,
) -> (StatusCode, &'static str, String) {
    match tokio::task::spawn_blocking(move || make(&board)).await {
        Ok(Some(body)) => (StatusCode::OK, kind, body),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no snapshot\n".into()),
    }
}

/// Ready: the journal is open and the broker hands over messages. A queue that is away makes nothing unready.
async fn ready(board: Arc<Board>) -> (StatusCode, &'static str, String) {
    let Ok(snapshot) = tokio::task::spawn_blocking(move || board.snapshot()).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no snapshot\n".into());
    };
    let online = snapshot.intake.is_some_and(|intake| matches!(intake.state, crate::mqtt::IntakeState::Online));
    match snapshot.journal.is_some() && online {
        true => (StatusCode::OK, TEXT, "ready\n".into()),
        false => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {}\n", snapshot.remarks.join("; "))),
    }
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
        let board = Arc::new(Board::new(&config, &Clock::new(None), Default::default()));
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
        let ((), taken, _) =
            tokio::join!(serve_connection(wire, board, Door::Loopback), sending, answers.read_to_string(&mut answer));
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(taken <= HEAD_BYTES_MAX + 4096, "{taken} bytes were taken in");
    }
}
