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
    let mut made = "# Metrics\n\n`/metrics` of the status page, for Prometheus.\n\n\
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
`process_…` are the names that every exporter uses. A histogram is three series: `…_bucket` with the bound `le`, `…_sum` and
`…_count`; `histogram_quantile(0.99, sum by (instance, queue, le) (rate(tidegate_queue_delivery_seconds_bucket[5m])))` is how long 99 of
100 records took at most.

## Alerts

`deploy/prometheus/tidegate.rules.yml` is a file for `rule_files` of Prometheus. It takes it that gateways are scraped as the job
`tidegate`, are always in reach, and have sensors that send at least each hour: change its times to what yours do. By example
`deploy/prometheus/tidegate.test.yml` says when each alert comes; after a change run
`promtool test rules deploy/prometheus/tidegate.test.yml`.

| Alert | When |
|---|---|
| `TidegateUnreachable` | no scrape succeeds for an hour |
| `TidegateAct` | a person must act; its label `code` says why ([troubleshooting.md](troubleshooting.md)) |
| `TidegateWaitsForLong` | what should come back by itself has not for six hours |
| `TidegateLoses` | more is lost, also while an earlier loss is not acknowledged yet |
| `TidegateQueueBehind` | the oldest record waits for longer than an hour |
| `TidegateJournalFullSoon` | records wait, and the journal is full within two days |
| `TidegateNoMessages` | no message for six hours |
| `TidegateSlowCommits` | one commit in ten takes over a second: the card |
| `TidegateRestarts` | the agent started three times within an hour |

## Dashboard

`deploy/grafana/tidegate.json`, to import into Grafana. `Gateway` at its top chooses by `gateway.id`.
";
