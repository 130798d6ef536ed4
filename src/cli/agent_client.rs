//! Asks the running agent: by its control socket, or where that is not to be had, by the status server.

use crate::config::{Config, Whereabouts};
use crate::mqtt::Heard;
use crate::record::Message;
use crate::status::control::SOCKET;
use crate::status::token::read_line;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A change waits for the disk.
const CHANGE_TIME: Duration = Duration::from_secs(60);
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// What there is of an agent on a journal.
#[derive(Debug)]
pub(super) enum Agent {
    /// No agent answers.
    None,
    /// It runs, and this is its status.
    Runs(Box<Value>),
    /// Something runs and does not say how it goes: why.
    Mute(String),
}

/// Asks for the agent on this configuration's journal.
pub(super) fn agent(config: &Config) -> Agent {
    let here = control(&config.into(), ANSWER_TIME).map(drop);
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match (here, get(config, "/status.json")) {
        (here, Ok((200, body))) => match serde_json::from_slice::<Value>(&body) {
            Ok(status) if here.is_ok() || is_of(&status, config) => Agent::Runs(Box::new(status)),
            Err(error) if here.is_ok() => Agent::Mute(error.to_string()),
            // Another program at our address, or another journal's agent.
            _ => Agent::None,
        },
        (Ok(()), Ok((status, _))) => Agent::Mute(format!("the answer is {status}")),
        (Ok(()), Err(error)) => Agent::Mute(error.to_string()),
        (Err(_), Ok((401, _))) => Agent::Mute("it wants the token of status.token_file; run it with sudo".to_owned()),
        (Err(error), _) | (_, Err(error)) if denied(&error) => Agent::Mute(format!("{error}; run it with sudo")),
        // Busy, or closed because its token's file is bad.
        (Err(_), Ok((503, said))) => Agent::Mute(format!("it answers {}", String::from_utf8_lossy(&said).trim())),
        (Err(_), _) => Agent::None,
    }
}

/// The status of the agent that answers there, whatever its journal is; `None`: no agent answers.
pub(super) fn status_at(at: &Whereabouts) -> Option<Value> {
    match get_at(at, "/status.json") {
        Ok((200, body)) => serde_json::from_slice(&body).ok().filter(|status: &Value| status["gateway"].is_string()),
        _ => None,
    }
}

/// The path without links, where it leads somewhere.
pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether the status is that of the agent on this configuration's journal; one that has not opened it yet may be.
fn is_of(status: &Value, config: &Config) -> bool {
    match status["journal"]["path"].as_str() {
        Some(path) => real(Path::new(path)) == real(&config.journal.path),
        None => status["gateway"].is_string(),
    }
}

/// The next messages that the running agent receives on `filters`: at most `count`, and what came when the time is over.
///
/// # Errors
/// The agent does not answer, or does not know the question.
pub(super) fn messages(
    config: &Config,
    filters: &[String],
    count: usize,
    within: Duration,
) -> Result<Vec<Message>, String> {
    let stop = "or stop it, and ask again: systemctl stop tidegate";
    let socket = control(&config.into(), within + ANSWER_TIME)
        .map_err(|error| format!("the running agent's control socket: {error}; run it with sudo, {stop}"))?;
    let query = messages_query(filters, count, within);
    let request = format!("GET /messages?{query} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n");
    match exchange(socket, request.as_bytes()) {
        Ok((200, body)) => {
            let heard: Vec<Heard> = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            Ok(heard.into_iter().filter_map(Heard::message).collect())
        }
        Ok((404, _)) => {
            Err("the running agent is of an older release: systemctl restart tidegate, then ask again".to_owned())
        }
        Ok((status, body)) => Err(format!("the agent answers {status}: {}", String::from_utf8_lossy(&body).trim())),
        Err(error) => Err(format!("the agent was asked, and did not answer to the end ({error}); ask again")),
    }
}

/// The question for messages, as the control socket reads it.
pub(crate) fn messages_query(filters: &[String], count: usize, within: Duration) -> String {
    let filters: String = filters.iter().map(|filter| format!("filter={}&", encoded(filter))).collect();
    format!("{filters}count={count}&within={}", within.as_secs())
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An answer: its status, and its body.
pub(super) type Answer = (u16, Vec<u8>);

/// Looks at something, such as `/status.json`.
///
/// # Errors
/// No agent answers; the text says where the command looked for it.
pub(super) fn get(config: &Config, what: &str) -> io::Result<Answer> {
    get_at(&config.into(), what)
}

/// [`get`], where the configuration is not known as a whole.
///
/// # Errors
/// As [`get`].
pub(super) fn get_at(at: &Whereabouts, what: &str) -> io::Result<Answer> {
    let request =
        |host: &str, more: &str| format!("GET {what} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
    if let Ok(socket) = control(at, ANSWER_TIME) {
        return exchange(socket, request("control", "").as_bytes());
    }
    let Some(listen) = at.listen else {
        return Err(io::Error::other("no agent has the journal's control socket, and status.listen is switched off"));
    };
    let near = reachable(listen);
    let there = |error: io::Error| io::Error::new(error.kind(), format!("{near}: {error}"));
    let stream = TcpStream::connect_timeout(&near, ANSWER_TIME).map_err(there)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    let token = match &at.token_file {
        Some(file) => format!("Authorization: Bearer {}\r\n", read_line(file).map_err(there)?),
        None => String::new(),
    };
    exchange(stream, request(&near.to_string(), &token).as_bytes()).map_err(there)
}

/// Has the agent change something. `None`: no agent runs on this journal.
///
/// # Errors
/// There is one, and it does not answer.
pub(super) fn change(config: &Config, what: &str, body: &str) -> io::Result<Option<Answer>> {
    change_at(&config.into(), what, body)
}

/// [`change`], where the configuration is not known as a whole.
///
/// # Errors
/// As [`change`].
pub(super) fn change_at(at: &Whereabouts, what: &str, body: &str) -> io::Result<Option<Answer>> {
    let socket = match control(at, CHANGE_TIME) {
        Ok(socket) => socket,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let head =
        format!("POST {what} HTTP/1.1\r\nHost: control\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    exchange(socket, format!("{head}{body}").as_bytes()).map(Some)
}

fn control(at: &Whereabouts, time: Duration) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(at.journal.join(SOCKET))?;
    socket.set_read_timeout(Some(time))?;
    Ok(socket)
}

/// Where this machine reaches what listens on every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        ip if !ip.is_unspecified() => listen,
        ip if ip.is_ipv4() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        _ => (Ipv6Addr::LOCALHOST, listen.port()).into(),
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Answer> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let at =
        answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| invalid("the answer is cut short"))?;
    let body = answer.split_off(at + 4);
    let head = String::from_utf8_lossy(&answer);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    Ok((status.ok_or_else(|| invalid("the answer is no HTTP"))?, body))
}
