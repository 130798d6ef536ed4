//! What agent and broker say between CONNACK and the first messages: which session this is, and which filters it shall hold.
//!
//! The broker's own count is asked for at every connection, because only a SUBSCRIBE brings its present value, and last,
//! because a broker may cut the connection over it instead of refusing; then it is not asked for again, in later runs
//! neither. With QoS 1: a QoS 0 subscription in a kept session makes Mosquitto hold back QoS 1 messages ([`crate::mqtt::arrivals`]).

use crate::mqtt::arrivals::Arrivals;
use crate::mqtt::connection::{End, Link};
use crate::mqtt::receive::{BROKER_COUNT, BROKER_RECEIVED, COUNT_REFUSALS};
use crate::mqtt::subscriptions::{Ask, Grant};
use crate::mqtt::{Intake, IntakeState};
use rumqttc::mqttbytes::v4::{ConnAck, Packet, SubAck, SubscribeFilter, SubscribeReasonCode};
use rumqttc::{MqttState, Publish, QoS};
use tokio::time::Instant;

/// A filter that no session holds.
const NO_FILTER: &str = "tidegate/none";

impl Intake {
    pub(super) fn connected(&mut self, connack: &ConnAck, link: &mut Link) {
        self.connections += 1;
        link.number = self.connections;
        link.online = true;
        (link.since, link.traffic_asked) = (Instant::now(), Instant::now());
        link.session_kept = connack.session_present;
        let (connection, session_kept) = (link.number, link.session_kept);
        let second = std::mem::take(&mut self.second_visit);
        link.arrivals = Arrivals::new(link.since, session_kept, second);
        let lost = self.subscriptions.lost(session_kept);
        if lost {
            tracing::error!(
                client_id = self.options.broker.client_id,
                "the broker did not keep our session: what it held for us is lost; let it keep sessions over a restart (persistence), then see `tidegate status`"
            );
        }
        if !session_kept {
            self.memory.session_lost();
        }
        self.recogniser.connected(session_kept);
        // Before anything new is appended: a kill must not bring back acks that a lost session has closed.
        self.note_open_acks();
        let asks = self.subscriptions.connected(session_kept);
        for filter in self.subscriptions.held() {
            self.shared.answered(filter, Grant::AtLeastOnce);
        }
        let now_ms = self.options.clock.now().boottime_ms;
        self.shared.session(connection, session_kept, lost, now_ms);
        self.save_if_due();
        if self.shared.enter(IntakeState::Online) {
            tracing::info!(connection, session_kept, "connected to the broker");
        }
        self.ask(asks, link);
        self.recogniser.exchanging(self.subscriptions.exchanging());
        self.keep_filters(link);
    }

    /// Without this the client library takes the release of a packet that it did not see in this process for a breach of
    /// protocol, at every connection anew.
    pub(super) fn release_old(&self, state: &mut MqttState) {
        for id in &self.releases {
            let mut seen = Publish::new("", QoS::ExactlyOnce, Vec::new());
            seen.pkid = *id;
            // A QoS 2 message is only noted by its id here: nothing is sent, and it cannot fail.
            let _ = state.handle_incoming_packet(Packet::Publish(seen));
        }
        state.events.clear();
    }

    pub(super) fn ask(&mut self, asks: Vec<Ask>, link: &Link) {
        for ask in asks {
            let filter = |path: &str, qos| SubscribeFilter::new(path.to_owned(), qos);
            let handed = match &ask {
                Ask::Subscribe(filters) => {
                    link.client.try_subscribe_many(filters.iter().map(|path| filter(path, QoS::AtLeastOnce)))
                }
                Ask::Unsubscribe(filter) => link.client.try_unsubscribe(filter.as_str()),
                Ask::BrokerCount(topic) => link.client.try_subscribe_many([filter(topic, QoS::AtLeastOnce)]),
                // The count need not be queued for us while we are away.
                Ask::Barrier if self.subscriptions.wants(BROKER_COUNT) => link.client.try_unsubscribe(NO_FILTER),
                Ask::Barrier => link.client.try_unsubscribe(BROKER_COUNT),
            };
            match handed {
                Ok(()) => {
                    if let Ask::Subscribe(filters) = &ask {
                        filters.iter().for_each(|filter| self.recogniser.subscribing(filter));
                    }
                    self.subscriptions.asked(ask);
                }
                Err(error) => tracing::error!(%error, ?ask, "a filter could not be asked for"),
            }
        }
    }

    pub(super) fn granted(&mut self, suback: &SubAck, link: &mut Link) {
        let grants = suback.return_codes.iter().map(|code| match code {
            SubscribeReasonCode::Success(qos) => Grant::of(Some(*qos as u8)),
            SubscribeReasonCode::Failure => Grant::of(None),
        });
        if self.subscriptions.waits_for_count() {
            self.counts.count_refusals = 0;
        }
        if self.subscriptions.is_about(suback.pkid, BROKER_RECEIVED) && !self.subscriptions.wants(BROKER_RECEIVED) {
            self.ask(vec![Ask::Unsubscribe(BROKER_RECEIVED.to_owned())], link);
        }
        let answers = self.subscriptions.granted(suback.pkid, &grants.collect::<Vec<_>>());
        for answer in answers {
            let filter = answer.filter.as_str();
            self.shared.answered(filter, answer.grant);
            match answer.grant {
                _ if !answer.news => {}
                Grant::AtLeastOnce => tracing::info!(filter, "subscribed"),
                Grant::AtMostOnce => {
                    tracing::warn!(filter, "the broker granted QoS 0 only: it cannot hold messages back")
                }
                Grant::Refused => {
                    tracing::error!(
                        filter,
                        "the broker refused the filter; let this client read it in the broker's ACL"
                    );
                }
            }
        }
        self.keep_filters(link);
    }

    /// Once the broker has answered everything: keeps what its session holds, and asks for its own count, last, because
    /// a broker may cut the connection over it.
    pub(super) fn keep_filters(&mut self, link: &mut Link) {
        if !self.subscriptions.settled() {
            return;
        }
        let surplus = self.subscriptions.surplus();
        if !surplus.is_empty() {
            // Every SUBSCRIBE is answered: now what is gone may go.
            self.ask(surplus, link);
            return;
        }
        if link.exchanged.is_none() && self.recogniser.is_exchanging() {
            link.exchanged = Some(Instant::now() + self.timing.exchanged);
        }
        self.memory.keep_asked(self.subscriptions.maybe());
        self.memory.keep_filters(self.subscriptions.held().clone());
        link.again = self.subscriptions.incomplete().then(|| Instant::now() + self.timing.refused_again);
        if !std::mem::replace(&mut link.count_asked, true) && self.counts.count_refusals < COUNT_REFUSALS {
            self.ask(vec![Ask::BrokerCount(BROKER_COUNT)], link);
        }
    }

    pub(super) fn blame_count(&mut self, end: &End) {
        if matches!(end, End::Failed(_)) && self.subscriptions.waits_for_count() {
            self.counts.count_refusals += 1;
            if self.counts.count_refusals == COUNT_REFUSALS {
                self.memory.keep_count_refused();
                tracing::info!(topic = BROKER_COUNT, "the broker does not let us see what it drops");
            }
        }
    }

    /// What a connection asks for in the long run: silent filters once more, the broker's traffic, and a second visit.
    pub(super) fn look_after(&mut self, now: Instant, link: &mut Link) {
        if link.arrivals.ask_at(self.options.resubscribe_after).is_some_and(|at| at <= now) {
            let filters = self.options.routes.iter().flat_map(|route| &route.filters);
            let silent = link.arrivals.silent(filters);
            if !silent.is_empty() {
                tracing::info!(filters = silent.join(", "), "nothing came on a resumed session; subscribing again");
                self.ask(self.subscriptions.again(&silent), link);
            }
        }
        if link.traffic_asked + self.timing.traffic <= now {
            self.ask_for_traffic(now, link);
        }
        let idle = self.unacked.messages == 0 && link.acks.have_left();
        if link.arrivals.second_visit(now, idle) {
            tracing::info!(
                "connecting once more: brokers hold messages back behind QoS 0 traffic until the next connection"
            );
            link.part(now + self.timing.part, true);
        }
    }

    /// While a route is silent: how much the broker has received. Its count changes all the time, and a session that held it
    /// would fill with it while we are away; so it is released as soon as it is granted, and what comes is the count that the
    /// broker retains.
    fn ask_for_traffic(&mut self, now: Instant, link: &mut Link) {
        link.traffic_asked = now;
        let refused = self.counts.count_refusals >= COUNT_REFUSALS;
        if !refused && self.subscriptions.settled() && self.shared.is_silent(self.timing.traffic.as_millis() as u64) {
            self.ask(vec![Ask::BrokerCount(BROKER_RECEIVED)], link);
        }
    }

    /// The broker's count of what it received came.
    pub(super) fn broker_received(&mut self, publish: &Publish, link: &Link) {
        if let Some(count) = std::str::from_utf8(&publish.payload).ok().and_then(|text| text.trim().parse().ok()) {
            self.shared.broker_received(count);
        }
        // Not a replay: a run that was cut off has left the filter in the session.
        if !publish.retain && link.online && !link.stopping() && !self.subscriptions.wants(BROKER_RECEIVED) {
            self.ask(vec![Ask::Unsubscribe(BROKER_RECEIVED.to_owned())], link);
        }
    }
}
