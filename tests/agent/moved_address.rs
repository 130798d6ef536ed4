//! The gateway's address is replaced by another, or its link comes back with a sign: what waits goes at once, by a new connection.
//!
//! Each test has a network of its own, with the kernel's TCP over a link of `scripts/slow-link.py`. The times are printed; on a busy
//! machine they are bounded by less than what a wait of TCP or of an attempt takes.

use crate::support::link::{Shape, SlowLink, has_own_network};
use crate::support::{LONG, PROGRAM, Publisher, QUEUE, config, mosquitto, stub, tail, until_online};
use std::time::{Duration, Instant};
use testkit::agent::AgentProcess;
use testkit::broker::Mosquitto;
use testkit::fake_sqs::SqsStub;

/// Half of an attempt's patience.
const SOON: Duration = Duration::from_secs(10);

struct World {
    broker: Mosquitto,
    stub: SqsStub,
    link: SlowLink,
    agent: AgentProcess,
    publisher: Publisher,
}

impl World {
    /// An agent with an idle connection to its queue, over a link of this rate.
    async fn new(bit_s: u32) -> World {
        let (broker, stub) = (mosquitto().await, stub());
        let link = SlowLink::to(stub.addr(), Shape { bit_s, rtt_ms: 50, loss_percent: 0 }).await.unwrap();
        let mut configuration = config(broker.addr(), &stub);
        (configuration.profile, configuration.topics) = ("generic".into(), vec!["load/#".into()]);
        configuration.queues[0].endpoint = Some(format!("http://{}", link.addr));
        configuration.queues[0].extra += "\nallow_plain_http = true";
        let mut agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
        until_online(&mut agent).await;
        let publisher = Publisher::new(broker.addr());
        let mut world = World { broker, stub, link, agent, publisher };
        world.publish(1, 10).await;
        world.until_accepted(1).await;
        world
    }

    async fn publish(&mut self, n: u32, bytes: usize) {
        let payload = format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(bytes));
        self.publisher.publish(&format!("load/device-{n}"), payload).await;
    }

    async fn until_accepted(&mut self, count: u64) {
        if let Err(late) = self.stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= count).await {
            panic!("{late}\n{}", tail(&self.agent.log()));
        }
    }

    async fn until_calls(&mut self, calls: u64) {
        let called = |s: &serde_json::Value| s["queues"][0]["drain"]["in_flight"].as_u64() >= Some(calls);
        self.agent.wait_status("a flight", LONG, called).await.unwrap();
    }

    /// The second message is accepted within `limit` of the event at `start`.
    async fn accepts_within(mut self, limit: Duration, start: Instant, what: &str) {
        self.until_accepted(2).await;
        println!("{what}: {:?} after the event", start.elapsed());
        assert!(start.elapsed() < limit, "{:?}\n{}", start.elapsed(), tail(&self.agent.log()));
        self.end().await;
    }

    async fn end(mut self) {
        self.agent.kill().await.unwrap();
        self.link.end().await.unwrap();
        drop(self.broker);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_behind_a_moved_address_goes_by_a_new_connection() {
    if !has_own_network("moved_address::record_behind_a_moved_address_goes_by_a_new_connection") {
        return;
    }
    let mut world = World::new(1_000_000).await;
    let start = Instant::now();
    world.link.tell("move").await.unwrap();
    world.publish(2, 10).await;
    world.accepts_within(SOON, start, "idle connection").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flight_whose_address_moved_away_goes_again_at_once() {
    if !has_own_network("moved_address::flight_whose_address_moved_away_goes_again_at_once") {
        return;
    }
    let mut world = World::new(1_000_000).await;
    world.link.tell("down").await.unwrap();
    world.publish(2, 10).await;
    world.until_calls(1).await;
    let start = Instant::now();
    world.link.tell("move").await.unwrap();
    world.accepts_within(SOON, start, "flight under way").await;
}

/// Another address comes, and the flight's own is still there: TCP would try it again when the outage has lasted twice as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_flight_is_resent_on_signs_of_the_link() {
    if !has_own_network("moved_address::a_stalled_flight_is_resent_on_signs_of_the_link") {
        return;
    }
    let mut world = World::new(256_000).await;
    // 16 KB take half a second of the link: the middle of them is on its way when it goes.
    let before = world.stub.counters(QUEUE).received;
    world.publish(2, 100_000).await;
    world.until_calls(1).await;
    world.link.tell("down").await.unwrap();
    assert_eq!(world.stub.counters(QUEUE).received, before, "not there yet");
    tokio::time::sleep(Duration::from_secs(8)).await;
    let start = Instant::now();
    world.link.tell("tell").await.unwrap();
    // 3.2 s of that are its bytes'.
    world.accepts_within(SOON + Duration::from_secs(4), start, "flight that stood still").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flight_that_moves_outlives_changes_that_do_not_concern_it() {
    if !has_own_network("moved_address::flight_that_moves_outlives_changes_that_do_not_concern_it") {
        return;
    }
    let mut world = World::new(128_000).await;
    let before = world.stub.counters(QUEUE).received;
    world.publish(2, 100_000).await;
    world.until_calls(1).await;
    world.link.tell("tell").await.unwrap();
    world.until_accepted(2).await;
    assert_eq!(world.stub.counters(QUEUE).received, before + 1, "it was sent once\n{}", tail(&world.agent.log()));
    world.end().await;
}
