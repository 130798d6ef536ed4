//! Getting and keeping a connection.

use crate::config::BrokerAddress;
use crate::mqtt::IntakeState;
use crate::mqtt::tests::rude::{COUNT, publish, soon};
use crate::mqtt::tests::support::Rig;
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, PubRel};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

#[tokio::test]
async fn a_slow_connack_is_waited_for_whatever_happens_beside_it() {
    let mut rig = Rig::start(|_| {}).await;
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    for _ in 0..15 {
        rig.tick();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    peer.connack(ConnectReturnCode::Success, true).await;
    let subscribe = peer.subscribe().await;
    assert_eq!(subscribe.filters[0].path, "t/#", "the same connection, and no memory of the session's filters");
    peer.send(&[publish(1, "t/a", b"1")]).await;
    assert_eq!(rig.journal.record().await, b"1");
    assert_eq!(rig.shared.snapshot().connections, 1);
}

#[tokio::test]
async fn a_refused_connack_is_reported_and_retried_ever_more_slowly() {
    let slow = (Duration::from_millis(40), Duration::from_millis(160));
    let rig = Rig::start(|setup| setup.timing.slow = slow).await;
    let mut gaps = Vec::new();
    let mut last = None;
    for _ in 0..5 {
        let mut peer = rig.broker.accept().await;
        gaps.extend(last.replace(Instant::now()).map(|last: Instant| last.elapsed()));
        peer.connect().await;
        peer.connack(ConnectReturnCode::BadUserNamePassword, false).await;
        peer.closed().await;
    }
    for (gap, least) in gaps.iter().zip([20, 40, 80, 80]) {
        assert!(*gap >= Duration::from_millis(least), "{gaps:?}");
    }
    let status = rig.shows("the refusal", |status| matches!(status.state, IntakeState::Blocked { .. })).await;
    let IntakeState::Blocked { why, remedy, .. } = status.state else { panic!("blocked") };
    assert!(why.contains("refused user name or password") && remedy.contains("mqtt.password_file"), "{why}: {remedy}");
}

#[tokio::test]
async fn who_says_that_the_broker_was_mended_need_not_wait() {
    let hour = Duration::from_secs(3600);
    let rig = Rig::start(|setup| setup.timing.slow = (hour, hour)).await;
    for _ in 0..3 {
        let mut peer = rig.broker.accept().await;
        peer.connect().await;
        peer.connack(ConnectReturnCode::BadUserNamePassword, false).await;
        peer.closed().await;
        rig.shows("the refusal", |status| matches!(status.state, IntakeState::Blocked { .. })).await;
        rig.retry();
    }
    rig.broker.welcome(false).await;
}

#[tokio::test]
async fn user_and_password_are_sent_and_unreadable_files_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("password");
    let rig = Rig::start(|setup| {
        setup.options.broker.username = Some("gateway".into());
        setup.options.broker.password_file = Some(path.clone());
        setup.timing.slow = setup.timing.quick;
    })
    .await;
    let status = rig.shows("the missing file", |status| matches!(status.state, IntakeState::Blocked { .. })).await;
    assert!(format!("{:?}", status.state).contains("password_file"), "{:?}", status.state);
    std::fs::write(&path, "s3cret\n").expect("written");
    let login = rig.broker.accept().await.connect().await.login.expect("a login");
    assert!(login.validate("gateway", "s3cret"));
}

#[tokio::test]
async fn an_older_sessions_qos_2_release_does_not_prevent_connecting() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[Packet::PubRel(PubRel::new(7))]).await;
    peer.closed().await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[Packet::PubRel(PubRel::new(7)), publish(1, "t/a", b"behind it")]).await;
    assert!(matches!(peer.next().await, Some(Packet::PubComp(complete)) if complete.pkid == 7));
    assert_eq!(rig.journal.record().await, b"behind it");
}

#[tokio::test]
async fn the_brokers_reported_drops_are_shown_and_not_journaled() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(0, COUNT, b"40"), publish(0, COUNT, b"42"), publish(1, "t/a", b"fence")]).await;
    assert_eq!(rig.journal.record().await, b"fence");
    let status = rig.shared.snapshot();
    assert_eq!((status.broker_dropped, status.broker_dropped_since_start, status.received), (Some(42), 2, 1));
}

#[tokio::test]
async fn a_broker_that_cuts_over_its_count_is_asked_once() {
    let mut rig = Rig::start(|_| {}).await;
    for attempt in 0..2 {
        let mut peer = rig.broker.accept().await;
        peer.connect().await;
        peer.connack(ConnectReturnCode::Success, attempt > 0).await;
        if attempt == 0 {
            let routes = peer.subscribe().await;
            peer.answer(&routes, rumqttc::SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
        }
        assert_eq!(peer.subscribe().await.filters[0].path, COUNT);
    }
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, true).await;
    peer.send(&[publish(1, "t/a", b"1")]).await;
    rig.journal.record().await;
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [1], "and nothing is asked");
}

#[tokio::test]
async fn a_stop_during_a_silent_handshake_ends_at_once() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    rig.stop();
    rig.ended().await;
}

#[tokio::test]
async fn without_a_journal_intake_ends_and_acks_nothing() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    rig.journal.close();
    peer.send(&[publish(1, "t/a", b"1")]).await;
    assert_eq!(peer.next().await, None);
    rig.ended().await;
}

#[tokio::test]
async fn a_unix_socket_is_waited_for_and_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broker.sock");
    let rig = Rig::start(|setup| setup.options.broker.address = BrokerAddress::Unix(path.clone())).await;
    let status = rig.shows("the missing socket", |status| matches!(status.state, IntakeState::Offline { .. })).await;
    assert!(format!("{:?}", status.state).contains("no socket"), "{:?}", status.state);
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let (mut socket, _) = soon("a connection", listener.accept()).await.expect("a connection");
    assert_eq!(soon("a CONNECT", socket.read_u8()).await.expect("a byte"), 0x10);
}
