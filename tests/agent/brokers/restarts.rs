//! The broker restarts while messages wait for an agent that is away. Some keep them on disk; what others lose the agent
//! must not keep to itself.

use super::{MESSAGES, Scene, broker};
use crate::support::LONG;
use testkit::broker::BrokerKind;

async fn what_waits_survives_a_restart(kind: BrokerKind) {
    let mut broker = broker(kind).await;
    let mut scene = Scene::set(&mut broker, "waits", |_| ()).await;
    assert!(scene.agent.term(LONG).await.unwrap().success());
    scene.publish(0..MESSAGES).await;
    scene.broker.stop().await.unwrap();
    scene.broker.restart().await.unwrap();
    scene.agent.spawn().unwrap();
    assert_eq!(scene.assert_complete(MESSAGES).await, 0, "nothing came twice");
    let status = scene.agent.status().await.unwrap();
    assert_eq!((&status["intake"]["session_kept"], &status["health"]), (&true.into(), &"fine".into()), "{status:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_keeps_what_waits() {
    what_waits_survives_a_restart(BrokerKind::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_mosquitto_keeps_what_waits() {
    what_waits_survives_a_restart(BrokerKind::NewerMosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_keeps_what_waits() {
    what_waits_survives_a_restart(BrokerKind::RabbitMq).await;
}
