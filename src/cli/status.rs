//! `tidegate status`: what the running agent says of itself, or what the journal tells without it.

use crate::cli::output::{clear, complain, say, say_json, say_text};
use crate::cli::{ExitCode, agent_client, load};
use crate::config::Config;
use crate::journal::{View, ViewStats};
use crate::size;
use crate::status::history::span;
use crate::visible;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

/// Between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(2);

pub(super) fn status(file: &Path, json: bool, watch: bool) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if !watch {
        return look(&config, json);
    }
    loop {
        if io::stdout().is_terminal() {
            clear();
        }
        look(&config, false);
        say!("");
        std::thread::sleep(WATCH);
    }
}

fn look(config: &Config, json: bool) -> ExitCode {
    let error = match ask(config) {
        Ok(snapshot) if json => {
            say_json(&snapshot);
            return ExitCode::Done;
        }
        Ok(snapshot) => {
            say_text!("{}", table(&snapshot));
            return ExitCode::Done;
        }
        Err(error) => error,
    };
    complain!("no agent answers: {error}; is it running? look at: systemctl status tidegate");
    match View::open(&config.journal.path).and_then(|view| view.stats()) {
        Ok(facts) if json => say_json(&serde_json::json!({ "running": false, "journal": facts })),
        Ok(facts) => say_text!("{}", alone(&facts)),
        Err(error) => complain!("{error}"),
    }
    ExitCode::NotRunning
}

/// The running agent's snapshot.
pub(super) fn ask(config: &Config) -> io::Result<Value> {
    let (status, body) = agent_client::get(config, "/status.json")?;
    match serde_json::from_slice(&body) {
        Ok(snapshot) if status == 200 => Ok(snapshot),
        Ok(_) => Err(io::Error::other(format!("the answer is {status}"))),
        Err(error) if status == 200 => Err(io::Error::other(format!(
            "what answers is not a tidegate agent ({error}); is another program on status.listen?"
        ))),
        Err(_) => Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&body).trim()))),
    }
}

/// What the journal tells without an agent.
fn alone(facts: &ViewStats) -> String {
    let mut out =
        String::from("from the journal alone; what was accepted in its last second may still count as waiting\n");
    let _ = writeln!(
        out,
        "{:<10} {}, {}, generations {}, quarantine {}",
        "journal",
        facts.path.display(),
        size::text(facts.bytes),
        facts.generations,
        facts.quarantine
    );
    for lane in &facts.lanes {
        let _ = writeln!(
            out,
            "{:<10} {}: waiting {}, accepted {}, evicted {}, quarantined {}, damaged {}, appended {}",
            "queue",
            lane.name,
            lane.waiting,
            lane.accepted,
            lane.evicted,
            lane.quarantined,
            lane.damaged,
            lane.appended
        );
    }
    if facts.journal_id.is_none() && !facts.just_made {
        out.push_str("the state file is damaged: at the next start everything on disk counts as waiting\n");
    }
    out
}

/// How long the backlog will take, where something waits.
fn outlook(of: &Value) -> String {
    match (of["says"].as_str(), of["eta_s"].as_u64()) {
        (Some("draining"), Some(eta)) => format!(", drained in {}", span(eta)),
        (Some("growing"), _) => ", growing: arriving faster than sending".to_owned(),
        _ => String::new(),
    }
}

/// Whether the broker kept our session, and how often it did not.
fn session(intake: &Value) -> String {
    let word = match intake["session_kept"].as_bool() {
        Some(true) => "kept",
        Some(false) => "new",
        None => "-",
    };
    match intake["sessions_lost"].as_u64() {
        Some(lost @ 1..) => format!("{word} (lost {lost} times)"),
        _ => word.to_owned(),
    }
}

/// The snapshot for people. What is missing in it is shown as `-`: an older agent may answer a newer command.
fn table(snapshot: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => visible::line(text).into_owned(),
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
        "{:<10} {} {}, session {}, received {}, repeats {}, not yet durable {}",
        "broker",
        text(&intake["url"]),
        text(&intake["state"]),
        session(intake),
        text(&intake["received"]),
        text(&intake["repeats"]),
        text(&intake["unacked_messages"]),
    );
    for (index, route) in intake["routes"].as_array().into_iter().flatten().enumerate() {
        let last = route["last_message_s"].as_u64().map_or("none yet".to_owned(), |ago| format!("{} ago", span(ago)));
        let _ = writeln!(
            out,
            "{:<10} {} ({}): messages {}, with QoS 0 {}, last {last}",
            "route",
            index + 1,
            text(&route["profile"]),
            text(&route["messages"]),
            text(&route["qos0"]),
        );
    }
    let journal = &snapshot["journal"];
    let _ = writeln!(
        out,
        "{:<10} {}, {} of {}, generations {}, quarantine {}",
        "journal",
        text(&journal["path"]),
        size::text(journal["bytes"].as_u64().unwrap_or(0)),
        size::text(journal["max_bytes"].as_u64().unwrap_or(0)),
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
