//! What the tests share: an agent between its peers, a flow that goes on while things break, and the judgement.

mod certificates;
mod command;
pub(crate) mod disk;
mod flow;
mod found;
pub(crate) mod link;
mod publisher;

pub(crate) use certificates::Authority;
pub(crate) use command::{ask, get, said, tidegate};
pub(crate) use flow::Flow;
pub(crate) use found::{finding, until_fine, until_found, until_told};
pub(crate) use publisher::{Publisher, end_session};
pub(crate) use testkit::checker::adopt;

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::agent::{AgentConfig, AgentProcess, QueueTarget};
use testkit::broker::{Mosquitto, MosquittoOptions};
use testkit::checker::{Published, Rules, Verdict, judge};
use testkit::consumer::Delivered;
use testkit::fake_sqs::{QueueOptions, SqsStub, StubOptions};
use testkit::fleet::{Fleet, FleetOptions};
use testkit::random::fresh_seed;

/// In a mount namespace, for a shell: an `/etc` and a `/run` of its own, and the agent's user and group, as a package makes them.
pub(crate) const OWN_USERS: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
cp -a /etc /run/etc
mount --bind /run/etc /etc
sed -i /^tidegate:/d /etc/passwd /etc/group
echo 'tidegate:x:7998:7997::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
echo 'tidegate:x:7997:' >>/etc/group
"#;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
/// The stub's FIFO queue.
pub(crate) const QUEUE: &str = "site.fifo";
/// The stub's Standard queue.
pub(crate) const AUDIT: &str = "audit";
/// A bound for what should take a moment, on a machine that is busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(90);
/// Client id of an agent with [`AgentConfig::new`]'s gateway.
pub(crate) const CLIENT_ID: &str = "tidegate-hq-tower-roof";

/// A stub with [`QUEUE`] and [`AUDIT`].
pub(crate) fn stub() -> SqsStub {
    let queues = vec![(QUEUE.into(), QueueOptions::fifo()), (AUDIT.into(), QueueOptions::standard())];
    SqsStub::start(StubOptions { queues, ..StubOptions::default() }).unwrap()
}

pub(crate) async fn mosquitto() -> Mosquitto {
    Mosquitto::start(&MosquittoOptions::default()).await.unwrap()
}

/// A configuration that leads to the stub's FIFO queue.
pub(crate) fn config(broker: SocketAddr, stub: &SqsStub) -> AgentConfig {
    AgentConfig::new(broker, QueueTarget::on_stub("main", stub, QUEUE))
}

/// Starts an agent and waits until it takes messages.
pub(crate) async fn online(config: AgentConfig) -> AgentProcess {
    let mut agent = AgentProcess::start(PROGRAM, config).await.unwrap();
    until_online(&mut agent).await;
    agent
}

/// Waits until every filter is granted.
pub(crate) async fn until_online(agent: &mut AgentProcess) {
    let granted = |filter: &Value| filter["granted"] == true;
    let route = |route: &Value| route["filters"].as_array().is_some_and(|filters| filters.iter().all(granted));
    let ready = |s: &Value| {
        let routes = s["intake"]["routes"].as_array();
        s["intake"]["state"] == "online" && routes.is_some_and(|routes| routes.iter().all(route))
    };
    agent.wait_status("online", LONG, ready).await.unwrap();
}

/// Sensors at `rate` uplinks per second, or as fast as the broker takes them.
pub(crate) fn fleet(broker: SocketAddr, devices: usize, rate: Option<f64>) -> Fleet {
    Fleet::new(FleetOptions { rate, seed: seed(), ..FleetOptions::new(broker, devices) })
}

/// A fresh seed, printed; or the one of `TIDEGATE_SEED`.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TIDEGATE_SEED").ok().map(|text| text.parse().expect("TIDEGATE_SEED is a number"));
    let seed = given.unwrap_or_else(fresh_seed);
    println!("seed {seed}");
    seed
}

/// Waits until the stub's queue has everything that the broker acknowledged, and the agent knows it.
pub(crate) async fn arrived(stub: &SqsStub, agent: &mut AgentProcess, published: &Published) -> Vec<Delivered> {
    let wanted = published.confirmed() as u64;
    if let Err(late) = stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= wanted).await {
        panic!("{late}\n{:#}\n{}", agent.status().await.unwrap_or_default(), tail(&agent.log()));
    }
    drained(agent, wanted).await;
    stub.accepted(QUEUE)
}

/// Waits until every lane had `count` records or more and none waits; gives the status, its books checked.
pub(crate) async fn drained(agent: &mut AgentProcess, count: u64) -> Value {
    let done = |lane: &Value| lane["waiting"] == 0 && lane["appended"].as_u64() >= Some(count);
    let empty = |s: &Value| {
        let lanes = s["journal"]["lanes"].as_array();
        s["intake"]["unacked_messages"] == 0 && lanes.is_some_and(|lanes| lanes.iter().all(done))
    };
    let status = agent.wait_status("drained", LONG, empty).await.unwrap();
    assert_books(&status);
    status
}

/// Per lane: appended = accepted + waiting + evicted + quarantined + damaged.
pub(crate) fn assert_books(status: &Value) {
    let lanes = status["journal"]["lanes"].as_array().expect("an open journal");
    assert!(!lanes.is_empty());
    for lane in lanes {
        let of = |name: &str| lane[name].as_u64().expect(name);
        let outcomes: u64 = ["accepted", "waiting", "evicted", "quarantined", "damaged"].map(of).iter().sum();
        assert_eq!(of("appended"), outcomes, "{lane:#}");
    }
}

/// A number of the lane `main`.
pub(crate) fn lane(status: &Value, name: &str) -> u64 {
    let lanes = status["journal"]["lanes"].as_array().expect("an open journal");
    let main = lanes.iter().find(|lane| lane["name"] == "main").expect("the lane main");
    main[name].as_u64().unwrap_or_else(|| panic!("no {name} in {main:#}"))
}

/// Judges what arrived; anything wrong ends the test with the details and the agent's last words.
pub(crate) fn assert_clean(
    published: &Published,
    delivered: &[Delivered],
    rules: Rules,
    agent: &AgentProcess,
) -> Verdict {
    let verdict = judge(published, delivered, rules);
    assert!(verdict.is_clean(), "{verdict}\n{:#?}\n{verdict:?}\n{}", verdict.details, tail(&agent.log()));
    assert_eq!(verdict.delivered, published.confirmed(), "{verdict}");
    verdict
}

/// Waits for everything that the broker acknowledged; it must have come clean, on a FIFO queue, and no record twice.
pub(crate) async fn arrived_once(stub: &SqsStub, agent: &mut AgentProcess, published: &Published) {
    let delivered = arrived(stub, agent, published).await;
    let verdict = assert_clean(published, &delivered, Rules::FIFO, agent);
    assert_eq!((verdict.duplicated_marked, delivered.len()), (0, published.confirmed()), "{verdict}");
}

/// What the stub saw of it all: raw sends, absorbed resends; and that nothing puzzled it.
pub(crate) fn assert_understood(stub: &SqsStub) {
    let counters = stub.counters(QUEUE);
    println!("sent {}, accepted {}, absorbed {}", counters.received, counters.accepted, counters.absorbed);
    assert!(stub.unexpected().is_empty(), "{:?}", stub.unexpected());
    assert!(stub.denied().is_empty(), "{:?}", stub.denied());
}

/// The end of a log.
pub(crate) fn tail(log: &str) -> &str {
    let from = log.len().saturating_sub(6000);
    let from = (from..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
    &log[from..]
}

/// Waits until the agent's log says `text`.
pub(crate) async fn until_logged(agent: &mut AgentProcess, text: &str) {
    let log = agent.folder().join("agent.log");
    let said = move |_: &Value| std::fs::read_to_string(&log).is_ok_and(|log| plain(&log).contains(text));
    agent.wait_status(text, LONG, said).await.unwrap();
}

/// Waits until one of the status's remarks contains all of `words`, and gives it.
pub(crate) async fn until_remarked(agent: &mut AgentProcess, words: &[&str]) -> String {
    let find = |s: &Value| {
        let remarks = s["remarks"].as_array()?.iter().filter_map(Value::as_str);
        remarks.into_iter().find(|text| words.iter().all(|word| text.contains(word))).map(str::to_owned)
    };
    let status = agent.wait_status(&words.join(" … "), LONG, |s| find(s).is_some()).await.unwrap();
    find(&status).expect("just seen")
}

/// A log without the colours of a terminal.
pub(crate) fn plain(log: &str) -> String {
    let mut out = String::with_capacity(log.len());
    let mut rest = log.chars();
    while let Some(letter) = rest.next() {
        if letter == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(letter);
        }
    }
    out
}
