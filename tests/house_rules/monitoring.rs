//! What ships for Prometheus and Grafana asks for metrics that are there, and each alert has an example of when it comes.

use super::{none, text};
use std::collections::BTreeSet;
use tidegate::status::metrics::METRICS;

const RULES: &str = "deploy/prometheus/tidegate.rules.yml";
const DASHBOARD: &str = "deploy/grafana/tidegate.json";

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tidegate_") || word.starts_with("process_")).collect()
}

/// Whether the agent has a series of this name: a histogram has three kinds.
fn is_there(series: &str) -> bool {
    METRICS.iter().any(|(name, kind, _)| match series.strip_prefix(name) {
        Some("") => *kind != "histogram",
        Some("_bucket" | "_sum" | "_count") => *kind == "histogram",
        _ => false,
    })
}

fn unknown(place: &str, expression: &str) -> Vec<String> {
    let missing = named(expression).into_iter().filter(|series| !is_there(series));
    missing.map(|series| format!("{place}: there is no {series}")).collect()
}

/// The dashboard, and every expression of its panels with the panel's title.
fn dashboard() -> (serde_json::Value, Vec<(String, String)>) {
    let dashboard: serde_json::Value = serde_json::from_str(&text(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").clone();
    let of = |panel: &serde_json::Value| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().expect("targets").clone();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().expect("one").to_owned()))
    };
    let expressions: Vec<_> = panels.iter().flat_map(of).collect();
    (dashboard, expressions)
}

#[test]
fn dashboard_asks_for_metrics_that_are_there() {
    let (dashboard, expressions) = dashboard();
    assert!(expressions.len() > 20, "{expressions:?}");
    let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
    let queries =
        variables.filter_map(|variable| Some(("a variable".to_owned(), variable["definition"].as_str()?.to_owned())));
    none(&queries.chain(expressions).flat_map(|(place, expression)| unknown(&place, &expression)).collect::<Vec<_>>());
}

/// The gateway's name is a label of one metric alone; through it the choice of gateways becomes one of instances.
#[test]
fn every_panel_of_the_dashboard_goes_by_the_chosen_gateways() {
    let (dashboard, expressions) = dashboard();
    let definition = |name: &str| {
        let mut variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
        variables.find(|variable| variable["name"] == name).and_then(|variable| variable["definition"].as_str())
    };
    assert_eq!(definition("gateway"), Some("label_values(tidegate_info, gateway)"));
    assert_eq!(definition("instance"), Some(r#"label_values(tidegate_info{gateway=~"$gateway"}, instance)"#));
    let chosen = |expression: &str| expression.matches(r#"{instance=~"$instance"}"#).count();
    let all = expressions.iter().filter(|(_, expression)| chosen(expression) != named(expression).len());
    none(
        &all.map(|(title, expression)| format!("{title}: {expression} shows gateways that nobody chose"))
            .collect::<Vec<_>>(),
    );
    let ids: BTreeSet<_> =
        dashboard["panels"].as_array().expect("panels").iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().map_or(0, Vec::len), "each panel has an id of its own");
}

#[test]
fn alerts_use_existing_metrics_and_have_examples() {
    let rules = text(RULES);
    none(&unknown(RULES, &rules));
    let examples = text("deploy/prometheus/tidegate.test.yml");
    none(&unknown("the examples", &examples));
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    let of = |alert: &&str| {
        let when = examples.split("- eval_time:").skip(1).any(|example| {
            let mut lines = example.lines().map(str::trim);
            lines.any(|line| line == format!("alertname: {alert}")) && example.contains("exp_labels:")
        });
        let never = examples.contains(&format!("{{ eval_time: 9h, alertname: {alert} }}"));
        (!when || !never).then(|| format!("{alert}: no example of when it comes, or of when it does not"))
    };
    none(&alerts.iter().filter_map(of).collect::<Vec<_>>());
}

#[test]
fn a_metric_that_does_not_exist_is_seen() {
    assert_eq!(unknown("x", "rate(tidegate_queue_call_seconds_bucket[5m]) > tidegate_health").len(), 0);
    assert_eq!(unknown("x", "tidegate_queue_call_seconds"), ["x: there is no tidegate_queue_call_seconds"]);
    assert_eq!(unknown("x", "sum(tidegate_health_bucket)").len() + unknown("x", "process_threads").len(), 2);
}
