//! A server that plays a script, byte for byte: what the real service never does on demand.
#![allow(clippy::disallowed_methods, reason = "a server of the tests, with tasks of its own")]

use rustls::ServerConfig;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Which connection it came on, from 0.
    pub(super) connection: usize,
    /// Request line and headers.
    pub(super) head: String,
    /// The body, when it is JSON.
    pub(super) body: Value,
}

impl Seen {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> &str {
        let of = |line: &'_ str| line.split_once(": ").filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|_| ());
        let line = self.head.lines().find(|line| of(line).is_some()).unwrap_or_default();
        line.split_once(": ").map_or("", |(_, value)| value)
    }
}

/// What the server does about a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// These bytes; the connection stays open.
    Bytes(String),
    /// These bytes, then the end of the connection.
    Last(String),
    /// Nothing, for ever.
    Stall,
}

impl Reply {
    /// An answer with `headers` (each ended by CRLF).
    pub(super) fn answer(status: u16, headers: &str, body: &str) -> Reply {
        Reply::Bytes(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
    }

    /// A refusal of SQS.
    pub(super) fn refusal(status: u16, code: &str, text: &str) -> Reply {
        let headers = format!("content-type: application/x-amz-json-1.0\r\nx-amzn-query-error: {code};Sender\r\n");
        let body = format!("{{\"__type\":\"com.amazonaws.sqs#Some\",\"message\":\"{text}\"}}");
        Reply::answer(status, &headers, &body)
    }
}

/// The server; ends with the value.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

impl Server {
    /// A server that answers request number `n` with `script(n, request)`.
    pub(super) async fn start(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, script) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(script) as Arc<Script>);
        let log = seen.clone();
        let task = tokio::spawn(async move {
            let count = AtomicUsize::new(0);
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (tls, log, script) = (tls.clone(), log.clone(), script.clone());
                let connection = count.fetch_add(1, Relaxed);
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, connection, &log, &*script).await,
                        Some(tls) => {
                            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                                serve(stream, connection, &log, &*script).await;
                            }
                        }
                    }
                });
            }
        });
        Server { port, seen, task }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    log: &Mutex<Vec<Seen>>,
    script: &Script,
) {
    while let Some((head, body)) = read_request(&mut stream).await {
        let seen = Seen { connection, head, body: serde_json::from_slice(&body).unwrap_or_default() };
        let number = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len() - 1
        };
        match script(number, &seen) {
            Reply::Stall => std::future::pending().await,
            Reply::Bytes(bytes) => {
                if stream.write_all(bytes.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Last(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

/// Head and body of the next request; `None` at the end of the connection.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        stream.read_buf(&mut bytes).await.ok().filter(|count| *count > 0)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length.unwrap_or(0) {
        stream.read_buf(&mut body).await.ok().filter(|count| *count > 0)?;
    }
    Some((head, body))
}

/// A proxy on loopback that opens tunnels to `to`, whatever was asked for, where `authorization` is as wanted; it answers
/// with 407 otherwise. Gives its port and the lines of the CONNECT requests.
pub(super) async fn proxy(
    to: u16,
    authorization: Option<&'static str>,
) -> (u16, Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = asked.clone();
    let task = tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let log = log.clone();
            tokio::spawn(async move {
                let Some((head, _)) = read_request(&mut stream).await else { return };
                log.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                if authorization.is_some_and(|wanted| !head.contains(wanted)) {
                    let _ = stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await;
                    return;
                }
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (port, asked, task)
}
