//! A tap on what intake receives, for people who want to see the next messages beside the running agent: no second client
//! connects to the broker, where its arrival could throw the agent out. Without a listener it costs one look at a number.

use crate::record::Message;
use crate::sync::locked;
use crate::topic::matches;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rumqttc::Publish;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc;

/// Most listeners at a time.
const LISTENERS_MAX: usize = 8;
/// Most bytes of topics and payloads for one listener: what an answer on the control socket has room for.
const BYTES_MAX: usize = 2 << 20;

/// The listeners to what intake receives.
#[derive(Debug, Default)]
pub(super) struct Taps {
    count: AtomicUsize,
    taps: Mutex<Vec<Tap>>,
}

#[derive(Debug)]
struct Tap {
    filters: Vec<String>,
    left: usize,
    bytes_left: usize,
    heard: mpsc::UnboundedSender<Message>,
}

/// The next messages that match, in the order of receipt; it ends when there are as many as were asked for, or as much as
/// there is room for.
#[derive(Debug)]
pub struct Listener(mpsc::UnboundedReceiver<Message>);

impl Listener {
    /// The next one; `None` at the end. May be cancelled.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}

impl Taps {
    /// Listens for the next `count` messages on `filters`. `None`: too many listen already.
    pub(super) fn listen(&self, filters: Vec<String>, count: usize) -> Option<Listener> {
        let mut taps = locked(&self.taps);
        taps.retain(|tap| !tap.heard.is_closed());
        if taps.len() >= LISTENERS_MAX {
            return None;
        }
        let (heard, listener) = mpsc::unbounded_channel();
        if count > 0 {
            taps.push(Tap { filters, left: count, bytes_left: BYTES_MAX, heard });
        }
        self.count.store(taps.len(), Relaxed);
        Some(Listener(listener))
    }

    /// Hands a received message to those who listen.
    pub(super) fn came(&self, publish: &Publish) {
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let mut taps = locked(&self.taps);
        taps.retain_mut(|tap| tap.hears(publish));
        self.count.store(taps.len(), Relaxed);
    }
}

impl Tap {
    /// Whether it keeps listening.
    fn hears(&mut self, publish: &Publish) -> bool {
        if !self.filters.iter().any(|filter| matches(filter, &publish.topic)) {
            return !self.heard.is_closed();
        }
        let bytes = publish.topic.len() + publish.payload.len();
        let Some(bytes_left) = self.bytes_left.checked_sub(bytes) else { return false };
        (self.bytes_left, self.left) = (bytes_left, self.left - 1);
        let message = Message {
            topic: publish.topic.clone(),
            // The payload shares the read buffer.
            payload: Bytes::copy_from_slice(&publish.payload),
            qos: (publish.qos as u8).min(1),
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.pkid,
        };
        self.heard.send(message).is_ok() && self.left > 0
    }
}

/// A message as it goes over the control socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heard {
    topic: String,
    qos: u8,
    retain: bool,
    dup: bool,
    packet_id: u16,
    /// The payload in base64.
    payload: String,
}

impl From<Message> for Heard {
    fn from(message: Message) -> Heard {
        let Message { topic, payload, qos, retain, dup, packet_id } = message;
        Heard { topic, qos, retain, dup, packet_id, payload: STANDARD.encode(payload) }
    }
}

impl Heard {
    /// The message; `None`: it is none of ours.
    pub fn message(self) -> Option<Message> {
        let Heard { topic, qos, retain, dup, packet_id, payload } = self;
        let payload = STANDARD.decode(payload).ok()?.into();
        Some(Message { topic, payload, qos, retain, dup, packet_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rumqttc::QoS;

    fn publish(topic: &str, payload: Vec<u8>) -> Publish {
        Publish::new(topic, QoS::AtLeastOnce, payload)
    }

    proptest! {
        #[test]
        fn a_listener_hears_only_the_next_matching_messages_in_order(
            topics in prop::collection::vec("[ab]", 0..20), count in 0usize..6,
        ) {
            let taps = Taps::default();
            taps.came(&publish("a", b"before".to_vec()));
            let mut listener = taps.listen(vec!["a".into()], count).expect("room");
            for (n, topic) in topics.iter().enumerate() {
                taps.came(&publish(topic, vec![n as u8]));
            }
            let wanted: Vec<u8> =
                (0..topics.len()).filter(|n| topics[*n] == "a").map(|n| n as u8).take(count).collect();
            let mut heard = Vec::new();
            while let Ok(message) = listener.0.try_recv() {
                prop_assert_eq!(Heard::from(message.clone()).message(), Some(message.clone()));
                heard.push(message.payload[0]);
            }
            prop_assert_eq!(&heard, &wanted);
            prop_assert_eq!(taps.count.load(Relaxed), usize::from(wanted.len() < count));
        }
    }

    #[test]
    fn listeners_are_bounded_and_departed_ones_are_forgotten() {
        let taps = Taps::default();
        let all = || vec!["#".to_owned()];
        let mut listeners: Vec<_> = (0..LISTENERS_MAX).map(|_| taps.listen(all(), 100).expect("room")).collect();
        assert!(taps.listen(all(), 1).is_none());
        listeners.truncate(1);
        taps.came(&publish("t", vec![0; BYTES_MAX / 2]));
        assert_eq!(taps.count.load(Relaxed), 1);
        taps.came(&publish("t", vec![0; BYTES_MAX / 2]));
        assert_eq!(taps.count.load(Relaxed), 0, "there is no room for it");
        let listener = &mut listeners[0].0;
        assert!(listener.try_recv().is_ok());
        assert!(listener.try_recv().is_err() && listener.is_closed());
    }
}
