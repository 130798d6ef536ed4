//! A guest at the broker: looks at what is there and leaves, for `check`, `init` and `explain` where no agent runs that
//! could be asked.
//!
//! It comes under an id that it draws, so that it throws no other client out. But some brokers give clients other ids,
//! Mosquitto's `use_username_as_clientid` the user's name: there a guest is in the agent's own session, and a clean
//! session would delete what waits in it. So it knocks first, with a session that is to be kept, and acknowledges
//! nothing: "session present" for an id that was drawn a moment ago means such a broker, and it leaves at once. Otherwise
//! it comes again under the same id with a clean session, which ends the one that the knock made, and which the broker
//! forgets by itself however the guest leaves. It keeps at most so many messages, and stays for at most so long.
//!
//! Only [`forget`] comes under a client id that may be in use: to end the session that the broker keeps for it.

use crate::config::MqttConfig;
use crate::mqtt::failure::{Cause, cause};
use crate::mqtt::options;
use crate::mqtt::packet_limit::Limit;
use crate::mqtt::receive::message;
use crate::record::Message;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS, SubscribeReasonCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest attempt to connect.
const CONNECT: Duration = Duration::from_secs(15);
/// Longest wait for the broker's end of a connection that we leave.
const LEAVE: Duration = Duration::from_millis(200);
/// Requests that the client library queues; one per filter and an end.
const REQUESTS: usize = 1024;

/// What a guest saw.
#[derive(Debug, Default)]
pub struct ProbeReport {
    /// Each filter that was asked for, and the QoS that was granted; `None`: refused, or no answer came.
    pub granted: Vec<(String, Option<u8>)>,
    /// The first messages, as they came.
    pub messages: Vec<Message>,
}

/// The broker could not be visited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeError {
    /// The error, in words for people.
    pub why: String,
    /// What to do; may be empty.
    pub remedy: String,
}

/// Subscribes to `filters`, and keeps what comes `within` that time, at most `most` messages: it leaves when it has them
/// all.
///
/// # Errors
/// No connection, in the agent's own words, or a broker that changes client ids; what was seen before a later loss of the
/// connection is given nevertheless.
pub async fn visit(
    config: &MqttConfig,
    tls: Option<&Arc<rustls::ClientConfig>>,
    filters: &[String],
    within: Duration,
    most: usize,
) -> Result<ProbeReport, ProbeError> {
    let guest = guest(config);
    if knock(&guest, tls).await? {
        return Err(ProbeError {
            why: format!(
                "{} knows a client id that was drawn this moment: it changes client ids (use_username_as_clientid or the like), and we stood in the agent's own session; we left at once and acknowledged nothing",
                config.url
            ),
            remedy: "start the agent and ask again, or take that setting away at the broker".to_owned(),
        });
    }
    Probe { filters, within, most }.at(Call::new(&guest, tls, Session::Clean).await?).await
}

/// Ends the session that the broker keeps for `config.client_id`, and with it the messages that wait there: connecting
/// under that id with a clean session does so. Never while an agent runs under it, which it would throw out.
///
/// # Errors
/// No connection.
pub async fn forget(config: &MqttConfig, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<(), ProbeError> {
    Call::new(config, tls, Session::Clean).await?.leave().await;
    Ok(())
}

/// Whether the broker gives clients other ids than they ask for, as far as a stranger can tell: then nothing can be done
/// there under one id that does not hit another.
///
/// # Errors
/// No connection.
pub async fn changes_ids(config: &MqttConfig, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<bool, ProbeError> {
    let guest = guest(config);
    let changes = knock(&guest, tls).await?;
    if !changes {
        forget(&guest, tls).await?;
    }
    Ok(changes)
}

/// The configuration under an id that no other client has.
fn guest(config: &MqttConfig) -> MqttConfig {
    let client_id = format!("tidegate-guest-{:08x}", getrandom::u32().unwrap_or_default());
    MqttConfig { client_id, ..config.clone() }
}

/// Comes with a session that is to be kept, and leaves; whether the broker had one already.
async fn knock(guest: &MqttConfig, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<bool, ProbeError> {
    let call = Call::new(guest, tls, Session::Kept).await?;
    let present = call.session_present;
    call.leave().await;
    Ok(present)
}

/// What becomes of the session when the connection ends. Only of a clean one anything is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Session {
    Clean,
    Kept,
}

/// A connection that the broker has accepted.
struct Call {
    client: AsyncClient,
    events: EventLoop,
    session_present: bool,
}

impl Call {
    async fn new(
        config: &MqttConfig,
        tls: Option<&Arc<rustls::ClientConfig>>,
        session: Session,
    ) -> Result<Call, ProbeError> {
        let password = match &config.password_file {
            Some(path) => Some(options::read_password(path).map_err(|o| ProbeError { why: o.why, remedy: o.remedy })?),
            None => None,
        };
        let mut options = options::build(config, tls, password, Limit::Raised);
        options.set_clean_session(session == Session::Clean).set_manual_acks(session == Session::Kept);
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        events.network_options.set_connection_timeout(CONNECT.as_secs());
        let deadline = Instant::now() + CONNECT;
        loop {
            match timeout_at(deadline, events.poll()).await {
                Ok(Ok(Event::Incoming(Packet::ConnAck(connack)))) => {
                    return Ok(Call { client, events, session_present: connack.session_present });
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(not_visited(&error, config)),
                Err(_) => {
                    let why = format!("no answer from {} within {} s", config.url, CONNECT.as_secs());
                    return Err(ProbeError { why, remedy: "is it an MQTT broker?".to_owned() });
                }
            }
        }
    }

    /// Says goodbye, so that the broker publishes no will and logs no error; no answer is needed.
    async fn leave(mut self) {
        let _ = self.client.try_disconnect();
        let until = Instant::now() + LEAVE;
        let _ = timeout_at(until, async { while self.events.poll().await.is_ok() {} }).await;
    }
}

/// What a command wants at the broker.
struct Probe<'a> {
    filters: &'a [String],
    within: Duration,
    most: usize,
}

impl Probe<'_> {
    async fn at(&self, mut call: Call) -> Result<ProbeReport, ProbeError> {
        let Probe { filters, within, most } = *self;
        let mut visit =
            ProbeReport { granted: filters.iter().map(|filter| (filter.clone(), None)).collect(), messages: vec![] };
        for filter in filters {
            let _ = call.client.try_subscribe(filter, QoS::AtLeastOnce);
        }
        let (deadline, mut answered) = (Instant::now() + within, 0);
        while visit.messages.len() < most || answered < filters.len() {
            // The connection was lost, or the time is over.
            let Ok(Ok(event)) = timeout_at(deadline, call.events.poll()).await else { break };
            match event {
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
                    visit.messages.push(message(publish));
                }
                _ => {}
            }
        }
        call.leave().await;
        Ok(visit)
    }
}

fn not_visited(error: &rumqttc::ConnectionError, config: &MqttConfig) -> ProbeError {
    match cause(error, &config.url, &config.client_id, false) {
        Cause::Outage(outage) => ProbeError { why: outage.why, remedy: outage.remedy },
        _ => ProbeError { why: error.to_string(), remedy: String::new() },
    }
}
