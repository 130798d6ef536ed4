//! From a PUBLISH to an append, and from a ticket back to the count of what is not durable yet.

use crate::journal::{Append, Item, Unjournaled};
use crate::mqtt::connection::{End, Link};
use crate::mqtt::dedup::Delivery;
use crate::mqtt::packet_limit::{HEAD_BYTES, Limit};
use crate::mqtt::{Intake, PendingAck};
use crate::profile::Profile;
use crate::record::{Draft, Identity, KeyKind, Message, TimeSource};
use crate::topic::{matches, matches_delivered};
use crate::visible;
use bytes::Bytes;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;

/// The broker's count of messages that it dropped, where it is a Mosquitto.
pub(super) const BROKER_COUNT: &str = "$SYS/broker/publish/messages/dropped";

/// The broker's count of messages that it received, where it is a Mosquitto.
pub(super) const BROKER_RECEIVED: &str = "$SYS/broker/publish/messages/received";

/// Connections in a row that may die over the question for the broker's own count before it is not asked any more.
pub(super) const COUNT_REFUSALS: u8 = 2;

/// What a message counts for beside topic and payload: its envelope in memory. Bounds a flood of empty messages.
const ENVELOPE_BYTES: u64 = 256;

/// Said once a route, with the remedy of the publisher that is there.
fn say_qos0(profile: &str, topic: &str) {
    let remedy = Profile::qos_remedy_of(profile).unwrap_or_else(|| "let the publisher use QoS 1".to_owned());
    tracing::warn!(
        profile,
        topic = &*visible::line(topic),
        "a message came with QoS 0: the broker cannot hold it back; {remedy}"
    );
}

/// What a delivery that is not kept counts for. With a packet id nothing: there are 65,535 of them, and if they counted, a
/// broker that sends all its unacked messages again at every connection could fill the bound with repeats before the
/// first of their acks has left, at every connection anew.
fn repeat_bytes(qos: u8) -> u64 {
    if qos == 0 { ENVELOPE_BYTES } else { 0 }
}

/// What was appended and is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    pub(super) bytes: u64,
    pub(super) messages: u64,
    /// Appends and tickets since the start.
    pub(super) appended: u64,
    pub(super) committed: u64,
}

/// Heads of messages of no route that are kept, per topic prefix and in all, in one run: enough to see what they are, and
/// never so many that they fill the quarantine.
const UNROUTED_HEADS: (u64, u64) = (4, 32);

/// What is logged once or now and then.
#[derive(Debug, Default)]
pub(super) struct Counts {
    unrouted_heads: u64,
    oversize_logged: bool,
    /// Rise of the broker's own loss that is not logged yet, and when the last one was.
    loss: u64,
    loss_logged: Option<Instant>,
    /// Connections that died while the broker owed only the answer about [`BROKER_COUNT`].
    pub(super) count_refusals: u8,
}

impl Counts {
    /// `refused`: an earlier run found that the broker does not let us see its count.
    pub(super) fn new(refused: bool) -> Counts {
        Counts { count_refusals: if refused { COUNT_REFUSALS } else { 0 }, ..Counts::default() }
    }
}

impl Intake {
    /// Takes a message that came on `link`.
    pub(super) fn receive(&mut self, publish: Publish, link: &mut Link) -> Result<(), End> {
        let route = self.route_of(&publish.topic);
        let filter = route.map(|(index, filter)| self.options.routes[index].filters[filter].as_str());
        link.arrivals.came(Instant::now(), publish.qos == QoS::AtMostOnce, filter);
        if [BROKER_COUNT, BROKER_RECEIVED].contains(&&*publish.topic) {
            match &*publish.topic {
                BROKER_COUNT => self.broker_count(&publish.payload),
                _ => self.broker_received(&publish, link),
            }
            if route.is_none() {
                // With QoS 1 it has an ack in its turn, like everything else.
                let qos = publish.qos as u8;
                self.recogniser.passed(publish.pkid, publish.dup);
                return match qos {
                    0 => Ok(()),
                    _ if link.stopping() => Ok(()),
                    _ => self.append(Item::Repeat, link.ticket(publish.pkid, qos, 0)),
                };
            }
        }
        if link.stopping() && publish.qos != QoS::AtMostOnce {
            return Ok(());
        }
        let packet_bytes = publish.topic.len() + 4 + publish.payload.len();
        if packet_bytes > Limit::Normal.packet_bytes(self.options.max_payload_bytes) {
            link.oversize = Some(publish.pkid);
        }
        self.shared.taps.came(&publish);
        self.shared.count(|status| {
            status.received += 1;
            status.qos0 += u64::from(publish.qos == QoS::AtMostOnce);
        });
        match route {
            Some(route) => self.routed(route, publish, link),
            None => self.unrouted(publish, link),
        }
    }

    /// Places of the route and of its filter that take a topic: as it was asked for, else as a broker may have renamed it.
    fn route_of(&self, topic: &str) -> Option<(usize, usize)> {
        let under = |takes: fn(&str, &str) -> bool| {
            let mut routes = self.options.routes.iter().enumerate();
            routes
                .find_map(|(index, route)| Some((index, route.filters.iter().position(|filter| takes(filter, topic))?)))
        };
        under(matches).or_else(|| under(matches_delivered))
    }

    /// Tickets came back: their appends are durable. Acks are [`Link`]'s part.
    pub(super) fn committed(&mut self, tickets: &[PendingAck]) {
        for ticket in tickets {
            self.unacked.bytes = self.unacked.bytes.saturating_sub(ticket.bytes);
            self.unacked.messages = self.unacked.messages.saturating_sub(1);
            self.unacked.committed += 1;
            if ticket.place != 0 {
                self.recogniser.numbered(ticket.place, ticket.number);
            }
        }
        self.show_unacked(!tickets.is_empty());
        self.write_snapshot();
        self.note_open_acks();
    }

    /// Tells the journal whose acks are open, if that changed: it goes to disk with the next commit, or soon.
    pub(super) fn note_open_acks(&mut self) {
        if let Some((acks, soon)) = self.recogniser.open_acks() {
            (self.options.note_open_acks)(acks, soon);
        }
    }

    fn routed(&mut self, (index, filter): (usize, usize), publish: Publish, link: &Link) -> Result<(), End> {
        let received = self.options.clock.now();
        let qos = publish.qos as u8;
        let size = publish.payload.len();
        let topic_bytes = publish.topic.len();
        let route = &self.options.routes[index];
        let first_qos0 = self.shared.came(index, received.boottime_ms, qos, (&publish.topic, &publish.payload));
        // The payload still shares the read buffer; only what is kept is copied out of it.
        let message = message(publish);
        let (identity, profile) = (route.identify)(&message, received);
        if first_qos0 {
            say_qos0(profile, &message.topic);
            self.shared.first_qos0(index, &message.topic, profile);
        }
        let (profile, lanes) = (profile.to_owned(), route.lanes.clone());
        let mut draft = Box::new(Draft { received, message, profile, identity, lanes, duplicate: None });
        let delivery =
            Delivery { filter: &route.filters[filter], connection: link.number, session_kept: link.session_kept };
        if size as u64 > self.options.max_payload_bytes {
            let (again, hash) = self.recogniser.judge_head(&draft, delivery);
            let kept = (!again).then_some((Unjournaled::Oversize, hash));
            return self.head(draft, kept, qos, link);
        }
        let left = self.recogniser.leaves_flag();
        let verdict = self.recogniser.judge(&draft, delivery);
        if self.recogniser.leaves_flag() != left {
            self.save_soon();
        }
        let repeat = verdict.is_repeat();
        self.shared.count(|status| {
            status.repeats += u64::from(repeat);
            status.possible_duplicates += u64::from(verdict.duplicate.is_some());
        });
        if repeat {
            return self.append(Item::Repeat, link.ticket(draft.message.packet_id, qos, repeat_bytes(qos)));
        }
        draft.message.payload = Bytes::copy_from_slice(&draft.message.payload);
        (draft.lanes, draft.duplicate) = (verdict.lanes, verdict.duplicate);
        let bytes = (size + topic_bytes) as u64 + ENVELOPE_BYTES;
        let ticket = link.ticket(draft.message.packet_id, qos, bytes);
        self.append(Item::Record(draft), PendingAck { place: verdict.place, ..ticket })
    }

    /// No route wants it: the filters have changed and the broker had queued it, or the broker publishes it under another
    /// name than the filter's. The intake acknowledges it in its turn, or it would come again for ever, counts it by the
    /// beginning of its topic, and keeps the head of the first ones.
    fn unrouted(&mut self, publish: Publish, link: &Link) -> Result<(), End> {
        let received = self.options.clock.now();
        let qos = publish.qos as u8;
        let message = message(publish);
        let of_prefix = self.shared.unrouted(&message.topic, received.boottime_ms);
        if of_prefix == 1 {
            tracing::error!(
                topic = &*visible::line(&message.topic),
                "messages match no route, acknowledged and discarded; name their topics in a route, then reload: systemctl reload tidegate"
            );
        }
        let keep = of_prefix <= UNROUTED_HEADS.0 && self.counts.unrouted_heads < UNROUTED_HEADS.1;
        self.counts.unrouted_heads += u64::from(keep);
        let identity = Identity {
            key: None,
            key_kind: KeyKind::Arrival,
            group: "unrouted".to_owned(),
            device: None,
            record_type: "raw".to_owned(),
            event_time: None,
            time_source: TimeSource::Arrival,
        };
        let profile = "unrouted".to_owned();
        let draft = Box::new(Draft { received, message, profile, identity, lanes: Vec::new(), duplicate: None });
        let delivery = Delivery { filter: "", connection: link.number, session_kept: link.session_kept };
        let kept = match keep {
            true => Some(self.recogniser.judge_head(&draft, delivery)),
            false => {
                self.recogniser.passed(draft.message.packet_id, draft.message.dup);
                None
            }
        };
        let kept = kept.filter(|(again, _)| !again).map(|(_, hash)| (Unjournaled::Unrouted, hash));
        self.head(draft, kept, qos, link)
    }

    /// Hands over the head of a message that is not journaled, unless it was kept before, and the claim to its ack.
    fn head(
        &mut self,
        mut draft: Box<Draft>,
        kept: Option<(Unjournaled, u64)>,
        qos: u8,
        link: &Link,
    ) -> Result<(), End> {
        let (packet_id, size) = (draft.message.packet_id, draft.message.payload.len());
        let Some((why, delivery)) = kept else {
            return self.append(Item::Repeat, link.ticket(packet_id, qos, repeat_bytes(qos)));
        };
        draft.message.payload = Bytes::copy_from_slice(&draft.message.payload[..HEAD_BYTES.min(size)]);
        let bytes = (draft.message.payload.len() + draft.message.topic.len()) as u64 + ENVELOPE_BYTES;
        if why == Unjournaled::Oversize {
            self.oversize(&draft, size);
        }
        let ticket = link.ticket(packet_id, qos, bytes);
        self.append(Item::Head { draft, why, bytes: size as u64, delivery }, ticket)
    }

    fn append(&mut self, item: Item, ticket: PendingAck) -> Result<(), End> {
        let record = matches!(item, Item::Record(_));
        self.appends.send(Append { item, ticket }).map_err(|_| End::JournalGone)?;
        self.unacked.bytes += ticket.bytes;
        self.unacked.messages += 1;
        self.unacked.appended += 1;
        self.show_unacked(false);
        if record {
            self.shared.count(|status| status.taken_bytes += ticket.bytes);
            self.recorded();
        }
        if self.unacked.bytes > self.options.max_unacked_bytes { Err(End::Full) } else { Ok(()) }
    }

    fn oversize(&mut self, draft: &Draft, bytes: usize) {
        self.shared.oversize();
        if !std::mem::replace(&mut self.counts.oversize_logged, true) {
            let most = self.options.max_payload_bytes;
            tracing::error!(
                topic = &*visible::line(&draft.message.topic),
                bytes,
                most,
                "messages over mqtt.max_payload_bytes are not kept; their heads are in the quarantine"
            );
        }
    }

    fn broker_count(&mut self, payload: &[u8]) {
        let Some(count) = std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse().ok()) else { return };
        self.counts.loss = self.counts.loss.saturating_add(self.shared.broker_dropped(count));
        let quiet = self.counts.loss_logged.is_some_and(|last| last.elapsed() < self.timing.loss_log);
        if self.counts.loss > 0 && !quiet {
            self.counts.loss_logged = Some(Instant::now());
            tracing::warn!(
                messages = std::mem::take(&mut self.counts.loss),
                "broker dropped messages before delivery; raise its max_queued_messages"
            );
        }
    }

    fn show_unacked(&self, committed: bool) {
        let Unacked { bytes, messages, .. } = self.unacked;
        self.shared.unacked(messages, bytes, committed);
    }
}

/// What came, free of the client library's types.
pub(super) fn message(publish: Publish) -> Message {
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos: (publish.qos as u8).min(1),
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.pkid,
    }
}
