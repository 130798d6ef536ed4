//! Acks on their way out of one connection: in order, and together.
//!
//! The client library sends one request, with its own flush, between two reads of up to ten packets. Towards a broker
//! that keeps to no window, thousands of acks would wait behind such reads, and after a crash all of their messages would
//! come again: more than the agent looks through in the tail of the journal. So only one ack at a time goes through the
//! library's queue, to wake a `poll` that waits. All others are written before the next `poll`, with one flush.
//!
//! The order holds because what is due is written only while none is in the queue, and all of it was added after that one.

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, PubAck, PubRec, Publish, QoS, Request};
use std::collections::VecDeque;
use std::time::Duration;

/// An ack that is due: packet id and quality of service of its message.
type Due = (u16, u8);

/// The acks of one connection.
#[derive(Debug, Default)]
pub(super) struct Acks {
    due: VecDeque<Due>,
    /// Packet id of the one in the library's queue.
    queued: Option<u16>,
    added: u64,
    left: u64,
}

impl Acks {
    /// The message of `packet_id` is durable.
    pub(super) fn add(&mut self, packet_id: u16, qos: u8) {
        self.due.push_back((packet_id, qos));
        self.added += 1;
    }

    /// Wakes a `poll` that waits, if anything is due.
    pub(super) fn wake(&mut self, client: &AsyncClient) {
        if self.queued.is_some() {
            return;
        }
        let Some(&(packet_id, qos)) = self.due.front() else { return };
        let mut publish = Publish::new("", if qos == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce }, Vec::new());
        publish.pkid = packet_id;
        // A queue that is full wakes it as well.
        if client.try_ack(&publish).is_ok() {
            self.due.pop_front();
            self.queued = Some(packet_id);
        }
    }

    /// The ack of `packet_id` was seen to leave.
    pub(super) fn left(&mut self, packet_id: u16) {
        self.left += 1;
        self.queued.take_if(|queued| *queued == packet_id);
    }

    /// Whether all were seen to leave.
    pub(super) fn have_left(&self) -> bool {
        self.added == self.left
    }

    /// What is to be written before the next `poll`.
    pub(super) fn take(&mut self) -> VecDeque<Due> {
        if self.queued.is_none() { std::mem::take(&mut self.due) } else { VecDeque::new() }
    }
}

/// Writes what is due, then polls. `limit` is for the write. Their events come with the next polls, as those of others do.
///
/// # Errors
/// As `poll`; the connection is to be given up.
pub(super) async fn poll(
    event_loop: &mut EventLoop,
    due: VecDeque<Due>,
    limit: Duration,
) -> Result<Event, ConnectionError> {
    if let (false, Some(network)) = (due.is_empty(), &mut event_loop.network) {
        let state = &mut event_loop.state;
        let write = async {
            for (packet_id, qos) in due {
                let ack = match qos {
                    1 => Request::PubAck(PubAck::new(packet_id)),
                    _ => Request::PubRec(PubRec::new(packet_id)),
                };
                if let Some(packet) = state.handle_outgoing_packet(ack)? {
                    network.write(packet).await?;
                }
            }
            network.flush().await
        };
        tokio::time::timeout(limit, write).await.map_err(|_| ConnectionError::FlushTimeout)??;
    }
    event_loop.poll().await
}
