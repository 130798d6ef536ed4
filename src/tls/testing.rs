//! Certificates with chosen dates, and a clock that shows the time that a test sets.

use crate::tls::CertificateTime;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use time::OffsetDateTime;

/// A test's seconds since 1970 for a date.
pub(crate) fn day(year: i32, month: u8, day: u8) -> i64 {
    rcgen::date_time_ymd(year, month, day).unix_timestamp()
}

/// A clock that shows the time that a test sets.
#[derive(Debug)]
pub(crate) struct Told {
    now_s: AtomicI64,
    plausible: AtomicBool,
}

impl Told {
    pub(crate) fn new(now_s: i64, plausible: bool) -> Arc<Told> {
        Arc::new(Told { now_s: AtomicI64::new(now_s), plausible: AtomicBool::new(plausible) })
    }

    pub(crate) fn set(&self, now_s: i64, plausible: bool) {
        self.now_s.store(now_s, Relaxed);
        self.plausible.store(plausible, Relaxed);
    }
}

impl CertificateTime for Told {
    fn now_s(&self) -> i64 {
        self.now_s.load(Relaxed)
    }

    fn plausible(&self) -> bool {
        self.plausible.load(Relaxed)
    }
}

/// First and last second of validity.
pub(crate) type Span = (i64, i64);

/// A certificate authority of a test.
pub(crate) struct Ca(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn root(name: &str, span: Span) -> Ca {
        Ca(CertifiedIssuer::self_signed(Ca::params(name, span), KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn intermediate(&self, name: &str, span: Span) -> Ca {
        Ca(CertifiedIssuer::signed_by(Ca::params(name, span), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    /// A server's certificate and key for `names`.
    pub(crate) fn leaf(&self, names: &[&str], span: Span) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        set_span(&mut params, span);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn params(name: &str, span: Span) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        set_span(&mut params, span);
        params
    }
}

fn set_span(params: &mut CertificateParams, (from, until): Span) {
    params.not_before = OffsetDateTime::from_unix_timestamp(from).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(until).unwrap();
}
