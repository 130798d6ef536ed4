//! What people and machines are shown agrees with itself and with what happened.

use crate::support::{LONG, PROGRAM, QUEUE, ask, config, drained, fleet, get, lane, mosquitto, online, stub};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use testkit::agent::AgentProcess;
use testkit::fake_sqs::{Fault, When};

/// Samples by name and labels; every line is checked against the exposition format.
fn metrics(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut typed) = (BTreeMap::new(), Vec::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let name = head.split(' ').next().unwrap().to_owned();
            assert!(!typed.contains(&name), "the head of {name} stands once, before all its samples");
            typed.push(name);
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let kind = typed.last().and_then(|last| name.strip_prefix(last.as_str()));
            assert!(matches!(kind, Some("" | "_bucket" | "_sum" | "_count")), "{line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

/// How many samples the official Python client's parser finds; it refuses what is not an exposition.
fn parsed_elsewhere(exposition: &str) -> usize {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.peers/ministack/bin/python");
    let program = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as parse\n\
                   print(sum(len(family.samples) for family in parse(sys.stdin.read())))";
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python with prometheus-client: scripts/peers.sh");
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the parser refuses it:\n{exposition}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// What Prometheus's own tool says of an exposition: nothing, or the test fails.
fn linted(exposition: &str) {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/.peers/prometheus/promtool");
    let mut child = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: scripts/peers.sh");
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// A histogram of 120 records or more: cumulative, complete, and of times that can be.
fn held_histogram(samples: &BTreeMap<String, f64>, name: &str, labels: &str) -> f64 {
    let of = |kind: &str, labels: &str| {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        *samples.get(&format!("{name}{kind}{labels}")).unwrap_or_else(|| panic!("{name}{kind}{labels} in {samples:?}"))
    };
    let start = format!("{name}_bucket{{{labels}{}le=\"", if labels.is_empty() { "" } else { "," });
    let bound = |series: &str| series.strip_prefix(&start)?.strip_suffix("\"}")?.parse::<f64>().ok();
    let mut buckets: Vec<(f64, f64)> =
        samples.iter().filter_map(|(series, count)| Some((bound(series)?, *count))).collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(buckets.len() > 8 && buckets.is_sorted_by_key(|(_, count)| *count), "{buckets:?}");
    let (last, all) = *buckets.last().unwrap();
    assert_eq!((last, all), (f64::INFINITY, of("_count", labels)));
    let sum = of("_sum", labels);
    assert!(sum > 0.0 && sum < all * LONG.as_secs_f64(), "{sum} s for {all}");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_json_metrics_and_command_agree_with_the_truth() {
    let (broker, stub) = (mosquitto().await, stub());
    let mut agent = online(config(broker.addr(), &stub)).await;
    let mut fleet = fleet(broker.addr(), 5, None);
    fleet.publish(120).await.unwrap();
    drained(&mut agent, 120).await;
    stub.faults().push(Fault::Refuse { code: "AccessDenied", status: 403 }, When::Always);
    fleet.publish(30).await.unwrap();
    let wanted = |s: &serde_json::Value| lane(s, "waiting") == 30 && s["queues"][0]["drain"]["state"] == "parked";
    agent.wait_status("parked with 30", LONG, wanted).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&get(&agent, "/status.json")).unwrap();
    let of = |name: &str| lane(&json, name);
    assert_eq!((of("accepted"), of("waiting"), of("appended")), (120, 30, 150));
    assert_eq!(stub.accepted(QUEUE).len(), 120, "and that is the truth");
    let exposition = get(&agent, "/metrics");
    assert_eq!(parsed_elsewhere(&exposition), metrics(&exposition).len(), "the official parser sees as many samples");
    linted(&exposition);
    let metrics = metrics(&exposition);
    assert_eq!(
        held_histogram(&metrics, "tidegate_queue_delivery_seconds", "queue=\"main\""),
        120.0,
        "the refused ones are none"
    );
    let calls = held_histogram(&metrics, "tidegate_queue_call_seconds", "queue=\"main\"");
    assert_eq!(Some(&calls), metrics.get("tidegate_queue_calls_total{queue=\"main\"}"), "the refused ones, too");
    assert!((2.0..=151.0).contains(&held_histogram(&metrics, "tidegate_journal_commit_seconds", "")));
    for name in ["tidegate_last_message_age_seconds", "tidegate_queue_last_accepted_age_seconds{queue=\"main\"}"] {
        assert!((0.0..LONG.as_secs_f64()).contains(&metrics[name]), "{name}: {}", metrics[name]);
    }
    for name in ["process_virtual_memory_bytes", "process_resident_memory_bytes"] {
        assert!(metrics[name] > 1e6, "{name}: {}", metrics[name]);
    }
    assert!(metrics["process_open_fds"] >= 5.0 && metrics["process_open_fds"] < metrics["process_max_fds"]);
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let ran_s = now_s - metrics["process_start_time_seconds"];
    assert!(
        (-2.0..LONG.as_secs_f64()).contains(&ran_s) && metrics["process_cpu_seconds_total"] <= 2.0 * ran_s + 4.0,
        "{ran_s}"
    );
    for (name, value) in [
        ("tidegate_records_accepted_total{queue=\"main\"}", 120.0),
        ("tidegate_queue_depth{queue=\"main\"}", 30.0),
        ("tidegate_queue_parked{queue=\"main\"}", 1.0),
        ("tidegate_health", 2.0),
        ("tidegate_broker_connected", 1.0),
        ("tidegate_messages_received_total", 150.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:?}");
    }
    let page = get(&agent, "/");
    for says in
        ["Action required", "allow sqs:SendMessage", "<dt>Waiting</dt><dd>30</dd>", "<dt>Accepted</dt><dd>120</dd>"]
    {
        assert!(page.contains(says), "{says} in\n{page}");
    }
    assert!(page.len() < 60 * 1024, "{} bytes", page.len());
    let command = Command::new(PROGRAM).args(["status", "--config"]).arg(agent.config_path()).output().unwrap();
    let said = String::from_utf8(command.stdout).unwrap();
    assert!(said.contains("waiting 30") && said.contains("accepted 120") && said.contains("ACT"), "{said}");
    assert!(get(&agent, "/readyz").contains("ready") && get(&agent, "/livez").contains("live"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_read_only_and_answers_no_other_name() {
    let stub = stub();
    // No broker listens there.
    let mut agent = AgentProcess::start(PROGRAM, config("127.0.0.1:1".parse().unwrap(), &stub)).await.unwrap();
    agent.wait_status("up", LONG, |s| s["journal"].is_object()).await.unwrap();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let (head, _) =
            ask(agent.status_addr(), &format!("{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0"));
        assert!(head.starts_with("http/1.1 405"), "{method}: {head}");
    }
    for host in ["evil.example", "evil.example:8377", "127.0.0.1.evil.example", "[::2]"] {
        let (head, body) = ask(agent.status_addr(), &format!("GET /status.json HTTP/1.1\r\nHost: {host}"));
        assert!(head.starts_with("http/1.1 421") && !body.contains("queues"), "{host}: {head}");
    }
    let (head, _) = ask(agent.status_addr(), "GET / HTTP/1.1\r\nHost: localhost:8377");
    for line in [
        "content-security-policy: default-src 'none'; style-src 'self'",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "content-type: text/html; charset=utf-8",
    ] {
        assert!(head.contains(line), "{line} in\n{head}");
    }
    let (head, body) = ask(agent.status_addr(), "GET /readyz HTTP/1.1\r\nHost: localhost");
    assert!(head.starts_with("http/1.1 503") && body.contains("broker"), "{head}\n{body}");
    let (head, _) = ask(agent.status_addr(), "GET /nothing HTTP/1.1\r\nHost: localhost");
    assert!(head.starts_with("http/1.1 404"), "{head}");
}
