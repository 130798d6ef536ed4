//! Which filters to ask the broker for, and what it answered. Pure.
//!
//! A SUBSCRIBE makes the broker send its retained messages again, so it is sent only for filters that the session does
//! not hold as far as we know: all of them when the session is new, otherwise those that were added or refused. A filter
//! counts as held from the SUBACK that grants it.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// Most filters in one SUBSCRIBE; some brokers refuse more.
const FILTERS_PER_PACKET: usize = 8;

/// One packet to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// SUBSCRIBE with QoS 1.
    Subscribe(Vec<String>),
    /// UNSUBSCRIBE.
    Unsubscribe(String),
    /// SUBSCRIBE with QoS 0 to what the broker counts about itself; not part of the routes.
    BrokerCount(&'static str),
}

/// What a SUBACK says about one filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) filter: String,
    pub(super) grant: Grant,
    /// Whether the answer differs from the last one about this filter.
    pub(super) news: bool,
}

/// The broker's word on a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grant {
    /// Messages may be held back until they are durable.
    AtLeastOnce,
    /// Granted, but what the broker sends cannot be held back.
    AtMostOnce,
    /// Nothing will come.
    Refused,
}

impl Grant {
    /// Reads a return code: the granted QoS, or `None` for failure.
    pub(super) fn of(qos: Option<u8>) -> Grant {
        match qos {
            None => Grant::Refused,
            Some(0) => Grant::AtMostOnce,
            Some(_) => Grant::AtLeastOnce,
        }
    }
}

/// The filters of the routes, and what is known about the broker's session.
#[derive(Debug)]
pub(super) struct Subscriptions {
    wanted: BTreeSet<String>,
    held: BTreeSet<String>,
    answers: HashMap<String, Grant>,
    /// Handed to the client library, in order; it has not said under which packet id they leave.
    asked: VecDeque<Ask>,
    /// On the wire, by packet id.
    sent: HashMap<u16, Ask>,
}

impl Subscriptions {
    /// `held`: what the session held when the last run knew, if it did.
    pub(super) fn new(wanted: BTreeSet<String>, held: Option<BTreeSet<String>>) -> Subscriptions {
        let held = held.unwrap_or_default();
        Subscriptions { wanted, held, answers: HashMap::new(), asked: VecDeque::new(), sent: HashMap::new() }
    }

    /// A CONNACK: what to ask for.
    pub(super) fn connected(&mut self, session_present: bool) -> Vec<Ask> {
        self.asked.clear();
        self.sent.clear();
        if !session_present {
            self.held.clear();
        }
        let dropped = self.held.difference(&self.wanted).cloned().map(Ask::Unsubscribe).collect::<Vec<_>>();
        dropped.into_iter().chain(self.missing()).collect()
    }

    /// SUBSCRIBEs for the filters that the session does not hold.
    pub(super) fn missing(&self) -> Vec<Ask> {
        let missing: Vec<_> = self.wanted.difference(&self.held).cloned().collect();
        missing.chunks(FILTERS_PER_PACKET).map(|chunk| Ask::Subscribe(chunk.to_vec())).collect()
    }

    /// `ask` was handed to the client library.
    pub(super) fn asked(&mut self, ask: Ask) {
        self.asked.push_back(ask);
    }

    /// The client library sent the oldest ask under `packet_id`.
    pub(super) fn sent(&mut self, packet_id: u16) {
        if let Some(ask) = self.asked.pop_front() {
            self.sent.insert(packet_id, ask);
        }
    }

    /// A SUBACK with one grant per filter; what it says about the filters of the routes.
    pub(super) fn granted(&mut self, packet_id: u16, grants: &[Grant]) -> Vec<Answer> {
        let Some(Ask::Subscribe(filters)) = self.sent.remove(&packet_id) else { return Vec::new() };
        // A filter without a code of its own was not granted, whatever the broker meant.
        let grants = grants.iter().copied().chain(std::iter::repeat(Grant::Refused));
        filters.into_iter().zip(grants).map(|(filter, grant)| self.answered(filter, grant)).collect()
    }

    /// An UNSUBACK.
    pub(super) fn released(&mut self, packet_id: u16) {
        if let Some(Ask::Unsubscribe(filter)) = self.sent.remove(&packet_id) {
            self.held.remove(&filter);
        }
    }

    /// Whether every ask was answered.
    pub(super) fn settled(&self) -> bool {
        self.asked.is_empty() && self.sent.is_empty()
    }

    /// Whether the only unanswered ask is the one for the broker's own count.
    pub(super) fn waits_for_count(&self) -> bool {
        let mut open = self.asked.iter().chain(self.sent.values()).peekable();
        open.peek().is_some() && open.all(|ask| matches!(ask, Ask::BrokerCount(_)))
    }

    /// What the session holds as far as we know.
    pub(super) fn held(&self) -> &BTreeSet<String> {
        &self.held
    }

    /// Whether a filter of the routes is missing from the session.
    pub(super) fn incomplete(&self) -> bool {
        !self.wanted.is_subset(&self.held)
    }

    fn answered(&mut self, filter: String, grant: Grant) -> Answer {
        if grant == Grant::Refused {
            self.held.remove(&filter);
        } else {
            self.held.insert(filter.clone());
        }
        let news = self.answers.insert(filter.clone(), grant) != Some(grant);
        Answer { filter, grant, news }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn names() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("[a-l]", 0..12)
    }

    proptest! {
        #[test]
        fn what_is_asked_turns_what_is_held_into_what_is_wanted(wanted in names(), held in names(), present: bool) {
            let mut subscriptions = Subscriptions::new(wanted.clone(), Some(held.clone()));
            let mut session = if present { held } else { BTreeSet::new() };
            for (index, ask) in subscriptions.connected(present).into_iter().enumerate() {
                let id = index as u16 + 1;
                subscriptions.asked(ask.clone());
                subscriptions.sent(id);
                match ask {
                    Ask::Subscribe(filters) => {
                        prop_assert!(!filters.is_empty() && filters.len() <= FILTERS_PER_PACKET);
                        subscriptions.granted(id, &vec![Grant::AtLeastOnce; filters.len()]);
                        for filter in filters {
                            prop_assert!(session.insert(filter), "a needless SUBSCRIBE brings retained messages again");
                        }
                    }
                    Ask::Unsubscribe(filter) => {
                        subscriptions.released(id);
                        prop_assert!(session.remove(&filter));
                    }
                    Ask::BrokerCount(_) => prop_assert!(false, "not a route"),
                }
            }
            prop_assert!(subscriptions.settled() && !subscriptions.incomplete());
            prop_assert_eq!(&session, &wanted);
            prop_assert_eq!(subscriptions.held(), &wanted);
            prop_assert!(subscriptions.connected(true).is_empty());
        }
    }

    #[test]
    fn a_refused_filter_is_asked_for_again_and_news_only_once() {
        let mut subscriptions = Subscriptions::new(set(&["a", "b"]), None);
        for round in 0..2 {
            let asks = subscriptions.connected(round > 0);
            assert_eq!(
                asks,
                [Ask::Subscribe(if round == 0 { vec!["a".into(), "b".into()] } else { vec!["b".into()] })]
            );
            subscriptions.asked(asks[0].clone());
            subscriptions.sent(1);
            let grants = if round == 0 { vec![Grant::AtLeastOnce, Grant::Refused] } else { vec![Grant::Refused] };
            let answer = subscriptions.granted(1, &grants).pop().expect("an answer");
            assert_eq!((answer.filter.as_str(), answer.grant, answer.news), ("b", Grant::Refused, round == 0));
            assert!(subscriptions.incomplete());
        }
    }

    #[test]
    fn a_suback_with_too_few_codes_grants_nothing_beyond_them() {
        let mut subscriptions = Subscriptions::new(set(&["a", "b"]), None);
        let asks = subscriptions.connected(false);
        subscriptions.asked(asks[0].clone());
        subscriptions.sent(1);
        subscriptions.granted(1, &[Grant::AtLeastOnce]);
        assert_eq!(subscriptions.held(), &set(&["a"]));
    }

    #[test]
    fn answers_to_a_dead_connection_are_not_taken_for_the_new_one() {
        let mut subscriptions = Subscriptions::new(set(&["a"]), None);
        subscriptions.asked(subscriptions.missing()[0].clone());
        subscriptions.sent(1);
        subscriptions.connected(false);
        assert!(subscriptions.granted(1, &[Grant::AtLeastOnce]).is_empty());
        assert!(subscriptions.incomplete());
    }
}
