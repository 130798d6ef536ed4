//! From a PUBLISH to an append, and from a ticket back to the count of what is not durable yet.

use super::link::{End, Link};
use super::repeats::Verdict;
use super::size::{HEAD_BYTES, Limit};
use super::topic::matches;
use super::{Intake, PendingAck};
use crate::journal::{Append, Item};
use crate::record::{Draft, Message};
use bytes::Bytes;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;

/// The broker's count of messages that it dropped, where it is a Mosquitto.
pub(super) const BROKER_COUNT: &str = "$SYS/broker/publish/messages/dropped";

/// What a message counts for beside topic and payload: its envelope in memory. Bounds a flood of empty messages.
const ENVELOPE_BYTES: u64 = 256;

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

/// What is logged once or now and then.
#[derive(Debug, Default)]
pub(super) struct Counts {
    unrouted_logged: bool,
    oversize_logged: bool,
    /// Rise of the broker's own loss that is not logged yet, and when the last one was.
    loss: u64,
    loss_logged: Option<Instant>,
    /// Connections that died while the broker owed only the answer about [`BROKER_COUNT`].
    pub(super) count_refusals: u8,
}

impl Intake {
    /// Takes a message that came on `link`.
    pub(super) fn receive(&mut self, publish: Publish, link: &mut Link) -> Result<(), End> {
        let route = self.options.routes.iter().position(|route| {
            let mut filters = route.filters.iter();
            filters.any(|filter| matches(filter, &publish.topic))
        });
        if publish.topic == BROKER_COUNT {
            self.broker_count(&publish.payload);
            if route.is_none() {
                return Ok(());
            }
        }
        if link.stopping() && publish.qos != QoS::AtMostOnce {
            return Ok(());
        }
        let packet_bytes = publish.topic.len() + 4 + publish.payload.len();
        if packet_bytes > Limit::Normal.packet_bytes(self.options.config.max_payload_bytes) {
            link.oversize = Some(publish.pkid);
        }
        self.shared.count(|status| {
            status.received += 1;
            status.qos0 += u64::from(publish.qos == QoS::AtMostOnce);
        });
        match route {
            Some(route) => self.routed(route, publish, link),
            None => self.unrouted(&publish, link),
        }
    }

    /// Tickets came back: their appends are durable. Acks are [`Link`]'s part.
    pub(super) fn committed(&mut self, tickets: &[PendingAck]) {
        for ticket in tickets {
            self.unacked.bytes = self.unacked.bytes.saturating_sub(ticket.bytes);
            self.unacked.messages = self.unacked.messages.saturating_sub(1);
            self.unacked.committed += 1;
        }
        self.show_unacked();
        self.write_snapshot();
    }

    fn routed(&mut self, index: usize, publish: Publish, link: &Link) -> Result<(), End> {
        let received = self.options.clock.now();
        let qos = publish.qos as u8;
        let size = publish.payload.len();
        let topic_bytes = publish.topic.len();
        let route = &self.options.routes[index];
        if self.shared.came(index, received.boottime_ms, qos, (&publish.topic, &publish.payload)) {
            tracing::warn!(
                profile = route.profile,
                topic = publish.topic,
                "a message came with QoS 0: the broker cannot hold it back; publish with QoS 1"
            );
        }
        // The payload still shares the read buffer; only what is kept is copied out of it.
        let message = Message {
            topic: publish.topic,
            payload: publish.payload,
            qos: qos.min(1),
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.pkid,
        };
        let (identity, profile) = (route.identify)(&message, received);
        let (profile, lanes) = (profile.to_owned(), route.lanes.clone());
        let mut draft = Box::new(Draft { received, message, profile, identity, lanes });
        let over_long = size as u64 > self.options.config.max_payload_bytes;
        let (verdict, delivery) = match over_long {
            true => self.recogniser.judge_over_long(&draft, link.session_kept),
            false => (self.recogniser.judge(&draft, link.session_kept), 0),
        };
        let (item, kept) = match verdict {
            Verdict::Repeat => (Item::Repeat, 0),
            Verdict::New if over_long => {
                draft.message.payload = Bytes::copy_from_slice(&draft.message.payload[..HEAD_BYTES.min(size)]);
                self.oversize(&draft, size);
                (Item::Oversize { draft, bytes: size as u64, delivery }, HEAD_BYTES.min(size) + topic_bytes)
            }
            Verdict::New => {
                draft.message.payload = Bytes::copy_from_slice(&draft.message.payload);
                (Item::Record(draft), size + topic_bytes)
            }
        };
        self.shared.count(|status| status.repeats += u64::from(verdict == Verdict::Repeat));
        let bytes = if verdict == Verdict::Repeat { repeat_bytes(qos) } else { kept as u64 + ENVELOPE_BYTES };
        self.append(item, link.ticket(publish.pkid, qos, bytes))
    }

    /// No route wants it: the filters have changed, and the broker had queued it under one that was dropped. Nobody asked
    /// for it, so it is not kept; it is acknowledged in its turn, or it would come again for ever.
    fn unrouted(&mut self, publish: &Publish, link: &Link) -> Result<(), End> {
        self.shared.count(|status| status.unrouted += 1);
        if !std::mem::replace(&mut self.counts.unrouted_logged, true) {
            tracing::warn!(topic = publish.topic, "messages of no route are acknowledged and not kept");
        }
        let qos = publish.qos as u8;
        self.append(Item::Repeat, link.ticket(publish.pkid, qos, repeat_bytes(qos)))
    }

    fn append(&mut self, item: Item, ticket: PendingAck) -> Result<(), End> {
        let record = matches!(item, Item::Record(_));
        self.appends.send(Append { item, ticket }).map_err(|_| End::JournalGone)?;
        self.unacked.bytes += ticket.bytes;
        self.unacked.messages += 1;
        self.unacked.appended += 1;
        self.show_unacked();
        if record {
            self.recorded();
        }
        if self.unacked.bytes > self.options.config.max_unacked_bytes { Err(End::Full) } else { Ok(()) }
    }

    fn oversize(&mut self, draft: &Draft, bytes: usize) {
        self.shared.count(|status| status.oversize += 1);
        if !std::mem::replace(&mut self.counts.oversize_logged, true) {
            let most = self.options.config.max_payload_bytes;
            tracing::error!(
                topic = draft.message.topic,
                bytes,
                most,
                "messages over mqtt.max_payload_bytes are not kept; their heads are in the quarantine"
            );
        }
    }

    fn broker_count(&mut self, payload: &[u8]) {
        let Some(count) = std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse().ok()) else { return };
        self.counts.loss += self.shared.broker_dropped(count);
        let quiet = self.counts.loss_logged.is_some_and(|last| last.elapsed() < self.timing.loss_log);
        if self.counts.loss > 0 && !quiet {
            self.counts.loss_logged = Some(Instant::now());
            tracing::warn!(
                messages = std::mem::take(&mut self.counts.loss),
                "lost before us: the broker dropped messages of its clients; raise its max_queued_messages"
            );
        }
    }

    fn show_unacked(&self) {
        let Unacked { bytes, messages, .. } = self.unacked;
        self.shared.count(|status| (status.unacked_bytes, status.unacked_messages) = (bytes, messages));
    }
}
