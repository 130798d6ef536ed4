//! The requests of a connection, and what they are answered with: by the door that they came through, off the runtime's threads where
//! the disk is looked at.

use crate::status::door::{Door, UNAUTHORIZED, Verdict};
use crate::status::seat::Seat;
use crate::status::{StatusHub, orders};
use crate::visible;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// For the head of a request, from the connection or the previous answer on.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(3);
/// Largest head of a request; hyper would hold 400 KiB for each connection.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause before the answer to a wrong token: an address has few places, and so few tries.
pub(super) const WRONG_TOKEN: Duration = Duration::from_secs(1);
/// Looks at the disk at a time, and how long one may take: a disk that hangs must not take the runtime's threads one by
/// one.
pub(super) const LOOKS_MAX: usize = 4;
const LOOK_TIME: Duration = Duration::from_secs(8);

/// What the connections of a server have in common.
#[derive(Clone)]
pub(crate) struct Site {
    board: Arc<StatusHub>,
    door: Door,
    pub(super) looks: Arc<Semaphore>,
    /// Before a wrong token is answered.
    pub(crate) pause: Duration,
}

/// Status, kind and body of an answer.
type Answer = (StatusCode, &'static str, String);

impl Site {
    /// Serves `board` to clients that come in by `door`.
    pub(crate) fn new(board: Arc<StatusHub>, door: Door) -> Site {
        Site { board, door, looks: Arc::new(Semaphore::new(LOOKS_MAX)), pause: WRONG_TOKEN }
    }

    /// Waits until the server can take one more connection.
    pub(super) async fn ready(&self) {
        self.door.ready().await;
    }

    /// Something that looks at the disk, made off the runtime's threads.
    async fn look(&self, make: impl FnOnce(&StatusHub) -> Option<Answer> + Send + 'static) -> Answer {
        let looked = async {
            let permit = self.looks.clone().acquire_owned().await.ok()?;
            let board = self.board.clone();
            let made = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                make(&board)
            });
            made.await.ok().flatten()
        };
        match timeout(LOOK_TIME, looked).await {
            Ok(answer) => answer.unwrap_or_else(|| (StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no snapshot\n".into())),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "the disk takes too long\n".into()),
        }
    }
}

/// Answers on one connection until its peer has gone.
pub(crate) async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, site: Site, seat: Arc<Seat>) {
    let service = service_fn(|request: Request<Incoming>| answer(request, site.clone(), seat.clone()));
    // An error of the peer or its connection needs no report.
    let _ = hyper::server::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, site: Site, seat: Arc<Seat>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answering = seat.answer();
    let (status, kind, body) = match site.door.judge(&request).await {
        Verdict::In if seat.is_brief() && !site.door.is_brief(&request) => {
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, "busy, ask again\n".into())
        }
        Verdict::In => asked(request, &site).await,
        Verdict::Out(status, text) => (status, TEXT, text.into()),
        Verdict::WrongToken => {
            drop(answering);
            seat.pause(site.pause).await;
            (StatusCode::UNAUTHORIZED, TEXT, UNAUTHORIZED.into())
        }
    };
    let mut response = response(status, kind, body);
    if seat.is_brief() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// The answer to a request that may come in.
async fn asked(request: Request<Incoming>, site: &Site) -> Answer {
    let control = matches!(site.door, Door::Control);
    let text = |status: StatusCode, text: &str| (status, TEXT, text.to_owned());
    match (request.method(), request.uri().path()) {
        (&Method::POST, _) if control => match orders::change(request, &site.board).await {
            Some((status, body)) => (status, TEXT, body),
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        },
        (method, _) if !matches!(*method, Method::GET | Method::HEAD) => {
            text(StatusCode::METHOD_NOT_ALLOWED, "read-only\n")
        }
        (_, "/") => site.look(|board| Some((StatusCode::OK, HTML, board.page()))).await,
        (_, "/page.css") => (StatusCode::OK, "text/css; charset=utf-8", crate::status::page::STYLE.into()),
        (_, "/page.js") => (StatusCode::OK, "text/javascript; charset=utf-8", crate::status::page::SCRIPT.into()),
        (_, "/status.json") => site.look(|board| Some((StatusCode::OK, "application/json", board.json()?))).await,
        (_, "/metrics") => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            site.look(move |board| Some((StatusCode::OK, kind, board.metrics()))).await
        }
        (_, "/config.toml") if control => (StatusCode::OK, TEXT, site.board.config()),
        (_, "/messages") if control => {
            let (status, body) = orders::messages(request.uri().query().unwrap_or_default(), &site.board).await;
            (status, TEXT, body)
        }
        (_, "/livez") => text(StatusCode::OK, "live\n"),
        (_, "/readyz") => site.look(|board| Some(ready(board))).await,
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
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
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// On every answer: browsers keep nothing, load nothing from elsewhere, put it into no frame and guess at no types.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Ready: the journal is open and writes, and the broker hands over messages. A queue that is away makes nothing unready.
fn ready(board: &StatusHub) -> Answer {
    let snapshot = board.snapshot();
    let said: Vec<String> =
        snapshot.findings.iter().map(|finding| format!("{}: {}", finding.code.word(), finding.line())).collect();
    match snapshot.takes_messages() {
        true => (StatusCode::OK, TEXT, "ready\n".into()),
        false => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {}\n", visible::line(&said.join("; ")))),
    }
}
