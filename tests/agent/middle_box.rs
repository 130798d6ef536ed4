//! Something between the gateway and the queue refuses what one reading contains: that reading's device waits, no other one does, the
//! status names it, and a person can give it up.

use crate::support::{
    LONG, Publisher, QUEUE, assert_books, config, fleet, lane, mosquitto, online, stub, tidegate, until_found,
    until_remarked,
};
use testkit::fake_sqs::{Fault, When};

/// What the filter takes offence at.
const POISON: &str = "union select";

fn uplink(id: u32, note: &str) -> String {
    format!(
        r#"{{"deduplicationId":"00000000-0000-4000-8000-{id:012}","deviceInfo":{{"devEui":"00000000000000aa"}},"data":"AQ==","fPort":1,"note":"{note}"}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_refuses_one_reading_stops_its_device_alone() {
    let ways =
        [Fault::Html { status: 403 }, Fault::Html { status: 413 }, Fault::Html { status: 302 }, Fault::DropRequest];
    for way in ways {
        let (stub, broker) = (stub(), mosquitto().await);
        stub.faults().push(way.clone(), When::Holds(POISON));
        let mut agent = online(config(broker.addr(), &stub)).await;
        let mut publisher = Publisher::new(broker.addr());
        let topic = "application/1/device/00000000000000aa/event/up";
        publisher.publish(topic, uplink(1, POISON)).await;
        publisher.publish(topic, uplink(2, "fine")).await;
        let mut fleet = fleet(broker.addr(), 40, None);
        fleet.publish(400).await.unwrap();
        let remark =
            until_remarked(&mut agent, &["does not get through although all others do", "quarantine add"]).await;
        println!("{way:?}: {remark}");
        until_found(&mut agent, "record_suspect", "act").await;
        stub.wait_for(QUEUE, LONG, |counters| counters.accepted == 400).await.unwrap();
        let status = agent.wait_status("two wait", LONG, |s| lane(s, "waiting") == 2).await.unwrap();
        assert_books(&status);
        assert_eq!(status["health"], "act", "{status:#}");
        let number = status["queues"][0]["drain"]["suspects"][0]["number"].to_string();

        let (said, error, code) = tidegate(&agent, &["journal", "quarantine", "add", &number]).await;
        assert_eq!((code, error.as_str()), (0, ""), "{said}");
        assert!(said.contains(&format!("put into quarantine: q1 (record {number})")), "{said}");
        // The record behind it, and the gap record that announces the hole.
        stub.wait_for(QUEUE, LONG, |counters| counters.accepted == 402).await.unwrap();
        assert!(stub.accepted(QUEUE).iter().all(|delivered| !delivered.body.contains(POISON)));
        let status = agent.wait_status("nothing waits", LONG, |s| lane(s, "waiting") == 0).await.unwrap();
        assert_eq!(lane(&status, "quarantined"), 1);
        assert_books(&status);
        agent.term(LONG).await.unwrap();
    }
}
