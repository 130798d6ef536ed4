//! An endpoint that answers nonsense: in halves, in strangers' names, in garbage, too much, too slowly, or never. All of
//! it after the queue has accepted, which is the worst that can be: nothing is lost, doubled or reordered, memory stays
//! bounded, and one message says what is wrong.

use crate::support::{
    Flow, LONG, QUEUE, arrived, assert_clean, assert_understood, config, fleet, mosquitto, online, plain, seed, stub,
};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::agent::AgentConfig;
use testkit::checker::Rules;
use testkit::fake_sqs::{Fault, SqsStub, When};
use testkit::random::Random;
use tokio::time::timeout;

/// More than any answer of SQS.
const FIFTY_MB: u64 = 50 << 20;
/// What memory may grow by while answers of any size come in: flights, each with an answer of bounded size.
const GROWTH: u64 = 16 << 20;

/// Attempts end soon, so that what never ends does.
fn hasty(broker: SocketAddr, stub: &SqsStub) -> AgentConfig {
    let mut hasty = config(broker, stub);
    hasty.queues[0].extra = "connect_timeout = \"1s\"\nattempt_timeout = \"1s\"".into();
    hasty
}

fn lies() -> Vec<Fault> {
    vec![
        Fault::HalfMissing,
        Fault::Reversed,
        Fault::Strangers,
        Fault::TwoMinds(0),
        Fault::Garbage,
        Fault::Drip(Duration::from_millis(20)),
        Fault::Huge(FIFTY_MB),
        Fault::Endless,
        Fault::AcceptThenHang,
        Fault::Html { status: 200 },
        Fault::Truncated,
        Fault::WrongMd5(0),
        Fault::RepeatedEntry(0),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_lies_loses_doubles_and_reorders_nothing() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut random = Random::seeded(seed());
    let mut agent = online(hasty(broker.addr(), &stub)).await;
    let mut flow = Flow::start(fleet(broker.addr(), 50, Some(200.0)));
    stub.faults().seed(random.bits());
    for lie in lies() {
        stub.faults().push(lie, When::Chance(0.06));
    }
    let storm = timeout(LONG, async {
        while stub.faults().fired().len() < 9 {
            flow.more(20).await;
        }
    });
    storm.await.unwrap_or_else(|_| panic!("{:?}", stub.faults().fired()));
    stub.faults().clear();
    let published = flow.end().await.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let verdict = assert_clean(&published, &delivered, Rules::FIFO, &agent);
    println!("{verdict}; {:?}", stub.faults().fired());
    assert_eq!((delivered.len(), verdict.duplicated_marked), (published.confirmed(), 0), "absorbed, all of them");
    assert_understood(&stub);
}

/// Each lie for as long as the endpoint tells it: the agent says it once, in words, and recovers by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_lie_is_said_once_and_gone_on_from() {
    const SAID: &str = "queue does not take records";
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(hasty(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 10, None);
    for (lie, words) in [
        (Fault::Strangers, "names none of the entries"),
        (Fault::EmptyOk, "names none of the entries"),
        (Fault::AcceptThenEmpty, "names none of the entries"),
        (Fault::Garbage, "the answer is not SQS's"),
        (Fault::Html { status: 200 }, "the answer is not SQS's"),
        (Fault::Truncated, "cut off or cannot be read"),
        (Fault::Huge(FIFTY_MB), "cut off or cannot be read"),
        (Fault::Endless, "cut off or cannot be read"),
        (Fault::Drip(Duration::from_millis(50)), "no answer"),
        (Fault::AcceptThenHang, "no answer"),
        (Fault::AcceptThenDrop, "the connection broke before the answer"),
    ] {
        let name = lie.name();
        let lines = plain(&agent.log()).matches(SAID).count();
        let calls = |status: &serde_json::Value| status["queues"][0]["drain"]["calls"].as_u64().unwrap_or(0);
        let before = calls(&agent.status().await.unwrap());
        stub.faults().push(lie, When::Always);
        fleet.publish(5).await.unwrap();
        let told = |status: &serde_json::Value| {
            let last = status["queues"][0]["drain"]["last_fault"].as_str().unwrap_or_default();
            calls(status) >= before + 2 && last.contains(words)
        };
        let status = agent.wait_status(name, LONG, told).await.unwrap();
        println!("{name}: {}", status["queues"][0]["drain"]["last_fault"]);
        let said = plain(&agent.log()).matches(SAID).count() - lines;
        assert_eq!(said, 1, "{name}: once, not at each attempt");
        stub.faults().clear();
        let published = fleet.published();
        let delivered = arrived(&stub, &mut agent, &published).await;
        assert_clean(&published, &delivered, Rules::FIFO, &agent);
    }
    assert_understood(&stub);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_end_do_not_fill_the_memory() {
    let (stub, broker) = (stub(), mosquitto().await);
    let mut agent = online(hasty(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 40, None);
    fleet.publish(200).await.unwrap();
    arrived(&stub, &mut agent, &fleet.published()).await;
    let before = agent.memory().unwrap();
    for lie in [Fault::Huge(FIFTY_MB), Fault::Endless] {
        let name = lie.name();
        stub.faults().push(lie, When::Next(3));
        fleet.publish(100).await.unwrap();
        agent.wait_status(name, LONG, |_| stub.faults().fired_of(name) == 3).await.unwrap();
    }
    let published = fleet.published();
    let delivered = arrived(&stub, &mut agent, &published).await;
    let after = agent.memory().unwrap();
    println!("resident {} KiB before, peak {} KiB", before.resident >> 10, after.peak >> 10);
    assert!(after.peak < before.peak + GROWTH, "{before:?} {after:?}");
    assert_clean(&published, &delivered, Rules::FIFO, &agent);
    assert_eq!(stub.counters(QUEUE).accepted, published.confirmed() as u64);
    assert_understood(&stub);
}
