//! The visitor of the page and the control socket in these tests: a prompt client, which has a right to a prompt answer.

use crate::support::{PROGRAM, config, stub};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use testkit::agent::AgentProcess;

/// So long may an answer take while others try to hold the server up.
pub(super) const PROMPT: Duration = Duration::from_secs(2);
/// A token.
pub(super) const TOKEN: &str = "the-first-token-of-this-page";
/// The file that holds it, in the agent's folder.
pub(super) const TOKEN_FILE: &str = "token";

/// What the page and the health checks have, with the status that an agent without a broker answers.
pub(super) const PATHS: [(&str, u16); 5] =
    [("/", 200), ("/status.json", 200), ("/metrics", 200), ("/livez", 200), ("/readyz", 503)];

/// An agent whose journal is open and whose broker is away; `token`: its page wants one.
pub(super) async fn agent(token: Option<&str>) -> AgentProcess {
    let mut config = config("127.0.0.1:1".parse().unwrap(), &stub());
    if token.is_some() {
        config.extra = format!("token_file = \"{TOKEN_FILE}\"\n");
    }
    let mut agent = AgentProcess::prepare(PROGRAM, config).unwrap();
    if let Some(token) = token {
        std::fs::write(agent.folder().join(TOKEN_FILE), token).unwrap();
    }
    agent.spawn().unwrap();
    agent.wait_ready(crate::support::LONG).await.unwrap();
    until(&agent, "the journal is open", |status| status["journal"].is_object()).await;
    agent
}

/// The answer to a request on a fresh connection, or why there was none in time.
pub(super) fn visit(at: SocketAddr, path: &str, more: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&at, PROMPT)?;
    stream.set_read_timeout(Some(PROMPT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\n\r\n");
    let begun = Instant::now();
    let answer = exchange(stream, &request)?;
    if begun.elapsed() > PROMPT {
        return Err(io::Error::other(format!("the answer took {:?}", begun.elapsed())));
    }
    Ok(answer)
}

/// Times that a visitor comes. Between its connecting and its request a busy machine may do other things, and a client
/// that has not said anything by then has no claim to a place: a monitor comes again.
const VISITS: usize = 3;

/// Everything that the page has, asked for; each must be answered in time and as it should.
pub(super) fn assert_open(at: SocketAddr, more: &str) {
    for (path, expected) in PATHS {
        let mut visits = (0..VISITS).map(|_| visit(at, path, more));
        let answer = visits.find(|answer| answer.is_ok()).unwrap_or_else(|| visit(at, path, more));
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.0, expected, "{path}: {}", answer.1);
    }
}

/// The header that gives a token.
pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The answer of the control socket.
pub(super) fn control(agent: &AgentProcess, path: &str) -> io::Result<(u16, String)> {
    let stream = UnixStream::connect(agent.journal_path().join("control"))?;
    stream.set_read_timeout(Some(PROMPT))?;
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n"))
}

/// Waits until the status, as the control socket has it, satisfies `done`.
pub(super) async fn until(agent: &AgentProcess, what: &str, done: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = control(agent, "/status.json").map(|(_, body)| body).unwrap_or_default();
        let status: Value = serde_json::from_str(&answer).unwrap_or_default();
        if done(&status) {
            return status;
        }
        assert!(begun.elapsed() < crate::support::LONG, "{what}: {status:#}\n{}", agent.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let no_http = || io::Error::other(format!("no answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_http)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(no_http)?;
    Ok((status, body.to_owned()))
}
