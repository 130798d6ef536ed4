//! Why TLS failed, in words that a technician can act on: none of the TLS library's own reach a person.
//!
//! The library tells most by kind; what only the certificate itself shows, [`seen`] adds while it is at hand.

use crate::tls::pin::CertPin;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use webpki::EndEntityCert;

/// What is wrong between us and a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsTrouble {
    /// X.509 of version 1, which has no extensions: no names, no purposes.
    VersionOne,
    /// The peer shows a CA certificate as its own; `trusted`: it is in our `ca_file`.
    CaAsServer {
        /// What a pin of it would be.
        pin: CertPin,
        /// Whether it is one of the operator's own CA certificates.
        trusted: bool,
    },
    /// Another certificate than the pinned one.
    OtherThanPinned(CertPin),
    /// Signed by itself, and not known to us.
    SelfSigned,
    /// Signed by a CA that is not known to us.
    UnknownCa,
    /// The certificate has other names, if any.
    Name {
        /// Whom we wanted to reach.
        wanted: String,
        /// The certificate's names.
        names: Vec<String>,
    },
    /// Over; seconds since 1970, where known.
    Expired(Option<u64>),
    /// Not begun yet; seconds since 1970, where known.
    NotYetValid(Option<u64>),
    /// Not made for a server.
    Purpose,
    /// A signature by an algorithm that is not supported; which one, where it is known.
    Algorithm(Option<&'static str>),
    /// Its signature is not that of the CA whose name it has.
    BadSignature,
    /// It cannot be read.
    Damaged,
    /// It has something that must not be ignored and is not known.
    UnknownExtension,
    /// No version or algorithm that both sides know.
    NothingInCommon,
    /// What answers does not speak TLS.
    NotTls,
    /// The peer wants a certificate of ours.
    WantsOurs,
    /// The peer refuses our certificate; its reason.
    RefusesOurs(&'static str),
    /// The peer ended the handshake for a reason of its own.
    Ended,
    /// Anything else.
    Other,
}

impl TlsTrouble {
    /// Reads the library's error.
    pub fn of(error: &Error) -> TlsTrouble {
        use TlsTrouble::*;
        match error {
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::PeerSentOversizedRecord => NotTls,
            Error::PeerIncompatible(_) => NothingInCommon,
            Error::AlertReceived(alert) => of_alert(*alert),
            _ => Other,
        }
    }
}

/// The TLS library's error among `error` and its sources, those that an `io::Error` carries included.
pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    None
}

fn of_certificate(error: &CertificateError) -> TlsTrouble {
    use CertificateError as Its;
    use TlsTrouble::*;
    let s = |time: &UnixTime| Some(time.as_secs());
    match error {
        Its::Expired => Expired(None),
        Its::ExpiredContext { not_after, .. } => Expired(s(not_after)),
        Its::NotValidYet => NotYetValid(None),
        Its::NotValidYetContext { not_before, .. } => NotYetValid(s(not_before)),
        Its::UnknownIssuer => UnknownCa,
        Its::NotValidForName => Name { wanted: String::new(), names: Vec::new() },
        Its::NotValidForNameContext { expected, presented } => {
            Name { wanted: name(expected), names: presented.iter().map(|name| bare(name)).collect() }
        }
        Its::InvalidPurpose | Its::InvalidPurposeContext { .. } => Purpose,
        Its::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
            Algorithm(algorithm(signature_algorithm_id))
        }
        Its::UnsupportedSignatureAlgorithmForPublicKeyContext { public_key_algorithm_id, signature_algorithm_id } => {
            Algorithm(algorithm(public_key_algorithm_id).or_else(|| algorithm(signature_algorithm_id)))
        }
        Its::BadSignature => BadSignature,
        Its::BadEncoding => Damaged,
        Its::UnhandledCriticalExtension => UnknownExtension,
        Its::Other(OtherError(other)) => match other.downcast_ref::<Seen>() {
            Some(Seen(trouble)) => trouble.clone(),
            None => of_webpki(&**other),
        },
        _ => Other,
    }
}

fn of_webpki(error: &(dyn StdError + Send + Sync + 'static)) -> TlsTrouble {
    match error.downcast_ref() {
        Some(webpki::Error::UnsupportedCertVersion) => TlsTrouble::VersionOne,
        Some(webpki::Error::UnsupportedCriticalExtension) => TlsTrouble::UnknownExtension,
        _ => TlsTrouble::Other,
    }
}

fn of_alert(alert: AlertDescription) -> TlsTrouble {
    use AlertDescription as Its;
    use TlsTrouble::*;
    match alert {
        Its::HandshakeFailure | Its::InsufficientSecurity | Its::ProtocolVersion => NothingInCommon,
        Its::CertificateRequired | Its::NoCertificate => WantsOurs,
        Its::UnknownCA => RefusesOurs("it does not know the CA that issued it"),
        Its::CertificateExpired => RefusesOurs("it has expired, or is not valid yet by the peer's clock"),
        Its::CertificateRevoked => RefusesOurs("it was revoked"),
        Its::UnsupportedCertificate => RefusesOurs("it is of a kind that the peer does not take"),
        Its::BadCertificate | Its::CertificateUnknown | Its::AccessDenied | Its::DecryptError => {
            RefusesOurs("it gives no reason")
        }
        _ => Ended,
    }
}

/// A verdict about a peer's certificate, with what only the certificate shows. `own`: the operator's CA certificates.
pub(super) fn seen(error: Error, leaf: &CertificateDer<'_>, own: &[CertPin]) -> Error {
    let Error::InvalidCertificate(inner) = &error else { return error };
    let ca = |other: &OtherError| matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity));
    let trouble = match inner {
        CertificateError::Other(other) if ca(other) => {
            let pin = CertPin::of(leaf);
            TlsTrouble::CaAsServer { trusted: own.contains(&pin), pin }
        }
        CertificateError::UnknownIssuer if is_self_issued(leaf) => TlsTrouble::SelfSigned,
        _ => return error,
    };
    refused(trouble)
}

/// The verdict of a certificate that is refused for a reason of ours.
pub(super) fn refused(trouble: TlsTrouble) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Seen(trouble)))))
}

fn is_self_issued(leaf: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(leaf).is_ok_and(|cert| cert.issuer() == cert.subject())
}

/// Carries a trouble through the library.
#[derive(Debug)]
struct Seen(TlsTrouble);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Seen {}

fn name(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
        name => name.to_str().into_owned(),
    }
}

/// `DnsName("host")` as the library writes a name that was presented.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    crate::visible::line(inner.trim_matches('"')).into_owned()
}

/// What is not supported, by its object identifier in DER: of keys, curves and signatures.
const ALGORITHMS: &[(&[u8], &str)] = &[
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], "the curve P-521"),
    (&[0x2b, 0x81, 0x04, 0x00, 0x0a], "the curve secp256k1"),
    (&[0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01], "a Brainpool curve"),
    (&[0x2b, 0x65, 0x71], "Ed448"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04], "DSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "a signature with SHA-1"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "a signature with SHA-1"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "a signature with MD5"),
];

/// The algorithm that these bytes of DER name, if it is one that is not supported.
pub(super) fn algorithm(der: &[u8]) -> Option<&'static str> {
    // As an element of its own where it is in a key: tag 6 and its length.
    let named = |oid: &[u8]| der == oid || der.windows(oid.len()).any(|window| window == oid);
    ALGORITHMS.iter().find(|(oid, _)| named(oid)).map(|(_, word)| *word)
}

impl fmt::Display for TlsTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TlsTrouble::*;
        match self {
            VersionOne => {
                f.write_str("its certificate is of X.509 version 1, as `openssl x509 -req` makes it without -extfile")
            }
            CaAsServer { pin, trusted: true } => {
                write!(f, "it shows the CA certificate of ca_file as its own; that certificate is {pin}")
            }
            CaAsServer { trusted: false, .. } => {
                f.write_str("it shows a CA certificate as its own, and not one of ca_file")
            }
            OtherThanPinned(shown) => write!(f, "it shows another certificate than the pinned one: {shown}"),
            SelfSigned => f.write_str("its certificate is signed by itself, and is not in ca_file"),
            UnknownCa => f.write_str("its certificate was issued by a CA that is not known here"),
            Name { wanted, names } if names.is_empty() => {
                write!(f, "its certificate does not name {wanted}, nor anybody else")
            }
            Name { wanted, names } => write!(f, "its certificate does not name {wanted}, but {}", names.join(", ")),
            Expired(at) => write!(f, "its certificate has expired{}", day(*at, "on")),
            NotYetValid(at) => write!(f, "its certificate is not valid yet{}", day(*at, "but from")),
            Purpose => f.write_str("its certificate is not made for a server (extendedKeyUsage)"),
            Algorithm(Some(what)) => write!(f, "its certificate needs {what}, which tidegate does not do"),
            Algorithm(None) => f.write_str("its certificate is signed in a way that tidegate does not do"),
            BadSignature => f.write_str("a signature does not fit: its CA's under its certificate, or its own"),
            Damaged => f.write_str("its certificate cannot be read"),
            UnknownExtension => f.write_str("its certificate has a critical extension that tidegate does not know"),
            NothingInCommon => f.write_str("no TLS version, cipher or kind of key that both sides know"),
            NotTls => f.write_str("what answers does not speak TLS"),
            WantsOurs => f.write_str("it wants a client certificate"),
            RefusesOurs(why) => write!(f, "it refuses our client certificate: {why}"),
            Ended => f.write_str("it ended the TLS handshake"),
            Other => f.write_str("the TLS handshake broke off"),
        }
    }
}

/// ` on 2026-11-30`; empty where it is not known.
fn day(seconds: Option<u64>, word: &str) -> String {
    let date = seconds.and_then(|s| time::OffsetDateTime::from_unix_timestamp(i64::try_from(s).ok()?).ok());
    date.map_or_else(String::new, |date| format!(", {word} {}", date.date()))
}
