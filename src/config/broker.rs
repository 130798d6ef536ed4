//! Where the broker is, and whether two addresses may mean one.

use crate::config::parse::{Wrong, host_and_port, with_port_reason};
use crate::config::queue_url::is_loopback_host;
use std::path::PathBuf;

/// Where brokers speak TLS: registered for it, and every broker's default.
pub(super) const TLS_PORT: u16 = 8883;

/// How the broker is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerAddress {
    /// `mqtt://host:port`
    Tcp {
        /// Host name or address.
        host: String,
        /// Port; 1883 by default.
        port: u16,
    },
    /// `mqtts://host:port`
    Tls {
        /// Host name or address, as in the broker's certificate.
        host: String,
        /// Port; 8883 by default.
        port: u16,
    },
    /// `unix:///path`
    Unix(PathBuf),
}

impl BrokerAddress {
    /// Whether both may mean one broker, as far as their texts tell: this machine has many names, and a broker several
    /// doors.
    pub fn may_be(&self, other: &BrokerAddress) -> bool {
        let host = |address: &BrokerAddress| match address {
            BrokerAddress::Tcp { host, .. } | BrokerAddress::Tls { host, .. } if !is_loopback_host(host) => {
                Some(host.to_ascii_lowercase())
            }
            _ => None,
        };
        let one_door = match (self, other) {
            (BrokerAddress::Tcp { port, .. }, BrokerAddress::Tcp { port: other, .. })
            | (BrokerAddress::Tls { port, .. }, BrokerAddress::Tls { port: other, .. }) => port == other,
            (BrokerAddress::Unix(path), BrokerAddress::Unix(other)) => path == other,
            _ => true,
        };
        host(self) == host(other) && one_door
    }

    /// The URL that was probably meant, where this one goes without TLS to the port that brokers speak TLS at. Not a mistake by
    /// itself: a broker may speak anything at any port.
    pub fn meant_with_tls(&self) -> Option<String> {
        match self {
            BrokerAddress::Tcp { host, port: TLS_PORT } if host.contains(':') => {
                Some(format!("mqtts://[{host}]:{TLS_PORT}"))
            }
            BrokerAddress::Tcp { host, port: TLS_PORT } => Some(format!("mqtts://{host}:{TLS_PORT}")),
            _ => None,
        }
    }

    /// The broker of a URL; `None`: it is none.
    pub fn of(url: &str) -> Option<BrokerAddress> {
        broker_url(url).ok()
    }
}

/// `mqtt://host[:port]`, `mqtts://host[:port]` or `unix:///path`.
pub(super) fn broker_url(text: &str) -> Result<BrokerAddress, Wrong> {
    let wrong = || Wrong::expected("\"mqtt://host:1883\", \"mqtts://host:8883\" for TLS, or \"unix:///path\"");
    let Some((scheme, rest)) = text.split_once("://") else {
        let plausible = !text.is_empty() && !text.contains(['/', ' ', '@']);
        return Err(if plausible { wrong().did_you_mean(format!("mqtt://{text}")) } else { wrong() });
    };
    let (tls, port) = match scheme {
        "unix" if rest.starts_with('/') && rest.len() > 1 => return Ok(BrokerAddress::Unix(PathBuf::from(rest))),
        "mqtt" => (false, 1883),
        "mqtts" => (true, TLS_PORT),
        "tcp" => return Err(wrong().did_you_mean(format!("mqtt://{rest}"))),
        "ssl" | "tls" => return Err(wrong().did_you_mean(format!("mqtts://{rest}"))),
        "ws" | "wss" => return Err(wrong().suggest("websockets are not supported: use the broker's plain or TLS port")),
        _ => return Err(wrong()),
    };
    if rest.contains('@') {
        let found = "the URL holds a user name or a password";
        return Err(Wrong::because(found).suggest("set mqtt.username and mqtt.password_file instead"));
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = host_and_port(rest, port).ok_or_else(|| with_port_reason(wrong(), rest))?;
    Ok(if tls { BrokerAddress::Tls { host, port } } else { BrokerAddress::Tcp { host, port } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broker_has_many_names_and_two_doors() {
        let of = |url: &str| BrokerAddress::of(url).expect(url);
        for (one, other, may) in [
            ("mqtt://localhost:1883", "mqtt://127.0.0.1", true),
            ("mqtt://localhost:1883", "mqtts://[::1]:8883", true),
            ("mqtt://localhost:1883", "unix:///run/broker.sock", true),
            ("mqtt://Broker.lan", "mqtts://broker.LAN", true),
            ("mqtt://localhost:1883", "mqtt://localhost:1884", false),
            ("mqtt://localhost:1883", "mqtt://broker.lan:1883", false),
            ("mqtt://broker.lan", "unix:///run/broker.sock", false),
            ("unix:///run/a.sock", "unix:///run/b.sock", false),
        ] {
            assert_eq!(of(one).may_be(&of(other)), may, "{one} {other}");
            assert_eq!(of(other).may_be(&of(one)), may, "{other} {one}");
        }
        assert_eq!(BrokerAddress::of("http://x"), None);
    }

    #[test]
    fn plain_mqtt_at_the_tls_port_is_noticed() {
        let meant = |url: &str| BrokerAddress::of(url).expect(url).meant_with_tls();
        assert_eq!(meant("mqtt://broker.lan:8883").as_deref(), Some("mqtts://broker.lan:8883"));
        assert_eq!(meant("mqtt://[::1]:8883").as_deref(), Some("mqtts://[::1]:8883"));
        for url in ["mqtt://broker.lan", "mqtts://broker.lan:8883", "unix:///run/a.sock"] {
            assert_eq!(meant(url), None, "{url}");
        }
    }
}
