//! A guest at the broker: looks at what is there and leaves, for `check`, `init` and `explain` where no agent runs that
//! could be asked.
//!
//! It comes under an id that it draws, so that it throws no other client out; as long as the agent's own and of its characters
//! ([`mod@crate::mqtt::guest`]), so that the broker answers as it will answer the agent. But some brokers give clients other ids,
//! Mosquitto's `use_username_as_clientid` the user's name: there a guest is in the agent's own session, and a clean
//! session would delete what waits in it. So it knocks first, with a session that is to be kept, and acknowledges
//! nothing: "session present" for an id that was drawn a moment ago means such a broker, and it leaves at once. Otherwise
//! it comes again under the same id with a clean session, which ends the one that the knock made, and which the broker
//! forgets by itself however the guest leaves. It keeps at most so many messages, and stays for at most so long.
//!
//! Only [`forget`] comes under a client id that may be in use: to end the session that the broker keeps for it.

use crate::mqtt::failure::{Cause, cause};
use crate::mqtt::guest;
use crate::mqtt::options::{self, BrokerOptions};
use crate::mqtt::packet_limit::{Limit, TAKEN_BYTES};
use crate::mqtt::receive::message;
use crate::record::Message;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, Publish, QoS, SubscribeReasonCode};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest attempt to connect.
const CONNECT: Duration = Duration::from_secs(15);
/// Longest wait for the broker's end of a connection that we leave.
const LEAVE: Duration = Duration::from_millis(200);
/// Longest wait for the broker's answers to SUBSCRIBE, unless messages are listened for longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for what the broker calls itself: it keeps that, so it comes with its answer.
const VERSION: Duration = Duration::from_secs(2);
const VERSION_TOPIC: &str = "$SYS/broker/version";
/// A longer text is not a version.
const VERSION_CHARS: usize = 100;
/// Requests that the client library queues; one per filter and an end.
const REQUESTS: usize = 1024;

/// What the broker said to the SUBSCRIBE of a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FilterAnswer {
    /// Granted with this QoS.
    Granted(u8),
    /// Refused, by its return code.
    Refused,
    /// Nothing within the guest's patience; the connection stood.
    Late,
    /// It ended the connection in the place of an answer.
    Closed,
}

/// What a guest saw.
#[derive(Debug, Default)]
pub struct ProbeReport {
    /// Each filter that was asked for, and the answer.
    pub filters: Vec<(String, FilterAnswer)>,
    /// How long the broker took to answer for all of them; `None`: it did not.
    pub answered_in: Option<Duration>,
    /// The first messages, as they came.
    pub messages: Vec<Message>,
    /// What the broker calls itself, if it does.
    pub version: Option<String>,
}

/// What a guest looks at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Filters to subscribe to.
    pub filters: &'a [String],
    /// How long the broker may take to answer for them.
    pub patience: Duration,
    /// How long messages are listened for, from the last answer on.
    pub within: Duration,
    /// Most messages that are kept; with so many it leaves.
    pub most: usize,
    /// Whether to ask the broker what it is.
    pub version: bool,
}

impl<'a> Look<'a> {
    /// A look at messages on `filters`, at most `most`.
    pub fn at(filters: &'a [String], within: Duration, most: usize) -> Look<'a> {
        Look { filters, patience: within.max(PATIENCE), within, most, version: false }
    }
}

/// The broker could not be visited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeError {
    /// The error, in words for people.
    pub why: String,
    /// What to do; may be empty.
    pub remedy: String,
}

/// Looks at what comes on some filters.
///
/// # Errors
/// No connection, in the agent's own words, or a broker that changes client ids; what was seen before a later loss of the
/// connection is given nevertheless.
pub async fn visit(broker: &BrokerOptions, look: Look<'_>) -> Result<ProbeReport, ProbeError> {
    let guest = guest(broker);
    // A broker that lets clients in by their whole ids knows the agent's alone.
    let named = |refused: ProbeError| match refused.why.contains(&guest.client_id) {
        true => ProbeError { why: format!("{}, a guest in the place of {}", refused.why, broker.client_id), ..refused },
        false => refused,
    };
    if knock(&guest).await.map_err(named)? {
        return Err(ProbeError {
            why: format!(
                "{} knows a client id that was drawn this moment: it changes client ids (use_username_as_clientid or the like), and we stood in the agent's own session; we left at once and acknowledged nothing",
                broker.url
            ),
            remedy: "start the agent and ask again, or take that setting away at the broker".to_owned(),
        });
    }
    Ok(Probe { call: Call::new(&guest, Session::Clean).await?, look, seen: ProbeReport::default(), stands: true }
        .run()
        .await)
}

/// Ends the session that the broker keeps for `broker.client_id`, and with it the messages that wait there: connecting
/// under that id with a clean session does so. Never while an agent runs under it, which it would throw out.
///
/// # Errors
/// No connection.
pub async fn forget(broker: &BrokerOptions) -> Result<(), ProbeError> {
    Call::new(broker, Session::Clean).await?.leave().await;
    Ok(())
}

/// Whether the broker gives clients other ids than they ask for, as far as a stranger can tell: then nothing can be done
/// there under one id that does not hit another.
///
/// # Errors
/// No connection.
pub async fn changes_ids(broker: &BrokerOptions) -> Result<bool, ProbeError> {
    let guest = guest(broker);
    let changes = knock(&guest).await?;
    if !changes {
        forget(&guest).await?;
    }
    Ok(changes)
}

/// The broker, for a client under an id that no other client has.
fn guest(broker: &BrokerOptions) -> BrokerOptions {
    let client_id = guest::client_id(&broker.client_id, || getrandom::u32().unwrap_or_default());
    BrokerOptions { client_id, ..broker.clone() }
}

/// Comes with a session that is to be kept, and leaves; whether the broker had one already.
async fn knock(guest: &BrokerOptions) -> Result<bool, ProbeError> {
    let call = Call::new(guest, Session::Kept).await?;
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
    async fn new(broker: &BrokerOptions, session: Session) -> Result<Call, ProbeError> {
        let password = match &broker.password_file {
            Some(path) => Some(options::read_password(path).map_err(|o| ProbeError { why: o.why, remedy: o.remedy })?),
            None => None,
        };
        let mut options = options::build(broker, password, Limit::Raised.packet_bytes(TAKEN_BYTES));
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
                Ok(Err(error)) => return Err(not_visited(&error, broker)),
                Err(_) => {
                    let why = format!("no answer from {} within {} s", broker.url, CONNECT.as_secs());
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

/// A visit under way.
struct Probe<'a> {
    call: Call,
    look: Look<'a>,
    seen: ProbeReport,
    /// Whether the connection is up: a poll after its end would make a new one.
    stands: bool,
}

impl Probe<'_> {
    async fn run(mut self) -> ProbeReport {
        self.seen.filters = self.look.filters.iter().map(|filter| (filter.clone(), FilterAnswer::Late)).collect();
        for filter in self.look.filters {
            let _ = self.call.client.try_subscribe(filter, QoS::AtLeastOnce);
        }
        if self.answers().await {
            self.messages().await;
            if self.look.version && self.stands {
                self.version().await;
            }
        }
        if self.stands {
            self.call.leave().await;
        }
        self.seen
    }

    /// The next event; `None`: the connection was lost, or the time is over.
    async fn event(&mut self, deadline: Instant) -> Option<Event> {
        let event = timeout_at(deadline, self.call.events.poll()).await.ok()?;
        self.stands &= event.is_ok();
        event.ok()
    }

    fn keep(&mut self, publish: Publish) {
        if self.seen.messages.len() < self.look.most {
            self.seen.messages.push(message(publish));
        }
    }

    /// Waits for the answers; whether all of them came.
    async fn answers(&mut self) -> bool {
        let (start, mut answered) = (Instant::now(), 0);
        while answered < self.seen.filters.len() {
            match self.event(start + self.look.patience).await {
                None if self.stands => return false,
                None => {
                    self.seen.filters[answered..].iter_mut().for_each(|(_, answer)| *answer = FilterAnswer::Closed);
                    return false;
                }
                // One packet per filter, so the answers come in that order.
                Some(Event::Incoming(Packet::SubAck(suback))) => {
                    for code in suback.return_codes {
                        if let Some((_, answer)) = self.seen.filters.get_mut(answered) {
                            *answer = match code {
                                SubscribeReasonCode::Success(qos) => FilterAnswer::Granted(qos as u8),
                                SubscribeReasonCode::Failure => FilterAnswer::Refused,
                            };
                        }
                        answered += 1;
                    }
                }
                Some(Event::Incoming(Packet::Publish(publish))) => self.keep(publish),
                Some(_) => {}
            }
        }
        self.seen.answered_in = Some(start.elapsed());
        true
    }

    async fn messages(&mut self) {
        let deadline = Instant::now() + self.look.within;
        while self.seen.messages.len() < self.look.most {
            match self.event(deadline).await {
                Some(Event::Incoming(Packet::Publish(publish))) => self.keep(publish),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Asked last: some brokers end the connection where this topic is not allowed.
    async fn version(&mut self) {
        let _ = self.call.client.try_subscribe(VERSION_TOPIC, QoS::AtMostOnce);
        let deadline = Instant::now() + VERSION;
        while let Some(event) = self.event(deadline).await {
            match event {
                Event::Incoming(Packet::Publish(publish)) if publish.topic == VERSION_TOPIC => {
                    let text = String::from_utf8_lossy(&publish.payload);
                    self.seen.version = Some(text.trim().chars().take(VERSION_CHARS).collect());
                    return;
                }
                Event::Incoming(Packet::SubAck(suback))
                    if suback.return_codes.contains(&SubscribeReasonCode::Failure) =>
                {
                    return;
                }
                _ => {}
            }
        }
    }
}

fn not_visited(error: &rumqttc::ConnectionError, broker: &BrokerOptions) -> ProbeError {
    match cause(error, &broker.url, &broker.client_id, false) {
        Cause::Outage(outage) => ProbeError { why: outage.why, remedy: outage.remedy },
        _ => ProbeError { why: error.to_string(), remedy: String::new() },
    }
}
