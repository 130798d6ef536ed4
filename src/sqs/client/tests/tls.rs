//! TLS, its clock, and proxies.
#![allow(clippy::disallowed_methods, reason = "tests start servers, with tasks of their own")]

use super::*;
use crate::sqs::testing;
use crate::tls::testing::{Ca, Span};
use FaultClass::*;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// Seconds since 1970 by the machine, and a year of them.
fn now_s() -> i64 {
    Clock::new(None).now().wall_ms / 1000
}
const YEAR: i64 = 365 * 24 * 3600;

fn root() -> Ca {
    Ca::root("root", (now_s() - 20 * YEAR, now_s() + 20 * YEAR))
}

fn server_side(ca: &Ca, name: &str, span: Span) -> Arc<ServerConfig> {
    let (leaf, key) = ca.leaf(&[name], span);
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap())
}

/// A sender by TLS to a server on loopback that trusts `ca` beside the public roots.
fn sender(site: &Site, server: &Server, ca: Option<&Ca>) -> SqsSender {
    let mut queue = site.queue(&format!("https://127.0.0.1:{}", server.port));
    queue.ca_file = ca.map(|ca| site.file("ca.pem", &ca.0.pem()));
    SqsSender::through(ProxySettings::default(), &queue, &site.clock).unwrap()
}

fn dated(reply: Reply, seconds: i64) -> Reply {
    let Reply::Bytes(bytes) = reply else { unreachable!() };
    let date = std::time::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    Reply::Bytes(bytes.replacen("\r\n", &format!("\r\ndate: {}\r\n", httpdate::fmt_http_date(date)), 1))
}

#[tokio::test]
async fn a_verified_service_date_is_learnt_within_certificate_life() {
    let ca = root();
    let end = now_s() + YEAR;
    let dates = [end + 10, end - 1000, now_s() - 5000];
    let config = server_side(&ca, "127.0.0.1", (now_s() - YEAR, end));
    let server = Server::start(Some(config), move |n, request| dated(accept_all(request), dates[n])).await;
    let site = Site::new();
    let sender = sender(&site, &server, Some(&ca));
    for wanted in [None, Some(end - 1000), Some(end - 1000)] {
        assert_eq!(answer(sender.send(&batch(1)).await).accepted.len(), 1);
        assert_eq!(site.clock.last_good_s(), wanted);
    }
}

#[tokio::test]
async fn a_resumed_session_still_knows_its_certificates_end() {
    let ca = root();
    let end = now_s() + YEAR;
    let config = server_side(&ca, "127.0.0.1", (now_s() - YEAR, end));
    let server =
        Server::start(Some(config), move |n, request| match dated(accept_all(request), end - 100 + n as i64) {
            Reply::Bytes(bytes) => Reply::Last(bytes.replacen("\r\n", "\r\nconnection: close\r\n", 1)),
            reply => reply,
        })
        .await;
    let site = Site::new();
    let sender = sender(&site, &server, Some(&ca));
    for n in 0..3 {
        answer(sender.send(&batch(1)).await);
        assert_eq!(site.clock.last_good_s(), Some(end - 100 + n));
    }
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 1, 2]);
}

#[tokio::test]
async fn a_bad_certificate_blames_either_clock_or_configuration() {
    let ca = root();
    let good = (now_s() - YEAR, now_s() + YEAR);
    for (what, name, span, trusted, class) in [
        ("issued by a CA that is not known", "127.0.0.1", good, false, WaitForConfiguration),
        ("does not name 127.0.0.1, but other.test", "other.test", good, true, WaitForConfiguration),
        ("has expired, on ", "127.0.0.1", (now_s() - 10 * YEAR, now_s() - 9 * YEAR), true, WaitForConfiguration),
        ("not valid yet, but from ", "127.0.0.1", (now_s() + YEAR, now_s() + 2 * YEAR), true, WaitForClock),
    ] {
        let server = Server::start(Some(server_side(&ca, name, span)), |_, request| accept_all(request)).await;
        let site = Site::new();
        let fault = fault(sender(&site, &server, trusted.then_some(&ca)).send(&batch(1)).await);
        assert_eq!((fault.class, fault.never_sent), (class, true), "{what}: {fault:?}");
        assert!(!fault.remedy.is_empty() && server.seen().is_empty(), "{what}: {fault:?}");
        assert!(fault.text.contains(what) && !fault.text.contains("invalid peer certificate"), "{what}: {fault:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_booted_in_the_past_still_sends() {
    let ca = root();
    let issued = now_s() + YEAR;
    let config = server_side(&ca, "127.0.0.1", (issued, issued + YEAR));
    let server = Server::start(Some(config), |_, request| accept_all(request)).await;
    let site = Site::new();
    // The last good time lies ahead of the system's clock: the clock has fallen back.
    site.clock.learn(now_s() + YEAR / 2, i64::MAX / 2000);
    assert!(!site.clock.plausible());
    assert_eq!(answer(sender(&site, &server, Some(&ca)).send(&batch(1)).await).accepted.len(), 1);
}

#[tokio::test]
async fn plain_http_and_stalled_handshakes_on_tls_were_never_sent() {
    let speaks_http = Server::start(None, |_, _| Reply::Last("HTTP/1.1 400 no\r\n\r\n".into())).await;
    let site = Site::new();
    // The server reads until a blank line comes, which a handshake may never hold: it stalls or answers nonsense.
    let mut queue = site.queue(&format!("https://127.0.0.1:{}", speaks_http.port));
    queue.connect_timeout = Duration::from_millis(300);
    let sender = SqsSender::through(ProxySettings::default(), &queue, &site.clock).unwrap();
    let stalled = fault(sender.send(&batch(1)).await);
    assert_eq!((stalled.class, stalled.never_sent), (Link, true), "{stalled:?}");
    assert!(stalled.text.contains("no connection within"), "{stalled:?}");
    let look = format!("curl -v https://127.0.0.1:{}", speaks_http.port);
    assert!(stalled.remedy.ends_with(&look), "{stalled:?}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let queue = site.queue(&format!("https://127.0.0.1:{port}"));
    let sender = SqsSender::through(ProxySettings::default(), &queue, &site.clock).unwrap();
    let nonsense = fault(sender.send(&batch(1)).await);
    assert_eq!((nonsense.class, nonsense.never_sent), (Link, true), "{nonsense:?}");
    assert!(nonsense.remedy.contains("does not speak TLS"), "{nonsense:?}");
    task.await.unwrap();
}

#[tokio::test]
async fn a_proxy_carries_the_tunnel_and_wrong_passwords_wait() {
    let ca = root();
    let config = server_side(&ca, "sqs.test", (now_s() - YEAR, now_s() + YEAR));
    let server = Server::start(Some(config), |_, request| accept_all(request)).await;
    let site = Site::new();
    let (port, asked, task) = testing::proxy(server.port, Some("Proxy-Authorization: Basic dXNlcjpwQHNz")).await;
    let through = |credentials: &str| {
        let setting = format!("http://{credentials}127.0.0.1:{port}");
        let proxy = ProxySettings::read(|name| (name == "HTTPS_PROXY").then(|| setting.clone())).unwrap();
        let mut queue = site.queue("https://sqs.test");
        queue.ca_file = Some(site.file("ca.pem", &ca.0.pem()));
        SqsSender::through(proxy, &queue, &site.clock).unwrap()
    };
    assert_eq!(answer(through("user:p%40ss@").send(&batch(1)).await).accepted.len(), 1);
    assert_eq!(*asked.lock().unwrap(), ["CONNECT sqs.test:443 HTTP/1.1"]);
    for wrong in ["", "user:other@"] {
        let refused = fault(through(wrong).send(&batch(1)).await);
        assert_eq!((refused.class, refused.never_sent), (WaitForConfiguration, true), "{refused:?}");
        assert!(refused.text.contains("password") && !refused.text.contains("other"), "{refused:?}");
    }
    task.abort();
}
