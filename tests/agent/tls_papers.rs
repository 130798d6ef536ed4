//! Certificates and keys as the real OpenSSL makes them by the usual recipes: each that cannot work is told apart in words, with
//! what to do, and a pin trusts one certificate that signed itself.

use crate::support::{LONG, PROGRAM, arrived, config, fleet, said, stub, tidegate, until_online};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use testkit::agent::AgentProcess;
use testkit::broker::{Mosquitto, MosquittoOptions, TlsListener};

/// A folder in which OpenSSL works.
struct Papers(TempDir);

impl Papers {
    fn new() -> Papers {
        Papers(tempfile::tempdir().unwrap())
    }

    /// Runs lines of a shell there. Keys may be read by all: Mosquitto runs as a user of its own.
    fn make(&self, lines: &str) -> String {
        let script = format!("set -eu\ncd '{}'\numask 022\nchmod 755 .\n{lines}\nchmod 644 *", self.0.path().display());
        let (out, error, code) = said(Command::new("sh").args(["-c", &script]).output().expect("a shell"));
        assert_eq!(code, 0, "{script}\n{error}");
        out
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A broker that shows this certificate.
    async fn broker(&self, name: &str, require_certificate: bool) -> Mosquitto {
        let file = |end: &str| self.path(&format!("{name}.{end}"));
        let tls = TlsListener {
            ca_file: self.path("ca.crt"),
            cert_file: file("crt"),
            key_file: file("key"),
            require_certificate,
        };
        Mosquitto::start(&MosquittoOptions { tls: Some(tls), ..MosquittoOptions::default() }).await.unwrap()
    }

    /// What `check` says of a broker with these lines of `[mqtt]`; `{}` stands for the folder.
    async fn said_of(&self, broker: &Mosquitto, mqtt: &str) -> String {
        let stub = stub();
        let mut configuration = config(broker.addr(), &stub);
        configuration.broker_url = format!("mqtts://localhost:{}", broker.tls_addr().expect("TLS").port());
        configuration.mqtt_extra = mqtt.replace("{}", &self.0.path().display().to_string());
        let agent = AgentProcess::prepare(PROGRAM, configuration).unwrap();
        let (out, error, _) = tidegate(&agent, &["check", "--listen", "1"]).await;
        out + &error
    }
}

const CA: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj '/CN=Test CA'";
/// As most recipes on the web have it: OpenSSL 3.0 makes version 1 of it.
const VERSION_1: &str = "openssl req -newkey rsa:2048 -nodes -keyout v1.key -out v1.csr -subj /CN=localhost\n\
                         openssl x509 -req -in v1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out v1.crt -days 30";
/// One certificate for everything, which is a CA's.
const ONE: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout one.key -out one.crt -days 30 -subj /CN=localhost \
                   -addext subjectAltName=DNS:localhost,IP:127.0.0.1";
/// Signed by the CA of [`CA`]; `NAME`, `EXTENSIONS` and `KEY` are replaced.
const LEAF: &str = "openssl genpkey KEY -out NAME.key\n\
                    openssl req -new -key NAME.key -out NAME.csr -subj /CN=NAME\n\
                    printf 'EXTENSIONS' > NAME.ext\n\
                    openssl x509 -req -in NAME.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out NAME.crt -days 30 -extfile NAME.ext";
const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P521: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
const LOCALHOST: &str = "subjectAltName=DNS:localhost";

fn leaf(name: &str, key: &str, extensions: &str) -> String {
    LEAF.replace("NAME", name).replace("KEY", key).replace("EXTENSIONS", extensions)
}

/// None of the TLS library's own words, which tell a technician nothing.
fn plain(said: &str) {
    for word in [
        "UnknownIssuer",
        "CaUsedAsEndEntity",
        "UnsupportedCert",
        "invalid peer certificate",
        "BadEncoding",
        "fatal alert",
        "InvalidContent",
        "failed to parse",
    ] {
        assert!(!said.contains(word), "{word}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_shows_is_told_apart() {
    let papers = Papers::new();
    let other = leaf("other", P256, "subjectAltName=DNS:broker.lan");
    let client = leaf("client", P256, &format!("{LOCALHOST}\\nextendedKeyUsage=clientAuth"));
    let made = [CA, VERSION_1, ONE, &other, &client, &leaf("p521", P521, LOCALHOST), &leaf("good", P256, LOCALHOST)];
    papers.make(&made.join("\n"));
    let (ca, pin) =
        ("ca_file = \"{}/ca.crt\"", papers.make("openssl x509 -in one.crt -noout -fingerprint -sha256 | cut -d= -f2"));
    let pin = pin.trim().replace(':', "").to_lowercase();
    for (name, mqtt, parts) in [
        ("v1", ca, vec!["X.509 version 1", "openssl x509 -req … -extfile FILE", "subjectAltName"]),
        (
            "one",
            "ca_file = \"{}/one.crt\"",
            vec!["shows the CA certificate of ca_file as its own", &*format!("mqtt.cert_pin = \"sha256:{pin}\"")],
        ),
        (
            "one",
            ca,
            vec![
                "shows a CA certificate as its own, and not one of ca_file",
                "openssl x509 -in CERTIFICATE -noout -fingerprint",
            ],
        ),
        ("good", "", vec!["issued by a CA that is not known here", "mqtt.ca_file"]),
        ("other", ca, vec!["does not name localhost, but broker.lan", "use one of these names in mqtt.url"]),
        ("client", ca, vec!["not made for a server", "extendedKeyUsage=serverAuth"]),
        ("p521", ca, vec!["no TLS version, cipher or kind of key that both sides know", "not P-521"]),
        (
            "good",
            "cert_pin = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
            vec!["another certificate than the pinned one", "openssl x509"],
        ),
    ] {
        let broker = papers.broker(name, false).await;
        let said = papers.said_of(&broker, mqtt).await;
        for part in parts {
            assert!(said.contains(part), "{name}: {part}: {said}");
        }
        assert!(
            !said.contains(&pin) || mqtt.contains("one.crt"),
            "only what the operator gave is offered as a pin: {said}"
        );
        plain(&said);
    }
    let broker = papers.broker("good", false).await;
    let said = papers.said_of(&broker, ca).await;
    assert!(said.contains("connected to mqtts://localhost"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_p_521_ca_and_a_required_certificate_are_reported() {
    let papers = Papers::new();
    let ca = "openssl ecparam -name secp521r1 -genkey -noout -out ca.key\n\
              openssl req -x509 -new -key ca.key -out ca.crt -days 30 -subj '/CN=Test CA'";
    papers.make(&[ca, &leaf("good", P256, LOCALHOST)].join("\n"));
    let broker = papers.broker("good", false).await;
    let said = papers.said_of(&broker, "ca_file = \"{}/ca.crt\"").await;
    assert!(said.contains("the curve P-521, which tidegate does not do") && said.contains("P-256"), "{said}");
    plain(&said);

    let papers = Papers::new();
    let stranger = "openssl req -x509 -newkey rsa:2048 -nodes -keyout x.key -out x.crt -days 30 -subj /CN=x -addext basicConstraints=CA:FALSE";
    papers.make(&[CA, &leaf("good", P256, LOCALHOST), stranger].join("\n"));
    let broker = papers.broker("good", true).await;
    let ca = "ca_file = \"{}/ca.crt\"\n";
    let said = papers.said_of(&broker, ca).await;
    assert!(said.contains("wants a client certificate") && said.contains("mqtt.client_cert_file"), "{said}");
    plain(&said);
    let own = format!("{ca}client_cert_file = \"{{}}/x.crt\"\nclient_key_file = \"{{}}/x.key\"");
    let said = papers.said_of(&broker, &own).await;
    assert!(said.contains("refuses our client certificate: it does not know the CA"), "{said}");
    plain(&said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusable_keys_and_certificates_of_ours_are_told_apart() {
    let papers = Papers::new();
    papers.make(
        &[
            CA,
            VERSION_1,
            &leaf("good", P256, LOCALHOST),
            &leaf("p521", P521, LOCALHOST),
            &leaf("ed448", "-algorithm ED448", LOCALHOST),
            &leaf("short", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", LOCALHOST),
            "openssl pkcs8 -topk8 -in good.key -passout pass:x -out new.key; cp good.crt new.crt",
            "openssl ec -in good.key -aes256 -passout pass:x -out old.key; cp good.crt old.crt",
            "openssl rsa -in v1.key -aes256 -passout pass:x -traditional -out rsa.key; cp v1.crt rsa.crt",
            "cp good.csr csr.crt; cp good.key csr.key",
        ]
        .join("\n"),
    );
    let broker = papers.broker("good", false).await;
    for (name, parts) in [
        ("v1", ["the client certificate is of X.509 version 1", "extendedKeyUsage=clientAuth"]),
        ("p521", ["the client key is of the curve P-521", "prime256v1"]),
        ("ed448", ["the client key is of Ed448", "prime256v1"]),
        ("short", ["of a kind or a size that tidegate does not do", "2048"]),
        ("new", ["the key is encrypted", "openssl pkey -in "]),
        ("old", ["the key is encrypted", "old.key.plain"]),
        ("rsa", ["the key is encrypted", "rsa.key.plain"]),
        ("csr", ["a request for a certificate", "that the CA made of it"]),
    ] {
        let files = format!(
            "ca_file = \"{{}}/ca.crt\"\nclient_cert_file = \"{{}}/{name}.crt\"\nclient_key_file = \"{{}}/{name}.key\""
        );
        let said = papers.said_of(&broker, &files).await;
        for part in parts {
            assert!(said.contains(part), "{name}: {part}: {said}");
        }
        plain(&said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_certificate_that_signed_itself_leads_to_delivery() {
    let papers = Papers::new();
    papers.make(&[CA, ONE].join("\n"));
    let pin = papers.make("openssl x509 -in one.crt -noout -fingerprint -sha256 | cut -d= -f2");
    let (stub, broker) = (stub(), papers.broker("one", false).await);
    let mut configuration = config(broker.addr(), &stub);
    configuration.broker_url = format!("mqtts://{}", broker.tls_addr().expect("TLS"));
    configuration.mqtt_extra = format!("cert_pin = \"sha256:{}\"", pin.trim());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(20).await.unwrap();
    let published = fleet.published();
    arrived(&stub, &mut agent, &published).await;
    assert!(agent.term(LONG).await.unwrap().success());
}
