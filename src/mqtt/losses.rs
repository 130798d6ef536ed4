//! What went past the journal since it was made: kept over restarts, so that a person need not look at the right
//! moment.

use crate::mqtt::unrouted::Unrouted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Counts of messages, since the journal was made. They only grow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Losses {
    /// Messages over `max_payload_bytes`, of which only the head was kept.
    pub oversize: u64,
    /// Messages of no route by the beginning of their topics, at most sixteen.
    pub unrouted: Vec<(String, u64)>,
    /// Messages that the broker dropped, over all its clients, as far as it told.
    pub broker_dropped: u64,
    /// Connections on which the broker had lost a session of ours.
    pub sessions_lost: u64,
    /// 1: the first broker of this journal kept a session for a journal that there was before.
    #[serde(default)]
    pub journals_missing: u64,
    /// The journal was made, and no broker has answered since.
    #[serde(default)]
    unanswered: bool,
    /// The broker's own count of what it dropped, as it stood last, and of which broker.
    #[serde(default)]
    broker_count: Option<(String, u64)>,
    /// Routes on which a message came, by their filters.
    #[serde(default)]
    heard: BTreeSet<String>,
}

impl Losses {
    /// The journal was made a moment ago.
    pub(super) fn begin(&mut self) {
        self.unanswered = true;
    }

    /// A broker answered; whether that is news. A session that it kept is that of a journal which there was before: this one never
    /// had a connection.
    pub(super) fn answered(&mut self, session_kept: bool) -> bool {
        if !std::mem::take(&mut self.unanswered) {
            return false;
        }
        self.journals_missing += u64::from(session_kept);
        true
    }

    /// A message of no route came.
    pub(super) fn unrouted(&mut self, topic: &str) {
        let mut by_prefix = Unrouted::of(&self.unrouted);
        by_prefix.came(topic, 0);
        self.unrouted = by_prefix.totals();
    }

    /// The broker's own count: what it dropped since it was heard last, also while we were away. The first count of a broker
    /// says nothing of what was meant for us; a smaller one is that of a broker that started anew.
    pub(super) fn count(&mut self, url: &str, count: u64) -> u64 {
        let last = self.broker_count.take().filter(|(broker, _)| broker == url);
        let rise = last.map_or(0, |(_, last)| count.checked_sub(last).unwrap_or(count));
        self.broker_count = Some((url.to_owned(), count));
        self.broker_dropped = self.broker_dropped.saturating_add(rise);
        rise
    }

    /// A message came on the route of these filters; whether that is news.
    pub(super) fn hear(&mut self, route: &str) -> bool {
        // Routes come and go with the configuration; a set that only grows has an end.
        if self.heard.contains(route) || self.heard.len() >= 256 {
            return false;
        }
        self.heard.insert(route.to_owned())
    }

    /// Whether a message ever came on the route of these filters.
    pub(super) fn heard(&self, route: &str) -> bool {
        self.heard.contains(route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_drops_while_we_are_away_is_counted() {
        let mut losses = Losses::default();
        let rises: Vec<_> = [100, 100, 103, 2, 2, 5].map(|count| losses.count("mqtt://b", count)).into();
        assert_eq!(rises, [0, 0, 3, 2, 0, 3]);
        let bytes = serde_json::to_vec(&losses).expect("encodes");
        let mut later: Losses = serde_json::from_slice(&bytes).expect("reads back");
        assert_eq!((later.count("mqtt://b", 45), later.broker_dropped), (40, 48));
        assert_eq!(later.count("mqtt://other", 1000), 0, "another broker's count");
    }

    #[test]
    fn only_a_new_journal_finds_a_session_of_another_one() {
        let first_answers = |made: bool, kept: [bool; 3]| {
            let mut losses = Losses::default();
            if made {
                losses.begin();
            }
            let bytes = serde_json::to_vec(&losses).expect("encodes");
            let mut later: Losses = serde_json::from_slice(&bytes).expect("reads back");
            let news = kept.map(|kept| later.answered(kept));
            (news, later.journals_missing)
        };
        assert_eq!(first_answers(true, [true, true, true]), ([true, false, false], 1));
        assert_eq!(first_answers(true, [false, true, true]), ([true, false, false], 0), "its own session by then");
        assert_eq!(first_answers(false, [true, true, true]), ([false; 3], 0), "a journal of before");
    }

    #[test]
    fn messages_of_no_route_are_counted_by_prefix_over_runs() {
        let mut losses = Losses::default();
        ["a/b/c", "a/b/d", "x"].into_iter().for_each(|topic| losses.unrouted(topic));
        assert_eq!(losses.unrouted, [("a/b".to_owned(), 2), ("x".to_owned(), 1)]);
        (0..100).for_each(|n| losses.unrouted(&format!("{n}/x")));
        assert_eq!(losses.unrouted.len(), 16);
        assert_eq!(losses.unrouted.iter().map(|(_, messages)| messages).sum::<u64>(), 103);
    }
}
