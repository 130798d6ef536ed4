//! Everything published arrives, once, in order per group.

use proving::agent::{AgentConfig, AgentProcess, QueueTarget};
use proving::broker::{EmbeddedBroker, EmbeddedOptions};
use proving::checker::{Rules, judge};
use proving::fleet::{Fleet, FleetOptions};
use proving::stub::{SqsStub, StubOptions};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_arrives_once_and_in_order() {
    let stub = SqsStub::start(StubOptions::default()).unwrap();
    let broker = EmbeddedBroker::start(EmbeddedOptions::default()).await.unwrap();
    let target = QueueTarget::on_stub("main", &stub, "site.fifo");
    let mut agent =
        AgentProcess::start(env!("CARGO_BIN_EXE_tidegate"), AgentConfig::new(broker.addr(), target)).await.unwrap();
    agent.wait_status("online", Duration::from_secs(10), |s| s["intake"]["state"] == "online").await.unwrap();
    let mut fleet = Fleet::new(FleetOptions::new(broker.addr(), 20));
    fleet.publish(1000).await.unwrap();
    stub.wait_for("site.fifo", Duration::from_secs(20), |c| c.accepted >= 1000).await.unwrap();
    let verdict = judge(&fleet.published(), &stub.accepted("site.fifo"), Rules::FIFO);
    assert!(verdict.is_clean(), "{verdict}\n{:?}\n{}", verdict.details, agent.log());
    assert!(stub.unexpected().is_empty(), "{:?}", stub.unexpected());
}
