//! The running agent's snapshot as lines for people.

use crate::size;
use crate::status::findings::readings::Readings;
use crate::status::history::span;
use crate::visible;
use serde_json::Value;
use std::fmt::Write as _;

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
pub(super) fn table(snapshot: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => visible::line(text).into_owned(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut out = String::new();
    let health = match snapshot["health"].as_str() {
        Some("fine") => "fine",
        Some("waiting") => "waiting: it goes on by itself, nothing to do",
        Some("act") => "ACT: see below",
        _ => "-",
    };
    let _ = writeln!(out, "{:<10} {} (tidegate {})", "gateway", text(&snapshot["gateway"]), text(&snapshot["version"]));
    let _ = writeln!(out, "{:<10} {health}", "health");
    if let Ok(readings) = serde_json::from_value::<Readings>(snapshot["readings"].clone()) {
        let _ = writeln!(out, "{:<10} {}", "readings", readings.sentence());
    }
    findings(&mut out, snapshot);
    if let Some(last) = snapshot["acknowledged"].as_object() {
        let (who, at) = (text(&last["who"]), text(&last["at"]));
        let _ = writeln!(out, "{:<10} losses until {at}, by {who}", "seen");
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
        "{:<10} {}, {} of {}{}, generations {}, quarantine {}",
        "journal",
        text(&journal["path"]),
        size::text(journal["bytes"].as_u64().unwrap_or(0)),
        size::text(journal["max_bytes"].as_u64().unwrap_or(0)),
        if refuses(journal) {
            ", its disk takes nothing now".to_owned()
        } else {
            journal["holds_on_s"].as_u64().map_or_else(String::new, |left| format!(", holds on for {}", span(left)))
        },
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
    out.push_str(&uplink(&snapshot["uplink"]));
    out
}

/// Whether the journal's disk takes nothing, as its agent says.
pub(in crate::cli) fn refuses(journal: &Value) -> bool {
    journal["read_only"] == true || journal["writer"]["state"] == "failing"
}

/// What the uplink has carried, both ways; nothing where the agent does not tell.
fn uplink(uplink: &Value) -> String {
    let carried = |of: &str| {
        let [sent, received] = ["sent", "received"].map(|way| uplink[of][way].as_u64());
        Some(format!("{} sent and {} received", size::text(sent?), size::text(received?)))
    };
    match (carried("today"), carried("month"), carried("since_start")) {
        (Some(today), Some(month), _) => format!("{:<10} {today} today, {month} this month (UTC)\n", "uplink"),
        (_, _, Some(since)) => format!("{:<10} {since} since the start\n", "uplink"),
        _ => String::new(),
    }
}

/// What a person should know: what is so, what it costs, and what to do.
fn findings(out: &mut String, snapshot: &Value) {
    let text = |value: &Value| visible::line(value.as_str().unwrap_or_default()).into_owned();
    let Some(findings) = snapshot["findings"].as_array() else {
        // An older agent.
        for remark in snapshot["remarks"].as_array().into_iter().flatten() {
            let _ = writeln!(out, "{:<10} {}", "", text(remark));
        }
        return;
    };
    for finding in findings {
        let word = if finding["severity"] == "act" { "  ACT" } else { "  waiting" };
        let since = finding["since_s"].as_u64().map_or_else(String::new, |since| format!(" (for {})", span(since)));
        let _ = writeln!(out, "{word:<10} {}{since}", text(&finding["what"]));
        let _ = writeln!(out, "{:<10} {}", "", text(&finding["cost"]));
        let todo: Vec<String> = [&finding["remedy"], &finding["command"]].map(text).into();
        let todo: Vec<String> = todo.into_iter().filter(|part| !part.is_empty()).collect();
        if !todo.is_empty() {
            let _ = writeln!(out, "{:<10} → {}", "", todo.join(": "));
        }
    }
}
