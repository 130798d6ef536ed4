//! The brokers: what a session keeps while its client is away, in which order it comes back, and what survives a kill.

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use testkit::broker::{AnyBroker, BrokerKind, EmbeddedBroker, EmbeddedOptions, Mosquitto, MosquittoOptions};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn connect(addr: SocketAddr, id: &str, clean: bool, credentials: Option<(&str, &str)>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
    options.set_clean_session(clean).set_manual_acks(true).set_inflight(200);
    if let Some((user, password)) = credentials {
        options.set_credentials(user, password);
    }
    AsyncClient::new(options, 70_000)
}

/// Polls until `done` says so; any error is a failure.
async fn until(events: &mut EventLoop, mut done: impl FnMut(&Packet) -> bool) {
    let waiting = async {
        loop {
            if let Event::Incoming(packet) = events.poll().await.unwrap()
                && done(&packet)
            {
                return;
            }
        }
    };
    timeout(PATIENCE, waiting).await.expect("the broker's answer");
}

/// Connects and gives `session_present`.
async fn session(events: &mut EventLoop) -> bool {
    let mut present = false;
    until(events, |packet| {
        let Packet::ConnAck(ack) = packet else { return false };
        present = ack.session_present;
        true
    })
    .await;
    present
}

async fn subscribe(addr: SocketAddr, id: &str, credentials: Option<(&str, &str)>) {
    let (client, mut events) = connect(addr, id, false, credentials);
    assert!(!session(&mut events).await);
    client.try_subscribe("t/#", QoS::AtLeastOnce).unwrap();
    until(&mut events, |packet| matches!(packet, Packet::SubAck(_))).await;
}

/// Publishes numbers over `devices` topics, all acknowledged by the broker.
async fn publish(addr: SocketAddr, devices: usize, numbers: Range<usize>, credentials: Option<(&str, &str)>) {
    let (client, mut events) = connect(addr, "publisher", true, credentials);
    for n in numbers.clone() {
        client.try_publish(format!("t/{}", n % devices), QoS::AtLeastOnce, false, n.to_string()).unwrap();
    }
    let mut acks = 0;
    until(&mut events, |packet| {
        acks += usize::from(matches!(packet, Packet::PubAck(_)));
        acks == numbers.len()
    })
    .await;
}

/// Per topic, the first occurrences of the numbers that arrived, in order.
#[derive(Default)]
struct Arrived(HashMap<String, Vec<usize>>);

impl Arrived {
    /// Notes a publish; gives whether it is new.
    fn note(&mut self, packet: &Packet) -> bool {
        let Packet::Publish(publish) = packet else { return false };
        let n: usize = std::str::from_utf8(&publish.payload).unwrap().parse().unwrap();
        let topic = self.0.entry(publish.topic.clone()).or_default();
        let new = !topic.contains(&n);
        if new {
            topic.push(n);
        }
        new
    }

    fn assert_complete(&self, devices: usize, count: usize) {
        assert_eq!(self.0.values().map(Vec::len).sum::<usize>(), count);
        assert_eq!(self.0.len(), devices);
        for (topic, numbers) in &self.0 {
            assert!(numbers.is_sorted(), "{topic}: {numbers:?}");
        }
    }
}

/// Cut with 60 unacknowledged messages, published on while away: everything comes back, in order, per topic.
async fn a_cut_session_loses_and_reorders_nothing(addr: SocketAddr) {
    const DEVICES: usize = 20;
    subscribe(addr, "agent", None).await;
    publish(addr, DEVICES, 0..500, None).await;
    let mut arrived = Arrived::default();
    let (client, mut events) = connect(addr, "agent", false, None);
    assert!(session(&mut events).await);
    let mut received = 0;
    until(&mut events, |packet| {
        let Packet::Publish(publish) = packet else { return false };
        arrived.note(packet);
        received += 1;
        if received <= 240 {
            client.try_ack(publish).unwrap();
        }
        received == 300
    })
    .await;
    drop((client, events));
    publish(addr, DEVICES, 500..2000, None).await;
    let (client, mut events) = connect(addr, "agent", false, None);
    assert!(session(&mut events).await);
    until(&mut events, |packet| {
        let Packet::Publish(publish) = packet else { return false };
        arrived.note(packet);
        client.try_ack(publish).unwrap();
        arrived.0.values().map(Vec::len).sum::<usize>() == 2000
    })
    .await;
    arrived.assert_complete(DEVICES, 2000);
}

#[tokio::test]
async fn the_embedded_broker_loses_and_reorders_nothing_over_a_cut() {
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    a_cut_session_loses_and_reorders_nothing(broker.addr()).await;
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn the_embedded_broker_resumes_takes_over_and_forgets_sessions() {
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    let addr = broker.addr();
    subscribe(addr, "agent", None).await;
    for round in 0..4 {
        publish(addr, 1, round..round + 1, None).await;
        let (client, mut events) = connect(addr, "agent", false, None);
        assert!(session(&mut events).await, "round {round}");
        until(&mut events, |packet| {
            let Packet::Publish(publish) = packet else { return false };
            client.try_ack(publish).unwrap();
            publish.payload == round.to_string()
        })
        .await;
        // The ack must be on its way before the connection is dropped.
        until_outgoing_ack(&mut events).await;
    }
    let (_old, mut old_events) = connect(addr, "agent", false, None);
    session(&mut old_events).await;
    let (_new, mut new_events) = connect(addr, "agent", false, None);
    assert!(session(&mut new_events).await);
    let ended = timeout(PATIENCE, async {
        loop {
            if let Err(error) = old_events.poll().await {
                return error;
            }
        }
    });
    assert!(matches!(ended.await.unwrap(), ConnectionError::MqttState(_) | ConnectionError::Io(_)));
    drop(new_events);
    let (_clean, mut clean_events) = connect(addr, "agent", true, None);
    assert!(!session(&mut clean_events).await);
    drop(clean_events);
    let (_again, mut events) = connect(addr, "agent", false, None);
    assert!(!session(&mut events).await, "a clean session wipes the kept one");
    broker.stop().await.unwrap();
}

async fn until_outgoing_ack(events: &mut EventLoop) {
    let waiting =
        async { while !matches!(events.poll().await.unwrap(), Event::Outgoing(rumqttc::Outgoing::PubAck(_))) {} };
    timeout(PATIENCE, waiting).await.expect("the ack on the wire");
}

#[tokio::test]
async fn mosquitto_loses_and_reorders_nothing_over_a_cut() {
    let mut broker = Mosquitto::start(&MosquittoOptions::default()).await.unwrap();
    a_cut_session_loses_and_reorders_nothing(broker.addr()).await;
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn mosquitto_restarts_on_its_port_with_what_it_saved() {
    let mut broker = Mosquitto::start(&MosquittoOptions::default()).await.unwrap();
    let addr = broker.addr();
    subscribe(addr, "agent", None).await;
    publish(addr, 5, 0..50, None).await;
    broker.stop().await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "stopped");
    broker.restart().await.unwrap();
    publish(addr, 5, 50..100, None).await;
    broker.save().await.unwrap();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    let (client, mut events) = connect(addr, "agent", false, None);
    assert!(session(&mut events).await);
    let mut arrived = Arrived::default();
    let mut count = 0;
    until(&mut events, |packet| {
        let Packet::Publish(publish) = packet else { return false };
        client.try_ack(publish).unwrap();
        count += usize::from(arrived.note(packet));
        count == 100
    })
    .await;
    arrived.assert_complete(5, 100);
}

#[tokio::test]
async fn mosquitto_lets_in_only_clients_with_the_password() {
    let users = vec![("agent".to_owned(), "secret word".to_owned()), ("other".to_owned(), "x".to_owned())];
    let acl = vec!["user agent".to_owned(), "topic readwrite t/#".to_owned()];
    let broker = Mosquitto::start(&MosquittoOptions { users, acl, ..MosquittoOptions::default() }).await.unwrap();
    let (_client, mut events) = connect(broker.addr(), "a", true, Some(("agent", "secret word")));
    assert!(!session(&mut events).await);
    for wrong in [None, Some(("agent", "x"))] {
        let (_client, mut events) = connect(broker.addr(), "b", true, wrong);
        let error = events.poll().await.unwrap_err();
        assert!(matches!(error, ConnectionError::ConnectionRefused(_)), "{error:?}");
    }
}

/// Comes back on its port after a stop and after a kill, and keeps or forgets sessions as [`BrokerKind`] says; what an
/// absent client is owed while the broker stays up, it gets.
async fn is_what_it_says(kind: BrokerKind) {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut broker = AnyBroker::start(kind, &repo).await.unwrap();
    let addr = broker.addr();
    let credentials = broker.credentials();
    subscribe(addr, "agent", credentials).await;
    publish(addr, 3, 0..50, credentials).await;
    let (client, mut events) = connect(addr, "agent", false, credentials);
    assert!(session(&mut events).await, "{kind:?} keeps a session while it is up");
    let mut arrived = Arrived::default();
    let mut count = 0;
    until(&mut events, |packet| {
        let Packet::Publish(publish) = packet else { return false };
        client.try_ack(publish).unwrap();
        count += usize::from(arrived.note(packet));
        count == 50
    })
    .await;
    arrived.assert_complete(3, 50);
    drop((client, events));
    broker.stop().await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "{kind:?} is stopped");
    broker.restart().await.unwrap();
    let (_client, mut events) = connect(addr, "agent", false, credentials);
    assert_eq!(session(&mut events).await, kind.keeps_sessions(), "{kind:?}\n{}", broker.tail());
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    publish(addr, 1, 0..5, credentials).await;
    assert!(broker.memory().unwrap().resident > 0);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_newer_mosquitto_is_what_it_says() {
    is_what_it_says(BrokerKind::NewerMosquitto).await;
}

#[tokio::test]
async fn rabbitmq_is_what_it_says() {
    is_what_it_says(BrokerKind::RabbitMq).await;
}

#[tokio::test]
async fn aedes_is_what_it_says() {
    is_what_it_says(BrokerKind::Aedes).await;
}

#[tokio::test]
async fn amqtt_is_what_it_says() {
    is_what_it_says(BrokerKind::Amqtt).await;
}

#[tokio::test]
async fn rumqttd_is_what_it_says() {
    is_what_it_says(BrokerKind::Rumqttd).await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_says_what_to_run() {
    let nowhere = tempfile::tempdir().unwrap();
    for kind in
        [BrokerKind::NewerMosquitto, BrokerKind::RabbitMq, BrokerKind::Aedes, BrokerKind::Amqtt, BrokerKind::Rumqttd]
    {
        let missing = AnyBroker::start(kind, nowhere.path()).await.unwrap_err();
        assert!(missing.to_string().contains("scripts/peers.sh"), "{missing}");
    }
}
