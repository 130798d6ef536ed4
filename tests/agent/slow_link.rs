//! A slow link is used as far as it goes, and nothing is sent twice by our own impatience.
//!
//! `scripts/slow-link.py` makes the link: the kernel's TCP on both sides, through a queue of a rate, a delay and a loss, in a network
//! namespace of its own. TLS runs over it from end to end. The measure is what SQS charges for and a consumer sees: bytes of bodies
//! accepted once, by what the link could carry in the time.
//!
//! How long AWS itself waits for a body that arrives slowly is not documented and not tested here.

use crate::support::link::{Shape, SlowLink, can_shape};
use crate::support::{Authority, PROGRAM, Publisher, QUEUE, config, mosquitto, stub, tail, until_online};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::agent::AgentProcess;
use testkit::fake_sqs::Fate;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Comes and goes: fast enough that a batch fits well into its up-time.
const FLAPPING: Shape = Shape { bit_s: 256_000, rtt_ms: 100, loss_percent: 0 };
/// Bytes of each payload.
const PAYLOAD: usize = 6 * 1024;

/// Speaks TLS on `listener`, and joins what comes to the stub.
pub(crate) async fn speak_tls(listener: TcpListener, tls: TlsAcceptor, stub: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            let mut stream = tls.accept(stream).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut TcpStream::connect(stub).await?).await
        });
    }
}

/// Bytes that passed the device on the way to an address: IP packets, because it is a TUN. Sent, then received.
fn device_bytes(address: &str) -> [u64; 2] {
    let output = std::process::Command::new("ip").args(["route", "get", address]).output().expect("ip of iproute2");
    let route = String::from_utf8_lossy(&output.stdout).into_owned();
    let device = route.split_whitespace().skip_while(|word| *word != "dev").nth(1).expect("a device");
    ["tx_bytes", "rx_bytes"].map(|of| {
        let text = std::fs::read_to_string(format!("/sys/class/net/{device}/statistics/{of}")).unwrap();
        text.trim().parse().unwrap()
    })
}

/// What came over a link of this shape in `time`, as a share of what it could carry; and the share of entries that were sent twice.
/// `flaps`: it is up for so long, then down for so long, and so on, from the first batch on.
async fn carried(shape: Shape, time: Duration, flaps: Option<Duration>) -> (f64, f64) {
    let (broker, stub, ca) = (mosquitto().await, stub(), Authority::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = SlowLink::to(listener.local_addr().unwrap(), shape).await.unwrap();
    tokio::spawn(speak_tls(listener, ca.acceptor(&link.addr.ip().to_string()), stub.addr()));
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    let mut configuration = config(broker.addr(), &stub);
    (configuration.profile, configuration.topics) = ("generic".into(), vec!["load/#".into()]);
    configuration.queues[0].endpoint = Some(format!("https://{}", link.addr));
    configuration.queues[0].extra += &format!("\nca_file = \"{}\"", ca_file.display());
    let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
    until_online(&mut agent).await;
    let mut publisher = Publisher::new(broker.addr());
    let count = 2 * (f64::from(shape.bit_s) * time.as_secs_f64() / 8.0 / PAYLOAD as f64) as usize + 20;
    for n in 0..count {
        let payload = format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(PAYLOAD - 20));
        publisher.publish(&format!("load/device-{n}"), payload).await;
    }
    let up_time = match flaps {
        None => {
            tokio::time::sleep(time).await;
            time
        }
        Some(each) => {
            let cycles = (time.as_secs_f64() / each.as_secs_f64() / 2.0) as u32;
            for _ in 0..cycles {
                link.tell("up").await.unwrap();
                tokio::time::sleep(each).await;
                link.tell("down").await.unwrap();
                tokio::time::sleep(each).await;
            }
            each * cycles
        }
    };
    let log = stub.log(QUEUE);
    let accepted = || log.iter().filter(|arrival| matches!(arrival.fate, Fate::Accepted(_)));
    let once: HashSet<&str> = accepted().filter_map(|arrival| arrival.dedup.as_deref()).collect();
    let bytes: usize = accepted().map(|arrival| arrival.body.len()).sum();
    let share = bytes as f64 / (f64::from(shape.bit_s) / 8.0 * up_time.as_secs_f64());
    let twice = (log.len() - once.len()) as f64 / log.len().max(1) as f64;
    println!(
        "{shape:?}, flaps {flaps:?}, {} s: {} accepted, {share:.2} of the link, {twice:.2} sent twice",
        time.as_secs(),
        once.len()
    );
    if share < 0.3 || twice > 0.0 {
        println!("{}", tail(&agent.log()));
    }
    let status = agent.status().await.unwrap();
    let passed = device_bytes(&link.addr.ip().to_string());
    for (way, passed) in ["sent", "received"].into_iter().zip(passed) {
        let told = status["uplink"]["since_start"][way].as_u64().unwrap() as f64 / passed as f64;
        println!("bytes {way}, as the agent counts them: {told:.3} of the {passed} that passed the device");
        // Between a look of the agent's and the device's a few packets pass. What comes twice, because acknowledgements waited in
        // the queue, the kernel tells once.
        let least = if way == "sent" { 0.95 } else { 0.6 };
        assert!(
            shape.loss_percent > 0 || flaps.is_some() || (least..1.03).contains(&told),
            "{way}: {told:.3} of {passed}"
        );
    }
    agent.kill().await.unwrap();
    link.end().await.unwrap();
    (share, twice)
}

/// Short: what is under way at the end, and the first seconds, in which a connection is made and the rate is found, are up to a third of
/// it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_of_64_kbit_is_used_and_nothing_goes_twice() {
    if !can_shape() {
        return;
    }
    let shape = Shape { bit_s: 64_000, rtt_ms: 700, loss_percent: 0 };
    let (share, twice) = carried(shape, Duration::from_secs(90), None).await;
    assert!(share >= 0.5, "{share:.2} of the link");
    assert!(twice == 0.0, "{twice:.2} went twice");
}

/// The goals, five minutes each, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes five minutes"]
async fn every_slow_link_carries_what_it_can() {
    if !can_shape() {
        return;
    }
    let of = |bit_s, rtt_ms, loss_percent| Shape { bit_s, rtt_ms, loss_percent };
    let goals = [
        // The goal is 0.8; what is under way when the time is over makes runs differ: docs/evidence.md.
        (of(10_000, 700, 0), 0.76),
        (of(20_000, 700, 0), 0.76),
        (of(64_000, 700, 0), 0.78),
        (of(2_400, 700, 0), 0.6),
        (of(64_000, 700, 5), 0.6),
    ];
    let links = goals.map(|(shape, _)| carried(shape, Duration::from_secs(300), None));
    let carried = futures_util::future::join_all(links).await;
    for ((shape, goal), (share, twice)) in goals.iter().zip(carried) {
        assert!(share >= *goal, "{shape:?}: {share:.2} of the link, and the goal is {goal}");
        // A link that loses packets may lose an answer for longer than an attempt waits for it.
        let most = if shape.loss_percent == 0 { 0.0 } else { 0.05 };
        assert!(twice <= most, "{shape:?}: {twice:.2} went twice");
    }
}

/// A link that is up for five seconds, then down for five, with no sign of either; short. The first outages teach how much may be under
/// way at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intermittent_link_is_used_while_it_is_up() {
    if !can_shape() {
        return;
    }
    let (share, _) = carried(FLAPPING, Duration::from_secs(40), Some(Duration::from_secs(5))).await;
    assert!(share >= 0.2, "{share:.2} of its up-time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 100 seconds"]
async fn link_that_comes_and_goes_is_used_for_longer() {
    if !can_shape() {
        return;
    }
    let (share, _) = carried(FLAPPING, Duration::from_secs(100), Some(Duration::from_secs(5))).await;
    assert!(share >= 0.45, "{share:.2} of its up-time");
}
