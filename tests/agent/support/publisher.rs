//! One client that publishes whatever a test wants: odd payloads, odd topics, any size.

use super::LONG;
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use std::net::SocketAddr;
use tokio::time::timeout;

/// Above every payload of the tests.
const PACKET_BYTES: usize = 64 << 20;

/// Connected to a broker; everything is published with QoS 1 and awaited.
pub(crate) struct Publisher {
    client: AsyncClient,
    events: EventLoop,
}

impl Publisher {
    pub(crate) fn new(broker: SocketAddr) -> Publisher {
        Publisher::as_somebody(broker, None)
    }

    /// With user and password.
    pub(crate) fn as_somebody(broker: SocketAddr, credentials: Option<(&str, &str)>) -> Publisher {
        let mut options = MqttOptions::new("test-publisher", broker.ip().to_string(), broker.port());
        if let Some((user, password)) = credentials {
            options.set_credentials(user, password);
        }
        options.set_max_packet_size(PACKET_BYTES, PACKET_BYTES);
        let (client, events) = AsyncClient::new(options, 8);
        Publisher { client, events }
    }

    /// Publishes and waits until the broker has acknowledged it.
    pub(crate) async fn publish(&mut self, topic: &str, payload: impl Into<Bytes>) {
        self.client.publish_bytes(topic, QoS::AtLeastOnce, false, payload.into()).await.unwrap();
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await;
    }

    /// Publishes with QoS 0, and waits until a message behind it is acknowledged: then the broker has it.
    pub(crate) async fn publish_qos0(&mut self, topic: &str, payload: impl Into<Bytes>) {
        self.client.publish_bytes(topic, QoS::AtMostOnce, false, payload.into()).await.unwrap();
        self.publish("behind/qos0", "").await;
    }

    async fn until(&mut self, done: impl Fn(&Packet) -> bool) {
        let waiting = async {
            loop {
                if let Event::Incoming(packet) = self.events.poll().await.unwrap()
                    && done(&packet)
                {
                    return;
                }
            }
        };
        timeout(LONG, waiting).await.expect("the broker answers");
    }
}

/// Ends the broker's session of `client_id`, with all that it holds: what an operator does about a message that no
/// agent can take.
pub(crate) async fn end_session(broker: SocketAddr, client_id: &str) {
    let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
    options.set_clean_session(true);
    let (client, events) = AsyncClient::new(options, 8);
    let mut publisher = Publisher { client, events };
    publisher.until(|packet| matches!(packet, Packet::ConnAck(_))).await;
    publisher.client.disconnect().await.unwrap();
    // The disconnect is on the wire when the event loop says so.
    while !matches!(publisher.events.poll().await, Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) | Err(_)) {}
}
