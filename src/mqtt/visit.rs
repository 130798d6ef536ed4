//! A guest at the broker: looks at what is there and leaves, for `check` and `explain`.
//!
//! It comes under a client id of its own with a clean session. With the agent's id it would throw the agent out, and with
//! a session of its own the broker would go on queueing for a guest that never returns. It acknowledges what it is given,
//! keeps at most so many messages, and stays for at most so long.
//!
//! [`forget`] alone comes under the agent's own client id: to end the session that the broker keeps for it.

use super::options;
use super::outage::{Cause, cause};
use super::size::Limit;
use crate::config::MqttConfig;
use crate::record::Message;
use rumqttc::{AsyncClient, Event, Packet, QoS, SubscribeReasonCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest attempt to connect.
const CONNECT: Duration = Duration::from_secs(15);
/// Requests that the client library queues; one per filter and an end.
const REQUESTS: usize = 1024;

/// What a guest saw.
#[derive(Debug, Default)]
pub struct Visit {
    /// Each filter that was asked for, and the QoS that was granted; `None`: refused, or no answer came.
    pub granted: Vec<(String, Option<u8>)>,
    /// The first messages, as they came.
    pub messages: Vec<Message>,
}

/// The broker could not be visited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotVisited {
    /// Why, in words.
    pub why: String,
    /// What to do; may be empty.
    pub remedy: String,
}

/// Connects, subscribes to `filters`, and keeps what comes `within` that time, at most `most` messages: it leaves
/// when it has them all.
///
/// # Errors
/// No connection, in the agent's own words; what was seen before a later loss of the connection is given all the same.
pub async fn visit(
    config: &MqttConfig,
    tls: Option<&Arc<rustls::ClientConfig>>,
    filters: &[String],
    within: Duration,
    most: usize,
) -> Result<Visit, NotVisited> {
    let guest = MqttConfig {
        client_id: format!("tidegate-guest-{:08x}", getrandom::u32().unwrap_or_default()),
        ..config.clone()
    };
    let stay = Stay { filters, within, most };
    stay.at(&guest, tls).await
}

/// Ends the session that the broker keeps for the agent, and with it the messages that wait there: whoever connects under
/// its client id with a clean session does. Never while the agent runs, which it would throw out.
///
/// # Errors
/// No connection.
pub async fn forget(config: &MqttConfig, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<(), NotVisited> {
    let stay = Stay { filters: &[], within: Duration::ZERO, most: 0 };
    stay.at(config, tls).await.map(drop)
}

/// What somebody wants at the broker.
struct Stay<'a> {
    filters: &'a [String],
    within: Duration,
    most: usize,
}

impl Stay<'_> {
    /// Goes there with a clean session.
    async fn at(&self, guest: &MqttConfig, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<Visit, NotVisited> {
        let Stay { filters, within, most } = *self;
        let password = match &guest.password_file {
            Some(path) => Some(options::read_password(path).map_err(|o| NotVisited { why: o.why, remedy: o.remedy })?),
            None => None,
        };
        let mut options = options::build(guest, tls, password, Limit::Raised);
        options.set_clean_session(true).set_manual_acks(false);
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        events.network_options.set_connection_timeout(CONNECT.as_secs());
        let mut visit =
            Visit { granted: filters.iter().map(|filter| (filter.clone(), None)).collect(), messages: vec![] };
        let mut deadline = Instant::now() + CONNECT;
        let (mut connected, mut answered) = (false, 0);
        while !connected || visit.messages.len() < most || answered < filters.len() {
            let event = match timeout_at(deadline, events.poll()).await {
                Ok(Ok(event)) => event,
                Ok(Err(error)) if !connected => return Err(not_visited(&error, guest)),
                Err(_) if !connected => {
                    let why = format!("no answer from {} within {} s", guest.url, CONNECT.as_secs());
                    return Err(NotVisited { why, remedy: "is it an MQTT broker?".to_owned() });
                }
                // The connection was lost, or the time is over.
                Ok(Err(_)) | Err(_) => break,
            };
            match event {
                Event::Incoming(Packet::ConnAck(_)) => {
                    connected = true;
                    deadline = Instant::now() + within;
                    for filter in filters {
                        let _ = client.try_subscribe(filter, QoS::AtLeastOnce);
                    }
                }
                // One packet per filter, so the answers come in that order.
                Event::Incoming(Packet::SubAck(suback)) => {
                    for code in suback.return_codes {
                        if let (Some((_, granted)), SubscribeReasonCode::Success(qos)) =
                            (visit.granted.get_mut(answered), code)
                        {
                            *granted = Some(qos as u8);
                        }
                        answered += 1;
                    }
                }
                Event::Incoming(Packet::Publish(publish)) if visit.messages.len() < most => {
                    visit.messages.push(Message {
                        topic: publish.topic,
                        payload: publish.payload,
                        qos: (publish.qos as u8).min(1),
                        retain: publish.retain,
                        dup: publish.dup,
                        packet_id: publish.pkid,
                    })
                }
                _ => {}
            }
        }
        // Said politely, the broker publishes no will and logs no error; that it was heard does not matter.
        let _ = client.try_disconnect();
        let _ = timeout_at(Instant::now() + Duration::from_millis(200), async { while events.poll().await.is_ok() {} })
            .await;
        Ok(visit)
    }
}

fn not_visited(error: &rumqttc::ConnectionError, config: &MqttConfig) -> NotVisited {
    match cause(error, &config.url, &config.client_id, false) {
        Cause::Outage(outage) => NotVisited { why: outage.why, remedy: outage.remedy },
        _ => NotVisited { why: error.to_string(), remedy: String::new() },
    }
}
