//! What brokers of other habits do: RETAIN left on live messages, subscriptions lost from a kept session, ids used again.

use crate::journal::Item;
use crate::mqtt::tests::rude::{COUNT, again, publish, retained};
use crate::mqtt::tests::support::Rig;
use crate::record::{DuplicateKind, Number, PossibleDuplicate};
use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, SubscribeReasonCode};
use std::time::Duration;

/// A broker that leaves RETAIN set on live messages: 21.5 21.5 21.5 22.0 22.0 were two records of five.
#[tokio::test]
async fn live_messages_that_carry_retain_are_all_recorded() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    for (id, value) in [(1, "21.5"), (2, "21.5"), (3, "21.5"), (4, "22.0"), (5, "22.0")] {
        peer.send(&[retained(&publish(id, "t/a", value.as_bytes()))]).await;
        assert_eq!(rig.journal.record().await, value.as_bytes());
    }
}

/// A broker that kept the session and lost its subscriptions: nothing ever came, and all looked well.
#[tokio::test]
async fn silent_filters_of_a_resumed_session_are_asked_once_more() {
    let rig = Rig::start(|setup| {
        setup.filters = vec!["a/#", "b/#"];
        setup.options.resubscribe_after = Duration::from_millis(300);
    })
    .await;
    let (peer, asked) = rig.broker.welcome(false).await;
    assert_eq!(asked, ["a/#", "b/#"]);
    drop(peer);
    let (mut peer, asked) = rig.broker.welcome(true).await;
    assert_eq!(asked, Vec::<String>::new(), "the session is there, as far as the broker says");
    peer.send(&[publish(1, "a/x", b"heard")]).await;
    let subscribe = peer.subscribe().await;
    assert_eq!(subscribe.filters.iter().map(|filter| &*filter.path).collect::<Vec<_>>(), ["b/#"]);
    peer.answer(&subscribe, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    peer.quiet().await;
}

/// The readings "0", "0", "0" each came with id 1; the agent dies with the fourth in its socket.
#[tokio::test]
async fn kills_lose_no_reading_of_lowest_id_brokers() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let zero = publish(1, "t/a", b"0");
    for _ in 0..3 {
        peer.send(std::slice::from_ref(&zero)).await;
        assert_eq!(rig.journal.record().await, b"0");
        rig.journal.commit(1);
        assert_eq!(peer.acks(1).await, [1]);
    }
    // The fourth is never read on this connection; it comes again, and says so.
    drop(peer);
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[again(&zero)]).await;
    let Item::Record(draft) = rig.journal.next().await else { panic!("a reading is lost") };
    assert_eq!(draft.duplicate.map(|PossibleDuplicate { kind, .. }| kind), Some(DuplicateKind::Redelivery));
}

/// What the broker counts about itself comes with QoS 1 on our own session, and is acknowledged.
#[tokio::test]
async fn the_brokers_count_comes_with_qos_1_and_is_acked() {
    let mut rig = Rig::start(|_| {}).await;
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, false).await;
    let routes = peer.subscribe().await;
    peer.answer(&routes, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
    let count = peer.subscribe().await;
    assert_eq!((&*count.filters[0].path, count.filters[0].qos), (COUNT, rumqttc::mqttbytes::QoS::AtLeastOnce));
    peer.answer(&count, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
    peer.send(&[publish(1, "t/a", b"mine"), publish(2, COUNT, b"7"), publish(3, "t/a", b"too")]).await;
    assert_eq!(rig.journal.record().await, b"mine");
    rig.journal.repeat().await;
    assert_eq!(rig.journal.record().await, b"too");
    rig.journal.commit(3);
    assert_eq!(peer.acks(3).await, [1, 2, 3]);
    assert_eq!(rig.shared.snapshot().broker_dropped, Some(7));
}

/// After a drained backlog with QoS 0 traffic the connection is made once more, politely: Mosquitto holds messages back.
#[tokio::test]
async fn a_backlog_with_qos_0_traffic_causes_one_second_visit() {
    let mut rig = Rig::start(|_| {}).await;
    drop(rig.broker.welcome(false).await);
    let (mut peer, _) = rig.broker.welcome(true).await;
    let mut backlog: Vec<Packet> = (1..=30).map(|id| publish(id, "t/a", &[id as u8])).collect();
    backlog.push(publish(0, "t/b", b"weak"));
    peer.send(&backlog).await;
    for _ in 0..31 {
        rig.journal.record().await;
    }
    rig.journal.commit(31);
    assert_eq!(peer.acks(30).await.len(), 30);
    assert_eq!(peer.next().await, Some(Packet::Disconnect), "not before every ack has left");
    drop(peer);
    let (mut peer, asked) = rig.broker.welcome(true).await;
    assert_eq!(asked, Vec::<String>::new());
    peer.send(&[publish(31, "t/a", b"held back")]).await;
    assert_eq!(rig.journal.record().await, b"held back");
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [31]);
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    peer.quiet().await;
}

/// A broker that cuts the connection over its own count is not asked for it in the next run either.
#[tokio::test]
async fn a_refused_broker_count_is_not_asked_in_later_runs() {
    let rig = Rig::start(|_| {}).await;
    for present in [false, true] {
        let mut peer = rig.broker.accept().await;
        peer.connect().await;
        peer.connack(ConnectReturnCode::Success, present).await;
        loop {
            let asked = peer.subscribe().await;
            if asked.filters[0].path == COUNT {
                break;
            }
            peer.answer(&asked, SubscribeReasonCode::Success(rumqttc::QoS::AtLeastOnce)).await;
        }
        // Cut instead of answered.
    }
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, true).await;
    peer.quiet().await;
    rig.stop();
    drop(peer);
    let (broker, folder) = rig.ended().await;
    let rig = Rig::start_on(broker, folder, |_| {});
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.connack(ConnectReturnCode::Success, true).await;
    peer.quiet().await;
}

/// A broker of MQTT 5 alone answers in MQTT 5.
#[tokio::test]
async fn a_broker_of_mqtt_5_alone_is_called_so() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.broker.accept().await;
    peer.connect().await;
    peer.raw(&[0x20, 0x03, 0x00, 0x84, 0x00]).await;
    let blocked = |status: &crate::mqtt::IntakeStatus| matches!(&status.state, crate::mqtt::IntakeState::Blocked { why, .. } if why.contains("MQTT 5 only"));
    rig.shows("the refusal", blocked).await;
}

/// While the large message of a replay is taken, what came behind it is not lost: the intake asks for it again.
#[tokio::test]
async fn a_replay_cut_by_a_large_message_is_requested_again() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let large = retained(&publish(0, "t/b", &vec![b'x'; 1_200_000]));
    let small = |topic: &str| retained(&publish(0, topic, b"1"));
    peer.send(&[small("t/a"), large.clone(), small("t/c")]).await;
    assert_eq!(rig.journal.record().await, b"1");
    peer.closed().await;
    let (mut peer, asked) = rig.broker.welcome(true).await;
    assert_eq!(asked, ["t/#"]);
    peer.send(&[small("t/a"), large, small("t/c")]).await;
    rig.journal.repeat().await;
    assert!(matches!(rig.journal.next().await, Item::Head { .. }));
    assert_eq!(rig.journal.record().await, b"1", "t/c");
}

/// Of a lost session nothing comes again. Unless the journal knows before the next commit, a kill then brings back acks that
/// are open for ids which the new session gives to other messages.
#[tokio::test]
async fn a_lost_sessions_closed_acks_reach_the_journal_before_messages() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", b"0"), publish(2, "t/a", b"0")]).await;
    for _ in 0..2 {
        assert_eq!(rig.journal.record().await, b"0");
    }
    drop(peer);
    let lost = rig.broker.accept().await;
    rig.journal.commit(2);
    drop(lost);
    let (_peer, _) = rig.broker.welcome(false).await;
    let noted = rig.noted.lock().expect("no panic").clone();
    assert_eq!((noted.through, noted.open), (Number(2), vec![]));
}

/// A second visit that fails is none: the backlog of the outage that it ran into is another one.
#[tokio::test]
async fn a_refused_second_visit_leaves_one_to_the_next_backlog() {
    let mut rig = Rig::start(|_| {}).await;
    drop(rig.broker.welcome(false).await);
    for outage in [false, true] {
        let (mut peer, _) = rig.broker.welcome(true).await;
        let mut backlog: Vec<Packet> = (1..=30).map(|id| publish(id, "t/a", &[id as u8])).collect();
        backlog.push(publish(0, "t/b", b"weak"));
        peer.send(&backlog).await;
        for _ in 0..31 {
            rig.journal.record().await;
        }
        rig.journal.commit(31);
        assert_eq!(peer.acks(30).await.len(), 30);
        assert_eq!(peer.next().await, Some(Packet::Disconnect), "after an outage: {outage}");
        drop(peer);
        if !outage {
            drop(rig.broker.accept().await);
        }
    }
}
