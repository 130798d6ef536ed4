//! Asks the running agent: by its control socket, or where that is not to be had, by the status server.

use crate::config::Config;
use crate::status::control::SOCKET;
use crate::status::token::read_line;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const ANSWER_TIME: Duration = Duration::from_secs(10);
/// A change waits for the disk.
const CHANGE_TIME: Duration = Duration::from_secs(60);
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// An answer: its status, and its body.
pub(super) type Answer = (u16, Vec<u8>);

/// Looks at something, such as `/status.json`.
///
/// # Errors
/// No agent answers; the text says where it was asked.
pub(super) fn get(config: &Config, what: &str) -> io::Result<Answer> {
    let request =
        |host: &str, more: &str| format!("GET {what} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n");
    if let Ok(socket) = control(config, ANSWER_TIME) {
        return exchange(socket, request("control", "").as_bytes());
    }
    let Some(listen) = config.status.listen else {
        return Err(io::Error::other("no agent has the journal's control socket, and status.listen is switched off"));
    };
    let near = reachable(listen);
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{near}: {error}"));
    let stream = TcpStream::connect_timeout(&near, ANSWER_TIME).map_err(at)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    let token = match &config.status.token_file {
        Some(file) => format!("Authorization: Bearer {}\r\n", read_line(file).map_err(at)?),
        None => String::new(),
    };
    exchange(stream, request(&near.to_string(), &token).as_bytes()).map_err(at)
}

/// Has the agent change something. `None`: no agent runs on this journal.
///
/// # Errors
/// There is one, and it does not answer.
pub(super) fn change(config: &Config, what: &str, body: &str) -> io::Result<Option<Answer>> {
    let socket = match control(config, CHANGE_TIME) {
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

/// Whether an agent runs on this journal.
pub(super) fn is_running(config: &Config) -> bool {
    control(config, ANSWER_TIME).is_ok()
}

fn control(config: &Config, time: Duration) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(config.journal.path.join(SOCKET))?;
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
