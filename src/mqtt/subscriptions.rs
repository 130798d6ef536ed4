//! Which filters to ask the broker for, and what it answered. Pure.
//!
//! A SUBSCRIBE makes the broker send its retained messages again, so it is sent only for filters that the session does
//! not hold as far as we know: all of them when the session is new, otherwise those that were added or refused. A filter
//! counts as held from the SUBACK that grants it.
//!
//! What is new is subscribed first, and only when the broker has answered is released what is gone: what is published in
//! between comes under one of them, or twice, and never not at all. What was ever asked for is remembered until the
//! broker has released it, so that no crash leaves an unknown filter behind.

use crate::mqtt::cache::Asked;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Most filters in one SUBSCRIBE; some brokers refuse more.
const FILTERS_PER_PACKET: usize = 8;

/// One packet to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// SUBSCRIBE with QoS 1.
    Subscribe(Vec<String>),
    /// UNSUBSCRIBE from one filter.
    Unsubscribe(String),
    /// SUBSCRIBE to what the broker counts about itself; not part of the routes.
    BrokerCount(&'static str),
    /// UNSUBSCRIBE of what is not held: when it is answered, the broker has everything that was sent before.
    Barrier,
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
    /// The broker refused it: no message will come under it.
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
    /// What the session may hold: asked for by this run or an earlier one, and not released.
    maybe: BTreeSet<String>,
    /// Whether the broker had a session of ours, as far as we know.
    session: bool,
    /// Asked for on the present connection.
    fresh: BTreeSet<String>,
    answers: HashMap<String, Grant>,
    /// Handed to the client library, in order; it has not said under which packet id they leave.
    asked: VecDeque<Ask>,
    /// On the wire, by packet id.
    sent: HashMap<u16, Ask>,
}

impl Subscriptions {
    /// `held`: what the session held when the last run knew, if it did; the third: what it may hold.
    pub(super) fn new(
        wanted: BTreeSet<String>,
        held: Option<BTreeSet<String>>,
        Asked { filters, session }: Asked,
    ) -> Subscriptions {
        let held = held.unwrap_or_default();
        let maybe = filters.union(&held).cloned().collect();
        let (answers, asked, sent) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Subscriptions { wanted, held, maybe, session, fresh: BTreeSet::new(), answers, asked, sent }
    }

    /// Whether a CONNACK says that the broker has lost a session of ours.
    pub(super) fn lost(&self, session_present: bool) -> bool {
        self.session && !session_present
    }

    /// A CONNACK: what to ask for.
    pub(super) fn connected(&mut self, session_present: bool) -> Vec<Ask> {
        self.session = true;
        self.asked.clear();
        self.sent.clear();
        self.fresh.clear();
        if !session_present {
            self.held.clear();
            self.maybe.clear();
        }
        let missing = self.missing();
        if missing.is_empty() { self.surplus() } else { missing }
    }

    /// UNSUBSCRIBEs for what the session may hold and no route wants; to be sent once every SUBSCRIBE is answered.
    pub(super) fn surplus(&self) -> Vec<Ask> {
        self.maybe.difference(&self.wanted).cloned().map(Ask::Unsubscribe).collect()
    }

    /// Whether filters are being exchanged: a message may come under an old one and under a new one.
    pub(super) fn exchanging(&self) -> bool {
        !self.fresh.is_empty() && !self.maybe.is_subset(&self.wanted)
    }

    /// What was asked for on the present connection is not taken for held any more.
    pub(super) fn forget_fresh(&mut self) {
        for filter in std::mem::take(&mut self.fresh) {
            self.held.remove(&filter);
        }
    }

    /// What the session may hold once the next connection is made.
    pub(super) fn maybe_soon(&self) -> Asked {
        Asked { filters: self.maybe.union(&self.wanted).cloned().collect(), session: self.session }
    }

    /// What the session may hold.
    pub(super) fn maybe(&self) -> Asked {
        Asked { filters: self.maybe.clone(), session: self.session }
    }

    /// Whether a route asks for this very filter.
    pub(super) fn wants(&self, filter: &str) -> bool {
        self.wanted.contains(filter)
    }

    /// SUBSCRIBEs for these filters, whatever is held.
    pub(super) fn again(&self, filters: &[String]) -> Vec<Ask> {
        filters.chunks(FILTERS_PER_PACKET).map(|chunk| Ask::Subscribe(chunk.to_vec())).collect()
    }

    /// SUBSCRIBEs for the filters that the session does not hold.
    pub(super) fn missing(&self) -> Vec<Ask> {
        let missing: Vec<_> = self.wanted.difference(&self.held).cloned().collect();
        self.again(&missing)
    }

    /// `ask` was handed to the client library.
    pub(super) fn asked(&mut self, ask: Ask) {
        if let Ask::Subscribe(filters) = &ask {
            self.fresh.extend(filters.iter().cloned());
            self.maybe.extend(filters.iter().cloned());
        }
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
        // A filter without a return code was not granted, whatever the broker meant.
        let grants = grants.iter().copied().chain(std::iter::repeat(Grant::Refused));
        filters.into_iter().zip(grants).map(|(filter, grant)| self.answered(filter, grant)).collect()
    }

    /// Whether a packet on the wire asks for this count of the broker's.
    pub(super) fn is_about(&self, packet_id: u16, topic: &str) -> bool {
        matches!(self.sent.get(&packet_id), Some(Ask::BrokerCount(count)) if *count == topic)
    }

    /// An UNSUBACK; `true` when it answers a barrier.
    pub(super) fn released(&mut self, packet_id: u16) -> bool {
        match self.sent.remove(&packet_id) {
            Some(Ask::Unsubscribe(filter)) => {
                self.held.remove(&filter);
                self.maybe.remove(&filter);
                false
            }
            ask => ask == Some(Ask::Barrier),
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
        fn subscription_requests_turn_held_filters_into_wanted_ones(
            wanted in names(), held in names(), maybe in names(), present: bool,
        ) {
            let maybe: BTreeSet<String> = maybe.union(&held).cloned().collect();
            let mut subscriptions = Subscriptions::new(
                wanted.clone(),
                Some(held.clone()),
                Asked { filters: maybe.clone(), session: true },
            );
            let mut session = if present { maybe } else { BTreeSet::new() };
            let sure = if present { held } else { BTreeSet::new() };
            let mut asks = subscriptions.connected(present);
            let mut id = 0;
            while !asks.is_empty() {
                let mut kinds = BTreeSet::new();
                for ask in asks {
                    id += 1;
                    subscriptions.asked(ask.clone());
                    subscriptions.sent(id);
                    kinds.insert(matches!(ask, Ask::Subscribe(_)));
                    match ask {
                        Ask::Subscribe(filters) => {
                            prop_assert!(!filters.is_empty() && filters.len() <= FILTERS_PER_PACKET);
                            subscriptions.granted(id, &vec![Grant::AtLeastOnce; filters.len()]);
                            for filter in filters {
                                prop_assert!(!sure.contains(&filter), "a needless SUBSCRIBE brings retained messages again");
                                session.insert(filter);
                            }
                        }
                        Ask::Unsubscribe(filter) => {
                            prop_assert!(wanted.is_subset(&session), "what is new is subscribed before anything goes");
                            prop_assert!(!subscriptions.released(id));
                            prop_assert!(session.remove(&filter));
                        }
                        Ask::BrokerCount(_) | Ask::Barrier => prop_assert!(false, "not a route"),
                    }
                }
                prop_assert_eq!(kinds.len(), 1, "the grant comes in between");
                asks = subscriptions.surplus();
            }
            prop_assert!(subscriptions.settled() && !subscriptions.incomplete());
            prop_assert_eq!(&session, &wanted);
            prop_assert_eq!(subscriptions.held(), &wanted);
            prop_assert!(subscriptions.connected(true).is_empty());
        }
    }

    #[test]
    fn a_refused_filter_is_retried_and_reported_only_once() {
        let mut subscriptions = Subscriptions::new(set(&["a", "b"]), None, Asked::default());
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
        let mut subscriptions = Subscriptions::new(set(&["a", "b"]), None, Asked::default());
        let asks = subscriptions.connected(false);
        subscriptions.asked(asks[0].clone());
        subscriptions.sent(1);
        subscriptions.granted(1, &[Grant::AtLeastOnce]);
        assert_eq!(subscriptions.held(), &set(&["a"]));
    }

    #[test]
    fn answers_to_a_dead_connection_do_not_serve_the_next() {
        let mut subscriptions = Subscriptions::new(set(&["a"]), None, Asked::default());
        subscriptions.asked(subscriptions.missing()[0].clone());
        subscriptions.sent(1);
        subscriptions.connected(false);
        assert!(subscriptions.granted(1, &[Grant::AtLeastOnce]).is_empty());
        assert!(subscriptions.incomplete());
    }
}
