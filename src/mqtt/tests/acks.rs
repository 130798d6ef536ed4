//! Acks: when, in which order, on which connection; and what comes twice.

use crate::journal::{Item, Unjournaled};
use crate::mqtt::IntakeState;
use crate::mqtt::tests::rude::{again, publish, retained};
use crate::mqtt::tests::support::Rig;
use crate::mqtt::unrouted::UnroutedStatus;
use rumqttc::mqttbytes::v4::{Packet, UnsubAck};
use std::time::Duration;

#[tokio::test]
async fn acks_follow_the_commit_in_the_order_of_receipt() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, asked) = rig.broker.welcome(false).await;
    assert_eq!(asked, ["t/#"]);
    peer.send(&[publish(7, "t/a", b"1"), publish(3, "t/b", b"2"), publish(9, "t/a", b"3")]).await;
    for payload in [b"1", b"2", b"3"] {
        assert_eq!(rig.journal.record().await, payload);
    }
    peer.quiet().await;
    assert_eq!(rig.shared.snapshot().unacked_messages, 3);
    rig.journal.commit(2);
    assert_eq!(peer.acks(2).await, [7, 3]);
    peer.quiet().await;
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [9]);
    let status = rig.shared.snapshot();
    assert_eq!((status.unacked_messages, status.unacked_bytes, status.received), (0, 0, 3));
}

#[tokio::test]
async fn a_flood_waits_at_the_broker_until_a_commit_comes() {
    let mut rig = Rig::start(|setup| {
        setup.options.max_unacked_bytes = 64 << 10;
        setup.timing.patience = Duration::from_secs(3600);
    })
    .await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    // Ten times a sixteenth of the bound, in one write.
    let flood: Vec<Packet> = (1..=40).map(|id| publish(id, "t/a", &[7; 1024])).collect();
    peer.send(&flood).await;
    let mut taken = 0;
    while taken < flood.len() {
        let before = taken;
        rig.journal.record().await;
        taken += 1;
        while tokio::time::timeout(Duration::from_millis(100), rig.journal.record()).await.is_ok() {
            taken += 1;
        }
        assert!(taken - before <= 5, "{} were taken without a commit", taken - before);
        rig.journal.commit(taken - before);
    }
    assert_eq!(peer.acks(40).await, (1..=40).collect::<Vec<u16>>());
}

/// Against a broker that keeps to no window: its acks must not wait for what it keeps sending.
#[tokio::test]
async fn acks_do_not_wait_behind_a_flood() {
    let mut rig = Rig::start(|setup| {
        // Nothing more is read, and so nothing polled, with 400 messages unacknowledged.
        setup.options.max_unacked_bytes = 16 * 400 * 264;
        setup.timing.patience = Duration::from_secs(3600);
    })
    .await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let flood = |ids: std::ops::RangeInclusive<u16>| ids.map(|id| publish(id, "t/a", b"12345")).collect::<Vec<_>>();
    peer.send(&flood(1..=400)).await;
    for _ in 0..400 {
        rig.journal.record().await;
    }
    // Both are there when the agent looks next: the commit, and more than it reads.
    rig.journal.commit(400);
    peer.send(&flood(401..=4_000)).await;
    assert_eq!(peer.acks(400).await, (1..=400).collect::<Vec<u16>>());
}

#[tokio::test]
async fn a_dead_connections_late_commit_acks_nothing_on_the_next() {
    for session_present in [true, false] {
        let mut rig = Rig::start(|_| {}).await;
        let (mut peer, _) = rig.broker.welcome(false).await;
        peer.send(&[publish(1, "t/a", b"old 1"), publish(2, "t/a", b"old 2")]).await;
        rig.journal.record().await;
        rig.journal.record().await;
        drop(peer);
        // A broker restored from an older state uses the same ids for messages that it never sent before.
        let (mut peer, _) = rig.broker.welcome(session_present).await;
        peer.send(&[publish(1, "t/a", b"new 1"), publish(2, "t/a", b"new 2")]).await;
        assert_eq!(rig.journal.record().await, b"new 1");
        assert_eq!(rig.journal.record().await, b"new 2");
        rig.journal.commit(2);
        peer.quiet().await;
        rig.journal.commit(2);
        assert_eq!(peer.acks(2).await, [1, 2]);
        peer.quiet().await;
    }
}

#[tokio::test]
async fn messages_read_before_a_disconnect_are_journaled_and_never_acked() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    // One write, so that the client library reads it at once: eight messages and then something that is not a packet.
    let mut bytes = bytes::BytesMut::new();
    for id in 1..=8 {
        publish(id, "t/a", &[id as u8]).write(&mut bytes, usize::MAX).expect("encodes");
    }
    bytes.extend_from_slice(&[0xF0, 0x00]);
    peer.raw(&bytes).await;
    for id in 1..=8 {
        assert_eq!(rig.journal.record().await, [id]);
    }
    peer.closed().await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    rig.journal.commit(8);
    peer.quiet().await;
    peer.send(&[again(&publish(1, "t/a", &[1])), publish(9, "t/a", b"next")]).await;
    rig.journal.repeat().await;
    assert_eq!(rig.journal.record().await, b"next");
    rig.journal.commit(2);
    assert_eq!(peer.acks(2).await, [1, 9]);
}

#[tokio::test]
async fn a_redelivery_is_recognised_and_equal_readings_stay_separate() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let (reading, equal) = (publish(1, "t/a", b"21.5"), publish(2, "t/a", b"21.5"));
    peer.send(&[reading.clone(), equal.clone()]).await;
    assert_eq!(rig.journal.record().await, b"21.5");
    assert_eq!(rig.journal.record().await, b"21.5");
    drop(peer);
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[again(&reading), again(&equal), publish(3, "t/a", b"21.5"), again(&publish(4, "t/a", b"21.5"))]).await;
    rig.journal.repeat().await;
    rig.journal.repeat().await;
    assert_eq!(rig.journal.record().await, b"21.5", "a third reading");
    assert_eq!(rig.journal.record().await, b"21.5", "DUP without a record of its id proves nothing");
    rig.journal.commit(2);
    peer.quiet().await;
    rig.journal.commit(4);
    assert_eq!(peer.acks(4).await, [1, 2, 3, 4]);
    assert_eq!(rig.shared.snapshot().repeats, 2);
}

#[tokio::test]
async fn a_repeats_ack_waits_for_earlier_messages() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", b"key:1"), publish(2, "t/a", b"other"), publish(3, "t/a", b"key:1")]).await;
    rig.journal.record().await;
    rig.journal.record().await;
    rig.journal.repeat().await;
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [1]);
    peer.quiet().await;
    rig.journal.commit(2);
    assert_eq!(peer.acks(2).await, [2, 3]);
}

#[tokio::test]
async fn a_flushed_ack_closes_the_window_for_its_id() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", b"21.5")]).await;
    rig.journal.record().await;
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [1]);
    drop(peer);
    let (mut peer, _) = rig.broker.welcome(true).await;
    // The broker uses id 1 again, sent it towards the dead connection, and so sends it with DUP: it is another reading.
    peer.send(&[again(&publish(1, "t/a", b"21.5"))]).await;
    assert_eq!(rig.journal.record().await, b"21.5");
}

#[tokio::test]
async fn a_lost_sessions_messages_cannot_be_redelivered_later() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let reading = publish(1, "t/a", b"21.5");
    peer.send(std::slice::from_ref(&reading)).await;
    rig.journal.record().await;
    drop(peer);
    rig.broker.welcome(false).await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[again(&reading)]).await;
    assert_eq!(rig.journal.record().await, b"21.5");
}

#[tokio::test]
async fn repeated_retained_messages_are_skipped_and_qos_0_never_acked() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let kept = publish(0, "t/a", b"on");
    peer.send(&[kept.clone(), retained(&kept), publish(5, "t/b", b"fence")]).await;
    assert_eq!(rig.journal.record().await, b"on");
    rig.journal.repeat().await;
    assert_eq!(rig.journal.record().await, b"fence");
    rig.journal.commit(3);
    assert_eq!(peer.acks(1).await, [5]);
    peer.quiet().await;
    let status = rig.shared.snapshot();
    assert_eq!((status.qos0, status.repeats, status.routes[0].qos0, status.routes[0].messages), (2, 1, 2, 3));
}

#[tokio::test]
async fn an_unrouted_message_is_acked_in_turn_with_head_kept() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", b"mine"), publish(2, "dropped/topic", b"nobody's")]).await;
    rig.journal.record().await;
    let Item::Head { draft, why, bytes, .. } = rig.journal.next().await else { panic!("a head") };
    assert_eq!((why, bytes, &*draft.message.payload), (Unjournaled::Unrouted, 8, &b"nobody's"[..]));
    peer.quiet().await;
    rig.journal.commit(2);
    assert_eq!(peer.acks(2).await, [1, 2]);
    let many: Vec<Packet> = (3..=20).map(|id| publish(id, "dropped/topic/deep", b"more")).collect();
    peer.send(&many).await;
    for n in 3..=20 {
        let item = rig.journal.next().await;
        assert_eq!(
            matches!(item, Item::Head { .. }),
            n < 6,
            "the first few show what they are, the quarantine is small"
        );
    }
    rig.journal.commit(18);
    assert_eq!(peer.acks(18).await, (3..=20).collect::<Vec<_>>());
    let status = rig.shared.snapshot();
    let of = |topic: &UnroutedStatus| (topic.prefix.clone(), topic.messages);
    assert_eq!(status.unrouted, 19);
    assert_eq!(status.unrouted_topics.iter().map(of).collect::<Vec<_>>(), [("dropped/topic".to_owned(), 19)]);
}

#[tokio::test]
async fn the_unacked_bound_ends_the_connection_until_half_is_durable() {
    let mut rig = Rig::start(|setup| setup.options.max_unacked_bytes = 4 * (256 + 3 + 100) + 10).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let messages: Vec<Packet> = (1..=5).map(|id| publish(id, "t/a", &[id as u8; 100])).collect();
    peer.send(&messages).await;
    for id in 1..=5 {
        assert_eq!(rig.journal.record().await, [id; 100]);
    }
    peer.closed().await;
    let status = rig.shows("the bound", |status| matches!(status.state, IntakeState::Offline { .. })).await;
    assert!(format!("{:?}", status.state).contains("max_unacked_bytes"), "{:?}", status.state);
    rig.journal.commit(2);
    rig.broker.nobody().await;
    rig.journal.commit(1);
    let (mut peer, _) = rig.broker.welcome(true).await;
    // All five come again: repeats cost nothing, so that they cannot fill the bound before their acks have left.
    peer.send(&messages.iter().map(again).collect::<Vec<_>>()).await;
    for _ in 0..5 {
        rig.journal.repeat().await;
    }
    rig.journal.commit(7);
    assert_eq!(peer.acks(5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_stop_awaits_commits_acks_durable_messages_and_takes_none() {
    let mut rig = Rig::start(|_| {}).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", b"1"), publish(2, "t/a", b"2")]).await;
    rig.journal.record().await;
    rig.journal.record().await;
    rig.stop();
    rig.shows("stopping", |status| status.state == IntakeState::Stopping).await;
    peer.send(&[publish(3, "t/a", b"too late"), publish(0, "t/a", b"never again")]).await;
    assert_eq!(rig.journal.record().await, b"never again", "QoS 0 would be lost");
    peer.quiet().await;
    rig.journal.commit(2);
    assert_eq!(peer.acks(2).await, [1, 2]);
    let Some(Packet::Unsubscribe(behind)) = peer.next().await else { panic!("a question behind the acks") };
    peer.quiet().await;
    peer.send(&[Packet::UnsubAck(UnsubAck::new(behind.pkid))]).await;
    assert_eq!(peer.next().await, Some(Packet::Disconnect), "once the broker has every ack");
    peer.closed().await;
    rig.journal.nothing_more();
    rig.ended().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_forever_for_a_stuck_journal() {
    let mut rig = Rig::start(|setup| setup.timing.stop = std::time::Duration::from_millis(100)).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", b"1")]).await;
    rig.journal.record().await;
    rig.stop();
    assert_eq!(peer.next().await, Some(Packet::Disconnect), "not acked, and not held up");
    rig.ended().await;
}
