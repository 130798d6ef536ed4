//! Why there is no connection, in words, and what to do about it. Pure.

use crate::config::BrokerAddress;
use crate::mqtt::backoff::Pace;
use crate::mqtt::outage::{Outage, OutageKind};
use crate::mqtt::packet_limit::{TAKEN_BYTES, TooLarge, too_large};
use crate::mqtt::tls_failure;
use rumqttc::{ConnectReturnCode, ConnectionError, StateError, mqttbytes};
use std::io;

/// What an error of the client library asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// Wait and try again.
    Outage(Outage),
    /// A packet of so many bytes does not fit: take it with the limit raised.
    Raise(usize),
    /// The broker continues a QoS 2 handshake that this process knows nothing of.
    Release(u16),
}

/// Reads an error. `url` is the broker's as configured, `client_id` ours; `connected`: there was a CONNACK before it.
pub(super) fn cause(error: &ConnectionError, url: &str, client_id: &str, connected: bool) -> Cause {
    match (plain_cause(error, url, client_id, connected), meant_with_tls(url)) {
        (Cause::Outage(outage), Some(meant)) if !connected && may_be_tls(error) => {
            let why = format!("{}; port 8883 is where brokers speak TLS, and {url} does not", outage.why);
            Cause::Outage(Outage { why, remedy: format!("set mqtt.url to \"{meant}\""), ..outage })
        }
        (cause, _) => cause,
    }
}

fn meant_with_tls(url: &str) -> Option<String> {
    BrokerAddress::of(url)?.meant_with_tls()
}

/// Whether a listener that waits for TLS shows itself so: it takes the connection, and then no sensible word comes.
fn may_be_tls(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::Io(error) => !matches!(error.kind(), io::ErrorKind::ConnectionRefused),
        ConnectionError::NetworkTimeout | ConnectionError::NotConnAck(_) | ConnectionError::MqttState(_) => true,
        _ => false,
    }
}

fn plain_cause(error: &ConnectionError, url: &str, client_id: &str, connected: bool) -> Cause {
    Cause::Outage(match error {
        ConnectionError::ConnectionRefused(code) => refused(*code, client_id),
        ConnectionError::Io(error) => io_outage(error, url),
        ConnectionError::Tls(error) => tls_failure::outage(error, url),
        ConnectionError::NetworkTimeout => {
            Outage::quick(format!("no answer from {url}"), "see whether the broker runs")
        }
        ConnectionError::FlushTimeout => {
            Outage::quick("the broker takes no more data", "see whether the broker is stuck")
        }
        ConnectionError::NotConnAck(_) => not_mqtt(url, "it answered with something else than a CONNACK"),
        ConnectionError::RequestsDone => Outage::quick("the client was shut down", ""),
        ConnectionError::MqttState(error) => return state_cause(error, url, connected),
    })
}

fn state_cause(error: &StateError, url: &str, connected: bool) -> Cause {
    Cause::Outage(match error {
        StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(bytes)) => match too_large(*bytes) {
            TooLarge::Raise => return Cause::Raise(*bytes),
            TooLarge::Blocked => blocked(*bytes),
        },
        // A return code that MQTT 3.1.1 does not have; as MQTT 5 writes it.
        StateError::Deserialization(mqttbytes::Error::InvalidConnectReturnCode(code @ 0x80..)) => mqtt5_only(*code),
        StateError::Unsolicited(packet_id) => return Cause::Release(*packet_id),
        StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)) => io_outage(error, url),
        StateError::ConnectionAborted if connected => {
            Outage::quick("the broker closed the connection", "").of(OutageKind::Closed)
        }
        StateError::ConnectionAborted => Outage::quick("the broker closed the connection", ""),
        StateError::AwaitPingResp => {
            Outage::quick("the broker stopped answering keep-alives", "see whether the broker is stuck")
        }
        other if connected => {
            Outage::quick(format!("the broker broke the protocol: {other}"), "see the broker's log and version")
        }
        StateError::Deserialization(error) => not_mqtt(url, &error.to_string()),
        other => not_mqtt(url, &other.to_string()),
    })
}

fn refused(code: ConnectReturnCode, client_id: &str) -> Outage {
    match code {
        ConnectReturnCode::BadUserNamePassword => Outage::slow(
            "the broker does not let us in: it refused user name or password",
            "set mqtt.username and mqtt.password_file to an account of the broker",
        )
        .of(OutageKind::Login),
        ConnectReturnCode::NotAuthorized => Outage::slow(
            format!("the broker does not let us in: it does not authorise client {client_id}"),
            "set mqtt.username and mqtt.password_file, or allow this client in the broker",
        )
        .of(OutageKind::Login),
        ConnectReturnCode::BadClientId => Outage::slow(
            format!("the broker refused the client id {client_id} ({} characters)", client_id.chars().count()),
            "set mqtt.client_id to one that the broker accepts (some take at most 23 letters and digits), and keep it: the session hangs on it",
        )
        .of(OutageKind::ClientId),
        ConnectReturnCode::RefusedProtocolVersion => {
            Outage::slow("the broker does not take MQTT 3.1.1: it refused it", "enable MQTT 3.1.1 in the broker").of(OutageKind::Version)
        }
        ConnectReturnCode::ServiceUnavailable => Outage::quick("the broker says that it is unavailable", ""),
        ConnectReturnCode::Success => Outage::quick("the broker accepted and then failed", ""),
    }
}

fn io_outage(error: &io::Error, url: &str) -> Outage {
    // In TLS 1.3 the broker judges our certificate when the handshake is over for us.
    if let Some(outage) = tls_failure::from_io(error, url) {
        return outage;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Outage::quick(format!("nothing listens at {url}"), "start the broker, or correct mqtt.url")
        }
        io::ErrorKind::NotFound => {
            Outage::quick(format!("there is no socket at {url}"), "start the broker, or correct mqtt.url")
        }
        io::ErrorKind::PermissionDenied => {
            Outage::slow(format!("not allowed to open {url}"), "let the agent's user open the broker's socket")
                .of(OutageKind::NotPermitted)
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            Outage::quick(format!("the connection broke: {error}"), "")
        }
        _ => Outage::quick(format!("cannot reach {url}: {error}"), "check mqtt.url and the network to the broker"),
    }
}

fn not_mqtt(url: &str, what: &str) -> Outage {
    Outage::slow(
        format!("what answers at {url} breaks MQTT 3.1.1: {what}"),
        "check that mqtt.url names the broker's MQTT port, and mqtts:// if it wants TLS",
    )
    .of(OutageKind::NotMqtt)
}

fn mqtt5_only(code: u8) -> Outage {
    let what = match code {
        0x84 => "the broker does not take MQTT 3.1.1: it takes MQTT 5 only".to_owned(),
        code => format!("the broker does not take MQTT 3.1.1: it refused us with 0x{code:02x}, a code of MQTT 5"),
    };
    Outage::slow(what, "enable MQTT 3.1.1 in the broker: tidegate speaks MQTT 3.1.1").of(OutageKind::Version)
}

fn blocked(packet_bytes: usize) -> Outage {
    let most = TAKEN_BYTES >> 20;
    Outage {
        kind: OutageKind::TooLarge,
        why: format!(
            "the broker holds a message of {packet_bytes} bytes for us; more than {most} MiB is never taken, and \
             everything behind it waits"
        ),
        remedy: format!(
            "set message_size_limit or max_packet_size in the broker to at most {most} MiB, find the publisher, and \
             remove the message by ending this client's session in the broker (which drops what else it holds)"
        ),
        pace: Pace::Slow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(error: ConnectionError) -> Cause {
        cause(&error, "mqtt://broker:1883", "tidegate-roof", false)
    }

    fn state(error: StateError) -> Cause {
        read(ConnectionError::MqttState(error))
    }

    #[test]
    fn every_refusal_is_said_with_a_remedy_and_retried_slowly() {
        use ConnectReturnCode as Code;
        for code in [Code::BadUserNamePassword, Code::NotAuthorized, Code::BadClientId, Code::RefusedProtocolVersion] {
            let Cause::Outage(outage) = read(ConnectionError::ConnectionRefused(code)) else { panic!("{code:?}") };
            assert!(!outage.remedy.is_empty() && outage.pace == Pace::Slow, "{outage:?}");
        }
    }

    #[test]
    fn a_broker_that_is_not_up_yet_is_retried_soon() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let Cause::Outage(outage) = read(ConnectionError::Io(refused)) else { panic!("an outage") };
        assert_eq!(outage.pace, Pace::Quick);
        assert!(outage.why.contains("mqtt://broker:1883"));
    }

    #[test]
    fn packets_within_the_raised_limit_pass_and_larger_ones_block() {
        let limit = |bytes| state(StateError::Deserialization(mqttbytes::Error::PayloadSizeLimitExceeded(bytes)));
        assert_eq!(limit(5_000_000), Cause::Raise(5_000_000));
        let Cause::Outage(outage) = limit(20_000_000) else { panic!("an outage") };
        assert!(outage.pace == Pace::Slow && outage.why.contains("20000000"), "{outage:?}");
        assert!(outage.remedy.contains("message_size_limit") && outage.remedy.contains("max_packet_size"));
    }

    #[test]
    fn a_broker_of_mqtt_5_alone_is_called_so() {
        let refused = StateError::Deserialization(mqttbytes::Error::InvalidConnectReturnCode(0x84));
        let Cause::Outage(outage) = state(refused) else { panic!("an outage") };
        assert!(outage.pace == Pace::Slow && outage.why.contains("MQTT 5 only"), "{outage:?}");
    }

    #[test]
    fn silence_at_the_tls_port_names_the_scheme() {
        let at = |url: &str, connected| {
            cause(&ConnectionError::MqttState(StateError::ConnectionAborted), url, "c", connected)
        };
        let Cause::Outage(outage) = at("mqtt://broker:8883", false) else { panic!("an outage") };
        assert_eq!(outage.remedy, "set mqtt.url to \"mqtts://broker:8883\"");
        assert!(outage.kind == OutageKind::Away && outage.why.contains("port 8883"), "{outage:?}");
        for (url, connected) in [("mqtt://broker:8883", true), ("mqtt://broker", false), ("mqtts://broker", false)] {
            let Cause::Outage(outage) = at(url, connected) else { panic!("an outage") };
            assert_eq!(outage.remedy, "", "{url}");
        }
    }

    #[test]
    fn an_unknown_release_is_told_apart() {
        assert_eq!(state(StateError::Unsolicited(7)), Cause::Release(7));
    }
}
