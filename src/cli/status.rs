//! `tidegate status`: what the running agent says of itself.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a person asked for on the command line")]

use super::{ExitCode, load};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

const ANSWER_TIME: Duration = Duration::from_secs(10);
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

pub(super) fn status(config: &Path, json: bool) -> ExitCode {
    let config = match load(config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some(listen) = config.status.listen else {
        eprintln!("status.listen is switched off in the configuration; set it to ask the agent");
        return ExitCode::NotRunning;
    };
    let body = match ask(listen) {
        Ok(body) => body,
        Err(error) => {
            eprintln!("no agent answers at {listen}: {error}; is it running? look at: systemctl status tidegate");
            return ExitCode::NotRunning;
        }
    };
    match serde_json::from_slice::<Value>(&body) {
        Ok(_) if json => println!("{}", String::from_utf8_lossy(&body)),
        Ok(snapshot) => print!("{}", table(&snapshot)),
        Err(error) => {
            eprintln!(
                "what answers at {listen} is not a tidegate agent ({error}); is another program on status.listen?"
            );
            return ExitCode::Failed;
        }
    }
    ExitCode::Done
}

pub(super) fn ask(listen: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&listen, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    write!(stream, "GET /status.json HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| answer.split_off(at + 4));
    body.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is cut short"))
}

/// How long the backlog will take, where something waits.
fn outlook(of: &Value) -> String {
    match (of["says"].as_str(), of["eta_s"].as_u64()) {
        (Some("draining"), Some(eta)) => format!(", drained in {}", crate::status::history::span(eta)),
        (Some("growing"), _) => ", more comes than goes".to_owned(),
        _ => String::new(),
    }
}

/// The snapshot for people. What is missing in it is shown as `-`: an older agent may answer a newer command.
fn table(snapshot: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut out = String::new();
    let health = match snapshot["health"].as_str() {
        Some("fine") => "fine",
        Some("waiting") => "waiting: records are kept, nothing to do",
        Some("act") => "ACT: see below",
        _ => "-",
    };
    let _ = writeln!(out, "{:<10} {} (tidegate {})", "gateway", text(&snapshot["gateway"]), text(&snapshot["version"]));
    let _ = writeln!(out, "{:<10} {health}", "health");
    for remark in snapshot["remarks"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "{:<10} {}", "", text(remark));
    }
    let intake = &snapshot["intake"];
    let _ = writeln!(
        out,
        "{:<10} {} {}, received {}, repeats {}, not yet durable {}",
        "broker",
        text(&intake["url"]),
        text(&intake["state"]),
        text(&intake["received"]),
        text(&intake["repeats"]),
        text(&intake["unacked_messages"]),
    );
    let journal = &snapshot["journal"];
    let _ = writeln!(
        out,
        "{:<10} {}, {} of {} bytes, generations {}, quarantine {}",
        "journal",
        text(&journal["path"]),
        text(&journal["bytes"]),
        text(&journal["max_bytes"]),
        text(&journal["generations"]),
        text(&journal["quarantine"]["entries"]),
    );
    for queue in snapshot["queues"].as_array().into_iter().flatten() {
        let (lane, drain) = (&queue["lane"], &queue["drain"]);
        let _ = writeln!(
            out,
            "{:<10} {}: {}, waiting {}, lag {} s{}, accepted {}, evicted {}, quarantined {}, damaged {}, appended {}",
            "queue",
            text(&queue["name"]),
            text(&drain["state"]),
            text(&lane["waiting"]),
            text(&drain["lag_s"]),
            outlook(&queue["outlook"]),
            text(&lane["accepted"]),
            text(&lane["evicted"]),
            text(&lane["quarantined"]),
            text(&lane["damaged"]),
            text(&lane["appended"]),
        );
    }
    out
}
