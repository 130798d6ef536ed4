//! What to do where TLS with the broker fails. Pure.

use crate::mqtt::outage::{Outage, OutageKind};
use crate::tls::TlsTrouble;
use rumqttc::TlsError;
use std::error::Error;
use std::io;

/// The command that tells a certificate's pin, on the machine where the certificate lies.
const FINGERPRINT: &str = "openssl x509 -in CERTIFICATE -noout -fingerprint -sha256";

/// Reads an error of the TLS layer.
pub(super) fn outage(error: &TlsError, url: &str) -> Outage {
    match error {
        TlsError::TLS(error) => of_trouble(&TlsTrouble::of(error), url),
        TlsError::Io(error) => from_io(error, url).unwrap_or_else(|| broke_off(error, url)),
        _ => slow(url, "its host is no name that a certificate can have", "correct the host in mqtt.url"),
    }
}

/// What TLS says through an error of the connection; `None`: it is not of TLS.
pub(super) fn from_io(error: &(dyn Error + 'static), url: &str) -> Option<Outage> {
    crate::tls::find(error).map(|error| of_trouble(&TlsTrouble::of(error), url))
}

/// The connection ended within the handshake.
fn broke_off(error: &io::Error, url: &str) -> Outage {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => slow(
            url,
            "the connection was closed within the handshake",
            "check that mqtt.url names the broker's TLS port, and see the broker's log",
        ),
        _ => slow(url, &error.to_string(), "see the broker's log"),
    }
}

fn slow(url: &str, why: &str, remedy: &str) -> Outage {
    Outage::slow(format!("TLS with {url} failed: {why}"), remedy).of(OutageKind::Certificate)
}

fn of_trouble(trouble: &TlsTrouble, url: &str) -> Outage {
    slow(url, &trouble.to_string(), &remedy(trouble))
}

fn remedy(trouble: &TlsTrouble) -> String {
    use TlsTrouble::*;
    let by_fingerprint =
        || format!("with what this prints on the broker's machine, {FINGERPRINT}, set mqtt.cert_pin = \"sha256:…\"");
    match trouble {
        VersionOne => "make the broker's certificate anew with names: openssl x509 -req … -extfile FILE, with \
                       subjectAltName=DNS:HOST in FILE"
            .to_owned(),
        CaAsServer { pin, trusted: true } => {
            format!("make a certificate for the broker with that CA, or trust exactly this one: mqtt.cert_pin = \"{pin}\"")
        }
        // Not with what was shown: a host on the path would be trusted for good.
        CaAsServer { trusted: false, .. } | SelfSigned => format!("to trust exactly the broker's certificate: {}", by_fingerprint()),
        OtherThanPinned(_) => {
            format!("if the broker's certificate was renewed: {}; if not, somebody else answers", by_fingerprint())
        }
        UnknownCa => "name the CA that issued the broker's certificate with mqtt.ca_file; if the broker shows no intermediate \
                      certificates, add them there or to the broker's certfile"
            .to_owned(),
        Name { names, .. } => match &names[..] {
            [] => "make the broker's certificate anew with -extfile FILE, with subjectAltName=DNS:HOST in FILE".to_owned(),
            names => format!("use one of these names in mqtt.url ({}), or make a certificate for this one", names.join(", ")),
        },
        Expired(_) | NotYetValid(_) => "compare the gateway's clock (date -u) with these dates; if it is right, renew the broker's \
                                        certificate"
            .to_owned(),
        Purpose => "make the broker's certificate anew with extendedKeyUsage=serverAuth".to_owned(),
        Algorithm(_) => "make key and certificate anew, and the CA's if it is that one's, on the curve P-256 or with RSA of 2048 \
                         bits and SHA-256"
            .to_owned(),
        BadSignature => "if the CA was made anew under its old name: give mqtt.ca_file the one that issued the broker's certificate; and the broker the \
                         key that belongs to it".to_owned(),
        Damaged | UnknownExtension => "see what openssl x509 -in CERTIFICATE -noout -text says of the broker's certificate, and make it anew".to_owned(),
        NothingInCommon => "let the broker speak TLS 1.2 or 1.3, with a key on the curve P-256 or of RSA (not P-521, Ed448 or DSA)".to_owned(),
        NotTls => "check that mqtt.url names the broker's TLS port; without TLS it is mqtt://".to_owned(),
        WantsOurs => "set mqtt.client_cert_file and mqtt.client_key_file".to_owned(),
        RefusesOurs(_) => "see the broker's log; the CA of mqtt.client_cert_file belongs into the broker's cafile".to_owned(),
        Ended | Other => "see the broker's log".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_words_and_a_remedy_of_its_own() {
        use TlsTrouble::*;
        let name = |names: &[&str]| Name { wanted: "b".into(), names: names.iter().map(ToString::to_string).collect() };
        let pin = "sha256:00".to_owned() + &"11".repeat(31);
        let pin = pin.parse().expect("a pin");
        let all = [
            VersionOne,
            CaAsServer { pin, trusted: true },
            CaAsServer { pin, trusted: false },
            OtherThanPinned(pin),
            SelfSigned,
            UnknownCa,
            name(&[]),
            name(&["broker.lan"]),
            Expired(Some(0)),
            NotYetValid(None),
            Purpose,
            Algorithm(Some("the curve P-521")),
            BadSignature,
            Damaged,
            NothingInCommon,
            NotTls,
            WantsOurs,
            RefusesOurs("it gives no reason"),
            Other,
        ];
        let said: Vec<Outage> = all.iter().map(|trouble| of_trouble(trouble, "mqtts://b")).collect();
        for outage in &said {
            assert!(outage.why.starts_with("TLS with mqtts://b failed: ") && !outage.remedy.is_empty(), "{outage:?}");
            assert_eq!(said.iter().filter(|other| other.why == outage.why).count(), 1, "{outage:?}");
        }
        assert!(said[1].remedy.contains(&format!("mqtt.cert_pin = \"{pin}\"")), "{:?}", said[1]);
        for stranger in [&said[2], &said[3], &said[4]] {
            assert!(
                !stranger.remedy.contains(&pin.to_string()),
                "whoever answers must not be advised to be trusted: {stranger:?}"
            );
        }
        assert!(said[8].why.contains("1970-01-01"), "{:?}", said[8]);
    }
}
