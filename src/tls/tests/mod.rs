//! Which certificates are accepted at which time, and which files are.

mod pinned;

use super::*;
use crate::tls::testing::{Ca, Told, day};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConnection, Error, ServerConfig, ServerConnection};
use std::fs;
use tempfile::TempDir;

/// The last instant known to have passed, and the real date, in the tests of the clock's rules.
const FLOOR: (i32, u8, u8) = (2026, 9, 1);
const TODAY: (i32, u8, u8) = (2026, 11, 23);

fn floor() -> i64 {
    day(FLOOR.0, FLOOR.1, FLOOR.2)
}

fn today() -> i64 {
    day(TODAY.0, TODAY.1, TODAY.2)
}

/// A client that trusts `ca` alone.
fn client(ca: &Ca, time: Arc<Told>) -> ClientTls {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, ca.0.pem()).unwrap();
    client_tls(&TlsOptions { ca_file: Some(path), exclusive_ca: true, ..TlsOptions::default() }, time).unwrap()
}

struct Server {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
}

impl Server {
    fn new((leaf, key): (rcgen::Certificate, rcgen::KeyPair), via: &[&Ca]) -> Server {
        let chain = std::iter::once(leaf.der().clone()).chain(via.iter().map(|ca| ca.0.der().clone())).collect();
        Server { chain, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()), version: &rustls::version::TLS13 }
    }

    fn over(&self, version: &'static rustls::SupportedProtocolVersion) -> Server {
        Server { chain: self.chain.clone(), key: self.key.clone_key(), version }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let ring = rustls::crypto::ring::default_provider();
        // As a server that does not look whether key and certificate are a pair.
        let key = ring.key_provider.load_private_key(self.key.clone_key()).unwrap();
        let pair = rustls::sign::CertifiedKey::new(self.chain.clone(), key);
        let builder =
            ServerConfig::builder_with_provider(Arc::new(ring)).with_protocol_versions(&[self.version]).unwrap();
        Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair))))
    }
}

/// A whole handshake in memory; the client's verdict.
fn handshake(tls: &ClientTls, server: &Server, name: &str) -> Result<(), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(tls.config.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.config()).unwrap();
    while client.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().expect("the server has no reason to refuse");
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// One row: what a clock in 1970 (judging at the floor) says, and what a clock that is right says.
struct Row {
    what: &'static str,
    server: Server,
    name: &'static str,
    in_1970: bool,
    sane: bool,
}

/// The CA and the rows of the table.
fn table() -> (Ca, Vec<Row>) {
    let long = (day(2020, 1, 1), day(2040, 1, 1));
    let ca = Ca::root("root", long);
    let other = Ca::root("somebody else", long);
    let name = "sqs.test";
    let leaf = |span| Server::new(ca.leaf(&[name], span), &[]);
    let via = |span, leaf_span| {
        let middle = ca.intermediate("middle", span);
        let leaf = middle.leaf(&[name], leaf_span);
        Server::new(leaf, &[&middle])
    };
    let at_floor = (day(2026, 8, 1), day(2027, 8, 1));
    let after_floor = (day(2026, 10, 1), day(2027, 10, 1));
    let row = |what, server, in_1970, sane| Row { what, server, name, in_1970, sane };
    let rows = vec![
        row("valid at the floor", leaf(at_floor), true, true),
        row("issued after the floor", leaf(after_floor), true, true),
        row("with an intermediate", via(long, after_floor), true, true),
        row("over TLS 1.2", Server { version: &rustls::version::TLS12, ..leaf(after_floor) }, true, true),
        Row {
            name: "127.0.0.1",
            ..row("by address", Server::new(ca.leaf(&["127.0.0.1"], after_floor), &[]), true, true)
        },
        row("expired before the floor", leaf((day(2025, 1, 1), day(2026, 8, 1))), false, false),
        row(
            "intermediate expired before the floor",
            via((day(2020, 1, 1), day(2026, 8, 1)), after_floor),
            false,
            false,
        ),
        row(
            "intermediate expired after the floor and before the leaf began",
            via((day(2020, 1, 1), day(2026, 9, 15)), after_floor),
            false,
            false,
        ),
        row("issued and expired after the floor", leaf((day(2026, 10, 1), day(2026, 11, 1))), true, false),
        row("not valid until next year", leaf((day(2027, 6, 1), day(2028, 6, 1))), true, false),
        row("intermediate newer than the leaf", via((day(2026, 11, 1), day(2030, 1, 1)), after_floor), true, true),
        row("another CA", Server::new(other.leaf(&[name], after_floor), &[]), false, false),
        Row { name: "other.test", ..row("wrong name", leaf(after_floor), false, false) },
    ];
    (ca, rows)
}

#[test]
fn certificates_are_judged_by_the_table() {
    let (ca, rows) = table();
    for row in rows {
        for (when, now_s, plausible, wanted) in
            [("1970", floor(), false, row.in_1970), ("sane", today(), true, row.sane)]
        {
            let tls = client(&ca, Told::new(now_s, plausible));
            let verdict = handshake(&tls, &row.server, row.name);
            assert_eq!(verdict.is_ok(), wanted, "{} with a clock of {when}: {verdict:?}", row.what);
        }
    }
}

#[test]
fn an_expired_leaf_is_refused_by_the_last_good_time() {
    let ca = Ca::root("root", (day(2020, 1, 1), day(2040, 1, 1)));
    let server = Server::new(ca.leaf(&["sqs.test"], (day(2026, 10, 1), day(2026, 11, 1))), &[]);
    let time = Told::new(floor(), false);
    let tls = client(&ca, time.clone());
    assert_eq!(handshake(&tls, &server, "sqs.test"), Ok(()));
    time.set(day(2026, 11, 2), false);
    let fresh = client(&ca, time); // no session to resume
    assert!(matches!(
        handshake(&fresh, &server, "sqs.test"),
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))
    ));
}

#[test]
fn a_leaf_issued_after_the_floor_needs_the_clocks_excuse() {
    let ca = Ca::root("root", (day(2020, 1, 1), day(2040, 1, 1)));
    let server = Server::new(ca.leaf(&["sqs.test"], (day(2026, 10, 1), day(2027, 10, 1))), &[]);
    assert!(matches!(
        handshake(&client(&ca, Told::new(floor(), true)), &server, "sqs.test"),
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. }))
    ));
}

#[test]
fn a_leafs_end_is_read_regardless_of_its_signer() {
    let span = (day(2020, 1, 1), day(2040, 1, 1));
    let tls = client(&Ca::root("root", span), Told::new(today(), true));
    let (leaf, _) = Ca::root("somebody else", span).leaf(&["sqs.test"], (day(2025, 1, 1), day(2026, 5, 1)));
    assert_eq!(tls.ends.not_after_s(leaf.der()), Some(day(2026, 5, 1)));
    assert_eq!(tls.ends.not_after_s(&CertificateDer::from(vec![0x30, 0x82, 0, 1])), None);
}

#[test]
fn a_certificate_files_end_is_read_regardless_of_its_signer() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("client.pem");
    let ca = Ca::root("of nobody", (day(2020, 1, 1), day(2040, 1, 1)));
    let (leaf, _) = ca.leaf(&["gateway"], (day(2021, 1, 1), day(2022, 2, 3)));
    fs::write(&path, leaf.pem() + &ca.0.pem()).unwrap();
    assert_eq!(file_ends_s(&path), Some(day(2022, 2, 3)));
    fs::write(&path, "no certificate").unwrap();
    assert_eq!((file_ends_s(&path), file_ends_s(&folder.path().join("nothing"))), (None, None));
}

#[test]
fn public_roots_need_no_file_and_yield_to_exclusive_ones() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, Ca::root("own", (0, day(2040, 1, 1))).0.pem()).unwrap();
    let count = |ca_file: Option<PathBuf>, exclusive_ca| {
        roots(&TlsOptions { ca_file, exclusive_ca, ..TlsOptions::default() }).unwrap().store.len()
    };
    let public = count(None, false);
    assert!(public >= webpki_roots::TLS_SERVER_ROOTS.len());
    assert_eq!(count(None, true), public);
    assert_eq!(count(Some(path.clone()), false), public + 1);
    assert_eq!(count(Some(path), true), 1);
}

#[test]
fn ca_files_may_carry_byte_order_mark_comments_and_duplicates() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    let pem = Ca::root("own", (0, day(2040, 1, 1))).0.pem().replace('\n', "\r\n");
    fs::write(&path, format!("\u{feff}# the site's own CA\r\n{pem}\r\n{pem}")).unwrap();
    let options = TlsOptions { ca_file: Some(path), exclusive_ca: true, ..TlsOptions::default() };
    assert_eq!(roots(&options).unwrap().store.len(), 1);
}

#[test]
fn a_wrong_tls_file_is_named_with_the_cause() {
    let folder = TempDir::new().unwrap();
    let ca = Ca::root("own", (0, day(2040, 1, 1)));
    let (pem, der) = (ca.0.pem(), ca.0.der().to_vec());
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(pem.bytes().flat_map(|b| [b, 0])).collect();
    let path = folder.path().join("file.pem");
    for (content, part) in [
        (Vec::new(), "the file is empty"),
        (b"hello".to_vec(), "-----BEGIN CERTIFICATE-----"),
        (utf16, "UTF-16"),
        (der, "DER"),
        (key.clone().into_bytes(), "found PRIVATE KEY"),
        (
            pem.replace("BEGIN CERT", "BEGIN TRUSTED CERT").replace("END CERT", "END TRUSTED CERT").into_bytes(),
            "trusted",
        ),
        (pem.as_bytes()[..pem.len() / 2].to_vec(), "cut off"),
        (pem.replace("MII", "M!I").into_bytes(), "base64"),
        (pem.replacen("MII", "AAA", 1).into_bytes(), "certificate 1 of the file is damaged"),
    ] {
        fs::write(&path, &content).unwrap();
        let options = TlsOptions { ca_file: Some(path.clone()), exclusive_ca: true, ..TlsOptions::default() };
        let error = client_tls(&options, Told::new(0, true)).expect_err(part).to_string();
        assert!(error.contains("file.pem") && error.contains(part), "{part}: {error}");
    }
    let missing = TlsOptions { ca_file: Some(folder.path().join("none.pem")), ..TlsOptions::default() };
    let said = client_tls(&missing, Told::new(0, true)).unwrap_err().to_string();
    assert!(said.starts_with("ca_file: cannot read "), "{said}");
    let a_folder = TlsOptions { ca_file: Some(folder.path().into()), ..TlsOptions::default() };
    assert!(client_tls(&a_folder, Told::new(0, true)).unwrap_err().to_string().contains("regular file"));
}

#[test]
fn a_client_certificate_needs_its_key_and_errors_hide_keys() {
    let folder = TempDir::new().unwrap();
    let ca = Ca::root("own", (0, day(2040, 1, 1)));
    let (cert, key) = ca.leaf(&["gateway"], (0, day(2040, 1, 1)));
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cert = file("cert.pem", &cert.pem());
    let with = |cert: Option<PathBuf>, key: Option<PathBuf>| {
        let options = TlsOptions { client_cert_file: cert, client_key_file: key, ..TlsOptions::default() };
        client_tls(&options, Told::new(0, true))
    };
    let right = key.serialize_pem();
    let secret: String = right.lines().nth(1).unwrap().into();
    let good = with(Some(cert.clone()), Some(file("key.pem", &right))).expect("a pair");
    assert!(good.config.client_auth_cert_resolver.has_certs());
    assert!(matches!(with(Some(cert.clone()), None), Err(TlsError::HalfAPair { missing: "client_key_file" })));
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert!(matches!(with(Some(cert.clone()), Some(file("other.pem", &other))), Err(TlsError::NotAPair { .. })));
    for (content, part) in [
        (right.replace("PRIVATE", "ENCRYPTED PRIVATE"), "bad.pem -out "),
        (right.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"), "passphrase"),
        (right.replacen(&secret[..4], "!!!!", 1), "base64"),
        (right.replace("-----END", "----END"), "cut off"),
        (format!("-----BEGIN {secret}\n"), "damaged"),
        (fs::read_to_string(&cert).unwrap(), "found CERTIFICATE"),
    ] {
        let error = with(Some(cert.clone()), Some(file("bad.pem", &content))).expect_err(part).to_string();
        assert!(error.contains(part) && !error.contains(&secret[4..]), "{part}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_file_makes_it_panic(at in 0usize..600, byte: u8, cut in 0usize..600) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ca.pem");
        let mut pem = CA_PEM.with(|pem| pem.clone());
        let (at, cut) = (at % pem.len(), cut % pem.len());
        pem[at] = byte;
        pem.drain(..cut / 4);
        fs::write(&path, &pem).unwrap();
        let _ = roots(&TlsOptions { ca_file: Some(path), exclusive_ca: true, ..TlsOptions::default() });
    }
}

thread_local! {
    static CA_PEM: Vec<u8> = Ca::root("own", (0, day(2040, 1, 1))).0.pem().into_bytes();
}
