//! Documents that are made of the code: `TIDEGATE_WRITE_DOCS=1 cargo test --test house_rules generated` writes them, a plain run
//! compares.

use super::{root, text};
use std::fs;
use tidegate::config::DEFAULT_TOML;
use tidegate::status::findings::codes::CODES;
use tidegate::status::{catalog, metrics};

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
fn the_catalogue_of_the_journal_has_every_finding() {
    held("systemd/tidegate.catalog", &catalog::text());
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

/// A person finds the words that the status says; each code has its row.
#[test]
fn docs_troubleshooting_has_a_row_for_each_code() {
    let by_hand = text("docs/troubleshooting.md");
    let (begin, end) = ("made of src/status/findings/codes.rs -->\n", "<!-- end of findings -->");
    let (before, rest) = by_hand.split_once(begin).expect("where the findings begin");
    let (_, after) = rest.split_once(end).expect("where they end");
    let mut made = format!("{before}{begin}\n| Code | You see | It costs | Do |\n|---|---|---|---|\n");
    for row in CODES {
        let remedy = if row.remedy.is_empty() { "as the finding says".to_owned() } else { row.remedy.to_owned() };
        let todo = match (row.remedy, row.command) {
            ("", "") => "nothing".to_owned(),
            (_, "") => remedy,
            (_, command) => format!("{remedy}: `{command}`"),
        };
        made.push_str(&format!("| `{}` | {} | {} | {todo} |\n", row.word, row.says, row.cost));
    }
    held("docs/troubleshooting.md", &format!("{made}\n{end}{after}"));
}

const ALERTS: &str = "
## Alarms to set

| Alarm | When |
|---|---|
| A gateway is silent | no scrape succeeds for an hour, or `tidegate_messages_received_total` stands still for longer than your sensors do |
| A queue falls behind | `tidegate_queue_lag_seconds` stays above an hour |
| A person must act | `tidegate_health` is 2; `tidegate_finding` says which code |
| The journal will be full | `tidegate_journal_holds_on_seconds` is less than the time until somebody can come |
| Records are lost | `tidegate_records_evicted_total`, `tidegate_records_damaged_total` or `tidegate_records_quarantined_total` rises |
";
