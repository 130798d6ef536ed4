//! Brokers of other projects, one after the other, with the settings that they come with.
//!
//! One agent, 300 numbered messages of a sensor without any identity, QoS 1. What the broker hands over arrives, in order;
//! what arrives twice says so. What the broker loses by itself is the broker's, and the agent's status must say
//! so.

mod backlog;
mod dots;
mod everyday;
mod forgetful;
mod hold_back;
mod restarts;

use crate::support::{LONG, PROGRAM, Publisher, QUEUE, config, stub, tail, until_online};
use serde_json::Value;
use std::path::Path;
use testkit::agent::{AgentConfig, AgentProcess};
use testkit::broker::{AnyBroker, BrokerKind};
use testkit::fake_sqs::SqsStub;

/// Numbered messages of one scenario.
const MESSAGES: usize = 300;

async fn broker(kind: BrokerKind) -> AnyBroker {
    let broker = AnyBroker::start(kind, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
    broker.unwrap_or_else(|error| panic!("{kind:?}: {error}"))
}

/// A broker, a queue, and its own agent for each scenario: its name is its client id and the head of its topics, so that
/// several may use one broker one after the other.
struct Scene<'a> {
    broker: &'a mut AnyBroker,
    name: &'static str,
    stub: SqsStub,
    agent: AgentProcess,
    _password: tempfile::NamedTempFile,
}

impl<'a> Scene<'a> {
    /// The agent is online and has its filters.
    async fn set(broker: &'a mut AnyBroker, name: &'static str, change: impl FnOnce(&mut AgentConfig)) -> Scene<'a> {
        let stub = stub();
        let password = tempfile::NamedTempFile::new().unwrap();
        let mut configuration = config(broker.addr(), &stub);
        configuration.gateway = name.to_owned();
        (configuration.profile, configuration.topics) = ("plain".into(), vec![format!("{name}/#")]);
        if let Some((user, word)) = broker.credentials() {
            std::fs::write(password.path(), word).unwrap();
            configuration.mqtt_extra = format!("username = {user:?}\npassword_file = {:?}\n", password.path());
        }
        change(&mut configuration);
        let agent = AgentProcess::start(PROGRAM, configuration).await.unwrap();
        let mut scene = Scene { broker, name, stub, agent, _password: password };
        until_online(&mut scene.agent).await;
        scene
    }

    fn topic(&self) -> String {
        format!("{}/sensor", self.name)
    }

    fn publisher(&self) -> Publisher {
        Publisher::as_somebody(self.broker.addr(), self.broker.credentials())
    }

    /// Publishes numbers, one after the other, each acknowledged by the broker.
    async fn publish(&self, numbers: std::ops::Range<usize>) {
        let (mut publisher, topic) = (self.publisher(), self.topic());
        for n in numbers {
            publisher.publish(&topic, n.to_string()).await;
        }
    }

    /// What has arrived from the sensor, as events.
    fn events(&self) -> Vec<Value> {
        let topic = self.topic();
        let events = self.stub.accepted(QUEUE).into_iter().map(|it| serde_json::from_str::<Value>(&it.body).unwrap());
        events.filter(|event| event["mqtttopic"] == topic.as_str()).collect()
    }

    /// What went wrong, with the ends of both logs.
    fn said(&self, why: &str) -> String {
        format!("{}: {why}\n{}\n{}", self.name, tail(&self.agent.log()), self.broker.tail())
    }

    /// The numbers that have arrived, in this order.
    fn numbers(&self) -> Vec<u64> {
        self.events().iter().map(|event| event["data"].as_u64().unwrap_or_else(|| panic!("{event:#}"))).collect()
    }

    /// Waits until all that the agent took is accepted, and it has taken as many as that.
    async fn until_settled(&mut self, count: u64) {
        let done = |s: &Value| {
            let lane = &s["queues"][0]["lane"];
            s["intake"]["unacked_messages"] == 0 && lane["waiting"] == 0 && lane["appended"].as_u64() >= Some(count)
        };
        if let Err(late) = self.agent.wait_status("all of it accepted", LONG, done).await {
            panic!("{}", self.said(&late.to_string()));
        }
    }

    /// Waits until the queue has each reading as often as `wanted` has it, and has accepted all that the agent took. A test that
    /// waited for a number of messages would count a repeat for a reading that is still on its way.
    async fn until_there(&mut self, wanted: &[u64]) {
        let whole = self.stub.wait_for(QUEUE, LONG, |_| holds_all(&self.numbers(), wanted)).await;
        whole.unwrap_or_else(|error| panic!("{}: {:?} for {wanted:?}", self.said(&error.to_string()), self.numbers()));
        self.until_settled(wanted.len() as u64).await;
    }

    /// Waits until every number up to `count` has arrived, and judges: in order of first arrival, and a record that comes
    /// again says so. Gives how many came again.
    async fn assert_complete(&mut self, count: usize) -> usize {
        let wanted: Vec<_> = (0..count as u64).collect();
        self.until_there(&wanted).await;
        let (first, again) = self.judge();
        assert_eq!(first, wanted, "{}: missing", self.name);
        again
    }

    /// Judges what has arrived; gives the numbers in order of first arrival, and how many came again.
    fn judge(&self) -> (Vec<u64>, usize) {
        let events = self.events();
        let (mut first, mut again) = (Vec::new(), 0);
        for event in &events {
            let n = event["data"].as_u64().unwrap_or_else(|| panic!("{event:#}"));
            if first.contains(&n) {
                again += 1;
                let silent = || self.said(&format!("{n} came again and does not say so"));
                // Where the broker sends again what was acknowledged and does not say so, nothing tells.
                let says_so = event["possibleduplicate"] == true || !self.broker.kind().says_again();
                assert!(says_so, "{}", silent());
            } else {
                first.push(n);
            }
        }
        assert!(first.is_sorted(), "{}: {first:?}", self.name);
        (first, again)
    }
}

/// Messages that the agent has taken and not made durable yet.
fn unacked(status: &Value) -> u64 {
    status["intake"]["unacked_messages"].as_u64().unwrap_or_default()
}

/// Whether each reading is there as often as it is wanted.
fn holds_all(there: &[u64], wanted: &[u64]) -> bool {
    let times = |numbers: &[u64], n: u64| numbers.iter().filter(|number| **number == n).count();
    wanted.iter().all(|n| times(there, *n) >= times(wanted, *n))
}
