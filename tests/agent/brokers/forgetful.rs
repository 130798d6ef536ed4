//! Brokers that keep no session over a restart lose what waits at them. The agent cannot bring it back; its status says
//! so, and what to change.

use super::{MESSAGES, Scene, broker};
use crate::support::{LONG, until_online, until_remarked};
use serde_json::Value;
use testkit::broker::BrokerKind;

async fn a_lost_session_is_said(kind: BrokerKind) {
    let mut broker = broker(kind).await;
    let mut scene = Scene::set(&mut broker, "lost", |_| ()).await;
    let status = scene.agent.status().await.unwrap();
    assert_eq!(status["intake"]["sessions_lost"], 0, "the first session is none that was lost: {status:#}");
    assert!(scene.agent.term(LONG).await.unwrap().success());
    scene.publish(0..MESSAGES).await;
    scene.broker.stop().await.unwrap();
    scene.broker.restart().await.unwrap();
    scene.agent.spawn().unwrap();
    until_online(&mut scene.agent).await;
    let lost = |s: &Value| s["intake"]["sessions_lost"] == 1 && s["health"] == "act";
    scene.agent.wait_status("the lost session told", LONG, lost).await.unwrap();
    println!("{kind:?}: {}", until_remarked(&mut scene.agent, &["did not keep our session"]).await);
    // From here on nothing is missing, while the broker stays up.
    scene.publish(0..10).await;
    assert_eq!(scene.assert_complete(10).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aedes_in_memory_loses_sessions_and_the_status_says_so() {
    a_lost_session_is_said(BrokerKind::Aedes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqtt_loses_sessions_and_the_status_says_so() {
    a_lost_session_is_said(BrokerKind::Amqtt).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rumqttd_loses_sessions_and_the_status_says_so() {
    a_lost_session_is_said(BrokerKind::Rumqttd).await;
}
