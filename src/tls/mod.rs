//! TLS of both edges: one crypto provider, roots that a bare gateway has, and certificates judged by a clock that may be
//! wrong.
//!
//! * ring is the one provider of the binary, named explicitly everywhere and never installed as the process's default:
//!   two providers linked by accident would otherwise make the choice panic at the first connection.
//! * Roots are those embedded in the binary, the system's where there are any, and an operator's file (`pem`).
//! * A gateway may boot in 1970, when no certificate is valid yet and no time can be asked over TLS. `verify` says how
//!   certificates are judged then, and why that accepts nothing which had expired before the last time known to have
//!   passed.
//! * What went wrong is said in our words (`words`), never in the library's.

mod pem;
mod pin;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;
mod words;

pub use pin::CertPin;
pub use verify::{CertificateTime, LeafEnds};
pub use words::{TlsTrouble, find};

use crate::clock::Clock;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use verify::Verifier;

/// TLS sessions kept for resumption: each edge talks to one or two servers.
const SESSIONS: usize = 8;

/// What one edge wants of TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsOptions {
    /// CA certificates of the operator (PEM).
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain (PEM), own certificate first; both this and the key, or neither.
    pub client_cert_file: Option<PathBuf>,
    /// Client key (PEM): PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub client_key_file: Option<PathBuf>,
    /// The one certificate of the server that is trusted, in the place of all CAs and names.
    pub cert_pin: Option<CertPin>,
    /// Whether `ca_file` replaces the public roots (the operator's own broker) or is added to them (SQS behind a proxy
    /// that inspects TLS). Without a `ca_file` the public roots hold either way.
    pub exclusive_ca: bool,
    /// Whether to offer HTTP/1.1, and it alone, by ALPN.
    pub alpn_http1: bool,
}

/// Why TLS cannot be set up. All of them need a person.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file that was to be read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {problem}", path = path.display())]
    Content {
        /// The file that was read.
        path: PathBuf,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The file that a setting names cannot be used.
    #[error("{setting}: {why}")]
    Setting {
        /// The setting's key in its table.
        setting: &'static str,
        /// What is wrong: [`TlsError::Unreadable`] or [`TlsError::Content`].
        why: Box<TlsError>,
    },
    /// One half of the client's pair is missing.
    #[error("a client certificate needs both client_cert_file and client_key_file; {missing} is missing")]
    HalfAPair {
        /// The setting that is missing.
        missing: &'static str,
    },
    /// Key and certificate are not a pair.
    #[error("the key in {key} does not belong to the certificate in {cert}; install the pair again", key = key.display(), cert = cert.display())]
    NotAPair {
        /// File of the certificate chain.
        cert: PathBuf,
        /// File of the private key.
        key: PathBuf,
    },
    /// The TLS library refuses the set-up.
    #[error("cannot set up TLS: {0}")]
    Refused(String),
}

/// A client's side of TLS, and a means to tell when a server's certificate ends.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// For the TLS library.
    pub config: Arc<ClientConfig>,
    /// Tells a leaf's end of validity.
    pub ends: LeafEnds,
    /// Files of the system's trust store that could not be read or hold rubbish: odd, not fatal.
    pub unreadable_roots: usize,
}

/// The TLS configuration of one edge, judging certificates by `clock`.
///
/// # Errors
/// Any [`TlsError`]; reads the files named in `options` and the system's trust store.
pub fn client_config(options: &TlsOptions, clock: &Clock) -> Result<Arc<ClientConfig>, TlsError> {
    client_tls(options, Arc::new(clock.clone())).map(|tls| tls.config)
}

/// As [`client_config`], with the time injected and with what a connector needs to learn the service's time.
///
/// # Errors
/// Any [`TlsError`].
pub fn client_tls(options: &TlsOptions, time: Arc<dyn CertificateTime>) -> Result<ClientTls, TlsError> {
    let refused = |error: &dyn std::fmt::Display| TlsError::Refused(error.to_string());
    let Roots { store: roots, own, unreadable: unreadable_roots } = roots(options)?;
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), ring.clone())
        .build()
        .map_err(|error| refused(&error))?;
    let verifier = Arc::new(Verifier::new(inner.clone(), time.clone(), options.cert_pin, own));
    let builder = ClientConfig::builder_with_details(ring, Arc::new(verify::Now(time)))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match client_pair(options)? {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = pem::certificates(cert).map_err(of("client_cert_file"))?;
            let secret = pem::private_key(key).map_err(of("client_key_file"))?;
            let kind = words::algorithm(secret.secret_der());
            builder.with_client_auth_cert(chain, secret).map_err(|error| client_pair_error(&error, cert, key, kind))?
        }
    };
    if options.alpn_http1 {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(ClientTls { config: Arc::new(config), ends: LeafEnds::new(inner), unreadable_roots })
}

/// When the first certificate of a file (PEM) ends, in seconds since 1970; whom it is from does not matter. `None`: the file cannot
/// be read, or holds none.
pub fn file_ends_s(path: &Path) -> Option<i64> {
    let certificate = pem::certificates(path).ok()?.into_iter().next()?;
    // The verifier wants a root, and does not ask it.
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), ring).build().ok()?;
    LeafEnds::new(verifier).not_after_s(&certificate)
}

/// Names the setting whose file is at fault: a technician looks for the key, not for the path.
fn of(setting: &'static str) -> impl Fn(TlsError) -> TlsError {
    move |why| TlsError::Setting { setting, why: Box::new(why) }
}

fn client_pair(options: &TlsOptions) -> Result<Option<(&Path, &Path)>, TlsError> {
    match (&options.client_cert_file, &options.client_key_file) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, Some(_)) => Err(TlsError::HalfAPair { missing: "client_cert_file" }),
        (Some(_), None) => Err(TlsError::HalfAPair { missing: "client_key_file" }),
    }
}

/// `kind`: what the key is of, if that is not supported.
fn client_pair_error(error: &rustls::Error, cert: &Path, key: &Path, kind: Option<&str>) -> TlsError {
    let of_cert =
        |problem: &str| of("client_cert_file")(TlsError::Content { path: cert.into(), problem: problem.into() });
    match (error, TlsTrouble::of(error)) {
        (rustls::Error::InconsistentKeys(_), _) => TlsError::NotAPair { cert: cert.into(), key: key.into() },
        (_, TlsTrouble::VersionOne) => of_cert(
            "the client certificate is of X.509 version 1; make it anew with openssl x509 -req -extfile FILE, with \
             extendedKeyUsage=clientAuth in FILE",
        ),
        (rustls::Error::InvalidCertificate(_), _) => {
            of_cert("the client certificate is damaged; install the one that the CA gave")
        }
        _ => {
            let kind = match kind {
                Some(kind) => format!("of {kind}, which"),
                None => "of a kind or a size that".to_owned(),
            };
            let problem = format!(
                "the client key is {kind} tidegate does not do; make one of the curve P-256 (openssl ecparam -name prime256v1 \
                 -genkey -noout) or an RSA key of 2048 to 4096 bits, and a certificate for it"
            );
            of("client_key_file")(TlsError::Content { path: key.into(), problem })
        }
    }
}

/// What is trusted.
struct Roots {
    /// The trust anchors.
    store: RootCertStore,
    /// Those among them that the operator gave, as pins.
    own: Vec<CertPin>,
    /// How many of the system's could not be read.
    unreadable: usize,
}

fn roots(options: &TlsOptions) -> Result<Roots, TlsError> {
    let mut roots = RootCertStore::empty();
    let (mut unreadable, mut own) = (0, Vec::new());
    if !(options.exclusive_ca && options.ca_file.is_some()) {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let native = rustls_native_certs::load_native_certs();
        unreadable = native.errors.len();
        unreadable += native.certs.into_iter().filter(|cert| !add(&mut roots, cert)).count();
    }
    if let Some(path) = &options.ca_file {
        for (at, cert) in pem::certificates(path).map_err(of("ca_file"))?.iter().enumerate() {
            if !add(&mut roots, cert) {
                let problem =
                    format!("certificate {} of the file is damaged; expected an X.509 CA certificate", at + 1);
                return Err(of("ca_file")(TlsError::Content { path: path.clone(), problem }));
            }
            own.push(CertPin::of(cert));
        }
    }
    Ok(Roots { store: roots, own, unreadable })
}

/// Adds one anchor unless it is there: most of the system's are the embedded ones, and each costs memory. `false` when it
/// is not a certificate.
fn add(roots: &mut RootCertStore, cert: &CertificateDer<'_>) -> bool {
    if roots.add(cert.clone()).is_err() {
        return false;
    }
    if let Some((last, before)) = roots.roots.split_last()
        && before.contains(last)
    {
        roots.roots.pop();
    }
    true
}
