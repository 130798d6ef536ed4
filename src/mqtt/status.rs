//! Where intake writes what it shows, and others read it.

use crate::clock::Clock;
use crate::mqtt::outage::OutageKind;
use crate::mqtt::silence::Silence;
use crate::mqtt::snapshot::{IntakeState, IntakeStatus, LastMessage, Qos0Message, RouteStatus};
use crate::mqtt::subscriptions::Grant;
use crate::mqtt::tap::{Listener, Taps};
use crate::mqtt::thrown_out::ThrownOut;
use crate::mqtt::unrouted::Unrouted;
use crate::mqtt::{Losses, Route};
use crate::sync::locked;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// Messages that are remembered for people.
const RECENT: usize = 20;
/// Longest topic that is remembered whole.
const RECENT_TOPIC_BYTES: usize = 200;
/// Bytes of a payload that are shown.
const HEAD_BYTES: usize = 100;

/// As much of a topic as is remembered.
fn cut(topic: &str) -> &str {
    &topic[..topic.floor_char_boundary(RECENT_TOPIC_BYTES)]
}

#[derive(Debug)]
pub(super) struct Shown {
    recent: VecDeque<LastMessage>,
    pub(super) status: IntakeStatus,
    since_ms: u64,
    /// Boot time since when there is no connection.
    away_ms: Option<u64>,
    silence: Silence,
    thrown_out: ThrownOut,
    session_lost_ms: Option<u64>,
    unrouted: Unrouted,
    /// Boot time since when messages wait for the journal and none became durable.
    stuck_ms: Option<u64>,
    /// What is kept of losses has changed since; `true`: by the run's first loss of a kind.
    losses_changed: Option<bool>,
}

impl Shown {
    /// What is kept of losses has changed; `first`: by the run's first loss of a kind.
    fn changed(&mut self, first: bool) {
        self.losses_changed = Some(first || self.losses_changed == Some(true));
    }
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
        let status = IntakeStatus::new(url, rows);
        let shown = Shown {
            recent: VecDeque::new(),
            status,
            since_ms: clock.now().boottime_ms,
            away_ms: Some(clock.now().boottime_ms),
            silence: Silence::new(routes.len()),
            thrown_out: ThrownOut::default(),
            session_lost_ms: None,
            unrouted: Unrouted::default(),
            stuck_ms: None,
            losses_changed: None,
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
        status.stuck_s = shown.stuck_ms.map(ago_s);
        status.thrown_out = shown.thrown_out.count(now_ms);
        for (index, row) in status.routes.iter_mut().enumerate() {
            shown.silence.put_into(index, row, now_ms);
            row.heard_before = shown.status.losses.heard(&row.name());
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
        last.topic.push_str(cut(topic));
        let head = || String::from_utf8_lossy(&payload[..payload.len().min(HEAD_BYTES)]).into_owned();
        last.head = self.show_payloads.then(head);
        (last.bytes, last.at_s) = (payload.len(), boottime_ms / 1000);
        shown.recent.push_back(last);
        shown.silence.came(route, boottime_ms, qos == 0);
        let status = &mut shown.status;
        let row = &mut status.routes[route];
        row.messages += 1;
        row.qos0 += u64::from(qos == 0);
        let first_weak = qos == 0 && row.qos0 == 1;
        if row.messages == 1 && status.losses.hear(&row.name()) {
            shown.changed(false);
        }
        first_weak
    }

    /// Notes whose the first message of a route with QoS 0 is.
    pub(super) fn first_qos0(&self, route: usize, topic: &str, profile: &str) {
        let first = Qos0Message { topic: cut(topic).to_owned(), profile: profile.to_owned() };
        self.lock().status.routes[route].first_qos0 = Some(first);
    }

    /// A message came on a topic of no route; how many of its prefix came so far, this one included.
    pub(super) fn unrouted(&self, topic: &str, boottime_ms: u64) -> u64 {
        let mut shown = self.lock();
        shown.status.unrouted += 1;
        shown.status.losses.unrouted(topic);
        shown.silence.passed(1);
        let of_prefix = shown.unrouted.came(topic, boottime_ms);
        shown.changed(of_prefix == 1);
        of_prefix
    }

    /// The journal was made a moment ago.
    pub(super) fn begin(&self) {
        let mut shown = self.lock();
        shown.status.losses.begin();
        shown.changed(true);
    }

    /// Notes a CONNACK: whether the broker kept our session, and whether it lost one.
    pub(super) fn session(&self, connection: u64, kept: bool, lost: bool, boottime_ms: u64) {
        let mut shown = self.lock();
        (shown.status.connections, shown.status.session_kept) = (connection, Some(kept));
        if shown.status.losses.answered(kept) {
            shown.changed(true);
        }
        if lost {
            shown.status.sessions_lost += 1;
            shown.status.losses.sessions_lost += 1;
            let first = shown.status.sessions_lost == 1;
            shown.changed(first);
            shown.session_lost_ms = Some(boottime_ms);
        }
        shown.silence.connected(boottime_ms);
        shown.thrown_out.connected(boottime_ms);
    }

    /// A connection ended, or was not made.
    pub(super) fn ended(&self, kind: OutageKind) {
        let mut shown = self.lock();
        shown.silence.disconnected();
        shown.thrown_out.ended(kind == OutageKind::Closed);
    }

    /// What was handed to the journal and is not durable yet; `committed`: some of it just became so.
    pub(super) fn unacked(&self, messages: u64, bytes: u64, committed: bool) {
        let mut shown = self.lock();
        (shown.status.unacked_messages, shown.status.unacked_bytes) = (messages, bytes);
        if messages == 0 {
            shown.stuck_ms = None;
        } else if committed || shown.stuck_ms.is_none() {
            shown.stuck_ms = Some(self.clock.now().boottime_ms);
        }
    }

    /// A message came that is over the bound for payloads.
    pub(super) fn oversize(&self) {
        let mut shown = self.lock();
        shown.status.oversize += 1;
        shown.status.losses.oversize += 1;
        let first = shown.status.oversize == 1;
        shown.changed(first);
    }

    /// How many messages the broker has received so far, by its own count.
    pub(super) fn broker_received(&self, count: u64) {
        let now_ms = self.clock.now().boottime_ms;
        self.lock().silence.counted(count, now_ms);
    }

    /// Whether a route has been silent for so long that the broker is to be asked for its traffic.
    pub(super) fn is_silent(&self, for_ms: u64) -> bool {
        let now_ms = self.clock.now().boottime_ms;
        self.lock().silence.is_any(now_ms, for_ms)
    }

    /// Whether what is kept of losses has changed since [`IntakeShared::news_of_losses`]; `true`: by the
    /// run's first loss of a kind.
    pub(super) fn has_news_of_losses(&self) -> Option<bool> {
        self.lock().losses_changed
    }

    /// The losses, if they have changed since they were asked for last.
    pub(super) fn news_of_losses(&self) -> Option<Losses> {
        let mut shown = self.lock();
        shown.losses_changed.take().map(|_| shown.status.losses.clone())
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
        let mut shown = self.lock();
        let status = &mut shown.status;
        let rise = status.losses.count(&status.url, count);
        let known = status.broker_dropped.replace(count) == Some(count);
        status.broker_dropped_since_start = status.broker_dropped_since_start.saturating_add(rise);
        if !known {
            let first = rise > 0 && shown.status.broker_dropped_since_start == rise;
            shown.changed(first);
        }
        rise
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Counts are whole at every step, so a reader that panicked left nothing half done.
        locked(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::outage::Outage;
    use crate::mqtt::tests::support;

    #[test]
    fn broker_drops_are_counted_from_the_first_value_across_restarts() {
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
    fn only_a_routes_first_qos_0_message_is_news() {
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
