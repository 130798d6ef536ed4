//! Documents that are made of the code: `TIDEGATE_WRITE_DOCS=1 cargo test --test house_rules generated` writes them, a plain run
//! compares.

use super::{root, text};
use std::fs;
use tidegate::config::DEFAULT_TOML;
use tidegate::status::metrics;

fn held(path: &str, made: &str) {
    if std::env::var_os("TIDEGATE_WRITE_DOCS").is_some() {
        fs::write(root().join(path), made).expect("written");
    }
    assert!(
        text(path) == made,
        "{path} is not what the code says: TIDEGATE_WRITE_DOCS=1 cargo test --test house_rules generated"
    );
}

#[test]
fn docs_configuration_is_the_shipped_default() {
    let by_hand = text("docs/configuration.md");
    let (intro, _) = by_hand.split_once("## Every key\n").expect("a heading for the keys");
    let keys =
        "## Every key\n\nWith its default, unit and reason, as `tidegate config default` prints them:\n\n```text\n";
    held("docs/configuration.md", &format!("{intro}{keys}{}\n```\n", DEFAULT_TOML.trim_end()));
}

#[test]
fn docs_metrics_are_those_of_the_code() {
    let mut made =
        "# Metrics\n\n`/metrics` of the status page, for Prometheus. `deploy/grafana/tidegate.json` shows them.\n\n\
                    | Metric | Type | Meaning |\n|---|---|---|\n"
            .to_owned();
    for (name, kind, meaning) in metrics::METRICS {
        made.push_str(&format!("| `{name}` | {kind} | {meaning} |\n"));
    }
    made.push_str(ALERTS);
    held("docs/metrics.md", &made);
}

const ALERTS: &str = "
## Alarms to set

| Alarm | When |
|---|---|
| A gateway is silent | no scrape succeeds for an hour, or `tidegate_messages_received_total` stands still for longer than your sensors do |
| A queue falls behind | `tidegate_queue_lag_seconds` stays above an hour |
| A person must act | `tidegate_health` is 2 |
| Records are lost | `tidegate_records_evicted_total`, `tidegate_records_damaged_total` or `tidegate_records_quarantined_total` rises |
";
