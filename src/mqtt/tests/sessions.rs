//! Subscriptions, over connections and restarts.

use crate::journal::files;
use crate::mqtt::tests::rude::{COUNT, publish, retained};
use crate::mqtt::tests::support::Rig;
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, SubscribeReasonCode};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[tokio::test]
async fn filters_are_asked_for_only_when_the_session_is_new() {
    let rig = Rig::start(|_| {}).await;
    for (session_present, expected) in [(false, vec!["t/#"]), (true, vec![]), (false, vec!["t/#"]), (true, vec![])] {
        let (_, asked) = rig.broker.welcome(session_present).await;
        assert_eq!(asked, expected);
    }
}

#[tokio::test]
async fn a_restart_asks_only_for_the_filters_that_changed() {
    let rig = Rig::start(|setup| setup.filters = vec!["a/#", "b/#"]).await;
    let (peer, asked) = rig.broker.welcome(false).await;
    assert_eq!(asked, ["a/#", "b/#"]);
    rig.stop();
    drop(peer);
    let (broker, folder) = rig.ended().await;
    let rig = Rig::start_on(broker, folder, |setup| setup.filters = vec!["b/#", "c/#"]);
    let (_peer, asked) = rig.broker.welcome(true).await;
    assert_eq!(asked, ["c/#", "-a/#"], "what is new first, and nothing falls in between");
    let status = rig.shared.snapshot();
    assert_eq!(status.routes[0].filters[0].granted, Some(true), "as confirmed in the run before");
}

#[tokio::test]
async fn a_crash_before_confirmation_requests_all_filters_again() {
    let rig = Rig::start(|_| {}).await;
    rig.broker.welcome(false).await;
    // The session is lost, made anew by the next connect, and the agent dies before it subscribed.
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, false).await;
    peer.subscribe().await;
    rig.stop();
    drop(peer);
    let (broker, folder) = rig.ended().await;
    let rig = Rig::start_on(broker, folder, |_| {});
    let (_, asked) = rig.broker.welcome(true).await;
    assert_eq!(asked, ["t/#"], "the session is there, its filters are not");
}

#[tokio::test]
async fn a_broker_that_flaps_costs_no_sync() {
    let rig = Rig::start(|_| {}).await;
    rig.broker.welcome(false).await;
    rig.broker.welcome(true).await;
    // What the last connection left to be written is written before the next attempt.
    let intake = rig.folder.path().join("intake");
    let syncs = || (files::syncs_of(&intake), rig.noted_soon.load(Relaxed));
    let mut peer = rig.broker.accept().await;
    let before = syncs();
    for _ in 0..20 {
        assert!(peer.welcome(true).await.is_empty());
        drop(peer);
        peer = rig.broker.accept().await;
    }
    assert_eq!(syncs(), before);
    assert!(peer.welcome(true).await.is_empty());
    rig.stop();
    drop(peer);
    let (broker, folder) = rig.ended().await;
    let rig = Rig::start_on(broker, folder, |_| {});
    assert!(rig.broker.welcome(true).await.1.is_empty(), "the next run knows what the session holds");
}

#[tokio::test]
async fn a_session_lost_by_a_flapping_broker_is_durably_doubted() {
    let rig = Rig::start(|_| {}).await;
    rig.broker.welcome(false).await;
    rig.broker.welcome(true).await;
    let mut peer = rig.broker.accept().await;
    let before = files::syncs_of(&rig.folder.path().join("intake"));
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, false).await;
    // It says so, and dies before it grants anything.
    peer.subscribe().await;
    drop(peer);
    let _peer = rig.broker.accept().await;
    // The doubt, and that a session was lost, which a run says once.
    assert_eq!(files::syncs_of(&rig.folder.path().join("intake")), before + 2);
}

#[tokio::test]
async fn a_refused_filter_is_shown_and_asked_for_again() {
    let mut rig = Rig::start(|setup| {
        setup.filters = vec!["a/#", "b/#"];
        setup.timing.refused_again = Duration::from_millis(20);
    })
    .await;
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, false).await;
    let subscribe = peer.subscribe().await;
    let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce), SubscribeReasonCode::Failure];
    let suback = rumqttc::SubAck::new(subscribe.pkid, codes);
    peer.send(&[rumqttc::Packet::SubAck(suback)]).await;
    let count = peer.subscribe().await;
    assert_eq!(count.filters[0].path, COUNT);
    peer.answer(&count, SubscribeReasonCode::Failure).await;
    let retry = peer.subscribe().await;
    assert_eq!(retry.filters.iter().map(|filter| filter.path.as_str()).collect::<Vec<_>>(), ["b/#"]);
    let status = rig.shared.snapshot();
    let granted: Vec<_> = status.routes.iter().map(|route| route.filters[0].granted).collect();
    assert_eq!(granted, [Some(true), Some(false)]);
    peer.answer(&retry, SubscribeReasonCode::Success(QoS::AtLeastOnce)).await;
    rig.shows("the grant", |status| status.routes[1].filters[0].granted == Some(true)).await;
    peer.send(&[publish(1, "b/x", b"at last")]).await;
    assert_eq!(rig.journal.record().await, b"at last");
}

#[tokio::test]
async fn a_replay_continues_after_restart_only_for_committed_values() {
    for committed in [true, false] {
        let mut rig = Rig::start(|setup| setup.timing.stop = Duration::from_millis(500)).await;
        let (mut peer, _) = rig.broker.welcome(false).await;
        let live = publish(0, "t/a", b"on");
        peer.send(std::slice::from_ref(&live)).await;
        assert_eq!(rig.journal.record().await, b"on");
        if committed {
            rig.journal.commit(1);
        }
        rig.stop();
        peer.closed().await;
        let (broker, folder) = rig.ended().await;
        let mut rig = Rig::start_on(broker, folder, |_| {});
        let (mut peer, _) = rig.broker.welcome(true).await;
        // The broker still owes it for the SUBSCRIBE of the run before; once.
        peer.send(&[retained(&live), retained(&live)]).await;
        match committed {
            true => rig.journal.repeat().await,
            false => assert_eq!(rig.journal.record().await, b"on", "a power cut may have taken the first one"),
        }
        assert_eq!(rig.journal.record().await, b"on", "two after one SUBSCRIBE: this broker leaves the flag on");
    }
}

/// A count that changes all the time must not stay in the session: it would fill the queue while we are away.
#[tokio::test]
async fn a_silent_route_asks_for_broker_traffic_without_keeping_filters() {
    let mut rig = Rig::start(|setup| setup.timing.traffic = Duration::from_millis(50)).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    for count in ["100", "150"] {
        let asked = peer.subscribe().await;
        assert_eq!(asked.filters.iter().map(|filter| &*filter.path).collect::<Vec<_>>(), [RECEIVED]);
        peer.answer(&asked, SubscribeReasonCode::Success(QoS::AtLeastOnce)).await;
        let Some(rumqttc::Packet::Unsubscribe(released)) = peer.next().await else { panic!("an UNSUBSCRIBE") };
        assert_eq!(released.topics, [RECEIVED]);
        peer.send(&[retained(&publish(0, RECEIVED, count.as_bytes()))]).await;
        peer.send(&[rumqttc::Packet::UnsubAck(rumqttc::UnsubAck::new(released.pkid))]).await;
    }
    let status = rig.shows("the rise", |status| status.routes[0].elsewhere > 0).await;
    assert_eq!((status.routes[0].elsewhere, status.received), (50, 0));
    peer.send(&[publish(1, "t/a", b"at last")]).await;
    loop {
        if let crate::journal::Item::Record(_) = rig.journal.next().await {
            break;
        }
    }
    assert_eq!(rig.shared.snapshot().routes[0].elsewhere, 0);
}

/// A run that was cut off between the two has left the filter in the session.
#[tokio::test]
async fn a_count_that_comes_unasked_is_released() {
    let rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[publish(0, RECEIVED, b"7")]).await;
    let Some(rumqttc::Packet::Unsubscribe(released)) = peer.next().await else { panic!("an UNSUBSCRIBE") };
    assert_eq!(released.topics, [RECEIVED]);
}

const RECEIVED: &str = "$SYS/broker/publish/messages/received";
