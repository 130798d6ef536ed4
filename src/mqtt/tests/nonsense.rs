//! A broker that talks nonsense: garbage, packets that no client waits for, lengths that cannot be, answers without
//! sense, refusals without end, and one that sends and never reads. Each costs a connection at most; what comes behind it
//! is taken, in order and once.

use crate::mqtt::IntakeState;
use crate::mqtt::tests::rude::{publish, soon};
use crate::mqtt::tests::support::Rig;
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{
    ConnectReturnCode, Packet, PubAck, PubComp, PubRec, SubAck, SubscribeReasonCode, UnsubAck,
};
use std::time::Duration;

/// Behind garbage: whatever length it happens to claim is there, so that the reader does not wait for the rest of it.
const MORE: [u8; 4096] = [0; 4096];

/// The broker comes to its senses: a message is taken and acknowledged, and its payload is as it was sent.
async fn goes_on(rig: &mut Rig, what: &str) {
    let (mut peer, _) = rig.broker.welcome(true).await;
    peer.send(&[publish(9, "t/a", what.as_bytes())]).await;
    assert_eq!(rig.journal.record().await, what.as_bytes(), "{what}");
    rig.journal.commit(1);
    assert_eq!(peer.acks(1).await, [9], "{what}");
}

#[tokio::test]
async fn garbage_at_any_time_costs_a_connection_and_nothing_else() {
    let mut rig = Rig::start(|setup| setup.timing.slow = setup.timing.quick).await;
    let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let bytes: [&[u8]; 8] = [
        &noise,
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\n\r\n<html>no</html>",
        b"220 mail ESMTP\r\n",
        &[0; 64],
        &[0xff; 64],
        // A length of five bytes, where four are the most.
        &[0x30, 0xff, 0xff, 0xff, 0xff, 0x7f],
        // A PUBLISH whose topic is longer than the packet.
        &[0x32, 0x04, 0xff, 0xff, b'a', b'b'],
        // A PUBLISH of QoS 3.
        &[0x36, 0x05, 0x00, 0x01, b'a', 0x00, 0x01],
    ];
    for (index, garbage) in bytes.into_iter().enumerate() {
        // Instead of a CONNACK.
        let mut peer = rig.broker.accept().await;
        peer.connect().await;
        peer.raw(garbage).await;
        peer.raw(&MORE).await;
        peer.closed().await;
        // Behind a message that was taken: that one stays taken.
        let (mut peer, _) = rig.broker.welcome(index > 0).await;
        let payload = format!("before {index}");
        peer.send(&[publish(1, "t/a", payload.as_bytes())]).await;
        assert_eq!(rig.journal.record().await, payload.as_bytes());
        rig.journal.commit(1);
        assert_eq!(peer.acks(1).await, [1]);
        peer.raw(garbage).await;
        peer.raw(&MORE).await;
        peer.closed().await;
        goes_on(&mut rig, &format!("after {index}")).await;
    }
    let status = rig.shared.snapshot();
    assert_eq!(status.received, 16, "and no record was made of garbage");
    rig.journal.nothing_more();
}

#[tokio::test]
async fn unrequested_broker_answers_make_no_record_and_no_ack() {
    let mut rig = Rig::start(|setup| setup.timing.slow = setup.timing.quick).await;
    let strange = |id| {
        [
            Packet::PubAck(PubAck::new(id)),
            Packet::PubRec(PubRec::new(id)),
            Packet::PubComp(PubComp::new(id)),
            Packet::SubAck(SubAck::new(id, vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)])),
            Packet::UnsubAck(UnsubAck::new(id)),
            Packet::PingResp,
        ]
    };
    for (index, packet) in [7u16, 1, u16::MAX].into_iter().flat_map(strange).enumerate() {
        let (mut peer, _) = rig.broker.welcome(index > 0).await;
        let what = format!("{packet:?}");
        peer.send(&[packet, publish(2, "t/a", what.as_bytes())]).await;
        // It may cut the connection over it; then the message comes again.
        let taken = soon("a record or an end", async {
            tokio::select! {
                payload = rig.journal.record() => Some(payload),
                () = peer.closed() => None,
            }
        });
        match taken.await {
            Some(payload) => {
                assert_eq!(payload, what.as_bytes());
                rig.journal.commit(1);
                drop(peer);
            }
            None => goes_on(&mut rig, &what).await,
        }
    }
}

#[tokio::test]
async fn an_odd_suback_grants_nothing_beyond_its_word() {
    let odd: [&[u8]; 4] = [
        // Two codes for one filter, none, a code that does not exist, and one with an id of nothing.
        &[0x90, 0x04, 0x00, 0x00, 0x01, 0x01],
        &[0x90, 0x02, 0x00, 0x00],
        &[0x90, 0x03, 0x00, 0x00, 0x55],
        &[0x90, 0x03, 0x7f, 0x7f, 0x01],
    ];
    for (index, answer) in odd.into_iter().enumerate() {
        let mut rig = Rig::start(|setup| setup.timing.slow = setup.timing.quick).await;
        let mut peer = rig.broker.accept().await;
        peer.connect().await;
        peer.connack(ConnectReturnCode::Success, false).await;
        let subscribe = peer.subscribe().await;
        let mut bytes = answer.to_vec();
        if bytes[2..4] == [0, 0] {
            bytes[2..4].copy_from_slice(&subscribe.pkid.to_be_bytes());
        }
        peer.raw(&bytes).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let granted = rig.shared.snapshot().routes[0].filters[0].granted;
        assert!(index == 0 || granted != Some(true), "answer {index} granted it: {granted:?}");
        drop(peer);
        goes_on(&mut rig, "sense").await;
    }
}

#[tokio::test]
async fn refusals_without_end_are_waited_out() {
    let mut rig = Rig::start(|setup| setup.timing.slow = (Duration::from_millis(2), Duration::from_millis(10))).await;
    let codes = [
        ConnectReturnCode::ServiceUnavailable,
        ConnectReturnCode::NotAuthorized,
        ConnectReturnCode::BadClientId,
        ConnectReturnCode::RefusedProtocolVersion,
    ];
    for code in codes.into_iter().cycle().take(60) {
        let mut peer = rig.broker.accept().await;
        peer.connect().await;
        peer.connack(code, false).await;
        peer.closed().await;
    }
    let status = rig.shows("the refusal", |status| matches!(status.state, IntakeState::Blocked { .. })).await;
    assert!(format!("{:?}", status.state).contains("refused"), "{:?}", status.state);
    goes_on(&mut rig, "at last").await;
}

/// A broker that ignores the window and reads nothing: the bound of what is unacknowledged ends the connection, not the
/// memory, and the next one comes when the journal has caught up.
#[tokio::test]
async fn a_broker_that_sends_and_never_reads_is_bounded() {
    let mut rig = Rig::start(|setup| {
        setup.timing.slow = setup.timing.quick;
        setup.options.max_unacked_bytes = 256 << 10;
        setup.timing.patience = Duration::from_millis(1);
    })
    .await;
    let (mut peer, _) = rig.broker.welcome(false).await;
    let packets: Vec<Packet> = (1..=2_000).map(|id| publish(id, "t/a", &[7; 1024])).collect();
    // Nothing is committed and nothing is read: what is taken beyond the bound must not be kept.
    let sending = async {
        for packet in &packets {
            peer.send(std::slice::from_ref(packet)).await;
        }
    };
    soon("all sent, or cut", sending).await;
    let mut taken = 0;
    while tokio::time::timeout(Duration::from_millis(300), rig.journal.record()).await.is_ok() {
        taken += 1;
    }
    assert!((200..=320).contains(&taken), "{taken} KiB were taken at a bound of 256");
    let unacked = rig.shared.snapshot().unacked_bytes;
    assert!(unacked <= 320 << 10, "{unacked} bytes");
    rig.broker.nobody().await;
    rig.journal.commit(taken);
    goes_on(&mut rig, "and then it reads").await;
}
