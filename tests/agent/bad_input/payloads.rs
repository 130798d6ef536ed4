//! Payloads that no profile expects: no JSON, no bytes at all, far too many.

use crate::support::{
    CLIENT_ID, LONG, Publisher, QUEUE, adopt, arrived, assert_clean, assert_understood, config, drained, end_session,
    fleet, mosquitto, online, plain, stub, until_found, until_online, until_remarked,
};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::checker::Rules;

const ODD: &str = "application/odd/device/02f1e2d3ffffffff/event/up";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_payloads_and_those_without_json_travel_unchanged() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    let mut publisher = Publisher::new(broker.addr());
    fleet.publish(50).await.unwrap();
    let payloads: [&[u8]; 6] =
        [b"{\"object\": ", b"warm", b"", b"\xff\xfe\x00\x01", b"[1, 2", "\u{0}\u{ffff}".as_bytes()];
    for payload in payloads {
        publisher.publish(ODD, payload.to_vec()).await;
    }
    fleet.publish(50).await.unwrap();
    let mut published = fleet.published();
    drained(&mut agent, 100 + payloads.len() as u64).await;
    let delivered = stub.accepted(QUEUE);
    let odd = adopt(&mut published, &delivered, ODD);
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    // Byte for byte: text as text, bytes as base64, nothing as nothing; in the order of publishing.
    let carried: Vec<_> = odd.iter().map(|event| (event["data"].as_str(), event["data_base64"].as_str())).collect();
    assert_eq!(
        carried,
        [
            (Some("{\"object\": "), None),
            (Some("warm"), None),
            (None, None),
            (None, Some("//4AAQ==")),
            (Some("[1, 2"), None),
            (None, Some("AO+/vw==")),
        ]
    );
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_long_payloads_are_quarantined_and_block_nothing() {
    let (stub, broker) = (stub(), boundless().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    let mut publisher = Publisher::new(broker.addr());
    fleet.publish(50).await.unwrap();
    for bytes in [1_100_000, 5_000_000] {
        publisher.publish(ODD, vec![b'x'; bytes]).await;
        fleet.publish(25).await.unwrap();
    }
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    let status = agent.status().await.unwrap();
    assert_eq!(status["intake"]["oversize"], 2, "{status:#}");
    assert_eq!(status["journal"]["quarantine"]["entries"], 2, "{status:#}");
    let log = plain(&agent.log());
    for said in ["mqtt.max_payload_bytes", "bytes=1100000", "bytes=5000000", "its head is in quarantine"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    fleet.publish(10).await.unwrap();
    let status = drained(&mut agent, 110).await;
    assert_eq!((&status["intake"]["oversize"], &status["journal"]["quarantine"]["entries"]), (&0.into(), &2.into()));
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impossible_payload_is_said_with_size_and_remedy() {
    let (stub, broker) = (stub(), boundless().await);
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    fleet.publish(50).await.unwrap();
    drained(&mut agent, 50).await;
    Publisher::new(broker.addr()).publish(ODD, vec![b'x'; 20_000_000]).await;
    let remark =
        until_remarked(&mut agent, &["bytes for us", "everything behind it waits", "message_size_limit"]).await;
    println!("{remark}");
    until_found(&mut agent, "broker_message_too_large", "act").await;
    let status = agent.status().await.unwrap();
    assert_eq!((&status["intake"]["state"], &status["health"]), (&"blocked".into(), &"act".into()));
    assert!(remark.contains("200000"), "its size: {remark}");
    // The way out that it names; it costs what the session holds, so nothing good is published meanwhile.
    end_session(broker.addr(), CLIENT_ID).await;
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    fleet.publish(50).await.unwrap();
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    // The status says what the way out costs, and nothing else.
    let remarks = |s: &serde_json::Value| s["remarks"].as_array().cloned().unwrap_or_default();
    let ended = |s: &serde_json::Value| matches!(&*remarks(s), [one] if one.as_str().is_some_and(|text| text.contains("did not keep our session")));
    agent.wait_status("the session's end alone", LONG, ended).await.unwrap();
}

/// A broker that lets every size through.
async fn boundless() -> Mosquitto {
    let extra = "message_size_limit 0".to_owned();
    Mosquitto::start(&MosquittoOptions { extra, ..MosquittoOptions::default() }).await.unwrap()
}
