//! Guests: what they say to a broker, and what they never say.

use crate::mqtt::probe::{FilterAnswer, Look, ProbeError, ProbeReport, changes_ids, forget, visit};
use crate::mqtt::tests::rude::{Broker, Peer, publish, soon};
use crate::mqtt::tests::support::broker_at;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, Subscribe, SubscribeReasonCode};
use std::time::Duration;
use tokio::task::JoinHandle;

const WITHIN: Duration = Duration::from_millis(300);

fn visiting(port: u16) -> JoinHandle<Result<ProbeReport, ProbeError>> {
    looking(port, WITHIN, false)
}

/// One that waits so long for answers.
fn looking(port: u16, patience: Duration, version: bool) -> JoinHandle<Result<ProbeReport, ProbeError>> {
    tokio::spawn(async move {
        let filters = ["t/#".to_owned()];
        let look = Look { patience, version, ..Look::at(&filters, WITHIN, 1) };
        visit(&broker_at(port), look).await
    })
}

/// A guest that has subscribed, its SUBSCRIBE unanswered.
async fn subscribed(broker: &Broker) -> (Peer, Subscribe) {
    let (mut knock, ..) = accept(broker, false).await;
    assert_eq!(rest(&mut knock).await, [Packet::Disconnect]);
    let (mut peer, ..) = accept(broker, false).await;
    let subscribe = peer.subscribe().await;
    (peer, subscribe)
}

/// Accepts the next connection; the client id, and whether it asked for a clean session.
async fn accept(broker: &Broker, session_present: bool) -> (Peer, String, bool) {
    let mut peer = broker.accept().await;
    let connect = peer.connect().await;
    peer.connack(ConnectReturnCode::Success, session_present).await;
    (peer, connect.client_id, connect.clean_session)
}

/// Everything that the client says until it closes.
async fn rest(peer: &mut Peer) -> Vec<Packet> {
    let mut said = Vec::new();
    while let Some(packet) = peer.next().await {
        said.push(packet);
    }
    said
}

#[tokio::test]
async fn a_guest_meeting_an_existing_session_leaves_without_acks() {
    let broker = Broker::start().await;
    let guest = visiting(broker.port());
    let mut peer = broker.accept().await;
    let connect = peer.connect().await;
    assert!(!connect.clean_session && connect.client_id.len() == "tidegate-test".len());
    peer.connack(ConnectReturnCode::Success, true).await;
    // What waits for the agent is resent at once, and none of it is the guest's.
    peer.send(&[publish(1, "t/a", b"1"), publish(2, "t/a", b"2")]).await;
    let said = rest(&mut peer).await;
    assert_eq!(said, [Packet::Disconnect], "no ack, no wish");
    let refused = soon("the answer", guest).await.expect("no panic").expect_err("no visit");
    assert!(
        refused.why.contains("use_username_as_clientid") && refused.remedy.contains("start the agent"),
        "{refused:?}"
    );
    broker.nobody().await;
}

#[tokio::test]
async fn a_guest_ends_its_knocks_session_and_hears_messages() {
    let broker = Broker::start().await;
    let guest = visiting(broker.port());
    let (mut knock, id, clean) = accept(&broker, false).await;
    assert!(!clean && id != "tidegate-test");
    assert_eq!(rest(&mut knock).await, [Packet::Disconnect]);
    let (mut peer, again, clean) = accept(&broker, false).await;
    assert!(clean && again == id, "a clean session under the same id leaves nothing behind, however it ends");
    let subscribe = peer.subscribe().await;
    peer.answer(&subscribe, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
    peer.send(&[publish(1, "t/a", b"1")]).await;
    let seen = soon("the answer", guest).await.expect("no panic").expect("a visit");
    assert_eq!((seen.filters[0].1, seen.messages.len()), (FilterAnswer::Granted(1), 1));
    assert!(matches!(rest(&mut peer).await.last(), Some(Packet::Disconnect)));
}

#[tokio::test]
async fn a_refusal_of_a_guests_id_names_the_agents() {
    let broker = Broker::start().await;
    let guest = visiting(broker.port());
    let mut peer = broker.accept().await;
    let id = peer.connect().await.client_id;
    peer.connack(ConnectReturnCode::NotAuthorized, false).await;
    let refused = soon("the answer", guest).await.expect("no panic").expect_err("no visit");
    assert!(refused.why.ends_with(&format!("{id}, a guest in the place of tidegate-test")), "{refused:?}");
}

#[tokio::test]
async fn a_missing_answer_or_closed_connection_is_no_refusal() {
    let answer = |seen: ProbeReport| (seen.filters[0].1, seen.answered_in.is_some());
    let broker = Broker::start().await;
    let guest = looking(broker.port(), WITHIN, false);
    let (mut peer, _) = subscribed(&broker).await;
    assert_eq!(rest(&mut peer).await, [Packet::Disconnect], "its patience is over");
    let seen = soon("the answer", guest).await.expect("no panic").expect("a visit");
    assert_eq!(answer(seen), (FilterAnswer::Late, false));

    let guest = looking(broker.port(), Duration::from_secs(60), false);
    let (mut peer, subscribe) = subscribed(&broker).await;
    peer.answer(&subscribe, SubscribeReasonCode::Failure).await;
    rest(&mut peer).await;
    let seen = soon("the answer", guest).await.expect("no panic").expect("a visit");
    assert_eq!(answer(seen), (FilterAnswer::Refused, true));

    let guest = looking(broker.port(), Duration::from_secs(60), false);
    drop(subscribed(&broker).await);
    let seen = soon("the answer", guest).await.expect("no panic").expect("a visit");
    assert_eq!(answer(seen), (FilterAnswer::Closed, false));
    broker.nobody().await;
}

#[tokio::test]
async fn a_late_answer_counts_and_messages_are_heard_after_it() {
    let broker = Broker::start().await;
    let guest = looking(broker.port(), Duration::from_secs(60), false);
    let (mut peer, subscribe) = subscribed(&broker).await;
    tokio::time::sleep(2 * WITHIN).await;
    peer.answer(&subscribe, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
    peer.send(&[publish(1, "t/a", b"1")]).await;
    let seen = soon("the answer", guest).await.expect("no panic").expect("a visit");
    assert_eq!((seen.filters[0].1, seen.messages.len()), (FilterAnswer::Granted(1), 1));
    assert!(seen.answered_in > Some(WITHIN), "{:?}", seen.answered_in);
}

#[tokio::test]
async fn the_brokers_version_is_asked_last_and_may_be_refused() {
    let broker = Broker::start().await;
    for answered in [true, false] {
        let guest = looking(broker.port(), WITHIN, true);
        let (mut peer, subscribe) = subscribed(&broker).await;
        peer.answer(&subscribe, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
        peer.send(&[publish(1, "t/a", b"1")]).await;
        // The message's ack comes before it.
        let about = loop {
            if let Packet::Subscribe(subscribe) = peer.next().await.expect("a SUBSCRIBE") {
                break subscribe;
            }
        };
        assert_eq!(about.filters[0].path, "$SYS/broker/version");
        if answered {
            peer.answer(&about, SubscribeReasonCode::Success(rumqttc::QoS::AtMostOnce)).await;
            peer.send(&[publish(2, "$SYS/broker/version", b"mosquitto version 2.0.11")]).await;
            rest(&mut peer).await;
        } else {
            drop(peer);
        }
        let seen = soon("the answer", guest).await.expect("no panic").expect("a visit");
        assert_eq!((seen.filters[0].1, seen.messages.len()), (FilterAnswer::Granted(1), 1));
        assert_eq!(seen.version.as_deref(), answered.then_some("mosquitto version 2.0.11"));
    }
}

#[tokio::test]
async fn sessions_end_under_their_id_and_changed_ids_are_noticed() {
    let broker = Broker::start().await;
    let port = broker.port();
    let ending = tokio::spawn(async move { forget(&broker_at(port)).await });
    let (mut peer, id, clean) = accept(&broker, true).await;
    assert!(clean && id == "tidegate-test");
    assert_eq!(rest(&mut peer).await, [Packet::Disconnect]);
    assert_eq!(soon("the end", ending).await.expect("no panic"), Ok(()));
    for changed in [true, false] {
        let asking = tokio::spawn(async move { changes_ids(&broker_at(port)).await });
        let (mut knock, id, clean) = accept(&broker, changed).await;
        assert!(!clean && id != "tidegate-test");
        assert_eq!(rest(&mut knock).await, [Packet::Disconnect]);
        if !changed {
            let (mut peer, again, clean) = accept(&broker, false).await;
            assert!(clean && again == id, "the knock's session is ended");
            assert_eq!(rest(&mut peer).await, [Packet::Disconnect]);
        }
        assert_eq!(soon("the answer", asking).await.expect("no panic"), Ok(changed));
        broker.nobody().await;
    }
}
