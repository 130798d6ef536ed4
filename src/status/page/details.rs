//! What one looks up: the facts behind the glance, folded away.

use crate::mqtt::LastMessage;
use crate::size;
use crate::status::history::span;
use crate::status::page::escaped;
use crate::status::{JournalStatus, QueueStatus, StatusSnapshot};
use std::fmt::Write;

fn open(out: &mut String, id: &str, summary: &str) {
    let _ = write!(out, "<section><details id=\"{id}\"><summary>{}</summary>", escaped(summary));
}

fn fact(out: &mut String, what: &str, says: &str) {
    let _ = write!(out, "<div><dt>{what}</dt><dd>{}</dd></div>", escaped(says));
}

/// A count that should be 0.
fn loss(out: &mut String, what: &str, count: u64) {
    let class = if count > 0 { " class=\"bad\"" } else { "" };
    let _ = write!(out, "<div><dt>{what}</dt><dd{class}>{count}</dd></div>");
}

/// Broker, queues and journal.
pub(super) fn all(out: &mut String, snapshot: &StatusSnapshot) {
    broker(out, snapshot);
    for (index, queue) in snapshot.queues.iter().enumerate() {
        self::queue(out, queue, index);
    }
    if let Some(journal) = &snapshot.journal {
        self::journal(out, journal);
    }
}

fn broker(out: &mut String, snapshot: &StatusSnapshot) {
    let Some(intake) = &snapshot.intake else { return };
    open(out, "broker", "Broker");
    out.push_str("<dl>");
    fact(out, "Address", &intake.url);
    fact(out, "Client id", &intake.client_id);
    fact(out, "Received since the start", &intake.received.to_string());
    fact(out, "Redelivered by the broker", &intake.repeats.to_string());
    fact(out, "Marked as possible duplicates", &intake.possible_duplicates.to_string());
    loss(out, "Received with QoS 0", intake.qos0);
    loss(out, "Matching no route", intake.unrouted);
    loss(out, "Too large", intake.oversize);
    loss(out, "Dropped by the broker", intake.broker_dropped_since_start);
    let session = match intake.session_kept {
        Some(true) => "kept by the broker",
        Some(false) => "new at the last connection",
        None => "not known yet",
    };
    fact(out, "Session", session);
    loss(out, "Sessions lost by the broker", intake.sessions_lost);
    out.push_str("</dl><table><tr><th>route</th><th>taken</th><th>QoS 0</th><th>last</th></tr>");
    for (index, route) in intake.routes.iter().enumerate() {
        let last = route.last_message_s.map_or("none yet".to_owned(), |ago| format!("{} ago", span(ago)));
        let (number, profile) = (index + 1, escaped(&route.profile));
        let (messages, weak) = (route.messages, route.qos0);
        let _ = write!(out, "<tr><td>{number} ({profile})</td><td>{messages}</td><td>{weak}</td><td>{last}</td></tr>");
    }
    out.push_str("</table></details></section>\n");
}

fn queue(out: &mut String, queue: &QueueStatus, index: usize) {
    open(out, &format!("queue{index}"), &format!("Queue {}", queue.name));
    out.push_str("<dl>");
    fact(out, "URL", &queue.url);
    if let Some(lane) = &queue.lane {
        fact(out, "Waiting", &lane.waiting.to_string());
        fact(out, "Accepted", &lane.accepted.to_string());
        if let Some(outlook) = queue.outlook {
            fact(out, "Accepted per second", &format!("{:.1}", outlook.accepted_per_s));
        }
        loss(out, "Evicted", lane.evicted);
        loss(out, "Quarantined", lane.quarantined);
        loss(out, "Damaged", lane.damaged);
    }
    fact(out, "Sent again without knowing the answer", &queue.drain.ambiguous.to_string());
    out.push_str("</dl>");
    if let Some(fault) = &queue.drain.last_fault {
        let _ = write!(out, "<p class=\"dim\">Last error, which may be over: {}</p>", escaped(fault));
    }
    out.push_str("</details></section>\n");
}

fn journal(out: &mut String, journal: &JournalStatus) {
    open(out, "journal", "Journal");
    out.push_str("<dl>");
    fact(out, "Size", &format!("{} of {}", size::text(journal.facts.bytes), size::text(journal.facts.max_bytes)));
    fact(out, "Free on its disk", &journal.free_bytes.map_or("-".to_owned(), size::text));
    fact(out, "Folder", &journal.path.display().to_string());
    fact(out, "Storage", if journal.in_ram { "RAM: a power cut loses it" } else { "flash" });
    fact(out, "In quarantine now", &journal.facts.quarantine.entries.to_string());
    out.push_str("</dl></details></section>\n");
}

/// The last messages, by topic.
pub(super) fn messages(out: &mut String, recent: &[LastMessage], now_s: u64) {
    open(out, "messages", "The last messages");
    out.push_str("<table><tr><th>ago</th><th>topic</th><th>bytes</th></tr>");
    for message in recent.iter().rev() {
        let ago = span(now_s.saturating_sub(message.at_s));
        let _ = write!(out, "<tr><td>{ago}</td><td>{}", escaped(&message.topic));
        if let Some(head) = &message.head {
            let _ = write!(out, "<br><code>{}</code>", escaped(head));
        }
        let _ = write!(out, "</td><td>{}</td></tr>", message.bytes);
    }
    out.push_str("</table>");
    if recent.iter().all(|message| message.head.is_none()) {
        out.push_str("<p class=\"dim\">Payloads are hidden; status.show_payloads = true shows their beginnings.</p>");
    }
    out.push_str("</details></section>\n");
}
