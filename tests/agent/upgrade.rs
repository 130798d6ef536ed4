//! From 0.1.0: its own build is brought into every state that a record can be in and killed under load, and today's agent
//! continues with what it left. Complete, in order, every double marked; records that 0.1.0 journaled keep their ids, and
//! the broker's session stays the same.

use crate::support::{
    Flow, LONG, PROGRAM, Publisher, QUEUE, adopt, assert_clean, config, drained, fleet, mosquitto, said, seed, stub,
    tidegate, until_online,
};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::Mosquitto;
use testkit::checker::{Item, Published, Rules, Sending, judge_bare};
use testkit::clock_control::ClockControl;
use testkit::consumer::Delivered;
use testkit::fake_sqs::{Fault, QueueOptions, SqsStub, When};
use testkit::fleet::{Fleet, FleetOptions, record_id};
use testkit::proxy::CuttingProxy;

/// Release 0.1.0.
const REVISION: &str = "1c81880";
/// The second lane's queue.
const ANNEX: &str = "annex.fifo";
/// Longer than a FIFO queue absorbs a resend.
const LATER: Duration = Duration::from_secs(360);
/// How long each sync takes where much is to be journaled and not acknowledged.
const SLOW_SYNC_MS: u64 = 400;

/// The agent of 0.1.0.
pub(crate) fn released() -> PathBuf {
    let target = Path::new(PROGRAM).ancestors().nth(2).expect("target/<profile>/tidegate");
    let program = target.join("released").join(REVISION).join("debug/tidegate");
    let missing = "it is built from the repository's history: run scripts/released.sh";
    assert!(program.is_file(), "there is no agent of 0.1.0 at {}: {missing} {REVISION}", program.display());
    program
}

/// An agent of 0.1.0 with two lanes, on a broker link that can stop carrying and a clock that can be moved.
struct World {
    // The agent ends before what it talks to.
    agent: AgentProcess,
    link: CuttingProxy,
    stub: SqsStub,
    broker: Mosquitto,
    clock: ClockControl,
}

impl World {
    async fn of_the_release() -> World {
        let (stub, broker) = (stub(), mosquitto().await);
        stub.create_queue(ANNEX, QueueOptions::fifo()).unwrap();
        let link = CuttingProxy::start(broker.addr()).unwrap();
        let clock = ClockControl::new().unwrap();
        let mut config: AgentConfig = config(link.addr(), &stub);
        config.queues.push(QueueTarget::on_stub("annex", &stub, ANNEX));
        config.extra =
            "[[routes]]\nprofile = \"plain\"\ntopics = [\"bare/+\"]\nqueues = [\"main\", \"annex\"]\n".into();
        config.environment.push(clock.environment());
        // 0.1.0 knows no health records, and refuses the key.
        config.health_records = true;
        let mut agent = AgentProcess::start(released(), config).await.unwrap();
        until_online(&mut agent).await;
        World { agent, link, stub, broker, clock }
    }

    /// Waits until the status and the stub are as `done` says.
    async fn until(&mut self, what: &str, done: impl Fn(&SqsStub, &Value) -> bool + Send + Sync) -> Value {
        let stub = &self.stub;
        self.agent.wait_status(what, LONG, |status| done(stub, status)).await.unwrap()
    }

    /// Waits until the queue has a record.
    async fn until_accepted(&self, queue: &str, id: &str) {
        let there = || self.stub.accepted(queue).iter().any(|message| message.dedup.as_deref() == Some(id));
        let waited = self.stub.wait_for(queue, LONG, |_| there()).await;
        waited.unwrap_or_else(|late| panic!("{id}: {late}"));
    }

    /// A record that the queue of `main` refuses for good.
    async fn quarantine(&mut self, publisher: &mut Publisher) -> Item {
        let never = Fault::FailEntry { index: 0, code: "InvalidMessageContents", sender_fault: true };
        self.stub.faults().push_on(QUEUE, never, When::Next(1));
        let refused = say(publisher, "refused").await;
        self.until("quarantined", |_, s| lane(s, 0, "quarantined") == 1 && lane(s, 1, "accepted") == 1).await;
        refused
    }

    /// From here on answers to `main` are lost or never come, and `annex` is parked, not without a lost answer.
    async fn break_the_queues(&mut self) {
        let faults = self.stub.faults();
        faults.push_on(QUEUE, Fault::AcceptThenDrop, When::Next(1));
        faults.push_on(QUEUE, Fault::AcceptThenHang, When::Next(1));
        faults.push_on(QUEUE, Fault::Hang, When::Always);
        faults.push_on(ANNEX, Fault::AcceptThenDrop, When::Next(1));
        faults.push_on(ANNEX, Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
        let broken = |stub: &SqsStub, s: &Value| {
            let fired = |name: &str| stub.faults().fired_of(name);
            let all = fired("accept then hang") == 1 && fired("accept then drop") == 2;
            all && fired("refuse") > 0 && (0..2).all(|n| lane(s, n, "waiting") > 200)
        };
        self.until("in flight, maybe sent, parked and waiting", broken).await;
    }

    /// SIGKILL with a window full of messages that are journaled, and whose acks the broker does not get.
    async fn kill_unacknowledged(&mut self) {
        self.clock.sync_ms = SLOW_SYNC_MS;
        self.clock.set().unwrap();
        self.until("a slow disk", |_, s| s["intake"]["unacked_messages"].as_u64() > Some(50)).await;
        self.link.black_hole(true);
        self.until("all journaled", |_, s| s["intake"]["unacked_messages"] == 0).await;
        self.agent.kill().await.unwrap();
        self.clock.sync_ms = 0;
    }

    /// Today's agent on what is there, later than any resend is absorbed.
    async fn upgrade(&mut self) {
        let ms = LATER.as_millis() as i64;
        self.clock.move_to(ms, ms, 0).unwrap();
        self.stub.advance(LATER);
        self.stub.faults().clear();
        // In this order: what the link held back must not reach the broker now.
        self.link.cut();
        self.link.black_hole(false);
        self.agent.set_program(PROGRAM);
        self.agent.rewrite(AgentConfig { health_records: false, ..self.agent.config().clone() }).unwrap();
        self.agent.spawn().unwrap();
        self.agent.wait_ready(LONG).await.unwrap();
        until_online(&mut self.agent).await;
    }

    /// Judges what the queue had, of `published` and of readings without identity (`bare`): complete, in order, every double
    /// marked; what 0.1.0 gave an id (`old`) has that one, and so has what `waited`.
    fn assert_complete(
        &self,
        queue: &str,
        published: &Published,
        bare: &[Sending],
        old: &HashSet<String>,
        waited: &HashSet<String>,
    ) {
        let delivered = self.stub.accepted(queue);
        let verdict = assert_clean(&owed(published.clone(), old, &delivered), &delivered, Rules::FIFO, &self.agent);
        assert_bare(bare, &delivered);
        let sent: HashSet<_> = delivered.iter().filter_map(|message| message.dedup.clone()).collect();
        assert!(waited.len() > 200 && waited.is_subset(&sent), "under the ids that they had");
        let again = verdict.duplicated_marked;
        assert!(again > 0, "some were accepted twice");
        assert_eq!(resends(&delivered), again, "each says why");
        println!("{queue}: {verdict}; {} waited, {again} sent again and marked", waited.len());
    }

    /// What 0.1.0 left, by its own word: lines of `journal export`.
    async fn left(&self, words: &[&str]) -> Vec<Value> {
        let mut command = tokio::process::Command::new(released());
        command.args(["journal", "export"]).args(words).arg("--config").arg(self.agent.config_path());
        let (lines, error, code) = said(command.output().await.unwrap());
        assert_eq!(code, 0, "{error}");
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A number of the lane of this place.
fn lane(status: &Value, place: usize, name: &str) -> u64 {
    status["journal"]["lanes"][place][name].as_u64().unwrap_or_else(|| panic!("{name} in {status:#}"))
}

/// Publishes the one message of a new device; gives what its record is.
async fn say(publisher: &mut Publisher, name: &str) -> Item {
    let payload = format!("{{\"deduplicationId\":\"{name}\"}}");
    let id = record_id(name, payload.as_bytes());
    publisher.publish(&format!("application/1/device/{name}/event/up"), payload).await;
    Item { id, group: name.to_owned(), confirmed: true }
}

fn texts<'a>(lines: impl IntoIterator<Item = &'a Value>, name: &str) -> HashSet<String> {
    lines.into_iter().map(|line| line[name].as_str().expect(name).to_owned()).collect()
}

/// The id that 0.1.0 gave to what has this id today: without the payload's hash.
fn before(id: &str) -> &str {
    id.rsplit_once('.').expect("a hash").0
}

/// What a queue must have had: `published` under the ids of the release that journaled each record, and what came of
/// readings without identity.
fn owed(mut published: Published, old: &HashSet<String>, delivered: &[Delivered]) -> Published {
    for item in published.items.iter_mut().filter(|item| old.contains(before(&item.id))) {
        item.id = before(&item.id).to_owned();
    }
    adopt(&mut published, delivered, "bare/");
    published
}

/// Readings without identity: each came, none more often than it was published without saying so, and each is one record:
/// what 0.1.0 journaled and the broker delivers again is known by MQTT's word alone.
fn assert_bare(bare: &[Sending], delivered: &[Delivered]) {
    // Its lamps are on topics that no route takes here: 0.1.0 took their states for repeats.
    let sent: Vec<Sending> = bare.iter().filter(|sending| sending.topic.starts_with("bare/")).cloned().collect();
    let verdict = judge_bare(&sent, delivered, "bare/", true);
    assert!(verdict.is_clean() && verdict.confirmed > 100, "{verdict:?}");
    let event = |message: &Delivered| -> Value { serde_json::from_str(&message.body).unwrap() };
    let bare = |event: &Value| event["mqtttopic"].as_str().is_some_and(|topic| topic.starts_with("bare/"));
    let ids = delivered.iter().map(event).filter(bare).map(|event| event["id"].to_string());
    assert_eq!(ids.collect::<HashSet<_>>().len(), sent.len(), "records of readings without identity");
}

/// Further deliveries of an id that say that they are resends.
fn resends(delivered: &[Delivered]) -> usize {
    let mut seen = HashSet::new();
    let again = delivered.iter().filter(|message| !seen.insert(message.dedup.clone()));
    let event = |message: &Delivered| -> Value { serde_json::from_str(&message.body).unwrap() };
    again.filter(|message| event(message)["duplicatekind"] == "resend").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_under_load_loses_nothing_and_keeps_ids() {
    let mut world = World::of_the_release().await;
    let address = world.broker.addr();
    let mut publisher = Publisher::new(address);
    let refused = world.quarantine(&mut publisher).await;
    let mut sensors = Flow::start(fleet(address, 20, Some(150.0)));
    let bare = FleetOptions { rate: Some(150.0), seed: seed(), bare: true, ..FleetOptions::new(address, 5) };
    let mut plain = Flow::start(Fleet::new(bare));
    world.until("sent", |stub, _| [QUEUE, ANNEX].iter().all(|queue| stub.counters(queue).accepted > 200)).await;
    world.break_the_queues().await;
    let retried = say(&mut publisher, "retried").await;
    world.kill_unacknowledged().await;
    sensors.more(100).await;
    plain.more(100).await;

    let (left, quarantined) = (world.left(&["--all"]).await, world.left(&["--quarantine"]).await);
    let log = [QUEUE, ANNEX].map(|queue| world.stub.log(queue)).concat();
    let mut old: HashSet<String> = log.iter().filter_map(|arrival| arrival.dedup.clone()).collect();
    old.extend(texts(&left, "key"));
    assert_eq!(texts(&quarantined, "key"), HashSet::from([before(&refused.id).to_owned()]));

    world.upgrade().await;
    sensors.more(300).await;
    plain.more(300).await;
    let (mut fleet, plain) = (sensors.end().await, plain.end().await);
    // Its publisher's own retry, under today's key: what 0.1.0 recorded is known under both.
    say(&mut publisher, "retried").await;
    fleet.publish(1).await.unwrap();
    for queue in [QUEUE, ANNEX] {
        world.until_accepted(queue, &fleet.last_id()).await;
    }
    let status = drained(&mut world.agent, fleet.published().items.len() as u64).await;
    let intake = &status["intake"];
    assert_eq!((&intake["session_kept"], &intake["sessions_lost"]), (&true.into(), &0.into()));
    assert!(intake["repeats"].as_u64() > Some(20), "redeliveries are recognised: {intake:#}");
    assert_eq!(lane(&status, 0, "quarantined"), 1, "it is still there");
    let (done, error, code) = tidegate(&world.agent, &["journal", "quarantine", "requeue", "--all"]).await;
    assert_eq!(code, 0, "{done}{error}");
    world.until_accepted(QUEUE, before(&refused.id)).await;
    drained(&mut world.agent, 0).await;

    let mut published = fleet.published();
    published.items.extend([refused, retried]);
    for (queue, name) in [(QUEUE, "main"), (ANNEX, "annex")] {
        let waits = |line: &&Value| line["waiting"].as_array().is_some_and(|names| names.contains(&name.into()));
        let waited = texts(left.iter().filter(waits), "key");
        world.assert_complete(queue, &published, plain.sendings(), &old, &waited);
    }
    println!("repeats {}", intake["repeats"]);
}
