//! The status page: one glance says whether it is fine, what to do, and what happens meanwhile. Made on the server, so it works
//! without scripts; with them it renews itself in place, and what was opened stays open.
//!
//! Nothing in it comes from elsewhere: one style sheet and one script of ours, a chart as SVG. Every text that did not come from this
//! source is escaped; payloads are shown only where the operator asked for it. Under 60 KB, whatever happened.

mod chart;
mod details;
mod path;

use crate::mqtt::LastMessage;
use crate::size;
use crate::status::findings::{Code, Finding, Severity};
use crate::status::history::{History, span};
use crate::status::{Health, JournalStatus, StatusSnapshot};
use crate::visible;
use std::collections::HashMap;
use std::fmt::Write;

/// The style sheet, served as `/page.css`.
pub const STYLE: &str = include_str!("page.css");
/// The script, served as `/page.js`: it takes the page anew and leaves open what was opened.
pub const SCRIPT: &str = include_str!("page.js");
/// Seconds between two loads by a browser without scripts; the script has the same number.
const REFRESH_S: u32 = 10;
/// Longest foreign text (of the broker, AWS or a device) in one place, in characters.
const TEXT_CHARS: usize = 400;
/// Findings that are shown, at most.
const FINDINGS: usize = 12;

/// The present, as the page says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Now {
    /// Seconds since boot.
    pub s: u64,
    /// By the wall clock, RFC 3339; `None`: that is known to be wrong.
    pub wall: Option<String>,
}

/// The page of a snapshot.
pub fn render(
    snapshot: &StatusSnapshot,
    histories: &HashMap<String, History>,
    recent: &[LastMessage],
    now: &Now,
) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let gateway = escaped(&snapshot.gateway);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{gateway}: {}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <noscript><meta http-equiv=\"refresh\" content=\"{REFRESH_S}\"></noscript>\
         <link rel=\"stylesheet\" href=\"/page.css\"><script src=\"/page.js\" defer></script></head><body>\n",
        word(snapshot.health),
    );
    let as_of = now.wall.as_deref().map_or("the clock is wrong".to_owned(), |wall| {
        let time = wall.get(11..19).unwrap_or(wall);
        format!("as of <time datetime=\"{wall}\">{time} UTC</time>")
    });
    let _ = writeln!(
        out,
        "<header><h1>{gateway}</h1><span>{as_of} · tidegate {}, up {}</span></header>",
        snapshot.version,
        span(snapshot.uptime_s)
    );
    health(&mut out, snapshot);
    path::strip(&mut out, snapshot);
    if let Some(journal) = &snapshot.journal {
        room(&mut out, journal, snapshot);
    }
    chart::waiting(&mut out, snapshot, histories, now.s);
    details::all(&mut out, snapshot);
    details::messages(&mut out, recent, now.s);
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

/// The answer: what is wrong, what to do, what happens meanwhile.
fn health(out: &mut String, snapshot: &StatusSnapshot) {
    let (class, says, more) = match snapshot.health {
        Health::Fine => ("fine", "Fine", "Nothing has to be done."),
        Health::Waiting => ("waiting", "Waiting", "It goes on by itself."),
        Health::Act => ("act", "Action required", ""),
    };
    let _ =
        write!(out, "<main class=\"health {class}\" role=\"status\"><b>{says}</b> <span class=\"dim\">{more}</span>");
    let _ = write!(out, "<p class=\"readings\">{}</p>", snapshot.readings.sentence());
    for finding in snapshot.findings.iter().take(FINDINGS) {
        self::finding(out, finding);
    }
    let more = snapshot.findings.len().saturating_sub(FINDINGS);
    if more > 0 {
        let _ = write!(out, "<p class=\"dim\">{more} more; run <code>sudo tidegate status</code></p>");
    }
    out.push_str("</main>\n");
}

fn finding(out: &mut String, finding: &Finding) {
    let class = if finding.severity == Severity::Act { "act" } else { "waiting" };
    // What has just begun needs no time.
    let since = finding.since_s.filter(|since_s| *since_s >= 10);
    let since =
        since.map_or_else(String::new, |since_s| format!(" <span class=\"dim\">(for {})</span>", span(since_s)));
    let _ =
        write!(out, "<article class=\"{class}\"><p class=\"what\">{}{since}</p>", escaped(&sentence(&finding.what)));
    if !finding.remedy.is_empty() || !finding.command.is_empty() {
        let when = if finding.severity == Severity::Act { "Do this" } else { "If it lasts" };
        let _ = write!(out, "<div class=\"do\"><span>{when}</span>");
        if !finding.remedy.is_empty() {
            let _ = write!(out, "<p>{}.</p>", with_commands(&sentence(&finding.remedy)));
        }
        if !finding.command.is_empty() {
            let _ = write!(out, "<code>{}</code>", escaped(&finding.command));
        }
        out.push_str("</div>");
    }
    if !finding.cost.is_empty() {
        let _ = write!(out, "<p class=\"dim\">Meanwhile: {}.</p>", escaped(&finding.cost));
    }
    out.push_str("</article>");
}

/// Escaped; what is between backticks is a command.
fn with_commands(text: &str) -> String {
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    };
    text.split('`').enumerate().map(part).collect()
}

/// With a capital in front, unless the first word is a name of ours.
fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if first == "tidegate" || first.contains(['.', '_', '/']) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// How full the journal is, and how long it holds on.
fn room(out: &mut String, journal: &JournalStatus, snapshot: &StatusSnapshot) {
    let (used, all) = (journal.facts.bytes, journal.facts.bytes.saturating_add(journal.room()));
    let full = snapshot.findings.iter().any(|finding| finding.code == Code::JournalFull);
    let percent = (used.saturating_mul(100)).checked_div(all).unwrap_or_default().min(100);
    let class = match percent {
        0..80 => "good",
        80..95 => "wait",
        _ => "bad",
    };
    let holds_on = match journal.holds_on_s {
        _ if full => "it is full".to_owned(),
        _ if path::gives_way(snapshot) => "it is full: its oldest records make room for new ones".to_owned(),
        _ if journal.refuses() => "its disk takes nothing now".to_owned(),
        Some(seconds) => format!("it holds {} more without a queue, at the rate of before", span(seconds)),
        None => "how long it holds without a queue is not known yet".to_owned(),
    };
    let _ = writeln!(
        out,
        "<section class=\"room\"><h2>Journal <span class=\"dim\">{} of {}; {holds_on}</span></h2>\
         <svg class=\"bar\" viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{percent} % full\">\
         <rect class=\"{class}\" width=\"{percent}\" height=\"4\"/></svg></section>",
        size::text(used),
        size::text(all),
    );
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
mod tests;
