//! A pin trusts exactly one certificate, by the clock's rules; and what a certificate shows is said.

use super::*;
use crate::tls::words::TlsTrouble;

/// A server that shows a CA's certificate as its own, as `openssl req -x509` makes it.
fn showing(ca: &Ca, version: &'static rustls::SupportedProtocolVersion) -> Server {
    let key = PrivateKeyDer::Pkcs8(ca.0.key().serialize_der().into());
    Server { chain: vec![ca.0.der().clone()], key, version }
}

fn pinning(pin: CertPin, time: Arc<Told>) -> ClientTls {
    client_tls(&TlsOptions { cert_pin: Some(pin), exclusive_ca: true, ..TlsOptions::default() }, time).unwrap()
}

fn trouble(verdict: Result<(), Error>) -> TlsTrouble {
    TlsTrouble::of(&verdict.expect_err("refused"))
}

#[test]
fn the_operators_ca_as_server_certificate_is_reported_with_pin() {
    let (ca, other) = (Ca::root("one", (0, day(2040, 1, 1))), Ca::root("two", (0, day(2040, 1, 1))));
    let (pin, server) = (CertPin::of(ca.0.der()), showing(&ca, &rustls::version::TLS13));
    let verdict = |trusted: &Ca| handshake(&client(trusted, Told::new(today(), true)), &server, "localhost");
    assert_eq!(trouble(verdict(&ca)), TlsTrouble::CaAsServer { pin, trusted: true });
    assert_eq!(trouble(verdict(&other)), TlsTrouble::CaAsServer { pin, trusted: false });
}

#[test]
fn pins_trust_only_their_certificate_under_any_name_or_issuer() {
    let ca = Ca::root("one", (0, day(2040, 1, 1)));
    let span = (day(2026, 1, 1), day(2028, 1, 1));
    let (leaf, renewed) = (ca.leaf(&["other.test"], span), ca.leaf(&["other.test"], span));
    let (pin, of_ca) = (CertPin::of(leaf.0.der()), CertPin::of(ca.0.der()));
    let (leaf, renewed) = (Server::new(leaf, &[]), Server::new(renewed, &[&ca]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (leaf, renewed) = (leaf.over(version), renewed.over(version));
        let tls = pinning(pin, Told::new(today(), true));
        assert_eq!(handshake(&tls, &leaf, "localhost"), Ok(()));
        assert!(matches!(trouble(handshake(&tls, &renewed, "other.test")), TlsTrouble::OtherThanPinned(_)));
        let tls = pinning(of_ca, Told::new(today(), true));
        assert_eq!(handshake(&tls, &showing(&ca, version), "localhost"), Ok(()), "a CA's as the server's");
        assert!(
            matches!(trouble(handshake(&tls, &leaf, "other.test")), TlsTrouble::OtherThanPinned(_)),
            "nor what it signed"
        );
    }
}

#[test]
fn a_pinned_certificate_needs_its_key() {
    let (ca, thief) = (Ca::root("one", (0, day(2040, 1, 1))), Ca::root("two", (0, day(2040, 1, 1))));
    let tls = pinning(CertPin::of(ca.0.der()), Told::new(today(), true));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let with_other_key = Server { chain: vec![ca.0.der().clone()], ..showing(&thief, version) };
        assert_eq!(trouble(handshake(&tls, &with_other_key, "localhost")), TlsTrouble::BadSignature);
    }
}

#[test]
fn a_pinned_certificate_is_judged_by_the_clocks_rules() {
    let trouble_at = |span, now_s, plausible| {
        let ca = Ca::root("one", span);
        let tls = pinning(CertPin::of(ca.0.der()), Told::new(now_s, plausible));
        handshake(&tls, &showing(&ca, &rustls::version::TLS13), "localhost").map_err(|error| TlsTrouble::of(&error))
    };
    let after_floor = (day(2026, 10, 1), day(2027, 10, 1));
    assert_eq!(trouble_at(after_floor, floor(), false), Ok(()), "a clock of 1970 is excused");
    assert!(matches!(trouble_at(after_floor, floor(), true), Err(TlsTrouble::NotYetValid(Some(_)))));
    let over = (day(2025, 1, 1), day(2026, 8, 1));
    for plausible in [false, true] {
        assert!(matches!(trouble_at(over, floor(), plausible), Err(TlsTrouble::Expired(Some(_)))), "before the floor");
    }
}
