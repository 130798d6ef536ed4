//! Messages that are too large.

use crate::journal::Item;
use crate::mqtt::tests::rude::{again, publish};
use crate::mqtt::tests::support::Rig;
use crate::mqtt::{HEAD_BYTES, IntakeState};

async fn oversize(rig: &mut Rig) -> (Vec<u8>, u64) {
    match rig.journal.next().await {
        Item::Head { draft, bytes, .. } => (draft.message.payload.to_vec(), bytes),
        other => panic!("not over-size: {other:?}"),
    }
}

#[tokio::test]
async fn a_payload_over_our_limit_within_the_packets_is_taken() {
    let mut rig = Rig::start(|setup| setup.options.max_payload_bytes = 1000).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(1, "t/a", &[7; 1000]), publish(2, "t/a", &[8; 1001]), publish(3, "t/a", &[9; 60_000])]).await;
    assert_eq!(rig.journal.record().await.len(), 1000);
    assert_eq!(oversize(&mut rig).await, (vec![8; 1001], 1001));
    assert_eq!(oversize(&mut rig).await, (vec![9; HEAD_BYTES], 60_000));
    rig.journal.commit(3);
    assert_eq!(peer.acks(3).await, [1, 2, 3]);
    assert_eq!(rig.shared.snapshot().connections, 1);
}

#[tokio::test]
async fn a_larger_packet_raises_the_limit_for_one_connection() {
    for bytes in [1_100_000, 5_000_000] {
        let mut rig = Rig::start(|_| {}).await;
        let (mut peer, _) = rig.broker.welcome(false).await;
        let (small, large) = (publish(1, "t/a", b"before"), publish(2, "t/a", &vec![1; bytes]));
        peer.send(&[small.clone(), large.clone()]).await;
        assert_eq!(rig.journal.record().await, b"before");
        peer.closed().await;
        let (mut peer, _) = rig.broker.welcome(true).await;
        peer.send(&[again(&small), again(&large)]).await;
        rig.journal.repeat().await;
        let (head, size) = oversize(&mut rig).await;
        assert_eq!((head.len(), size), (HEAD_BYTES, bytes as u64));
        peer.quiet().await;
        rig.journal.commit(3);
        assert_eq!(peer.acks(2).await, [1, 2]);
        peer.closed().await;
        // The limit is the normal one again: the next large message is refused before it is read.
        let (mut peer, _) = rig.broker.welcome(true).await;
        peer.send(&[publish(3, "t/a", b"behind"), publish(4, "t/a", &vec![2; bytes])]).await;
        assert_eq!(rig.journal.record().await, b"behind");
        peer.closed().await;
        assert_eq!(rig.shared.snapshot().oversize, 1);
    }
}

/// A broker that is slow to close is left after a while, and the reset takes the ack with it that was seen to leave.
#[tokio::test]
async fn a_large_message_with_its_ack_lost_is_counted_once() {
    let mut rig = Rig::start(|setup| setup.timing.part = std::time::Duration::from_millis(20)).await;
    let large = publish(2, "t/a", &vec![1; 1_100_000]);
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(std::slice::from_ref(&large)).await;
    peer.closed().await;
    let (mut deaf, _) = rig.broker.welcome(true).await;
    deaf.send(&[again(&large)]).await;
    oversize(&mut rig).await;
    rig.journal.commit(1);
    // Not a byte of the ack is read; the agent leaves and comes back.
    let (mut peer, _) = rig.broker.welcome(true).await;
    drop(deaf);
    peer.send(&[again(&large)]).await;
    peer.closed().await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[again(&large)]).await;
    rig.journal.repeat().await;
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [2]);
    assert_eq!(rig.shared.snapshot().oversize, 1);
    drop(peer);
    // In a session that knows nothing of the first it is another one.
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[again(&large)]).await;
    peer.closed().await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[again(&large)]).await;
    oversize(&mut rig).await;
}

#[tokio::test]
async fn above_sixteen_mebibytes_the_intake_names_cause_and_prevention() {
    let mut rig = Rig::start(|setup| setup.timing.slow = setup.timing.quick).await;
    for attempt in 0..2 {
        let (mut peer, _) = rig.broker.welcome(attempt > 0).await;
        // The fixed header of a PUBLISH of 20 MB is all that is read of it.
        peer.raw(&[0x32, 0x80, 0xDA, 0xC4, 0x09, 0, 3]).await;
        peer.closed().await;
    }
    let status = rig.shows("the block", |status| matches!(status.state, IntakeState::Blocked { .. })).await;
    let IntakeState::Blocked { why, remedy, .. } = status.state else { panic!("blocked") };
    assert!(why.contains("20000000 bytes"), "{why}");
    assert!(remedy.contains("message_size_limit") && remedy.contains("max_packet_size"), "{remedy}");
    // Once the message is gone, the intake continues by itself.
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[publish(1, "t/a", b"behind it")]).await;
    assert_eq!(rig.journal.record().await, b"behind it");
    assert_eq!(rig.shared.snapshot().state, IntakeState::Online);
}

#[tokio::test]
async fn a_raised_limit_falls_when_the_message_stays_away() {
    let mut rig = Rig::start(|setup| setup.timing.raised = std::time::Duration::from_millis(50)).await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    peer.send(&[publish(0, "t/a", &vec![1; 1_100_000])]).await;
    peer.closed().await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.closed().await;
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[publish(1, "t/a", b"1")]).await;
    assert_eq!(rig.journal.record().await, b"1");
}
