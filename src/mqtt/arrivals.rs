//! What has come on one connection, and what follows from it when a session was resumed. Pure.
//!
//! - **A second visit.** Mosquitto 2.0 holds back one QoS 1 message for each QoS 0 message that it owes a kept session
//!   while our window is full, and sends it on the *next* connection, however much later. So after a drained backlog with
//!   QoS 0 traffic the connection is left politely and made anew, once per outage.
//! - **Silent filters.** Some brokers keep a session and lose its subscriptions. So a filter of a resumed session under
//!   which nothing comes is asked for again, once per connection.

use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Fewer QoS 1 messages than this do not count as a backlog: Mosquitto's window is 20 unless set, and only a full one
/// holds back.
const BACKLOG: u64 = 20;
/// Without a QoS 1 message for so long a backlog is drained.
const QUIET: Duration = Duration::from_secs(1);
/// Where live traffic leaves no such pause, a backlog is taken for drained after this.
const LATEST: Duration = Duration::from_secs(60);

/// What has come on a connection.
#[derive(Debug)]
pub(super) struct Arrivals {
    since: Instant,
    /// A backlog is taken for drained from here on, pause or not.
    latest: Instant,
    resumed: bool,
    qos0: u64,
    qos1: u64,
    last_qos1: Instant,
    /// Whether a second visit is out of the question, or was made.
    visited: bool,
    /// Filters under which something came.
    heard: BTreeSet<String>,
    /// Whether silent filters were asked for again.
    asked: bool,
}

impl Arrivals {
    /// Of a connection that was made at `now`. `second`: it is a second visit itself.
    pub(super) fn new(now: Instant, resumed: bool, second: bool) -> Arrivals {
        let (heard, asked, latest) = (BTreeSet::new(), !resumed, now + LATEST);
        let visited = second || !resumed;
        Arrivals { since: now, latest, resumed, qos0: 0, qos1: 0, last_qos1: now, visited, heard, asked }
    }

    /// A message came, under a filter of the routes or under none.
    pub(super) fn came(&mut self, now: Instant, qos0: bool, filter: Option<&str>) {
        if qos0 {
            self.qos0 += 1;
        } else {
            self.qos1 += 1;
            self.last_qos1 = now;
        }
        if let Some(filter) = filter.filter(|filter| !self.asked && !self.heard.contains(*filter)) {
            self.heard.insert(filter.to_owned());
        }
    }

    /// When [`Arrivals::second_visit`] may say yes.
    pub(super) fn visit_at(&self) -> Option<Instant> {
        let due = !self.visited && self.qos0 > 0 && self.qos1 >= BACKLOG;
        due.then(|| (self.last_qos1 + QUIET).min(self.latest))
    }

    /// Whether the connection is to be left for a second visit now. `idle`: every ack has left.
    pub(super) fn second_visit(&mut self, now: Instant, idle: bool) -> bool {
        let due = self.visit_at().is_some_and(|at| at <= now);
        if due && !idle {
            // Looked at again after the next pause.
            self.last_qos1 = now;
            self.latest = now + LATEST;
        }
        self.visited |= due && idle;
        due && idle
    }

    /// When silent filters are asked for again, if ever. `after`: how long nothing may come.
    pub(super) fn ask_at(&self, after: Duration) -> Option<Instant> {
        (self.resumed && !self.asked && !after.is_zero()).then(|| self.since + after)
    }

    /// The filters to ask for again: those of `filters` under which nothing came.
    pub(super) fn silent<'f>(&mut self, filters: impl Iterator<Item = &'f String>) -> Vec<String> {
        self.asked = true;
        let heard = std::mem::take(&mut self.heard);
        filters.filter(|filter| !heard.contains(*filter)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_a_backlog_with_qos_0_causes_a_second_visit(
            resumed: bool, second: bool, came in prop::collection::vec((0u64..1_500, any::<bool>()), 0..80),
        ) {
            let start = Instant::now();
            let mut arrivals = Arrivals::new(start, resumed, second);
            let (mut now, mut visits) = (start, 0);
            for (pause_ms, qos0) in &came {
                now += Duration::from_millis(*pause_ms);
                visits += u32::from(arrivals.second_visit(now, true));
                arrivals.came(now, *qos0, None);
            }
            visits += u32::from(arrivals.second_visit(now + LATEST, true));
            let weak = came.iter().filter(|(_, qos0)| *qos0).count();
            let wanted = resumed && !second && weak > 0 && (came.len() - weak) as u64 >= BACKLOG;
            prop_assert_eq!(visits, u32::from(wanted));
        }
    }

    #[test]
    fn nothing_is_left_while_acks_are_owed() {
        let start = Instant::now();
        let mut arrivals = Arrivals::new(start, true, false);
        arrivals.came(start, true, None);
        (0..BACKLOG).for_each(|_| arrivals.came(start, false, None));
        assert!(!arrivals.second_visit(start + QUIET / 2, true), "no pause yet");
        assert!(!arrivals.second_visit(start + QUIET, false));
        assert!(!arrivals.second_visit(start + QUIET, true), "a pause of its own");
        assert!(arrivals.second_visit(start + 2 * QUIET, true));
    }

    #[test]
    fn only_filters_silent_on_a_resumed_session_are_asked_again() {
        let (start, after) = (Instant::now(), Duration::from_secs(300));
        let filters = ["a/#".to_owned(), "b/#".to_owned()];
        let mut arrivals = Arrivals::new(start, true, false);
        arrivals.came(start, false, Some("a/#"));
        assert_eq!(arrivals.ask_at(after), Some(start + after));
        assert_eq!(arrivals.silent(filters.iter()), ["b/#"]);
        assert_eq!(arrivals.ask_at(after), None);
        assert_eq!(Arrivals::new(start, false, false).ask_at(after), None, "a new session was just asked");
        assert_eq!(Arrivals::new(start, true, false).ask_at(Duration::ZERO), None, "switched off");
    }
}
