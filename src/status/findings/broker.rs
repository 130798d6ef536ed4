//! Findings about the broker: whether it lets us in, what it grants, and what it loses. Pure.

use crate::mqtt::{IntakeState, IntakeStatus, OutageKind, RouteStatus};
use crate::profile::Profile;
use crate::status::StatusSnapshot;
use crate::status::findings::{Code, Finding, Severity, counted};
use crate::status::history;
use std::path::Path;

/// A broker that is away for longer, in seconds, does not come back by itself: it was restarted, or rebooted with the gateway.
const AWAY_S: u64 = 60;
const DAY_S: u64 = 24 * 3600;
/// Seconds after the last message with QoS 0 for which they are remarked on.
const QOS0_LATELY_S: u64 = DAY_S;
/// Seconds for which a route may be silent that was never heard.
const PATIENCE_NEW_S: u64 = 600;
/// Messages that tell how long the pauses of a route are, and the least that is waited for then.
const KNOWN: u64 = 20;
const PATIENCE_KNOWN_S: u64 = 2 * 3600;
/// Messages for others that are traffic.
const TRAFFIC: u64 = 10;
/// So often in ten minutes a link, or a broker that restarts, does not do it.
const THROWN_OUT: u64 = 3;

pub(super) fn findings(status: &StatusSnapshot) -> Vec<Finding> {
    let Some(intake) = &status.intake else { return Vec::new() };
    // One fault, once: an agent that is thrown out is also offline, for a moment.
    let thrown_out = thrown_out(intake);
    let away = |finding: &Finding| finding.code == Code::BrokerAway && finding.severity == Severity::Waiting;
    let connection = connection(intake).filter(|finding| thrown_out.is_none() || !away(finding));
    let mut all: Vec<Finding> = thrown_out.into_iter().chain(connection).collect();
    all.extend(password_lost(intake));
    all.extend(routes(intake));
    all.extend(filters(intake));
    all
}

/// Why there is no connection.
fn connection(intake: &IntakeStatus) -> Option<Finding> {
    let away_s = intake.away_s.unwrap_or_default();
    let away = if away_s > AWAY_S { Severity::Act } else { Severity::Waiting };
    let url = &intake.url;
    let found = match &intake.state {
        IntakeState::Connecting => {
            Finding::new(Code::BrokerAway, away, format!("the broker is away: connecting to {url}"))
        }
        // What the journal is at says so.
        IntakeState::Offline { cause: OutageKind::Ours | OutageKind::Behind, .. } => return None,
        IntakeState::Offline { why, remedy, .. } => {
            Finding::new(Code::BrokerAway, away, is_away(url, why)).remedy(remedy)
        }
        IntakeState::Blocked { cause, why, remedy } => {
            let found = blocked(*cause, &of_broker(url, why), remedy);
            match (cause, &intake.password_file) {
                (OutageKind::PasswordFile, Some(path)) => with_password_file(found, path, remedy),
                _ => found,
            }
        }
        IntakeState::Online | IntakeState::Stopping | IntakeState::Stopped => return None,
    };
    Some(found.since(intake.away_s))
}

/// A password's file that went bad while the connection stays.
fn password_lost(intake: &IntakeStatus) -> Option<Finding> {
    let (why, remedy) = intake.password_lost.as_ref()?;
    let what = format!("the next connection to the broker would have no password: {why}");
    let found = Finding::act(Code::BrokerPasswordLost, what).remedy(remedy);
    Some(match &intake.password_file {
        Some(path) => with_password_file(found, path, remedy),
        None => found,
    })
}

/// With the command that makes the password's file what it has to be.
fn with_password_file(found: Finding, path: &Path, remedy: &str) -> Finding {
    let path = path.display();
    let closed = format!("sudo chown root:tidegate '{path}' && sudo chmod 640 '{path}'");
    match remedy.starts_with("chown ") {
        true => found.remedy("let the agent's user read it, and no other user").command(closed),
        // It is not there, or has no password in it.
        false => found.command(format!("sudo nano '{path}' && {closed}")),
    }
}

/// A refusal, or what else does not mend itself.
fn blocked(cause: OutageKind, what: &str, remedy: &str) -> Finding {
    let code = match cause {
        OutageKind::Login => Code::BrokerRefusesLogin,
        OutageKind::ClientId => Code::BrokerRefusesClientId,
        OutageKind::Version => Code::BrokerRefusesVersion,
        OutageKind::Certificate => Code::BrokerCertificate,
        OutageKind::PasswordFile => Code::BrokerPasswordFile,
        OutageKind::NotMqtt => Code::BrokerNotMqtt,
        OutageKind::NotPermitted => Code::BrokerNotPermitted,
        OutageKind::TooLarge => Code::BrokerMessageTooLarge,
        OutageKind::Qos2Session => Code::BrokerQos2Session,
        OutageKind::Away | OutageKind::Closed | OutageKind::Behind | OutageKind::Ours => Code::BrokerAway,
    };
    Finding::act(code, what).remedy(remedy)
}

/// Routes under which nothing comes although the broker has traffic, or what comes cannot be held back.
fn routes(intake: &IntakeStatus) -> Vec<Finding> {
    let mut all = Vec::new();
    for route in &intake.routes {
        let (name, elsewhere) = (route.name(), route.elsewhere);
        // What others leave for a fallback may well be nothing; once something came, it is a route like another.
        let expected = !route.fallback || route.messages > 0 || route.heard_before;
        let silent_s = route.silent_s.filter(|silent_s| *silent_s >= patience_s(route) && elsewhere >= TRAFFIC);
        let silent_s = silent_s.filter(|_| expected);
        if let Some(silent_s) = silent_s.filter(|_| route.filters.iter().all(|filter| filter.granted == Some(true))) {
            let what = format!(
                "route {name} is silent while the broker has traffic ({elsewhere} messages for others in {})",
                history::span(silent_s)
            );
            all.push(Finding::act(Code::RouteSilent, what).about(&name).since(Some(silent_s)));
        }
        if let Some(ago_s) = route.last_qos0_s.filter(|ago_s| *ago_s < QOS0_LATELY_S) {
            let messages = counted(route.qos0, "message", "messages");
            let ago = history::span(ago_s);
            let first = route.first_qos0.as_ref();
            let under = first.map_or_else(String::new, |first| format!(", the first under {}", first.topic));
            let what = format!("route {name}: {messages} came with QoS 0 since the start{under}, the last {ago} ago");
            let remedy = first.and_then(|first| Profile::qos_remedy_of(&first.profile)).unwrap_or_default();
            all.push(Finding::act(Code::RouteQos0, what).about(&name).count(route.qos0).remedy(&remedy));
        }
    }
    all
}

/// How long a route may be silent: sensors that were never heard are waited for minutes, those that were a day, or long beyond
/// their longest pause where enough came to know it.
fn patience_s(route: &RouteStatus) -> u64 {
    match route.messages {
        KNOWN.. => (8 * route.longest_pause_s).clamp(PATIENCE_KNOWN_S, DAY_S),
        0 if !route.heard_before => PATIENCE_NEW_S,
        _ => DAY_S,
    }
}

/// A second client with our client id.
fn thrown_out(intake: &IntakeStatus) -> Option<Finding> {
    let IntakeStatus { url, client_id, thrown_out, .. } = intake;
    (*thrown_out >= THROWN_OUT).then(|| {
        let what = format!(
            "broker {url} closed our connection {thrown_out} times in 10 min and took us back at once: most likely a second client uses the client id {client_id}"
        );
        Finding::act(Code::ClientIdTwice, what).about(client_id).count(*thrown_out)
    })
}

/// Filters that the broker refused, or granted with less than we ask for.
fn filters(intake: &IntakeStatus) -> Vec<Finding> {
    let url = &intake.url;
    let of = |filter: &crate::mqtt::FilterStatus| {
        let name = &filter.filter;
        let refused = || Finding::act(Code::FilterRefused, format!("broker {url}: it refused the filter {name}"));
        let weak = || {
            let what = format!("broker {url}: it granted the filter {name} with QoS 0 only");
            Finding::act(Code::FilterQos0, what)
        };
        let found = match (filter.granted, filter.granted_qos) {
            (Some(false), _) => Some(refused()),
            (_, Some(0)) => Some(weak()),
            _ => None,
        };
        found.map(|found| found.about(name))
    };
    intake.routes.iter().flat_map(|route| &route.filters).filter_map(of).collect()
}

fn is_away(url: &str, why: &str) -> String {
    if why.contains(url) { format!("the broker is away: {why}") } else { format!("the broker is away: {url}: {why}") }
}

/// What is wrong with the broker; names its address once.
fn of_broker(url: &str, why: &str) -> String {
    if why.contains(url) { format!("broker: {why}") } else { format!("broker {url}: {why}") }
}
