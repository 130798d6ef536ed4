//! The fleet against the real broker: what it counts as published is what a subscriber gets, over broker restarts.

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::broker::{EmbeddedBroker, EmbeddedOptions, Mosquitto, MosquittoOptions};
use testkit::fleet::{Fleet, FleetOptions, record_id};
use tokio::time::{Instant, timeout};

/// A subscriber with a kept session; gives back the first occurrences per device, in order.
fn subscribe(addr: SocketAddr) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new("subscriber", addr.ip().to_string(), addr.port());
    options.set_clean_session(false).set_max_packet_size(1 << 20, 1 << 20);
    let (client, events) = AsyncClient::new(options, 100);
    client.try_subscribe(Fleet::filter(), QoS::AtLeastOnce).unwrap();
    (client, events)
}

async fn subscribed(events: &mut EventLoop) {
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
}

/// Reads until `count` different ids came; connects again after errors.
async fn collect(events: &mut EventLoop, count: usize) -> HashMap<String, Vec<String>> {
    let (mut seen, mut order) = (HashSet::new(), HashMap::<String, Vec<String>>::new());
    while seen.len() < count {
        let Ok(event) = events.poll().await else { continue };
        let Event::Incoming(Packet::Publish(publish)) = event else { continue };
        let value: Value = serde_json::from_slice(&publish.payload).unwrap();
        let id = record_id(value["deduplicationId"].as_str().unwrap(), &publish.payload);
        if seen.insert(id.clone()) {
            order.entry(value["deviceInfo"]["devEui"].as_str().unwrap().to_owned()).or_default().push(id);
        }
    }
    order
}

fn expected(fleet: &Fleet) -> HashMap<String, Vec<String>> {
    let mut order = HashMap::<String, Vec<String>>::new();
    for item in fleet.published().items {
        assert!(item.confirmed);
        order.entry(item.group).or_default().push(item.id);
    }
    order
}

#[tokio::test]
async fn what_counts_as_published_arrives_in_order_per_device() {
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    let (_client, mut events) = subscribe(broker.addr());
    subscribed(&mut events).await;
    let mut fleet = Fleet::new(FleetOptions::new(broker.addr(), 25));
    let (published, order) =
        tokio::join!(fleet.publish(1000), timeout(Duration::from_secs(60), collect(&mut events, 1000)));
    published.unwrap();
    assert_eq!(order.unwrap(), expected(&fleet), "seed {}", fleet.seed());
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_restart_loses_and_reorders_nothing() {
    // Stopped, not killed: a killed broker loses what it acknowledged and had not saved, which is not the fleet's doing.
    let mut broker = Mosquitto::start(&MosquittoOptions::default()).await.unwrap();
    let (_client, mut events) = subscribe(broker.addr());
    subscribed(&mut events).await;
    let options = FleetOptions { rate: Some(200.0), ..FleetOptions::new(broker.addr(), 10) };
    let mut fleet = Fleet::new(options);
    let mut progress = fleet.progress();
    let stops = async {
        for acknowledged in [50, 150] {
            progress.wait_for(|n| *n >= acknowledged).await.unwrap();
            broker.stop().await.unwrap();
            broker.restart().await.unwrap();
        }
    };
    let patience = Duration::from_secs(60);
    let (published, (), order) = tokio::join!(fleet.publish(300), stops, timeout(patience, collect(&mut events, 300)));
    published.unwrap();
    assert_eq!(order.expect("all arrive"), expected(&fleet), "seed {}", fleet.seed());
}

#[tokio::test]
async fn the_rate_is_kept() {
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    let options = FleetOptions { rate: Some(100.0), ..FleetOptions::new(broker.addr(), 3) };
    let started = Instant::now();
    Fleet::new(options).publish(50).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(490), "50 uplinks at 100/s took {took:?}");
}

#[tokio::test]
async fn without_a_broker_publishing_fails_in_time_with_a_reason() {
    let port = testkit::port::HeldPort::take().unwrap();
    let options = FleetOptions { patience: Duration::from_millis(200), ..FleetOptions::new(port.addr(), 1) };
    let mut fleet = Fleet::new(options);
    let error = fleet.publish(1).await.unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains(&fleet.seed().to_string()), "{error}");
}
