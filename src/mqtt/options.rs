//! What the intake and its guests are told of the broker, what can be wrong with it, and the client library's options that follow
//! from it.

use crate::config::BrokerAddress;
use crate::first_line;
use crate::mqtt::outage::{Outage, OutageKind};
use crate::mqtt::packet_limit::TAKEN_BYTES;
use crate::topic;
use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the broker is, and how tidegate comes to it.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Where it is.
    pub address: BrokerAddress,
    /// The same as it is configured, for messages.
    pub url: String,
    /// Client id; not empty. The broker's session hangs on it.
    pub client_id: String,
    /// User name, if the broker wants one.
    pub username: Option<String>,
    /// File with the password in its first line; only with a user name.
    pub password_file: Option<PathBuf>,
    /// The longest silence towards the broker; 1 s to 65,535 s.
    pub keep_alive: Duration,
    /// TLS; needed for an address with TLS, and of no effect on others.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// Intake cannot start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// `mqtts://` needs a TLS set-up.
    #[error("{0} needs TLS, and none was set up")]
    NoTls(String),
    /// The client library takes the host as the certificate's name and as the address to resolve, in different forms.
    #[error("{0}: an IPv6 address cannot be used with TLS; use the broker's name")]
    Ipv6Tls(String),
    /// A persistent session needs a client id.
    #[error("mqtt.client_id must not be empty: the broker's session hangs on it")]
    NoClientId,
    /// MQTT 3.1.1 has no password without a user name.
    #[error("mqtt.password_file needs mqtt.username")]
    PasswordAlone,
    /// What the protocol can express.
    #[error("mqtt.keep_alive must be between 1 s and 65535 s, not {0:?}")]
    KeepAlive(Duration),
    /// Larger payloads are never taken.
    #[error("mqtt.max_payload_bytes must be between 1 and {TAKEN_BYTES}, not {0}")]
    MaxPayload(u64),
    /// A route has a text that is not a topic filter.
    #[error("{0:?} is not a topic filter: '#' must be alone and last, '+' alone between slashes")]
    Filter(String),
    /// Without routes there is nothing to subscribe.
    #[error("no route has a topic filter")]
    NoFilter,
}

/// Checks what can be checked without a broker; `filters` are those of all routes.
///
/// # Errors
/// The first thing that is wrong.
pub fn check<'f>(
    broker: &BrokerOptions,
    max_payload_bytes: u64,
    filters: impl Iterator<Item = &'f String>,
) -> Result<(), IntakeError> {
    if let BrokerAddress::Tls { host, .. } = &broker.address {
        if broker.tls.is_none() {
            return Err(IntakeError::NoTls(broker.url.clone()));
        }
        if host.contains(':') {
            return Err(IntakeError::Ipv6Tls(broker.url.clone()));
        }
    }
    if broker.client_id.is_empty() {
        return Err(IntakeError::NoClientId);
    }
    if broker.password_file.is_some() && broker.username.is_none() {
        return Err(IntakeError::PasswordAlone);
    }
    if !(1..=u64::from(u16::MAX)).contains(&broker.keep_alive.as_secs()) {
        return Err(IntakeError::KeepAlive(broker.keep_alive));
    }
    if !(1..=TAKEN_BYTES).contains(&max_payload_bytes) {
        return Err(IntakeError::MaxPayload(max_payload_bytes));
    }
    let mut filters = filters.peekable();
    if filters.peek().is_none() {
        return Err(IntakeError::NoFilter);
    }
    match filters.find(|text| topic::filter_problem(text).is_some()) {
        Some(text) => Err(IntakeError::Filter(text.clone())),
        None => Ok(()),
    }
}

/// The password: first line of the file, without blanks at its end, which an editor does not show. Read for every
/// connection, so that a changed one takes effect. Blocks.
pub(super) fn read_password(path: &Path) -> Result<String, Outage> {
    let line = first_line::read(path).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::InvalidData => "write the broker's password into its first line, as UTF-8 text".to_owned(),
            io::ErrorKind::NotFound => "write the broker's password into it, or correct mqtt.password_file".to_owned(),
            _ => format!("chown root:tidegate {0} && chmod 640 {0}", path.display()),
        };
        Outage::slow(format!("cannot read mqtt.password_file {}: {error}", path.display()), remedy)
            .of(OutageKind::PasswordFile)
    })?;
    match line.trim_end() {
        line if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Outage::slow(
            format!("mqtt.password_file {} has no password in its first line", path.display()),
            "write the broker's password into it",
        )
        .of(OutageKind::PasswordFile)),
    }
}

/// The options of one connection, which takes packets of at most so many bytes.
pub(super) fn build(broker: &BrokerOptions, password: Option<String>, packet_bytes: usize) -> MqttOptions {
    let id = broker.client_id.as_str();
    let mut options = match &broker.address {
        BrokerAddress::Tcp { host, port } => MqttOptions::new(id, bracketed(host), *port),
        BrokerAddress::Tls { host, port } => MqttOptions::new(id, host.clone(), *port),
        BrokerAddress::Unix(path) => MqttOptions::new(id, path.to_string_lossy(), 0),
    };
    match (&broker.address, &broker.tls) {
        (BrokerAddress::Unix(_), _) => options.set_transport(Transport::unix()),
        (BrokerAddress::Tls { .. }, Some(tls)) => {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())))
        }
        _ => options.set_transport(Transport::tcp()),
    };
    if let Some(user) = &broker.username {
        options.set_credentials(user.clone(), password.unwrap_or_default());
    }
    options
        .set_clean_session(false)
        .set_keep_alive(broker.keep_alive)
        .set_manual_acks(true)
        .set_max_packet_size(packet_bytes, 256 << 10);
    options
}

/// An IPv6 address as the resolver wants it before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::packet_limit::Limit;
    use crate::mqtt::tests::support;

    #[test]
    fn an_impossible_configuration_is_refused_with_the_key_to_change() {
        let good = (support::broker_at(1), 700 << 10);
        let filters = ["a/#".to_owned()];
        type Case = (fn(&mut BrokerOptions, &mut u64), &'static str);
        let cases: [Case; 5] = [
            (|broker, _| broker.client_id.clear(), "client_id"),
            (|broker, _| broker.password_file = Some("p".into()), "username"),
            (|broker, _| broker.keep_alive = Duration::ZERO, "keep_alive"),
            (|_, max_payload_bytes| *max_payload_bytes = TAKEN_BYTES + 1, "max_payload_bytes"),
            (|broker, _| broker.address = BrokerAddress::Tls { host: "b".into(), port: 8883 }, "TLS"),
        ];
        assert!(check(&good.0, good.1, filters.iter()).is_ok());
        for (spoil, word) in cases {
            let (mut broker, mut max_payload_bytes) = good.clone();
            spoil(&mut broker, &mut max_payload_bytes);
            let error = check(&broker, max_payload_bytes, filters.iter()).expect_err(word);
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(matches!(check(&good.0, good.1, ["a/#/b".to_owned()].iter()), Err(IntakeError::Filter(_))));
        assert!(matches!(check(&good.0, good.1, [].iter()), Err(IntakeError::NoFilter)));
    }

    #[test]
    fn the_session_is_persistent_and_acks_are_ours() {
        let options = build(&support::broker_at(1883), None, Limit::Normal.packet_bytes(700 << 10));
        assert!(!options.clean_session() && options.manual_acks());
        assert!(options.max_packet_size() >= 700 << 10, "the library's own limit loops on larger messages");
    }

    #[test]
    fn the_password_is_the_first_line_or_reported_absent() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("password");
        assert!(read_password(&path).expect_err("missing").why.contains("password_file"));
        std::fs::write(&path, "\n").expect("written");
        assert!(read_password(&path).expect_err("empty").why.contains("no password"));
        for text in ["s3 cret\r\n", "\u{feff}s3 cret\n", "s3 cret \t\r\n", "s3 cret  "] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(read_password(&path).expect("there"), "s3 cret", "{text:?}");
        }
        std::fs::write(&path, b"\xff\xfes\x003\x00").expect("written");
        let outage = read_password(&path).expect_err("UTF-16");
        assert!(outage.why.contains("UTF-16") && outage.remedy.contains("UTF-8"), "{outage:?}");
    }

    #[test]
    fn ipv6_addresses_are_bracketed_once() {
        assert_eq!(bracketed("::1"), "[::1]");
        assert_eq!(bracketed("[::1]"), "[::1]");
        assert_eq!(bracketed("broker"), "broker");
    }
}
