//! The cutting proxy, between the SDK and the stub.

use crate::support::{QUEUE, entry, send, stub};
use std::time::Duration;
use testkit::consumer::plain_client;
use testkit::fake_sqs::AccessKey;
use testkit::proxy::in_front_of;
use tokio::time::timeout;

#[tokio::test]
async fn an_answer_is_dropped_after_the_request_took_effect() {
    let stub = stub();
    let (proxy, endpoint) = in_front_of(&stub.endpoint()).unwrap();
    let (client, url) = (plain_client(&endpoint, stub.region(), &AccessKey::agent()), stub.queue_url(QUEUE));
    let attempt = || send(&client, &url, vec![entry("0", "g", "d", "x")]);
    attempt().await.unwrap();
    proxy.drop_answers(1);
    assert!(attempt().await.is_err());
    assert_eq!((proxy.answers_dropped(), stub.counters(QUEUE).received), (1, 2));
    attempt().await.unwrap();
    assert_eq!(proxy.accepted(), 2, "the dropped answer cost the connection");
}

#[tokio::test]
async fn a_cut_frozen_paused_or_closed_link_comes_back() {
    let stub = stub();
    let (mut proxy, endpoint) = in_front_of(&stub.endpoint()).unwrap();
    let (client, url) = (plain_client(&endpoint, stub.region(), &AccessKey::agent()), stub.queue_url(QUEUE));
    let attempt = || send(&client, &url, vec![entry("0", "g", "d", "x")]);
    let brief = Duration::from_millis(300);
    attempt().await.unwrap();
    proxy.black_hole(true);
    assert!(timeout(brief, attempt()).await.is_err(), "frozen: neither answered nor refused");
    proxy.black_hole(false);
    proxy.cut();
    proxy.pause();
    assert!(timeout(brief, attempt()).await.is_err(), "paused: nobody answers");
    proxy.resume();
    proxy.close().await;
    assert!(timeout(Duration::from_secs(5), attempt()).await.unwrap().is_err(), "closed: refused at once");
    proxy.open().unwrap();
    timeout(Duration::from_secs(5), attempt()).await.unwrap().unwrap();
}
