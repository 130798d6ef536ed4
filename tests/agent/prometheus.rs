//! A real Prometheus reads the metrics of a running agent, and each query of the dashboard gives something there.
//!
//! What the house rules hold is names. Here a label that no series has, a matcher that matches nothing or an expression that only
//! looks right would leave a panel empty.

use crate::support::{LONG, PROGRAM, QUEUE, config, fleet, mosquitto, stub, until_online};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use testkit::agent::AgentProcess;
use testkit::fake_sqs::{Fault, When};
use testkit::http;
use testkit::port::HeldPort;
use testkit::process::Process;

/// Needs hours of a running agent: how fast the journal fills.
const NEEDS_HOURS: &[&str] = &["tidegate_journal_holds_on_seconds"];

const SCRAPE: Duration = Duration::from_secs(1);

/// A Prometheus that scrapes one agent each second; killed when dropped.
struct Prometheus {
    process: Process,
    port: HeldPort,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// With the alert rules that ship. `None`: it is not there.
    async fn start(agent: SocketAddr) -> Option<Prometheus> {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = repo.join(".peers/prometheus/prometheus");
        if !program.exists() {
            testkit::skipped("there is no Prometheus: run scripts/peers.sh");
            return None;
        }
        let (folder, port) = (tempfile::tempdir().unwrap(), HeldPort::take().unwrap());
        let rules = repo.join("deploy/prometheus/tidegate.rules.yml");
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [ {} ]\n\
             scrape_configs: [ {{ job_name: tidegate, static_configs: [ {{ targets: [ '{agent}' ] }} ] }} ]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        let mut command = tokio::process::Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", port.addr()))
            .current_dir(folder.path());
        let mut process = Process::start("prometheus", &mut command, &folder.path().join("log")).unwrap();
        process.wait_listening(port.addr(), LONG).await.unwrap();
        Some(Prometheus { process, port, _folder: folder })
    }

    /// What it answers at `path`; anything but success ends the test.
    async fn ask(&self, path: &str) -> Value {
        let reply = http::get(self.port.addr(), path).await.unwrap();
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        assert_eq!(answer["status"], "success", "{path}: {answer}{}", self.process.tail());
        answer["data"].clone()
    }

    /// Series that an expression gives now, those without a number left out.
    async fn series(&self, expression: &str) -> usize {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.ask(&format!("/api/v1/query?query={escaped}")).await;
        let series = data["result"].as_array().expect("a vector");
        series.iter().filter(|one| one["value"][1] != "NaN").count()
    }
}

/// The queries of the dashboard's panels, every gateway chosen.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(include_str!("../../deploy/grafana/tidegate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().replace("$instance", ".+")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_dashboard_finds_a_running_agent() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = AgentProcess::start(PROGRAM, config(broker.addr(), &stub)).await.unwrap();
    let Some(prometheus) = Prometheus::start(agent.status_addr()).await else { return };
    until_online(&mut agent).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(20).await.unwrap();
    stub.wait_for(QUEUE, LONG, |counters| counters.accepted >= 20).await.unwrap();
    // A fault to count, then a backlog that a slow queue takes step by step: what waits, since when, and until when.
    stub.faults().push(Fault::Refuse { status: 503, code: "ServiceUnavailable" }, When::Next(1));
    stub.faults().push(Fault::Slow(Duration::from_secs(2)), When::Always);
    fleet.publish(400).await.unwrap();
    let queries = queries();
    assert!(queries.len() > 20, "{queries:?}");
    let mut empty = queries.clone();
    let began = std::time::Instant::now();
    while empty.iter().any(|query| !NEEDS_HOURS.iter().any(|metric| query.contains(metric))) {
        assert!(began.elapsed() < LONG, "nothing in {LONG:?} of {empty:#?}\n{:#}", agent.status().await.unwrap());
        // Until its next scrape, which nothing tells. A rate needs something that moves between two of them.
        fleet.publish(1).await.unwrap();
        tokio::time::sleep(SCRAPE).await;
        let mut still = Vec::new();
        for query in empty {
            if prometheus.series(&query).await == 0 {
                still.push(query);
            }
        }
        empty = still;
    }
    // A query that looks right and finds nothing is what this test is for.
    assert_eq!(prometheus.series(r#"tidegate_health{gateway=~".+"}"#).await, 0, "the gateway's name is elsewhere");
    let targets = prometheus.ask("/api/v1/targets").await;
    assert_eq!(targets["activeTargets"][0]["health"], "up", "{targets}");
    let groups = prometheus.ask("/api/v1/rules").await;
    let rules = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let health: Vec<&Value> = rules.map(|rule| &rule["health"]).collect();
    assert!(health.len() > 5 && health.iter().all(|health| *health == "ok"), "{groups:#}");
}
