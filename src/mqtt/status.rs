//! What intake shows: its state in words, counts since the start, and one row per route.

use crate::clock::Clock;
use crate::mqtt::Route;
use crate::mqtt::backoff::Pace;
use crate::mqtt::failure::{Outage, OutageKind};
use crate::mqtt::subscriptions::Grant;
use crate::mqtt::tap::{Listener, Taps};
use crate::mqtt::unrouted::{Unrouted, UnroutedStatus};
use crate::sync::locked;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// What the intake does now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum IntakeState {
    /// An attempt to connect is under way, and none before it failed.
    Connecting,
    /// Connected, and takes messages.
    Online,
    /// No connection; the next attempt comes by itself.
    Offline {
        /// What kind of outage it is.
        cause: OutageKind,
        /// The error, in words.
        why: String,
        /// What a person can do; empty when nothing is to be done.
        remedy: String,
    },
    /// A person must act before it can work; slow attempts continue.
    Blocked {
        /// What kind of refusal it is.
        cause: OutageKind,
        /// The error, in words.
        why: String,
        /// What a person can do.
        remedy: String,
    },
    /// Told to stop; waits for commits and acks.
    Stopping,
    /// Does not run any more.
    Stopped,
}

/// One filter of a route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FilterStatus {
    /// The filter, as configured.
    pub filter: String,
    /// Whether the broker granted it; `None` until it said so.
    pub granted: Option<bool>,
    /// With which QoS; 0 cannot be held back.
    pub granted_qos: Option<u8>,
}

/// One route: how its filters fare, and what came on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteStatus {
    /// Name of the profile that reads it.
    pub profile: String,
    /// Its filters. A granted filter does not prove that the broker lets us read: see `last_message_s`.
    pub filters: Vec<FilterStatus>,
    /// Messages taken since the start, repeats included.
    pub messages: u64,
    /// Of them with QoS 0, which no broker holds back.
    pub qos0: u64,
    /// Seconds since the last message; `None` if none came since the start.
    pub last_message_s: Option<u64>,
}

/// A snapshot of intake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IntakeStatus {
    /// What the intake does now.
    #[serde(flatten)]
    pub state: IntakeState,
    /// Seconds in this state.
    pub state_for_s: u64,
    /// Seconds without a connection, whatever the reasons were in turn; `None` while there is one.
    pub away_s: Option<u64>,
    /// The broker, as configured.
    pub url: String,
    /// The client id there: the broker's session hangs on it.
    pub client_id: String,
    /// Connections that reached a CONNACK since the start.
    pub connections: u64,
    /// Whether the broker had kept our session at the last CONNACK.
    pub session_kept: Option<bool>,
    /// Since the start: connections on which the broker had lost a session of ours, and what it held for us with it.
    pub sessions_lost: u64,
    /// Seconds since the last of them.
    pub session_lost_s: Option<u64>,
    /// Messages received since the start, whatever became of them.
    pub received: u64,
    /// Of them repeats of a record that the journal already had.
    pub repeats: u64,
    /// Of them recorded, though they may repeat a record: those say so.
    pub possible_duplicates: u64,
    /// Of them over `max_payload_bytes`; their heads are in the quarantine.
    pub oversize: u64,
    /// Of them with QoS 0.
    pub qos0: u64,
    /// Of them on topics of no route, acknowledged and not journaled.
    pub unrouted: u64,
    /// Which, the latest first.
    pub unrouted_topics: Vec<UnroutedStatus>,
    /// Received and not yet on stable storage.
    pub unacked_messages: u64,
    /// Their bytes, as counted against `max_unacked_bytes`.
    pub unacked_bytes: u64,
    /// The broker's own count of messages that it dropped, over all its clients; `None` if it does not say.
    pub broker_dropped: Option<u64>,
    /// By how much that count rose since the start, in messages: lost before they reached us.
    pub broker_dropped_since_start: u64,
    /// One row per route, in the order of the configuration.
    pub routes: Vec<RouteStatus>,
}

/// One of the last messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastMessage {
    /// The message's topic.
    pub topic: String,
    /// The beginning of its payload, where the operator wants it shown.
    pub head: Option<String>,
    /// Bytes of its payload.
    pub bytes: usize,
    /// When it came, in seconds since boot.
    pub at_s: u64,
}

/// Messages that are remembered for people.
const RECENT: usize = 20;
/// Longest topic that is remembered whole.
const RECENT_TOPIC_BYTES: usize = 200;
/// Bytes of a payload that are shown.
const HEAD_BYTES: usize = 100;

#[derive(Debug)]
pub(super) struct Shown {
    recent: VecDeque<LastMessage>,
    pub(super) status: IntakeStatus,
    since_ms: u64,
    /// Boot time since when there is no connection.
    away_ms: Option<u64>,
    /// Boot time of each route's last message.
    last_message_ms: Vec<Option<u64>>,
    session_lost_ms: Option<u64>,
    unrouted: Unrouted,
}

/// The status that intake writes and others read.
#[derive(Debug)]
pub struct IntakeShared {
    clock: Clock,
    /// Whether beginnings of payloads are kept for people.
    show_payloads: bool,
    shown: Mutex<Shown>,
    pub(super) taps: Taps,
}

impl IntakeShared {
    pub(super) fn new(clock: Clock, url: String, routes: &[Route], show_payloads: bool) -> IntakeShared {
        let rows = routes.iter().map(RouteStatus::of).collect();
        let status = IntakeStatus {
            state: IntakeState::Connecting,
            state_for_s: 0,
            away_s: None,
            url,
            client_id: String::new(),
            connections: 0,
            session_kept: None,
            sessions_lost: 0,
            session_lost_s: None,
            received: 0,
            repeats: 0,
            possible_duplicates: 0,
            oversize: 0,
            qos0: 0,
            unrouted: 0,
            unrouted_topics: Vec::new(),
            unacked_messages: 0,
            unacked_bytes: 0,
            broker_dropped: None,
            broker_dropped_since_start: 0,
            routes: rows,
        };
        let shown = Shown {
            recent: VecDeque::new(),
            status,
            since_ms: clock.now().boottime_ms,
            away_ms: Some(clock.now().boottime_ms),
            last_message_ms: vec![None; routes.len()],
            session_lost_ms: None,
            unrouted: Unrouted::default(),
        };
        IntakeShared { clock, show_payloads, shown: Mutex::new(shown), taps: Taps::default() }
    }

    /// What intake shows now.
    pub fn snapshot(&self) -> IntakeStatus {
        let now_ms = self.clock.now().boottime_ms;
        let shown = self.lock();
        let mut status = shown.status.clone();
        let ago_s = |at_ms: u64| now_ms.saturating_sub(at_ms) / 1000;
        status.state_for_s = now_ms.saturating_sub(shown.since_ms) / 1000;
        status.away_s = shown.away_ms.map(ago_s);
        status.session_lost_s = shown.session_lost_ms.map(ago_s);
        status.unrouted_topics = shown.unrouted.rows(now_ms);
        for (row, last) in status.routes.iter_mut().zip(&shown.last_message_ms) {
            row.last_message_s = last.map(ago_s);
        }
        status
    }

    /// Listens for the next `count` messages on `filters`. `None`: too many listen already.
    pub fn listen(&self, filters: Vec<String>, count: usize) -> Option<Listener> {
        self.taps.listen(filters, count)
    }

    /// Sets the state; true if it changed.
    pub(super) fn enter(&self, state: IntakeState) -> bool {
        let now_ms = self.clock.now().boottime_ms;
        let mut shown = self.lock();
        let changed = shown.status.state != state;
        if changed {
            shown.away_ms = match state {
                IntakeState::Online | IntakeState::Stopping | IntakeState::Stopped => None,
                _ => Some(shown.away_ms.unwrap_or(now_ms)),
            };
            shown.status.state = state;
            shown.since_ms = now_ms;
        }
        changed
    }

    /// Changes counts. Never held over an await.
    pub(super) fn count(&self, change: impl FnOnce(&mut IntakeStatus)) {
        change(&mut self.lock().status);
    }

    /// The last messages, oldest first.
    pub fn recent(&self) -> Vec<LastMessage> {
        self.lock().recent.iter().cloned().collect()
    }

    /// A message came on a route; true if it is the route's first with QoS 0.
    pub(super) fn came(&self, route: usize, boottime_ms: u64, qos: u8, (topic, payload): (&str, &[u8])) -> bool {
        let mut shown = self.lock();
        // The oldest one's memory is used again.
        let mut last = match shown.recent.len() {
            RECENT.. => shown.recent.pop_front().unwrap_or_default(),
            _ => LastMessage::default(),
        };
        last.topic.clear();
        last.topic.push_str(&topic[..topic.floor_char_boundary(RECENT_TOPIC_BYTES)]);
        let head = || String::from_utf8_lossy(&payload[..payload.len().min(HEAD_BYTES)]).into_owned();
        last.head = self.show_payloads.then(head);
        (last.bytes, last.at_s) = (payload.len(), boottime_ms / 1000);
        shown.recent.push_back(last);
        shown.last_message_ms[route] = Some(boottime_ms);
        let row = &mut shown.status.routes[route];
        row.messages += 1;
        row.qos0 += u64::from(qos == 0);
        qos == 0 && row.qos0 == 1
    }

    /// A message came on a topic of no route; how many of its prefix came so far, this one included.
    pub(super) fn unrouted(&self, topic: &str, boottime_ms: u64) -> u64 {
        let mut shown = self.lock();
        shown.status.unrouted += 1;
        shown.unrouted.came(topic, boottime_ms)
    }

    /// Notes a CONNACK: whether the broker kept our session, and whether it lost one.
    pub(super) fn session(&self, connection: u64, kept: bool, lost: bool, boottime_ms: u64) {
        let mut shown = self.lock();
        (shown.status.connections, shown.status.session_kept) = (connection, Some(kept));
        if lost {
            shown.status.sessions_lost += 1;
            shown.session_lost_ms = Some(boottime_ms);
        }
    }

    /// The broker answered about a filter.
    pub(super) fn answered(&self, filter: &str, grant: Grant) {
        let mut shown = self.lock();
        let filters = shown.status.routes.iter_mut().flat_map(|row| &mut row.filters);
        for row in filters.filter(|row| row.filter == filter) {
            (row.granted, row.granted_qos) = match grant {
                Grant::AtLeastOnce => (Some(true), Some(1)),
                Grant::AtMostOnce => (Some(true), Some(0)),
                Grant::Refused => (Some(false), None),
            };
        }
    }

    /// The broker's count of what it dropped; by how much it rose since the last one.
    pub(super) fn broker_dropped(&self, count: u64) -> u64 {
        let status = &mut self.lock().status;
        // A smaller count is that of a broker that started anew.
        let rise = status.broker_dropped.map_or(0, |last| count.checked_sub(last).unwrap_or(count));
        status.broker_dropped = Some(count);
        status.broker_dropped_since_start = status.broker_dropped_since_start.saturating_add(rise);
        rise
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Counts are whole at every step, so a reader that panicked left nothing half done.
        locked(&self.shown)
    }
}

impl RouteStatus {
    fn of(route: &Route) -> RouteStatus {
        let filters = route.filters.iter().map(|filter| FilterStatus {
            filter: filter.clone(),
            granted: None,
            granted_qos: None,
        });
        RouteStatus {
            profile: route.profile.clone(),
            filters: filters.collect(),
            messages: 0,
            qos0: 0,
            last_message_s: None,
        }
    }
}

impl From<Outage> for IntakeState {
    fn from(outage: Outage) -> IntakeState {
        let Outage { kind: cause, why, remedy, pace } = outage;
        match pace {
            Pace::Slow => IntakeState::Blocked { cause, why, remedy },
            Pace::Quick => IntakeState::Offline { cause, why, remedy },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::tests::support;

    #[test]
    fn a_brokers_own_loss_is_counted_from_the_first_value_and_over_its_restarts() {
        let shared = IntakeShared::new(Clock::new(None), "mqtt://b".into(), &[], false);
        let rises: Vec<_> = [100, 100, 103, 2, 2, 5].map(|count| shared.broker_dropped(count)).into();
        assert_eq!(rises, [0, 0, 3, 2, 0, 3]);
        let status = shared.snapshot();
        assert_eq!((status.broker_dropped, status.broker_dropped_since_start), (Some(5), 8));
    }

    #[test]
    fn no_count_that_a_broker_publishes_overflows_ours() {
        let shared = IntakeShared::new(Clock::new(None), "mqtt://b".into(), &[], false);
        for count in [0, u64::MAX, 1, u64::MAX] {
            shared.broker_dropped(count);
        }
        assert_eq!(shared.snapshot().broker_dropped_since_start, u64::MAX);
    }

    #[test]
    fn only_the_first_qos_0_message_of_a_route_is_news() {
        let routes = [support::route("a"), support::route("b")];
        let shared = IntakeShared::new(Clock::new(None), "mqtt://b".into(), &routes, false);
        let news = [(0, 1), (0, 0), (0, 0), (1, 0)].map(|(route, qos)| shared.came(route, 0, qos, ("t", b"1")));
        assert_eq!(news, [false, true, false, true]);
        assert_eq!(shared.snapshot().routes[0].messages, 3);
    }

    #[test]
    fn the_state_is_words_in_json() {
        let shared = IntakeShared::new(Clock::new(None), "mqtt://b".into(), &[support::route("a")], true);
        assert!(shared.enter(Outage::quick("nothing listens", "start it").into()));
        assert!(!shared.enter(Outage::quick("nothing listens", "start it").into()), "one line per change");
        let json = serde_json::to_value(shared.snapshot()).expect("encodes");
        assert_eq!((&json["state"], &json["why"]), (&"offline".into(), &"nothing listens".into()));
        assert_eq!(json["routes"][0]["filters"][0]["granted"], serde_json::Value::Null);
    }
}
