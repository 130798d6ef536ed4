//! Findings about the broker: whether it lets us in, what it grants, and what it loses. Pure.

use crate::mqtt::{IntakeState, IntakeStatus, OutageKind};
use crate::status::StatusSnapshot;
use crate::status::findings::{Code, Finding, Severity};
use crate::status::history;

/// A broker that is away for longer, in seconds, does not come back by itself: it was restarted, or rebooted with the gateway.
const AWAY_S: u64 = 60;
/// Seconds for which a lost session is remarked on.
const SESSION_LOST_LATELY_S: u64 = 24 * 3600;
/// Seconds after the last message of no route for which they are remarked on.
const UNROUTED_LATELY_S: u64 = 3600;

pub(super) fn findings(status: &StatusSnapshot) -> Vec<Finding> {
    let Some(intake) = &status.intake else { return Vec::new() };
    let mut all: Vec<Finding> = connection(intake).into_iter().collect();
    all.extend(losses(intake));
    all.extend(filters(intake));
    all
}

/// Why there is no connection.
fn connection(intake: &IntakeStatus) -> Option<Finding> {
    let away_s = intake.away_s.unwrap_or_default();
    let away = if away_s > AWAY_S { Severity::Act } else { Severity::Waiting };
    let url = &intake.url;
    let found = match &intake.state {
        IntakeState::Connecting => Finding::new(Code::BrokerAway, away, format!("broker {url}: connecting")),
        // What the journal is at says so.
        IntakeState::Offline { cause: OutageKind::Ours, .. } => return None,
        IntakeState::Offline { why, remedy, .. } => {
            Finding::new(Code::BrokerAway, away, of_broker(url, why)).remedy(remedy)
        }
        IntakeState::Blocked { cause, why, remedy } => blocked(*cause, &of_broker(url, why), remedy),
        IntakeState::Online | IntakeState::Stopping | IntakeState::Stopped => return None,
    };
    Some(found.since(intake.away_s))
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
        OutageKind::Away | OutageKind::Closed | OutageKind::Ours => Code::BrokerAway,
    };
    Finding::act(code, what).remedy(remedy)
}

/// What the broker loses; none of it recovers by itself.
fn losses(intake: &IntakeStatus) -> Vec<Finding> {
    let mut all = Vec::new();
    let url = &intake.url;
    if let Some(ago_s) = intake.session_lost_s.filter(|ago_s| *ago_s < SESSION_LOST_LATELY_S) {
        let (times, ago) = (intake.sessions_lost, history::span(ago_s));
        let what = format!("broker {url} did not keep our session ({times} times since the start, the last {ago} ago)");
        all.push(Finding::act(Code::SessionLost, what).since(Some(ago_s)).count(times));
    }
    for topic in intake.unrouted_topics.iter().filter(|topic| topic.last_s < UNROUTED_LATELY_S) {
        let what = format!("{} messages under {} belong to no route", topic.messages, topic.prefix);
        all.push(Finding::act(Code::MessagesUnrouted, what).about(&topic.prefix).count(topic.messages));
    }
    all
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

/// What is wrong with the broker; names its address once.
fn of_broker(url: &str, why: &str) -> String {
    if why.contains(url) { format!("broker: {why}") } else { format!("broker {url}: {why}") }
}
