//! SIGHUP: a bad file changes nothing, a change that would strand records is refused, a good one takes effect without loss.

use crate::support::disk::BadDisk;
use crate::support::{
    AUDIT, LONG, QUEUE, arrived, assert_clean, config, drained, fleet, get, lane, mosquitto, online, stub, until_online,
};
use serde_json::Value;
use std::time::Duration;
use testkit::agent::{AgentProcess, QueueTarget};
use testkit::checker::Rules;
use testkit::clock_control::ClockControl;
use testkit::fake_sqs::{Fault, SqsStub, When};
use tokio::time::timeout;

/// Waits until the last reload was refused for this reason.
async fn refused(agent: &mut AgentProcess, why: &str) -> Value {
    let said = |s: &Value| s["remarks"].to_string().contains(why);
    let status = agent.wait_status(why, LONG, said).await.unwrap();
    assert!(status["remarks"].to_string().contains("configuration not reloaded"), "{status:#}");
    assert_eq!(status["health"], "act");
    status
}

/// A second queue beside the first.
fn with_audit(agent: &AgentProcess, stub: &SqsStub) -> testkit::agent::AgentConfig {
    let mut config = agent.config().clone();
    config.queues.push(QueueTarget::on_stub("audit", stub, AUDIT));
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing_and_the_page_tells() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(50).await.unwrap();
    drained(&mut agent, 50).await;
    let good = std::fs::read_to_string(agent.config_path()).unwrap();
    for (bad, why) in [
        (good.replace("[mqtt]", "[mqtt]\nkeep_alive = \"soon\""), "keep_alive"),
        (good.replace("[mqtt]", "[mqtt]\nca_file = \"/nowhere.pem\""), "ca_file"),
        (format!("{good}\n[[routes"), "tidegate.toml"),
    ] {
        std::fs::write(agent.config_path(), bad).unwrap();
        agent.retry().unwrap();
        let status = refused(&mut agent, why).await;
        assert_eq!(status["intake"]["connections"], 1, "nothing was given up");
    }
    std::fs::write(agent.config_path(), &good).unwrap();
    agent.retry().unwrap();
    let fine = agent.wait_status("mended", LONG, |s| s["health"] == "fine").await.unwrap();
    assert_eq!((&fine["intake"]["connections"], &fine["journal"]["epoch"]), (&1.into(), &1.into()));
    fleet.publish(50).await.unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_takes_effect_without_restart_or_loss() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, Some(200.0));
    let changed = with_audit(&agent, &stub);
    let publishing = fleet.publish(600);
    let reloading = async {
        agent.wait_status("some came", LONG, |s| lane(s, "appended") > 100).await.unwrap();
        agent.reload(changed).unwrap();
        agent.wait_status("the second run", LONG, |s| s["journal"]["epoch"] == 2).await.unwrap();
        until_online(&mut agent).await;
    };
    let (published, ()) = tokio::join!(publishing, reloading);
    published.unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 600).await.unwrap();
    assert_clean(&fleet.published(), &stub.accepted(QUEUE), Rules::FIFO, &agent);
    assert_eq!(stub.accepted(QUEUE).len(), 600, "each once");
    let audit = stub.accepted(AUDIT).len();
    assert!((1..600).contains(&audit), "the new queue had what came after: {audit}");
    let log = agent.log();
    assert!(log.contains("configuration changed") && log.contains("queues.audit.url"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_refused_while_it_would_strand_records() {
    let (broker, stub) = (mosquitto().await, stub());
    let one = config(broker.addr(), &stub);
    let mut two = one.clone();
    two.queues.push(QueueTarget::on_stub("audit", &stub, AUDIT));
    let mut agent = online(two.clone()).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(40).await.unwrap();
    agent.wait_status("40 wait", LONG, |s| lane(s, "waiting") == 40).await.unwrap();
    agent.reload(one.clone()).unwrap();
    let status = refused(&mut agent, "queue audit is gone, and 40 records wait for it").await;
    assert_eq!(status["queues"].as_array().map(Vec::len), Some(2), "both go on");
    let mut moved = two;
    moved.journal_extra = format!("path = \"{}\"", agent.folder().join("elsewhere").display());
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    let elsewhere: String = text
        .lines()
        .map(|line| if line.starts_with("path = ") { moved.journal_extra.clone() } else { line.to_owned() } + "\n")
        .collect();
    std::fs::write(agent.config_path(), elsewhere).unwrap();
    agent.retry().unwrap();
    refused(&mut agent, "journal.path is another one").await;
    let charted = |agent: &AgentProcess| get(agent, "/").contains("Records waiting over the last hour, at most 40");
    let begun = std::time::Instant::now();
    while !charted(&agent) {
        assert!(begun.elapsed() < LONG, "the chart has what waits");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    stub.faults().clear();
    agent.rewrite(one).unwrap();
    agent.retry().unwrap();
    // Both refusals left the lanes as they were; the retry that came with them sends.
    drained(&mut agent, 40).await;
    agent.retry().unwrap();
    agent.wait_status("one queue", LONG, |s| s["queues"].as_array().map(Vec::len) == Some(1)).await.unwrap();
    assert_eq!(stub.accepted(AUDIT).len(), 40);
    assert!(charted(&agent), "the page's charts go on over a reload");
    arrived(&stub, &mut agent, &fleet.published()).await;
}

/// A card stalls in the middle of a read, and the configuration is changed: the read holds the journal, and its lock, until the
/// card answers. The agent finds its own lock then, and must not take it for another process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_read_delays_a_reload_and_ends_nothing() {
    let (broker, mut stub) = (mosquitto().await, stub());
    let mut configuration = config(broker.addr(), &stub);
    let disk = BadDisk::under(&mut configuration);
    let mut agent = online(configuration).await;
    stub.close().await;
    let mut fleet = fleet(broker.addr(), 20, None);
    fleet.publish(6000).await.unwrap();
    agent.wait_status("journaled", LONG, |s| lane(s, "appended") == 6000).await.unwrap();
    // What waits is read from the disk then, and not out of memory.
    agent.restart().await.unwrap();
    until_online(&mut agent).await;
    disk.slow_reads(4000);
    stub.open().unwrap();
    let stalled = disk.stalled();
    agent.wait_status("a stalled read", LONG, |_| stalled.exists()).await.unwrap();
    std::fs::remove_file(&stalled).unwrap();
    let changed = with_audit(&agent, &stub);
    agent.reload(changed).unwrap();
    // From the log itself: no status answers while the agent waits for its journal.
    let logged = async {
        while !agent.log().contains("configuration changed") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, logged).await.expect("the reload begins");
    // The read that is under way ends when its four seconds are over; the next one is quick.
    disk.mend();
    agent.wait_status("the third run", LONG, |s| s["journal"]["epoch"] == 3).await.unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 6000).await.unwrap();
    assert_clean(&fleet.published(), &stub.accepted(QUEUE), Rules::FIFO, &agent);
    assert!(!agent.log().contains("is held by another process"), "{}", agent.log());
}

/// Writes the configuration with another `journal.path`, and sends the signal.
fn move_journal(agent: &mut AgentProcess, to: &std::path::Path) {
    let text = std::fs::read_to_string(agent.config_path()).unwrap();
    let moved = |line: &str| if line.starts_with("path = ") { format!("path = {to:?}\n") } else { format!("{line}\n") };
    std::fs::write(agent.config_path(), text.lines().map(moved).collect::<String>()).unwrap();
    agent.retry().unwrap();
}

/// The journal is empty when the reload is judged, and what the disk still has in hand comes into it, acknowledged, when the
/// drains have ended. In a folder that no configuration names it would be in no status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_a_journal_again_that_holds_late_records() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut disk = ClockControl::new().unwrap();
    let mut configuration = config(broker.addr(), &stub);
    configuration.environment.push(disk.environment());
    let mut agent = online(configuration).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(20).await.unwrap();
    drained(&mut agent, 20).await;
    disk.sync_ms = 2000;
    disk.set().unwrap();
    fleet.publish(3).await.unwrap();
    let in_hand = |s: &Value| s["intake"]["unacked_messages"] == 3 && lane(s, "waiting") == 0;
    agent.wait_status("3 in the disk's hand", LONG, in_hand).await.unwrap();
    let elsewhere = agent.folder().join("elsewhere");
    move_journal(&mut agent, &elsewhere);
    refused(&mut agent, "wait in the old one").await;
    agent.wait_status("the journal taken again", LONG, |s| s["journal"]["epoch"] == 2).await.unwrap();
    disk.sync_ms = 0;
    disk.set().unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_former_configuration_runs_where_the_new_does_not_start() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut other = config(broker.addr(), &stub);
    other.gateway = "other".into();
    let other = online(other).await;
    move_journal(&mut agent, &other.journal_path());
    refused(&mut agent, "does not start").await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(20).await.unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
}
