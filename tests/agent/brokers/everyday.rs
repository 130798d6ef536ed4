//! What happens every day, with each broker: messages live, a kill, an absence, readings that equal each other.

use super::{MESSAGES, Scene, broker, holds_all, unacked};
use crate::support::{LONG, until_online};
use testkit::broker::{AnyBroker, BrokerKind};
use testkit::clock_control::ClockControl;

async fn an_everyday_life(kind: BrokerKind) {
    let mut broker = broker(kind).await;
    messages_live(&mut broker, kind).await;
    a_kill_with_messages_unacknowledged(&mut broker, kind).await;
    an_absence(&mut broker, kind).await;
    equal_readings_in_a_row(&mut broker, kind).await;
    equal_readings_during_an_absence(&mut broker, kind).await;
    broker.stop().await.unwrap();
}

async fn messages_live(broker: &mut AnyBroker, kind: BrokerKind) {
    let mut scene = Scene::set(broker, "live", |_| ()).await;
    scene.publish(0..MESSAGES).await;
    let again = scene.assert_complete(MESSAGES).await;
    assert!(again == 0 || !kind.says_again(), "{again} came twice");
}

/// The disk is slow, so that the broker's window is full of what is not acknowledged when the agent dies. A broker that does
/// not send it again has lost that much, and nothing else is missing.
async fn a_kill_with_messages_unacknowledged(broker: &mut AnyBroker, kind: BrokerKind) {
    let mut disk = ClockControl::new().unwrap();
    let mut scene = Scene::set(broker, "killed", |config| config.environment.push(disk.environment())).await;
    scene.publish(0..MESSAGES / 2).await;
    scene.until_settled(MESSAGES as u64 / 2).await;
    disk.sync_ms = 700;
    disk.set().unwrap();
    let mut publisher = scene.publisher();
    let topic = scene.topic();
    let rest = tokio::spawn(async move {
        for n in MESSAGES / 2..MESSAGES {
            publisher.publish(&topic, n.to_string()).await;
        }
    });
    let status = scene.agent.wait_status("some unacknowledged", LONG, |s| unacked(s) >= 5).await.unwrap();
    scene.agent.kill().await.unwrap();
    disk.sync_ms = 0;
    disk.set().unwrap();
    rest.await.unwrap();
    scene.agent.spawn().unwrap();
    if kind.sends_again() {
        let again = scene.assert_complete(MESSAGES).await;
        println!("killed: {again} came again and said so");
        return;
    }
    until_online(&mut scene.agent).await;
    scene.publish(MESSAGES..MESSAGES + 1).await;
    let last = MESSAGES as u64;
    scene.until_there(&[last]).await;
    let (numbers, _) = scene.judge();
    let missing: Vec<_> = (0..last).filter(|n| !numbers.contains(n)).collect();
    println!("killed with {} unacknowledged; not sent again: {missing:?}", unacked(&status));
    assert!(missing.windows(2).all(|pair| pair[1] == pair[0] + 1), "only what was in the window: {missing:?}");
}

async fn an_absence(broker: &mut AnyBroker, kind: BrokerKind) {
    let mut scene = Scene::set(broker, "away", |_| ()).await;
    assert!(scene.agent.term(LONG).await.unwrap().success());
    scene.publish(0..MESSAGES).await;
    scene.agent.spawn().unwrap();
    let again = scene.assert_complete(MESSAGES).await;
    assert!(again == 0 || !kind.says_again(), "{again} came twice");
}

/// "0" three times, each acknowledged before the next, so that a broker that hands out the lowest free packet id uses one
/// id for all; the fourth waits in the socket of an agent that dies.
async fn equal_readings_in_a_row(broker: &mut AnyBroker, kind: BrokerKind) {
    let mut scene = Scene::set(broker, "equal", |_| ()).await;
    let (mut publisher, topic) = (scene.publisher(), scene.topic());
    for count in 1..=3 {
        publisher.publish(&topic, "0").await;
        scene.until_settled(count).await;
    }
    scene.agent.freeze().unwrap();
    publisher.publish(&topic, "0").await;
    scene.agent.kill().await.unwrap();
    scene.agent.spawn().unwrap();
    until_online(&mut scene.agent).await;
    // Still there for one more, which is none of the others.
    publisher.publish(&topic, "1").await;
    let zeros = if kind.sends_again() { 4 } else { 3 };
    let wanted: Vec<_> = std::iter::repeat_n(0, zeros).chain([1]).collect();
    scene.until_there(&wanted).await;
    assert_readings(&scene.numbers(), &wanted, kind);
}

/// What changes seldom, while the agent is away: each is a reading, whatever flags the broker sets on what it kept.
async fn equal_readings_during_an_absence(broker: &mut AnyBroker, kind: BrokerKind) {
    let mut scene = Scene::set(broker, "quiet", |_| ()).await;
    assert!(scene.agent.term(LONG).await.unwrap().success());
    let (mut publisher, topic) = (scene.publisher(), scene.topic());
    let readings = [21, 21, 21, 22, 22];
    for reading in readings {
        publisher.publish(&topic, reading.to_string()).await;
    }
    scene.agent.spawn().unwrap();
    scene.until_there(&readings).await;
    assert_readings(&scene.numbers(), &readings, kind);
}

/// Each once; behind a broker that does not say what it sends again, each at least once.
fn assert_readings(got: &[u64], wanted: &[u64], kind: BrokerKind) {
    if kind.says_again() {
        assert_eq!(got, wanted, "each once");
    }
    println!("{got:?} for {wanted:?}");
    assert!(holds_all(got, wanted), "{got:?} for {wanted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_life_with_mosquitto() {
    an_everyday_life(BrokerKind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_life_with_a_newer_mosquitto() {
    an_everyday_life(BrokerKind::NewerMosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_life_with_rabbitmq() {
    an_everyday_life(BrokerKind::RabbitMq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_life_with_aedes() {
    an_everyday_life(BrokerKind::Aedes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_life_with_amqtt() {
    an_everyday_life(BrokerKind::Amqtt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyday_life_with_rumqttd() {
    an_everyday_life(BrokerKind::Rumqttd).await;
}
