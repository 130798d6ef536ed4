//! The status page: one glance says whether it is fine, and what to do. Made on the server, so it works without scripts.
//!
//! Nothing in it comes from elsewhere: one style sheet of ours, charts as SVG. Every text that did not come from this
//! source is escaped; payloads are shown only where the operator asked for it. Under 60 KB, whatever happened.

use crate::drain::DrainState;
use crate::mqtt::{IntakeState, LastMessage};
use crate::size;
use crate::status::findings::Severity;
use crate::status::history::{History, Point, Trend, span};
use crate::status::{Health, QueueStatus, StatusSnapshot};
use crate::visible;
use std::collections::HashMap;
use std::fmt::Write;

/// The style sheet, served as `/page.css`.
pub const STYLE: &str = include_str!("page.css");
/// Seconds between two loads by the browser.
const REFRESH_S: u32 = 10;
/// Longest foreign text (of the broker, AWS or a device) in one place, in characters.
const TEXT_CHARS: usize = 400;
/// Findings that are shown, at most.
const FINDINGS: usize = 12;
/// Width and height of a chart, in its own units.
const CHART: (f64, f64) = (360.0, 100.0);

/// The page of a snapshot; `now_s` is the time since boot.
pub fn render(
    snapshot: &StatusSnapshot,
    histories: &HashMap<String, History>,
    recent: &[LastMessage],
    now_s: u64,
) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let gateway = escaped(&snapshot.gateway);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{gateway}: {}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\"><link rel=\"stylesheet\" href=\"/page.css\"></head><body>\n\
         <header><h1>{gateway}</h1><span>tidegate {}, up {}</span></header>\n",
        word(snapshot.health),
        snapshot.version,
        span(snapshot.uptime_s)
    );
    health(&mut out, snapshot);
    broker(&mut out, snapshot);
    for queue in &snapshot.queues {
        queue_section(&mut out, queue, histories.get(&queue.name), now_s);
    }
    journal(&mut out, snapshot);
    records(&mut out, recent, now_s);
    out.push_str("<p class=\"dim\"><a href=\"/status.json\">status.json</a> · <a href=\"/metrics\">metrics</a></p></body></html>\n");
    out
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Fine => "fine",
        Health::Waiting => "waiting",
        Health::Act => "ACT",
    }
}

fn health(out: &mut String, snapshot: &StatusSnapshot) {
    let (class, says, more) = match snapshot.health {
        Health::Fine => ("", "Fine", "tidegate sees nothing wrong."),
        Health::Waiting => ("waiting", "Waiting", "What is away comes back by itself; nothing has to be done."),
        Health::Act => ("act", "Action required", "What is marked ACT does not recover by itself."),
    };
    let _ = write!(out, "<div class=\"health {class}\" role=\"status\"><b>{says}</b><p class=\"dim\">{more}</p>");
    for finding in snapshot.findings.iter().take(FINDINGS) {
        let mark = if finding.severity == Severity::Act { "ACT" } else { "waiting" };
        let since = finding.since_s.map_or_else(String::new, |since_s| format!(" (for {})", span(since_s)));
        let _ = write!(
            out,
            "<div class=\"finding\"><p><span class=\"mark\">{mark}</span> {}{since}</p>",
            escaped(&finding.what)
        );
        let _ = write!(out, "<p class=\"dim\">{}</p>", escaped(&finding.cost));
        if !finding.remedy.is_empty() {
            let _ = write!(out, "<p>→ {}</p>", escaped(&finding.remedy));
        }
        if !finding.command.is_empty() {
            let _ = write!(out, "<p><code>{}</code></p>", escaped(&finding.command));
        }
        out.push_str("</div>");
    }
    let more = snapshot.findings.len().saturating_sub(FINDINGS);
    if more > 0 {
        let _ = write!(out, "<p class=\"dim\">{more} more: tidegate status</p>");
    }
    out.push_str("</div>\n");
}

fn fact(out: &mut String, what: &str, says: &str) {
    let _ = write!(out, "<div><dt>{what}</dt><dd>{}</dd></div>", escaped(says));
}

/// A count that should be 0.
fn loss(out: &mut String, what: &str, count: u64) {
    let class = if count > 0 { " class=\"bad\"" } else { "" };
    let _ = write!(out, "<div><dt>{what}</dt><dd{class}>{count}</dd></div>");
}

fn broker(out: &mut String, snapshot: &StatusSnapshot) {
    out.push_str("<section><h2>Broker</h2><dl>");
    let Some(intake) = &snapshot.intake else {
        fact(out, "State", "waits for the journal");
        out.push_str("</dl></section>\n");
        return;
    };
    let state = match &intake.state {
        IntakeState::Connecting => "connecting",
        IntakeState::Online => "online",
        IntakeState::Offline { .. } => "offline, tried again by itself",
        IntakeState::Blocked { .. } => "blocked, see above",
        IntakeState::Stopping | IntakeState::Stopped => "stopped",
    };
    fact(out, "State", &format!("{state}, for {}", span(intake.state_for_s)));
    fact(out, "Address", &intake.url);
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
    out.push_str("</dl>");
    out.push_str("<table><tr><th>route</th><th>taken</th><th>QoS 0</th><th>last</th></tr>");
    for (index, route) in intake.routes.iter().enumerate() {
        let last = route.last_message_s.map_or("none yet".to_owned(), |ago| format!("{} ago", span(ago)));
        let (number, profile) = (index + 1, escaped(&route.profile));
        let (messages, weak) = (route.messages, route.qos0);
        let _ = write!(out, "<tr><td>{number} ({profile})</td><td>{messages}</td><td>{weak}</td><td>{last}</td></tr>");
    }
    out.push_str("</table></section>\n");
}

fn state_of(state: &DrainState) -> String {
    match state {
        DrainState::Idle => "nothing waits".to_owned(),
        DrainState::Draining => "draining".to_owned(),
        DrainState::Offline { next_s, .. } => format!("no way to the queue, next attempt in {}", span(*next_s)),
        DrainState::Throttled { next_s, .. } => format!("asked for less, next attempt in {}", span(*next_s)),
        DrainState::Parked { next_s, .. } => format!("paused until fixed; next try in {}", span(*next_s)),
        DrainState::WindowFull { .. } => "one group holds it up".to_owned(),
        DrainState::CannotRead { .. } => "the journal cannot be read".to_owned(),
        DrainState::Stopped => "stopped".to_owned(),
    }
}

fn queue_section(out: &mut String, queue: &QueueStatus, history: Option<&History>, now_s: u64) {
    let _ = write!(
        out,
        "<section><h2>Queue {} <span class=\"dim\">{}</span></h2><dl>",
        escaped(&queue.name),
        escaped(&queue.url)
    );
    fact(out, "State", &state_of(&queue.drain.state));
    if let Some(lane) = &queue.lane {
        fact(out, "Waiting", &lane.waiting.to_string());
        fact(out, "Oldest", &if lane.waiting == 0 { "-".to_owned() } else { span(queue.drain.lag_s) });
        fact(out, "Time to drain", &eta(queue));
        fact(out, "Accepted", &lane.accepted.to_string());
        if let Some(outlook) = queue.outlook {
            fact(out, "Accepted per second", &format!("{:.1}", outlook.accepted_per_s));
        }
        loss(out, "Evicted", lane.evicted);
        loss(out, "Quarantined", lane.quarantined);
        loss(out, "Damaged", lane.damaged);
    }
    out.push_str("</dl>");
    if let Some(history) = history {
        out.push_str("<div class=\"charts\">");
        let hour: Vec<Point> = history.hour().copied().collect();
        let day: Vec<Point> = history.day().copied().collect();
        for (points, seconds, over) in [(&hour, 3600, "hour"), (&day, 86_400, "day")] {
            chart(out, points, now_s, seconds, &format!("Waiting, last {over}"), |point| point.waiting);
            chart(out, points, now_s, seconds, &format!("Age of the oldest in s, last {over}"), |point| point.lag_s);
        }
        out.push_str("</div>");
    }
    if let Some(fault) = &queue.drain.last_fault {
        let _ = write!(out, "<p class=\"dim\">Last error (may be resolved): {}</p>", escaped(fault));
    }
    out.push_str("</section>\n");
}

fn eta(queue: &QueueStatus) -> String {
    match queue.outlook.map(|outlook| (outlook.says, outlook.eta_s)) {
        Some((Trend::Drained, _)) => "nothing waits".to_owned(),
        Some((Trend::Draining, Some(eta))) => span(eta),
        Some((Trend::Growing, _)) => "growing: arriving faster than sending".to_owned(),
        _ => "not known yet".to_owned(),
    }
}

/// A line over the last `seconds`, oldest left, in steps: between two points nothing changed.
fn chart(out: &mut String, points: &[Point], now_s: u64, seconds: u64, title: &str, of: impl Fn(&Point) -> u64) {
    let from = now_s.saturating_sub(seconds);
    let most = points.iter().filter(|point| point.at_s >= from).map(&of).max().unwrap_or_default();
    let (width, height) = CHART;
    // From the right: a machine may have been up for less than the span.
    let x = |at_s: u64| width - now_s.saturating_sub(at_s) as f64 / seconds as f64 * width;
    let y = |value: u64| height - 4.0 - value as f64 / most.max(1) as f64 * (height - 12.0);
    let mut path = String::new();
    for point in points.iter().filter(|point| point.at_s >= from) {
        match path.is_empty() {
            true => _ = write!(path, "M{:.1} {:.1}", x(point.at_s), y(of(point))),
            false => _ = write!(path, "H{:.1}V{:.1}", x(point.at_s), y(of(point))),
        }
    }
    if !path.is_empty() {
        let _ = write!(path, "H{width}");
    }
    let _ = write!(
        out,
        "<figure><figcaption>{title}: at most {most}</figcaption><svg viewBox=\"0 0 {width} {height}\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}, at most {most}\"><path d=\"{path}\"/></svg></figure>"
    );
}

fn journal(out: &mut String, snapshot: &StatusSnapshot) {
    let Some(journal) = &snapshot.journal else { return };
    out.push_str("<section><h2>Journal</h2><dl>");
    fact(out, "Size", &format!("{} of {}", size::text(journal.facts.bytes), size::text(journal.facts.max_bytes)));
    let left = journal.holds_on_s.map_or("not known yet".to_owned(), span);
    fact(out, "Holds on without the uplink for", &left);
    fact(out, "Free on its disk", &journal.free_bytes.map_or("-".to_owned(), size::text));
    fact(out, "Folder", &journal.path.display().to_string());
    fact(out, "Storage", if journal.in_ram { "RAM: a power cut loses it" } else { "flash" });
    fact(out, "Quarantine", &journal.facts.quarantine.entries.to_string());
    out.push_str("</dl></section>\n");
}

fn records(out: &mut String, recent: &[LastMessage], now_s: u64) {
    out.push_str("<section><details><summary>The last messages</summary><table><tr><th>ago</th><th>topic</th><th>bytes</th></tr>");
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

/// Foreign text, cut to [`TEXT_CHARS`].
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible::line(text).chars().take(TEXT_CHARS) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::DrainStatus;
    use crate::journal::LaneStats;
    use crate::record::Position;
    use crate::status::findings::{self, Finding};

    fn snapshot(remark: &str) -> StatusSnapshot {
        let lane = LaneStats {
            name: "main".into(),
            appended: u64::MAX,
            accepted: 1,
            waiting: 7,
            evicted: 3,
            quarantined: 0,
            damaged: 0,
            cursor: Position(1),
            unannounced: 0,
        };
        let mut drain = DrainStatus::default();
        drain.last_fault = Some(remark.repeat(200));
        let queue = |n: usize| QueueStatus {
            name: format!("queue{n}"),
            url: "https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo".into(),
            lane: Some(lane.clone()),
            drain: drain.clone(),
            outlook: None,
        };
        StatusSnapshot {
            version: "1",
            gateway: remark.to_owned(),
            uptime_s: 5,
            health: Health::Act,
            remarks: vec![remark.repeat(100); 50],
            findings: vec![Finding::new(findings::Code::BrokerAway, Severity::Act, remark.repeat(100)); 50],
            acknowledged: None,
            clock_plausible: true,
            clock_confirmed: true,
            intake: None,
            journal: None,
            queues: (0..2).map(queue).collect(),
        }
    }

    #[test]
    fn whatever_others_wrote_is_escaped_and_the_page_stays_small() {
        let evil = "<script>\"'&\u{7}";
        let mut history = History::default();
        (0..2000).for_each(|n| history.note(Point { at_s: n * 10, waiting: n % 977, accepted: n, lag_s: n % 13 }));
        let histories = (0..2).map(|n| (format!("queue{n}"), history.clone())).collect();
        let last = LastMessage { topic: evil.repeat(16), head: Some(evil.repeat(7)), bytes: 5, at_s: 1 };
        let page = render(&snapshot(evil), &histories, &vec![last; 20], 20_000);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;&quot;&#39;&amp;"));
        assert!(page.contains("Action required") && page.contains("<dd class=\"bad\">3</dd>"));
        assert!(page.len() + STYLE.len() < 60 * 1024, "{} bytes", page.len() + STYLE.len());
        assert!(!page.contains("http-equiv=\"Content") && !page.contains("src="), "nothing from elsewhere");
    }
}
