//! Target `status_requests`: any bytes on a connection of the status server, with or without a token, or of the control
//! socket get answers of HTTP, or its end.

use crate::locked;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use tidegate::clock::Clock;
use tidegate::internals::{Way, serve_connection};
use tidegate::mqtt::names::Names;
use tidegate::status::token::read_line;
use tidegate::status::{HubOptions, StatusHub};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that the server may take in without answering: what it would hold in memory for a head that never ends.
const UNANSWERED_MAX: usize = 64 * 1024;
/// How often an input comes at most, so that one short input is a head without end.
const REPEATS: usize = 4_096;
/// Longest body that comes by repeating an input.
const BODY_BYTES: usize = 512 * 1024;

/// The token of the door that wants one.
const TOKEN_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/status-token");
/// Bits of the first byte: beside the door, whether the bytes come again and again, and onto which place.
const REPEATED: u8 = 0x80;
const CONTROL: u8 = 0x40;
const TOKEN: u8 = 0x20;
const BRIEF: u8 = 0x10;

/// A byte that says how and by which door the bytes arrive, then the bytes.
///
/// The server never panics, ends with its peer, answers nothing but HTTP/1 with a body as long as announced, and takes
/// in a bounded number of bytes without an answer. Nothing that only the token opens is answered unless it was given.
pub(super) fn run(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    // The control socket takes in a body, of which it keeps 64 KiB at most, however long it is on the wire.
    let has_body = how & CONTROL != 0 && bytes.windows(4).any(|four| four == b"POST");
    let most = if has_body { BODY_BYTES / bytes.len().max(1) } else { REPEATS };
    let repeats = if how & REPEATED != 0 { most.clamp(1, REPEATS) } else { 1 };
    let piece = [usize::MAX, 1, 7, 1_000][usize::from(how & 3)];
    let (wire, written) = Wire::new(bytes, repeats, piece, if has_body { usize::MAX } else { UNANSWERED_MAX });
    let (way, closed) = match how & (CONTROL | TOKEN) {
        0 => (Way::Loopback, false),
        TOKEN => (Way::Token(TOKEN_FILE.into()), !gives_token(&bytes.repeat(repeats.min(3)))),
        _ => (Way::Control, false),
    };
    runtime(|runtime| runtime.block_on(serve_connection(wire, board(), way, how & BRIEF != 0)));
    let heads = bytes.windows(4).any(|four| four == b"HEAD");
    let opened = check_answers(&locked(&written), heads);
    assert!(!(opened && closed), "opened without the token");
}

/// Whether the token can be among the bytes, in plain text or as a password: coarse, so that no way in is left out.
fn gives_token(bytes: &[u8]) -> bool {
    let token = read_line(TOKEN_FILE.as_ref()).expect("the token of the tree");
    let plain = bytes.windows(token.len()).any(|window| window == token.as_bytes());
    // Whatever precedes it, one of three alignments has these digits of Base64.
    let digits = |before: &str| {
        use base64::Engine as _;
        let whole = base64::engine::general_purpose::STANDARD.encode(format!("{before}{token}"));
        whole[4..whole.len() - 4].to_owned()
    };
    let coded = ["", "-", "--"].map(digits);
    plain || coded.iter().any(|digits| bytes.windows(digits.len()).any(|window| window == digits.as_bytes()))
}

fn runtime<R>(run: impl FnOnce(&tokio::runtime::Runtime) -> R) -> R {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    }
    RUNTIME.with(run)
}

fn board() -> Arc<StatusHub> {
    static BOARD: OnceLock<Arc<StatusHub>> = OnceLock::new();
    let make = || {
        let names = Names { gateway_id: "roof".into(), site: "roof".into(), client_id: "tidegate-roof".into() };
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo";
        let options = HubOptions {
            names,
            config: "[gateway]\nid = \"roof\"\n".into(),
            queues: vec![("main".into(), url.into())],
            journal: "/var/lib/tidegate".into(),
        };
        Arc::new(StatusHub::new(options, &Clock::new(None), Default::default()))
    };
    BOARD.get_or_init(make).clone()
}

/// A peer that sends what it has and hangs up.
struct Wire {
    bytes: Vec<u8>,
    repeats: usize,
    piece: usize,
    at: usize,
    unanswered: usize,
    unanswered_max: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    fn new(bytes: &[u8], repeats: usize, piece: usize, unanswered_max: usize) -> (Wire, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::default();
        let (bytes, kept) = (bytes.to_vec(), Arc::clone(&written));
        (Wire { bytes, repeats, piece, at: 0, unanswered: 0, unanswered_max, written: kept }, written)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.bytes.len() && self.repeats > 1 {
            (self.at, self.repeats) = (0, self.repeats - 1);
        }
        let count = into.remaining().min(self.piece).min(self.bytes.len() - self.at);
        into.put_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        self.unanswered += count;
        assert!(self.unanswered <= self.unanswered_max, "{} bytes were taken in without an answer", self.unanswered);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unanswered = 0;
        locked(&self.written).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One answer after the other, each of a status that the server has, with a body as long as it says. `heads`: a HEAD may
/// have been among the requests. Whether any of them was let in.
fn check_answers(mut rest: &[u8], heads: bool) -> bool {
    let mut opened = false;
    while !rest.is_empty() {
        let shown = || String::from_utf8_lossy(rest).into_owned();
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("{}", shown()));
        let head = std::str::from_utf8(&rest[..end]).unwrap_or_else(|_| panic!("{}", shown()));
        let mut lines = head.split("\r\n");
        let (version, status) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or_else(|| panic!("{head}"));
        assert!(["HTTP/1.1", "HTTP/1.0"].contains(&version), "{head}");
        let known = ["200", "400", "401", "404", "405", "414", "421", "431", "503", "505"];
        assert!(status.get(..3).is_some_and(|status| known.contains(&status)), "{head}");
        // The server answers what is not a request before it asks for a token.
        opened |= ["200", "404", "405", "503"].contains(&&status[..3]);
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().expect("a length"))
        };
        let length = lines.find_map(header).unwrap_or(0);
        rest = &rest[end + 4..];
        // The answer to a HEAD announces the body that it does not have.
        if rest.is_empty() || rest.starts_with(b"HTTP/1.") {
            assert!(length == 0 || heads, "{head}");
            continue;
        }
        rest = rest.get(length..).unwrap_or_else(|| panic!("a body is cut off: {}", shown()));
    }
    opened
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let plain: [(u8, &[u8]); 31] = [
        (0, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /page.css HTTP/1.1\r\nHost: [::1]:8377\r\n\r\n"),
        (2, b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:8377\r\n\r\n"),
        (0, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (0, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (0, b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1:8377\r\n\r\n"),
        (1, b"GET /livez HTTP/1.0\r\n\r\n"),
        (2, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /x?y=%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        (0, b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (3, b"POST /status.json HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"),
        (0, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n"),
        (0, b"OPTIONS * HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
        (0, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        (0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (0, b"GET http://a/livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (REPEATED, b"GET /livez HTTP/1.1\r\nX-0123456789: 0123456789\r\n"),
        (REPEATED, b"x"),
        (TOKEN, b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a token for fuzzers alone\r\n\r\nGET /livez HTTP/1.1\r\n\r\n"),
        (TOKEN | 1, b"GET /livez HTTP/1.1\r\nAuthorization: Basic eDphIHRva2VuIGZvciBmdXp6ZXJzIGFsb25l\r\n\r\n"),
        (TOKEN, b"GET /livez HTTP/1.1\r\nAuthorization: Basic eHg6YSB0b2tlbiBmb3IgZnV6emVycyBhbG9uZQ==\r\n\r\n"),
        (TOKEN, b"GET /metrics HTTP/1.1\r\nAuthorization: Basic eDph\r\nAuthorization: bearer another one\r\n\r\n"),
        (TOKEN | BRIEF, b"GET / HTTP/1.1\r\nAuthorization: Bearer a token for fuzzers alone\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        (BRIEF, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (CONTROL, b"GET /config.toml HTTP/1.1\r\n\r\nGET /status.json HTTP/1.1\r\n\r\n"),
        (CONTROL, b"GET /messages?filter=application/%23&filter=a%2B/+&count=5&within=60 HTTP/1.1\r\n\r\n"),
        (CONTROL, b"GET /messages?filter=%C3%BC&count=1001&within=3601 HTTP/1.1\r\n\r\n"),
        (CONTROL, b"POST /quarantine/requeue HTTP/1.1\r\nContent-Length: 7\r\n\r\n[1,2,3]"),
        (CONTROL, b"POST /quarantine/requeue HTTP/1.1\r\nContent-Length: 10\r\n\r\n[\"q1\",2,3]"),
        (CONTROL | 1, b"POST /quarantine/drop HTTP/1.1\r\nContent-Length: 4\r\n\r\nnullGET /livez HTTP/1.1\r\n\r\n"),
        (CONTROL, b"POST /quarantine/drop HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[18\r\n2\r\n4]\r\n0\r\n\r\n"),
        (CONTROL, b"POST /quarantine/drop HTTP/1.1\r\nContent-Length: 99\r\n\r\n[-1, 18446744073709551616, {}]"),
        (CONTROL | BRIEF, b"POST /quarantine/requeue HTTP/1.1\r\nContent-Length: 4\r\n\r\nnull"),
    ];
    plain.iter().map(|(how, bytes)| [&[*how], *bytes].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(answer: &str) -> bool {
        std::panic::catch_unwind(|| check_answers(answer.as_bytes(), false)).is_ok()
    }

    #[test]
    fn what_is_no_answer_is_seen() {
        let live = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlive\n";
        assert!(passes(live) && passes(&live.repeat(2)) && passes(""));
        for wrong in ["<html>", &live[..live.len() - 1], &live.replace("200", "302"), &format!("{live}x")] {
            assert!(!passes(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_fuzz_checks_recognise_admitted_requests_and_given_tokens() {
        let of =
            |status: &str| check_answers(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes(), false);
        assert!(of("200 OK") && of("404 Not Found") && !of("401 Unauthorized") && !of("400 Bad Request"));
        for seed in seeds().iter().filter(|seed| seed[0] & TOKEN != 0) {
            let right =
                seed.windows(7).any(|seven| [&b"fuzzers"[..], b"IGZvciB", b"BmdXp6Z", b"mb3IgZn"].contains(&seven));
            assert_eq!(gives_token(&seed[1..]), right, "{}", String::from_utf8_lossy(seed));
        }
    }
}
