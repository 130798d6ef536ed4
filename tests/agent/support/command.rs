//! Commands as processes, and requests to a status server.

use super::PROGRAM;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::Output;
use testkit::agent::AgentProcess;

/// Runs `tidegate WORDS --config …` about an agent, off the test's own threads; what it printed, and how it ended.
pub(crate) async fn tidegate(agent: &AgentProcess, words: &[&str]) -> (String, String, i32) {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.args(words).arg("--config").arg(agent.config_path());
    // Agents of other tests run beside it.
    command.env("TIDEGATE_RIG_AGENTS", agent.folder());
    said(command.output().await.unwrap())
}

/// What a process printed, and how it ended.
pub(crate) fn said(Output { stdout, stderr, status }: Output) -> (String, String, i32) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

/// A request, without its end: status line and headers in lower case, and the body.
pub(crate) fn ask(at: impl ToSocketAddrs, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "{request}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// A page of an agent's status server.
pub(crate) fn get(agent: &AgentProcess, path: &str) -> String {
    let (head, body) = ask(agent.status_addr(), &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1"));
    assert!(head.starts_with("http/1.1 200"), "{path}: {head}\n{body}");
    body
}
