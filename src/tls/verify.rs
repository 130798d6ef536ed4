//! Certificates judged by a clock that may be wrong.
//!
//! The time that counts is the latest of system clock, build time and last good time: never before an instant that is
//! known to have passed. While the system's clock is behind that (it booted in 1970), a chain that is "not valid yet" is
//! judged again at the first second at which it is, in full.
//!
//! Why that is safe: the time only ever moves forward from the floor, so a certificate that expired before the floor
//! stays refused, and name, issuer, signature and use are checked each time. What is given up is to notice a certificate
//! that was issued after the floor and has expired since; no clock that is behind could tell. Once the clock is
//! plausible the ordinary rules hold.
//!
//! A pin trusts exactly the certificate that it names, under any signer and any name; of the library's verdict about it
//! only the dates count, by the same rules.
//!
//! The TLS library's error carries the certificate's own dates, so no parser of certificates is needed.

use crate::clock::Clock;
use crate::tls::pin::CertPin;
use crate::tls::words::{self, TlsTrouble};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The time by which certificates are judged.
pub trait CertificateTime: fmt::Debug + Send + Sync {
    /// Seconds since 1970: the latest of system clock and the last instant known to have passed.
    fn now_s(&self) -> i64;
    /// Whether the system's clock is not behind that instant.
    fn plausible(&self) -> bool;
}

impl CertificateTime for Clock {
    fn now_s(&self) -> i64 {
        self.certificate_time_s()
    }

    fn plausible(&self) -> bool {
        Clock::plausible(self)
    }
}

/// [`CertificateTime`] as the TLS library asks for it; also the age of its session tickets.
#[derive(Debug)]
pub(super) struct Now(pub(super) Arc<dyn CertificateTime>);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix(u64::try_from(self.0.now_s()).unwrap_or(0)))
    }
}

fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Tells when a server's certificate ends.
#[derive(Clone)]
pub struct LeafEnds(Arc<WebPkiServerVerifier>);

impl LeafEnds {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>) -> LeafEnds {
        LeafEnds(verifier)
    }

    /// The last second at which `leaf` is valid, since 1970. Says nothing about whether it is to be trusted.
    ///
    /// The library looks at a leaf's validity before all else, so at the end of time it always answers "expired", with
    /// the date.
    pub fn not_after_s(&self, leaf: &CertificateDer<'_>) -> Option<i64> {
        let anybody = ServerName::try_from("localhost").ok()?;
        match self.0.verify_server_cert(leaf, &[], &anybody, &[], unix(u64::MAX)) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                i64::try_from(not_after.as_secs()).ok()
            }
            _ => None,
        }
    }
}

impl fmt::Debug for LeafEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafEnds")
    }
}

/// The library's verifier, asked again where the clock alone makes a chain look too new.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    time: Arc<dyn CertificateTime>,
    /// The one certificate that is trusted; `None`: what the CAs signed.
    pin: Option<CertPin>,
    /// The operator's own CA certificates, to tell one that a server shows as its own.
    own: Vec<CertPin>,
}

impl Verifier {
    pub(super) fn new(
        inner: Arc<WebPkiServerVerifier>,
        time: Arc<dyn CertificateTime>,
        pin: Option<CertPin>,
        own: Vec<CertPin>,
    ) -> Verifier {
        Verifier { inner, time, pin, own }
    }

    /// What is wrong with the pinned certificate itself: its dates, or that it cannot be read.
    fn judge_pinned(&self, leaf: &CertificateDer<'_>, name: &ServerName<'_>, at: UnixTime) -> Verdict {
        let verdict = self.inner.verify_server_cert(leaf, &[], name, &[], at);
        // The library looks at a leaf's dates before it asks who signed it: see `LeafEnds`.
        let of_itself = |error: &Error| {
            use TlsTrouble::{Damaged, Expired, NotYetValid, VersionOne};
            matches!(TlsTrouble::of(error), Expired(_) | NotYetValid(_) | Damaged | VersionOne)
        };
        match verdict {
            Err(error) if of_itself(&error) => Err(error),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    /// Judges by `judge`, again at the first second at which a chain of so many certificates is valid where the clock alone is to
    /// blame.
    fn judge(&self, certificates: usize, now: UnixTime, judge: impl Fn(UnixTime) -> Verdict) -> Verdict {
        let mut at = now;
        let mut verdict = judge(at);
        if self.time.plausible() {
            return verdict;
        }
        // Each round satisfies one more certificate of the chain, so there are at most as many as certificates.
        for _ in 0..certificates {
            let Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) = &verdict
            else {
                break;
            };
            if *not_before <= at {
                break;
            }
            at = *not_before;
            verdict = judge(at);
        }
        verdict
    }
}

type Verdict = Result<ServerCertVerified, Error>;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.pin {
            Some(pin) if CertPin::of(leaf) != pin => {
                Err(words::refused(TlsTrouble::OtherThanPinned(CertPin::of(leaf))))
            }
            Some(_) => self.judge(1, now, |at| self.judge_pinned(leaf, name, at)),
            None => {
                let verdict =
                    self.judge(1 + chain.len(), now, |at| self.inner.verify_server_cert(leaf, chain, name, ocsp, at));
                verdict.map_err(|error| words::seen(error, leaf, &self.own))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
