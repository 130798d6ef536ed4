//! The way of a message as a strip: sensors, broker, journal, queues; each green, amber or red, with what it last saw and lost.

use crate::drain::DrainState;
use crate::journal::WriterHealth;
use crate::mqtt::{IntakeState, IntakeStatus};
use crate::status::findings::{Code, Severity, counted, losses};
use crate::status::history::{Trend, span};
use crate::status::page::escaped;
use crate::status::{JournalStatus, QueueStatus, StatusSnapshot};
use std::fmt::Write;

/// Where on the way a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Sensors,
    Broker,
    Journal,
    Queue,
    /// Beside the way.
    Agent,
}

/// Exhaustive: a new code has to say where it is.
fn place(code: Code) -> Place {
    match code {
        Code::RouteSilent | Code::RouteQos0 | Code::MessagesOversize | Code::MessagesUnrouted => Place::Sensors,
        Code::BrokerPasswordFile
        | Code::BrokerPasswordLost
        | Code::BrokerRefusesLogin
        | Code::BrokerRefusesClientId
        | Code::BrokerRefusesVersion
        | Code::BrokerCertificate
        | Code::BrokerNotMqtt
        | Code::BrokerNotPermitted
        | Code::BrokerMessageTooLarge
        | Code::BrokerQos2Session
        | Code::ClientIdTwice
        | Code::BrokerAway
        | Code::FilterRefused
        | Code::FilterQos0
        | Code::SessionLost
        | Code::MessagesDropped => Place::Broker,
        Code::JournalNotOpen
        | Code::JournalMissing
        | Code::JournalMoved
        | Code::JournalUnwritable
        | Code::JournalStalled
        | Code::JournalReadOnly
        | Code::JournalFull
        | Code::RecordsEvicted
        | Code::RecordsDamaged
        | Code::JournalStateLost
        | Code::QueueNotConfigured
        | Code::QueueCannotRead
        | Code::JournalSetAside
        | Code::JournalForeign
        | Code::JournalDiskLow
        | Code::JournalInRam
        | Code::JournalWriterPanics
        | Code::JournalCopied
        | Code::JournalBehind
        | Code::JournalNoReserve => Place::Journal,
        Code::RecordsQuarantined
        | Code::QueueParked
        | Code::QueueKeyFile
        | Code::RecordSuspect
        | Code::QueueOffline
        | Code::QueueThrottled
        | Code::QueueWindowFull
        | Code::UplinkSlow => Place::Queue,
        Code::AgentStarting
        | Code::ConfigurationMistake
        | Code::ConfigurationRefused
        | Code::PageClosed
        | Code::ClockWrong => Place::Agent,
    }
}

/// The worst of the findings at a place; of a queue's, those about it or about no queue in particular.
fn tone(snapshot: &StatusSnapshot, at: Place, queue: Option<&str>) -> &'static str {
    let named = |about: &str| snapshot.queues.iter().any(|queue| queue.name == about);
    let concerns = |about: Option<&str>| match (queue, about) {
        (Some(queue), Some(about)) => about == queue || !named(about),
        _ => true,
    };
    let here = snapshot.findings.iter().filter(|finding| place(finding.code) == at);
    match here.filter(|finding| concerns(finding.about.as_deref())).map(|finding| finding.severity).max() {
        None => "good",
        Some(Severity::Waiting) => "wait",
        Some(Severity::Act) => "bad",
    }
}

/// Draws the strip.
pub(super) fn strip(out: &mut String, snapshot: &StatusSnapshot) {
    out.push_str("<ol class=\"path\">");
    let intake = snapshot.intake.as_ref();
    let heard = intake.is_some_and(|intake| intake.received > 0 && matches!(intake.state, IntakeState::Online));
    let sensors_tone = match tone(snapshot, Place::Sensors, None) {
        "good" if !heard => "unknown",
        tone => tone,
    };
    step(out, sensors_tone, "Sensors", intake.map_or_else(Vec::new, sensors));
    let lines = intake.map_or_else(|| vec!["waits for the journal".to_owned()], broker);
    step(out, tone(snapshot, Place::Broker, None), "Broker", lines);
    let lines = snapshot
        .journal
        .as_ref()
        .map_or_else(|| vec!["not open".to_owned()], |journal| self::journal(journal, snapshot));
    step(out, tone(snapshot, Place::Journal, None), "Journal", lines);
    for (index, queue) in snapshot.queues.iter().enumerate() {
        let name = if snapshot.queues.len() == 1 { "Queue".to_owned() } else { format!("Queue {}", queue.name) };
        let tone = tone(snapshot, Place::Queue, Some(&queue.name));
        // Beside the first one, not behind it.
        let class = if index == 0 { tone.to_owned() } else { format!("{tone} beside") };
        step(out, &class, &name, self::queue(queue));
    }
    out.push_str("</ol>\n");
}

/// Whether the journal gives up its oldest records, and a person has not acknowledged it.
pub(super) fn gives_way(snapshot: &StatusSnapshot) -> bool {
    let told = snapshot.findings.iter().any(|finding| finding.code == Code::RecordsEvicted);
    told && losses::going_on(snapshot)
}

fn step(out: &mut String, class: &str, name: &str, lines: Vec<String>) {
    let says = match class.split(' ').next() {
        Some("good") => "fine",
        Some("wait") => "waiting",
        Some("unknown") => "not known",
        _ => "act",
    };
    let _ = write!(out, "<li class=\"{class}\"><b>{}</b> <span class=\"sr\">{says}</span>", escaped(name));
    for line in lines {
        let _ = write!(out, "<span>{}</span>", escaped(&line));
    }
    out.push_str("</li>");
}

/// When something was last, or that it never was.
fn last(what: &str, seconds: Option<u64>, never: &str) -> String {
    seconds.map_or_else(|| never.to_owned(), |seconds| format!("last {what} {} ago", span(seconds)))
}

/// A count of losses, where there are some.
fn lost(count: u64, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {what}"))
}

fn sensors(intake: &IntakeStatus) -> Vec<String> {
    let last_s = intake.routes.iter().filter_map(|route| route.last_message_s).min();
    let mut lines = vec![last("message", last_s, "no message yet")];
    if intake.received > 0 {
        lines.push(format!("{} since the start", counted(intake.received, "message", "messages")));
    }
    lines.extend(lost(intake.qos0, "with QoS 0"));
    lines.extend(lost(intake.unrouted, "of no route"));
    lines.extend(lost(intake.oversize, "too large"));
    lines
}

fn broker(intake: &IntakeStatus) -> Vec<String> {
    let state = match &intake.state {
        IntakeState::Connecting => "connecting",
        IntakeState::Online => "connected",
        IntakeState::Offline { .. } => "away",
        IntakeState::Blocked { .. } => "no connection",
        IntakeState::Stopping | IntakeState::Stopped => "stopped",
    };
    // From one attempt to the next it is away for all of the time.
    let for_s = intake.away_s.filter(|_| intake.state != IntakeState::Online).unwrap_or(intake.state_for_s);
    let since = if for_s > 0 { format!(" for {}", span(for_s)) } else { String::new() };
    let mut lines = vec![format!("{state}{since}")];
    lines.extend(lost(intake.sessions_lost, "sessions lost"));
    lines.extend(lost(intake.broker_dropped_since_start, "dropped"));
    lines
}

fn journal(journal: &JournalStatus, snapshot: &StatusSnapshot) -> Vec<String> {
    let state = match journal.facts.writer {
        WriterHealth::Fine if journal.facts.read_only => "read-only",
        WriterHealth::Fine if gives_way(snapshot) => "full: the oldest go",
        WriterHealth::Fine => "takes records",
        WriterHealth::Full { .. } => "full",
        WriterHealth::Failing { .. } => "the disk refuses",
    };
    let lanes = &journal.facts.lanes;
    let waiting: u64 = lanes.iter().map(|lane| lane.waiting).sum();
    let for_queues = if snapshot.queues.len() > 1 { " for all queues together" } else { "" };
    let mut lines = vec![state.to_owned(), format!("{waiting} waiting{for_queues}")];
    lines.extend(lost(lanes.iter().map(|lane| lane.evicted).sum(), "evicted"));
    lines.extend(lost(lanes.iter().map(|lane| lane.damaged).sum(), "damaged"));
    lines
}

fn queue(queue: &QueueStatus) -> Vec<String> {
    let state = match &queue.drain.state {
        DrainState::Idle => "nothing waits".to_owned(),
        DrainState::Draining => "catching up".to_owned(),
        DrainState::Offline { next_s, .. } => format!("offline, next attempt in {}", span(*next_s)),
        DrainState::Throttled { next_s, .. } => format!("asked for less, next attempt in {}", span(*next_s)),
        DrainState::Parked { next_s, .. } => format!("parked, next attempt in {}", span(*next_s)),
        DrainState::WindowFull { .. } => "one group holds it up".to_owned(),
        DrainState::CannotRead { .. } => "the journal cannot be read".to_owned(),
        DrainState::Stopped => "stopped".to_owned(),
    };
    let mut lines = vec![state, last("accepted", queue.drain.last_accepted_s, "nothing accepted yet")];
    if let Some(lane) = &queue.lane {
        if lane.waiting > 0 {
            lines.push(format!("{} waiting, the oldest for {}", lane.waiting, span(queue.drain.lag_s)));
            lines.extend(to_drain(queue).filter(|_| matches!(queue.drain.state, DrainState::Draining)));
        }
        lines.extend(lost(lane.quarantined, "put into quarantine so far"));
    }
    lines
}

fn to_drain(queue: &QueueStatus) -> Option<String> {
    match queue.outlook.map(|outlook| (outlook.says, outlook.eta_s)) {
        Some((Trend::Draining, Some(eta))) => Some(format!("drained in {}", span(eta))),
        Some((Trend::Growing, _)) => Some("growing: more comes than goes".to_owned()),
        _ => None,
    }
}
