//! Since when each route is silent, and what passed at the broker meanwhile. Pure.
//!
//! A granted filter proves no read access, and a filter may be spelled so that it matches nothing. Both look like a quiet day,
//! unless the broker has traffic: messages on other routes, or a rise of its own count of what it received.

use crate::mqtt::snapshot::RouteStatus;

/// What is known of one route.
#[derive(Clone, Debug, Default)]
struct Row {
    last_ms: Option<u64>,
    last_qos0_ms: Option<u64>,
    longest_pause_ms: u64,
    elsewhere: u64,
}

/// What is known of all routes; times in milliseconds since boot.
#[derive(Debug)]
pub(super) struct Silence {
    rows: Vec<Row>,
    /// When the present connection was made.
    connected_ms: Option<u64>,
    /// The broker's count of what it received, and when.
    counted: Option<(u64, u64)>,
}

impl Silence {
    pub(super) fn new(routes: usize) -> Silence {
        Silence { rows: vec![Row::default(); routes], connected_ms: None, counted: None }
    }

    /// A connection was made: what passed before it says nothing.
    pub(super) fn connected(&mut self, now_ms: u64) {
        (self.connected_ms, self.counted) = (Some(now_ms), None);
        self.rows.iter_mut().for_each(|row| row.elsewhere = 0);
    }

    /// There is no connection: no route counts as silent.
    pub(super) fn disconnected(&mut self) {
        self.connected_ms = None;
    }

    /// A message came on a route.
    pub(super) fn came(&mut self, route: usize, now_ms: u64, qos0: bool) {
        self.passed(1);
        let row = &mut self.rows[route];
        if let Some(last_ms) = row.last_ms {
            row.longest_pause_ms = row.longest_pause_ms.max(now_ms.saturating_sub(last_ms));
        }
        (row.last_ms, row.elsewhere) = (Some(now_ms), 0);
        if qos0 {
            row.last_qos0_ms = Some(now_ms);
        }
    }

    /// So many messages passed that belong to none of them.
    pub(super) fn passed(&mut self, messages: u64) {
        self.rows.iter_mut().for_each(|row| row.elsewhere = row.elsewhere.saturating_add(messages));
    }

    /// The broker's count: what it rose by passed elsewhere for each route that was silent all the time in between.
    pub(super) fn counted(&mut self, count: u64, now_ms: u64) {
        if let Some((last, at_ms)) = self.counted.replace((count, now_ms)) {
            let rise = count.saturating_sub(last);
            for row in self.rows.iter_mut().filter(|row| row.last_ms.is_none_or(|last_ms| last_ms < at_ms)) {
                row.elsewhere = row.elsewhere.saturating_add(rise);
            }
        }
    }

    /// Whether a route has been silent for so long.
    pub(super) fn is_any(&self, now_ms: u64, for_ms: u64) -> bool {
        self.rows.iter().any(|row| self.silent_ms(row, now_ms).is_some_and(|silent_ms| silent_ms >= for_ms))
    }

    fn silent_ms(&self, row: &Row, now_ms: u64) -> Option<u64> {
        let since = self.connected_ms?.max(row.last_ms.unwrap_or_default());
        Some(now_ms.saturating_sub(since))
    }

    /// Puts what is known of a route into its row of the status.
    pub(super) fn put_into(&self, index: usize, status: &mut RouteStatus, now_ms: u64) {
        let row = &self.rows[index];
        let ago_s = |at_ms: u64| now_ms.saturating_sub(at_ms) / 1000;
        status.last_message_s = row.last_ms.map(ago_s);
        status.last_qos0_s = row.last_qos0_ms.map(ago_s);
        status.silent_s = self.silent_ms(row, now_ms).map(|silent_ms| silent_ms / 1000);
        status.longest_pause_s = row.longest_pause_ms / 1000;
        status.elsewhere = row.elsewhere;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(silence: &Silence, index: usize, now_ms: u64) -> (Option<u64>, u64) {
        let silent_s = silence.silent_ms(&silence.rows[index], now_ms).map(|ms| ms / 1000);
        (silent_s, silence.rows[index].elsewhere)
    }

    #[test]
    fn silence_counts_other_traffic_since_the_routes_last_message() {
        let mut silence = Silence::new(2);
        assert_eq!(row(&silence, 0, 5000), (None, 0), "no connection");
        silence.connected(5000);
        silence.came(0, 6000, false);
        (0..3).for_each(|n| silence.came(1, 7000 + n, false));
        assert_eq!((row(&silence, 0, 9000), row(&silence, 1, 9000)), ((Some(3), 3), (Some(1), 0)));
        silence.passed(2);
        assert_eq!(row(&silence, 0, 9000).1, 5);
        silence.came(0, 20_000, false);
        assert_eq!((row(&silence, 0, 21_000), silence.rows[0].longest_pause_ms), ((Some(1), 0), 14_000));
        silence.disconnected();
        assert_eq!(row(&silence, 0, 21_000).0, None);
    }

    #[test]
    fn the_brokers_count_covers_routes_that_were_silent_meanwhile() {
        let mut silence = Silence::new(2);
        silence.connected(0);
        silence.counted(100, 1000);
        silence.came(1, 2000, false);
        silence.counted(150, 3000);
        assert_eq!((row(&silence, 0, 3000).1, row(&silence, 1, 3000).1), (51, 0));
        silence.counted(3, 4000);
        assert_eq!(row(&silence, 0, 4000).1, 51, "a broker that started anew");
    }
}
