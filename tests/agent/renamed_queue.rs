//! A queue is renamed and the agent started again: what waits for the old name must not wait unseen.

use crate::support::{
    AUDIT, LONG, QUEUE, config, drained, fleet, get, lane, mosquitto, online, stub, tidegate, until_found,
    until_online, until_remarked,
};
use testkit::agent::QueueTarget;
use testkit::fake_sqs::{Fault, When};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranded_records_are_shown_with_a_remedy_until_sent() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let before = agent.config().clone();
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(30).await.unwrap();
    agent.wait_status("30 wait", LONG, |s| lane(s, "waiting") == 30).await.unwrap();
    agent.term(LONG).await.unwrap();
    stub.faults().clear();

    let mut renamed = before.clone();
    renamed.queues = vec![QueueTarget::on_stub("renamed", &stub, AUDIT)];
    agent.rewrite(renamed.clone()).unwrap();
    agent.spawn().unwrap();
    until_online(&mut agent).await;
    let remark = until_remarked(&mut agent, &["30 records wait for main, which is not configured"]).await;
    assert!(remark.contains("[queues.main]"), "{remark}");
    until_found(&mut agent, "queue_not_configured", "act").await;
    let status = agent.status().await.unwrap();
    assert_eq!(status["health"], "act");
    let (said, error, _) = tidegate(&agent, &["status"]).await;
    assert!(said.contains("ACT: see below") && said.contains("30 records wait for main"), "{said}{error}");
    assert!(get(&agent, "/").contains("30 records wait for main"));
    let metrics = get(&agent, "/metrics");
    assert!(metrics.contains("tidegate_records_stranded{queue=\"main\"} 30"), "{metrics}");
    let (listed, error, code) = tidegate(&agent, &["journal", "list", "--queue", "main", "--json"]).await;
    assert_eq!((code, listed.lines().count()), (0, 30), "{listed}{error}");

    // The way out, as it says: the section again, without a route to it.
    let mut both = renamed;
    both.queues.push(before.queues[0].clone());
    both.route_to = vec!["renamed".into()];
    agent.reload(both).unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 30).await.unwrap();
    drained(&mut agent, 0).await;
    let status = agent.wait_status("fine again", LONG, |s| s["health"] == "fine").await.unwrap();
    assert_eq!(status["remarks"].as_array().map(Vec::len), Some(0), "{status:#}");
    assert!(!get(&agent, "/metrics").contains("stranded"));
    assert_eq!(stub.accepted(AUDIT).len(), 0, "nothing went to the other queue");
}
