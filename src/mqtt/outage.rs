//! An outage of the intake: its kind, its reason in words, what a person can do, and how soon the next attempt comes. Pure.

use crate::mqtt::backoff::Pace;
use serde::Serialize;

/// The kind of an outage, as a word that stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageKind {
    /// The broker is not there, does not answer, or the connection broke.
    Away,
    /// The broker closed a connection that it had taken.
    Closed,
    /// It refuses user, password, or this client.
    Login,
    /// It refuses the client id.
    ClientId,
    /// It does not take MQTT 3.1.1.
    Version,
    /// TLS fails: certificates, names, dates.
    Certificate,
    /// The password's file cannot be read, or has none.
    PasswordFile,
    /// What answers does not keep to MQTT.
    NotMqtt,
    /// The agent's user may not open the broker's socket.
    NotPermitted,
    /// The broker holds a message that is never taken.
    TooLarge,
    /// The broker continues a QoS 2 handshake of an older session.
    Qos2Session,
    /// As much waits for the journal as `max_unacked_bytes` allows.
    Behind,
    /// It is of our making, for a moment.
    Ours,
}

/// Why intake is not connected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Outage {
    /// What kind of outage it is.
    pub(super) kind: OutageKind,
    /// The error, in words.
    pub(super) why: String,
    /// What a person can do; empty when nothing is to be done.
    pub(super) remedy: String,
    /// How urgent the next attempt is; [`Pace::Slow`] where the agent needs a person to act first.
    pub(super) pace: Pace,
}

impl Outage {
    pub(super) fn quick(why: impl Into<String>, remedy: impl Into<String>) -> Outage {
        Outage { kind: OutageKind::Away, why: why.into(), remedy: remedy.into(), pace: Pace::Quick }
    }

    pub(super) fn slow(why: impl Into<String>, remedy: impl Into<String>) -> Outage {
        Outage { pace: Pace::Slow, ..Outage::quick(why, remedy) }
    }

    pub(super) fn of(self, kind: OutageKind) -> Outage {
        Outage { kind, ..self }
    }
}
