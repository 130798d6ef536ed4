//! What a snapshot of the intake holds: its state in words, counts since the start, and one row per route.

use crate::mqtt::backoff::Pace;
use crate::mqtt::options::read_password;
use crate::mqtt::outage::{Outage, OutageKind};
use crate::mqtt::unrouted::UnroutedStatus;
use crate::mqtt::{Losses, Route};
use serde::Serialize;
use std::path::PathBuf;

/// What the intake does now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum IntakeState {
    /// An attempt to connect is under way, and none before it failed.
    Connecting,
    /// Connected, and takes messages.
    Online,
    /// No connection; the next attempt comes by itself.
    Offline {
        /// What kind of outage it is.
        cause: OutageKind,
        /// The error, in words.
        why: String,
        /// What a person can do; empty when nothing is to be done.
        remedy: String,
    },
    /// A person must act before it can work; slow attempts continue.
    Blocked {
        /// What kind of refusal it is.
        cause: OutageKind,
        /// The error, in words.
        why: String,
        /// What a person can do.
        remedy: String,
    },
    /// Told to stop; waits for commits and acks.
    Stopping,
    /// Does not run any more.
    Stopped,
}

/// One filter of a route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FilterStatus {
    /// The filter, as configured.
    pub filter: String,
    /// Whether the broker granted it; `None` until it said so.
    pub granted: Option<bool>,
    /// With which QoS; 0 cannot be held back.
    pub granted_qos: Option<u8>,
}

/// A message that came with QoS 0, for a person who looks for its publisher.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Qos0Message {
    /// Its topic, cut to 200 bytes.
    pub topic: String,
    /// Name of the profile that read it: on a route of `auto`, the one that it chose.
    pub profile: String,
}

/// One route: how its filters fare, and what came on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteStatus {
    /// Name of the profile that reads it.
    pub profile: String,
    /// Its filters. A granted filter does not prove that the broker lets us read: see `last_message_s`.
    pub filters: Vec<FilterStatus>,
    /// Whether it takes what earlier routes leave.
    pub fallback: bool,
    /// Messages taken since the start, repeats included.
    pub messages: u64,
    /// Of them with QoS 0, which no broker holds back.
    pub qos0: u64,
    /// Seconds since the last message; `None` if none came since the start.
    pub last_message_s: Option<u64>,
    /// Seconds since the last message with QoS 0; `None` if none came since the start.
    pub last_qos0_s: Option<u64>,
    /// Which message was the first of them; `None` if none came since the start.
    pub first_qos0: Option<Qos0Message>,
    /// Seconds without a message on this connection; `None` while there is none.
    pub silent_s: Option<u64>,
    /// Longest pause between two messages since the start, in seconds.
    pub longest_pause_s: u64,
    /// Messages that passed at the broker meanwhile: on other routes, or by its own count.
    pub elsewhere: u64,
    /// Whether a message came on it since the journal was made.
    pub heard_before: bool,
}

/// A snapshot of intake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IntakeStatus {
    /// What the intake does now.
    #[serde(flatten)]
    pub state: IntakeState,
    /// Seconds in this state.
    pub state_for_s: u64,
    /// Seconds without a connection, whatever the reasons were in turn; `None` while there is one.
    pub away_s: Option<u64>,
    /// The broker, as configured.
    pub url: String,
    /// The client id there: the broker's session hangs on it.
    pub client_id: String,
    /// The file with the password there, if one is configured.
    pub password_file: Option<PathBuf>,
    /// Why the next connection would find no password in that file, and what to do; `None`: it would, or this was not looked at.
    #[serde(skip)]
    pub password_lost: Option<(String, String)>,
    /// Connections that reached a CONNACK since the start.
    pub connections: u64,
    /// Whether the broker had kept our session at the last CONNACK.
    pub session_kept: Option<bool>,
    /// Since the start: connections on which the broker had lost a session of ours, and what it held for us with it.
    pub sessions_lost: u64,
    /// Seconds since the last of them.
    pub session_lost_s: Option<u64>,
    /// Messages received since the start, whatever became of them.
    pub received: u64,
    /// Of them repeats of a record that the journal already had.
    pub repeats: u64,
    /// Of them recorded, though they may repeat a record: those say so.
    pub possible_duplicates: u64,
    /// Of them over `max_payload_bytes`; their heads are in the quarantine.
    pub oversize: u64,
    /// Of them with QoS 0.
    pub qos0: u64,
    /// Of them on topics of no route, acknowledged and not journaled.
    pub unrouted: u64,
    /// Which, the latest first.
    pub unrouted_topics: Vec<UnroutedStatus>,
    /// Received and not yet on stable storage.
    pub unacked_messages: u64,
    /// Their bytes, as counted against `max_unacked_bytes`.
    pub unacked_bytes: u64,
    /// Bytes handed to the journal as records since the start, envelopes included.
    pub taken_bytes: u64,
    /// Seconds for which messages wait for the journal and none became durable; `None`: none waits.
    pub stuck_s: Option<u64>,
    /// How often the broker threw us out of late and took us back at once, as it does when a second client has our id.
    pub thrown_out: u64,
    /// What went past the journal since it was made.
    pub losses: Losses,
    /// The broker's own count of messages that it dropped, over all its clients; `None` if it does not say.
    pub broker_dropped: Option<u64>,
    /// By how much that count rose since the start, in messages: lost before they reached us.
    pub broker_dropped_since_start: u64,
    /// One row per route, in the order of the configuration.
    pub routes: Vec<RouteStatus>,
}

impl IntakeStatus {
    /// Before the first connection.
    pub(crate) fn new(url: String, routes: Vec<RouteStatus>) -> IntakeStatus {
        IntakeStatus {
            state: IntakeState::Connecting,
            state_for_s: 0,
            away_s: None,
            url,
            client_id: String::new(),
            password_file: None,
            password_lost: None,
            connections: 0,
            session_kept: None,
            sessions_lost: 0,
            session_lost_s: None,
            received: 0,
            repeats: 0,
            possible_duplicates: 0,
            oversize: 0,
            qos0: 0,
            unrouted: 0,
            unrouted_topics: Vec::new(),
            unacked_messages: 0,
            unacked_bytes: 0,
            taken_bytes: 0,
            broker_dropped: None,
            broker_dropped_since_start: 0,
            thrown_out: 0,
            stuck_s: None,
            losses: Losses::default(),
            routes,
        }
    }

    /// Looks whether the password's file still has one, while there is a connection: what the next one would find. Blocks for a
    /// small read.
    pub(crate) fn look_for_password(mut self) -> IntakeStatus {
        let file = self.password_file.as_deref().filter(|_| self.state == IntakeState::Online);
        let lost = file.and_then(|file| read_password(file).err());
        self.password_lost = lost.map(|Outage { why, remedy, .. }| (why, remedy));
        self
    }
}

/// One of the last messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastMessage {
    /// The message's topic.
    pub topic: String,
    /// The beginning of its payload, where the operator wants it shown.
    pub head: Option<String>,
    /// Bytes of its payload.
    pub bytes: usize,
    /// When it came, in seconds since boot.
    pub at_s: u64,
}

impl RouteStatus {
    /// What people call it: its filters.
    pub fn name(&self) -> String {
        let filters: Vec<&str> = self.filters.iter().map(|filter| filter.filter.as_str()).collect();
        filters.join(", ")
    }

    pub(super) fn of(route: &Route) -> RouteStatus {
        let filters = route.filters.iter().map(|filter| FilterStatus {
            filter: filter.clone(),
            granted: None,
            granted_qos: None,
        });
        RouteStatus {
            profile: route.profile.clone(),
            filters: filters.collect(),
            fallback: route.fallback,
            messages: 0,
            qos0: 0,
            last_message_s: None,
            last_qos0_s: None,
            first_qos0: None,
            silent_s: None,
            longest_pause_s: 0,
            elsewhere: 0,
            heard_before: false,
        }
    }
}

impl From<Outage> for IntakeState {
    fn from(outage: Outage) -> IntakeState {
        let Outage { kind: cause, why, remedy, pace } = outage;
        match pace {
            Pace::Slow => IntakeState::Blocked { cause, why, remedy },
            Pace::Quick => IntakeState::Offline { cause, why, remedy },
        }
    }
}
