//! Mosquitto holds a QoS 1 message back for each QoS 0 message that it owes to a kept session while the window is full, until
//! the next connection (docs/evidence.md). The agent gives it no reason to, and fetches what others make it hold back.

use super::{MESSAGES, Scene};
use crate::support::{LONG, QUEUE};
use serde_json::Value;
use std::path::Path;
use testkit::broker::{AnyBroker, Mosquitto, MosquittoOptions, MosquittoRelease};

async fn mosquitto(release: MosquittoRelease) -> AnyBroker {
    let extra = "queue_qos0_messages true".to_owned();
    let options = MosquittoOptions { release, extra, max_inflight: 100, ..MosquittoOptions::default() };
    Mosquitto::start(&options).await.unwrap().into()
}

/// The broker's own count is all that could be owed at QoS 0: nothing is late, and nothing is overtaken.
async fn a_restarted_broker_holds_nothing_back(release: MosquittoRelease) {
    let mut broker = mosquitto(release).await;
    let mut scene = Scene::set(&mut broker, "held", |_| ()).await;
    assert!(scene.agent.term(LONG).await.unwrap().success());
    scene.publish(0..MESSAGES).await;
    scene.broker.stop().await.unwrap();
    scene.broker.restart().await.unwrap();
    scene.agent.spawn().unwrap();
    assert_eq!(scene.assert_complete(MESSAGES).await, 0, "nothing came twice");
    // The agent reads the count anyway.
    let counted = |s: &Value| s["intake"]["broker_dropped"].is_u64();
    scene.agent.wait_status("the broker's count", LONG, counted).await.unwrap();
}

/// What others publish at QoS 0 makes the broker hold back as many; they come within the test, by the agent's own doing.
/// They come behind what overtook them: that is the broker's order, and no client can mend it.
async fn what_is_held_back_is_fetched(release: MosquittoRelease) {
    let mut broker = mosquitto(release).await;
    let mut scene = Scene::set(&mut broker, "mixed", |_| ()).await;
    assert!(scene.agent.term(LONG).await.unwrap().success());
    scene.publish(0..MESSAGES).await;
    let mut publisher = scene.publisher();
    for _ in 0..5 {
        publisher.publish_qos0("mixed/other", "0").await;
    }
    scene.agent.spawn().unwrap();
    // The five of QoS 0 come, too, unless the broker had no room for them.
    let all = || (0..MESSAGES as u64).all(|n| scene.numbers().contains(&n));
    let whole = scene.stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= MESSAGES as u64 && all()).await;
    whole.unwrap_or_else(|late| panic!("{}", scene.said(&late.to_string())));
    let (mut numbers, late) = (scene.numbers(), |pair: &[u64]| pair[1] < pair[0]);
    println!("came behind what followed them: {}", numbers.windows(2).filter(|pair| late(pair)).count());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MESSAGES as u64).collect::<Vec<_>>(), "each once");
}

fn newer() -> MosquittoRelease {
    MosquittoRelease::newer(Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_mosquitto_holds_nothing_back_for_our_own_question() {
    a_restarted_broker_holds_nothing_back(MosquittoRelease::Installed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_restarted_mosquitto_holds_nothing_back_for_our_question() {
    a_restarted_broker_holds_nothing_back(newer()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mosquitto_holds_back_for_others_is_fetched() {
    what_is_held_back_is_fetched(MosquittoRelease::Installed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_mosquitto_holds_back_for_others_is_fetched() {
    what_is_held_back_is_fetched(newer()).await;
}
