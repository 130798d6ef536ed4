//! The broker as the running agent sees it: the command itself does not connect. Pure.

use crate::cli::check::{Step, route_steps};
use crate::config::{Config, RouteConfig};
use crate::status::history::span;
use serde_json::Value;

/// Seconds below which a rate says nothing.
const RATE_S: f64 = 600.0;
/// Seconds online after which an answer of the broker is overdue.
const OVERDUE_S: u64 = 10;

/// What the agent's status tells about the broker and each route.
pub(super) fn steps(config: &Config, status: &Value) -> Vec<Step> {
    let intake = &status["intake"];
    let mut steps = vec![broker(status)];
    if !takes_this(config, intake) {
        let found = "the running agent has another broker or other routes than this file";
        steps.push(Step::open("configuration in effect", found, "systemctl reload tidegate; tidegate check"));
    }
    let empty = Vec::new();
    let routes = intake["routes"].as_array().unwrap_or(&empty);
    for filter in routes.iter().flat_map(|route| route["filters"].as_array().unwrap_or(&empty)) {
        steps.push(granted(filter, intake));
    }
    for (index, route) in config.routes.iter().enumerate() {
        let row = routes.iter().find(|row| filters(row).eq(route.topics.iter().map(String::as_str)));
        steps.push(heard(index, route, row));
    }
    steps.push(session(status));
    steps
}

/// Whether every configured route had a message since the agent's start.
pub(super) fn all_heard(status: &Value) -> bool {
    let routes = status["intake"]["routes"].as_array();
    routes.is_some_and(|routes| routes.iter().all(|route| route["messages"].as_u64() > Some(0)))
}

/// Messages a second since the agent's start; `None`: it runs for too short a time.
pub(super) fn rate(status: &Value) -> Option<f64> {
    let (messages, uptime_s) = (status["intake"]["received"].as_f64()?, status["uptime_s"].as_f64()?);
    (uptime_s >= RATE_S).then(|| messages / uptime_s)
}

fn broker(status: &Value) -> Step {
    let intake = &status["intake"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (url, client) = (text(&intake["url"]), text(&intake["client_id"]));
    let found = |what: &str| format!("{url} as {client}, by the running agent: {what}");
    match intake["state"].as_str() {
        Some("online") => Step::good("broker", found("connected")),
        Some(state @ ("offline" | "blocked")) => {
            Step::bad("broker", found(&format!("{state}, {}", text(&intake["why"]))), text(&intake["remedy"]))
        }
        Some(state) => Step::open("broker", found(state), "ask again in a moment: tidegate check"),
        None => {
            let remarks = status["remarks"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let why = format!("the running agent is not that far yet: {}", remarks.collect::<Vec<_>>().join("; "));
            Step::open("broker", why, "tidegate status")
        }
    }
}

fn takes_this(config: &Config, intake: &Value) -> bool {
    let rows = intake["routes"].as_array().into_iter().flatten();
    let same = rows.flat_map(filters).eq(config.routes.iter().flat_map(|route| &route.topics));
    intake["url"] == *config.mqtt.url && same
}

fn filters(row: &Value) -> impl Iterator<Item = &str> {
    row["filters"].as_array().into_iter().flatten().filter_map(|filter| filter["filter"].as_str())
}

fn granted(filter: &Value, intake: &Value) -> Step {
    let step = format!("filter {}", filter["filter"].as_str().unwrap_or("-"));
    match (filter["granted"].as_bool(), filter["granted_qos"].as_u64()) {
        (Some(true), Some(0)) => route_steps::weak_grant(step),
        (Some(true), _) => Step::good(step, "granted with QoS 1"),
        (Some(false), _) => route_steps::refused(step),
        (None, _) => match intake["state_for_s"].as_u64().filter(|_| intake["state"] == "online") {
            Some(waited_s) if waited_s >= OVERDUE_S => route_steps::late(step, waited_s),
            _ => Step::open(step, "not granted yet", "ask again once the agent is connected"),
        },
    }
}

/// What came on a route since the agent's start.
fn heard(index: usize, route: &RouteConfig, row: Option<&Value>) -> Step {
    let step = route_steps::of_route(index, route);
    let Some(row) = row else {
        return Step::open(step, "the running agent does not have it yet", "systemctl reload tidegate");
    };
    let of = |name: &str| row[name].as_u64().unwrap_or_default();
    let Some(ago) = row["last_message_s"].as_u64() else {
        return route_steps::silent(step, "since the agent's start");
    };
    let weak = of("qos0");
    let found =
        format!("{} messages since the agent's start, {weak} of them with QoS 0, the last {ago} s ago", of("messages"));
    if weak > 0 { route_steps::weak_messages(step, found, route) } else { Step::good(step, found) }
}

/// The filters that the session holds, with their QoS.
fn holds(intake: &Value) -> String {
    let rows = intake["routes"].as_array().into_iter().flatten();
    let filters = rows.flat_map(|row| row["filters"].as_array().into_iter().flatten());
    let held = filters.filter(|filter| filter["granted"] == true).map(|filter| {
        let qos = filter["granted_qos"].as_u64().map_or_else(String::new, |qos| format!(" with QoS {qos}"));
        format!("{}{qos}", filter["filter"].as_str().unwrap_or("-"))
    });
    let held: Vec<String> = held.collect();
    if held.is_empty() { "it holds no filter".to_owned() } else { format!("it holds {}", held.join(", ")) }
}

fn session(status: &Value) -> Step {
    let intake = &status["intake"];
    let client = intake["client_id"].as_str().unwrap_or("-");
    let step = "persistent session";
    // A finding until a person acknowledges it.
    let found = |finding: &Value| finding["code"] == "session_lost";
    let lost = status["findings"].as_array().is_some_and(|findings| findings.iter().any(found));
    let holds = holds(intake);
    match intake["session_kept"].as_bool() {
        Some(_) if lost => {
            let when = intake["session_lost_s"]
                .as_u64()
                .map_or_else(String::new, |s| format!(", the last time {} ago", span(s)));
            let found = format!("the broker lost that of {client}{when}, and what waited there; {holds}");
            let next = "let it keep sessions (Mosquitto: persistence true), see docs/broker.md; then: sudo tidegate acknowledge";
            Step::bad(step, found, next)
        }
        Some(true) => Step::good(step, format!("the broker had kept that of {client}; {holds}")),
        Some(false) => {
            let found = format!("new: the broker had none of {client} when the agent connected last; {holds}");
            let next = "well at the first start; if it happens again, the broker forgets: see docs/broker.md";
            Step::open(step, found, next)
        }
        None => Step::open(step, "not known before the agent has connected", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::CheckResult;
    use serde_json::json;

    fn config() -> Config {
        let text = "[gateway]\nid = \"g\"\n[queues.main]\ncredentials = \"aws-chain\"\n\
                    url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/site.fifo\"\n\
                    [[routes]]\nprofile = \"plain\"\ntopics = [\"a/#\", \"b\"]\nqueue = \"main\"\n";
        Config::parse(text, "tidegate.toml".as_ref(), &Default::default()).expect("a configuration")
    }

    fn intake(grant: Value, messages: u64, qos0: u64) -> Value {
        let (granted, qos) = (&grant[0], &grant[1]);
        let last = (messages > 0).then_some(7);
        let filter = |filter: &str| json!({ "filter": filter, "granted": granted, "granted_qos": qos });
        json!({ "intake": {
            "state": "online", "url": "mqtt://127.0.0.1:1883", "client_id": "tidegate-g", "session_kept": true,
            "routes": [{ "messages": messages, "qos0": qos0, "last_message_s": last, "filters": [filter("a/#"), filter("b")] }],
        } })
    }

    fn marks(status: &Value) -> Vec<CheckResult> {
        steps(&config(), status).iter().map(|step| step.mark).collect()
    }

    #[test]
    fn the_agents_word_is_told_step_by_step() {
        use CheckResult::{Bad, Good, Open};
        let well = intake(json!([true, 1]), 3, 0);
        assert_eq!(marks(&well), [Good, Good, Good, Good, Good]);
        assert!(all_heard(&well));
        let session = |status: &Value| steps(&config(), status).pop().expect("the session");
        assert_eq!(
            session(&well).found,
            "the broker had kept that of tidegate-g; it holds a/# with QoS 1, b with QoS 1"
        );
        let mut forgetful = well.clone();
        forgetful["intake"]["session_lost_s"] = 60.into();
        assert_eq!(session(&forgetful).mark, Good, "acknowledged");
        forgetful["findings"] = json!([{ "code": "session_lost" }]);
        let said = session(&forgetful);
        assert!(said.mark == Bad && said.found.contains("1 min ago, and what waited"), "{said:?}");
        let weak = intake(json!([true, 0]), 3, 1);
        assert_eq!(marks(&weak), [Good, Bad, Bad, Bad, Good]);
        let silent = intake(json!([false, null]), 0, 0);
        assert_eq!(marks(&silent), [Good, Bad, Bad, Open, Good]);
        assert!(!all_heard(&silent));
        let mut away = intake(json!([null, null]), 0, 0);
        (away["intake"]["state"], away["intake"]["why"]) = ("offline".into(), "nothing listens".into());
        (away["intake"]["remedy"], away["intake"]["session_kept"]) = ("start the broker".into(), Value::Null);
        assert_eq!(marks(&away), [Bad, Open, Open, Open, Open]);
        assert_eq!(steps(&config(), &away)[0].next, "start the broker");
        let mut busy = intake(json!([null, null]), 0, 0);
        busy["intake"]["state_for_s"] = 60.into();
        let said = steps(&config(), &busy);
        assert!(said[1].mark == Bad && said[1].found.contains("refused nothing"), "late is not refused: {said:?}");
        busy["intake"]["state_for_s"] = 3.into();
        assert_eq!(steps(&config(), &busy)[1].mark, Open);
        let starting = json!({ "gateway": "g", "intake": null, "remarks": ["journal: the disk refuses"] });
        assert!(steps(&config(), &starting)[0].found.contains("the disk refuses"));
        assert!(!marks(&starting).contains(&Bad) && !all_heard(&starting));
        let mut other = well;
        other["intake"]["routes"][0]["filters"][0]["filter"] = "c".into();
        let said = steps(&config(), &other);
        assert!(
            said.iter().any(|step| step.step == "configuration in effect" && step.next.contains("reload")),
            "{said:?}"
        );
    }
}
