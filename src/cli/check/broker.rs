//! The broker, seen as a guest: reach, login, granted filters, and what comes on each route.

use super::Step;
use crate::agent::broker_tls;
use crate::clock::Clock;
use crate::config::{Config, RouteConfig};
use crate::mqtt::topic::matches;
use crate::mqtt::visit::{Visit, visit};
use crate::record::Message;
use std::time::Duration;

/// Messages that are looked at in all.
const MESSAGES: usize = 200;

pub(super) async fn steps(config: &Config, clock: &Clock, listen: Duration) -> Vec<Step> {
    let tls = match broker_tls(config, clock) {
        Ok(tls) => tls,
        Err(error) => return not_tried(config, Step::bad("broker", format!("[mqtt]: {error}"), "name the right file")),
    };
    let filters: Vec<String> = config.routes.iter().flat_map(|route| route.topics.iter().cloned()).collect();
    let seen = match visit(&config.mqtt, tls.as_ref(), &filters, listen, MESSAGES).await {
        Ok(seen) => seen,
        Err(refused) => return not_tried(config, Step::bad("broker", refused.why, refused.remedy)),
    };
    let mut steps = vec![Step::good("broker", format!("{} takes us in", config.mqtt.url))];
    for (filter, qos) in &seen.granted {
        steps.push(match qos {
            Some(0) => {
                let next = "let the broker grant QoS 1: with 0 it cannot hold anything back for us";
                Step::bad(format!("filter {filter}"), "granted with QoS 0", next)
            }
            Some(_) => Step::good(format!("filter {filter}"), "granted with QoS 1"),
            None => Step::bad(format!("filter {filter}"), "refused", "allow it in the broker's access list"),
        });
    }
    steps.extend(config.routes.iter().enumerate().map(|(index, route)| heard(index, route, &seen, listen)));
    steps.push(Step::open(
        "persistent session",
        format!("a guest cannot see that of {}", config.mqtt.client_id),
        "`tidegate status` says whether the broker kept it",
    ));
    steps
}

fn not_tried(config: &Config, why: Step) -> Vec<Step> {
    let mut steps = vec![why];
    steps.extend((1..=config.routes.len()).map(|n| Step::open(format!("route {n}"), "not tried: no broker", "")));
    steps
}

/// What came on a route, and how it was published.
fn heard(index: usize, route: &RouteConfig, seen: &Visit, listen: Duration) -> Step {
    let step = format!("route {} ({})", index + 1, route.profile.name());
    let own = |message: &&Message| route.topics.iter().any(|filter| matches(filter, &message.topic));
    let came: Vec<&Message> = seen.messages.iter().filter(own).collect();
    let kept = came.iter().filter(|message| message.retain).count();
    let weak = came.iter().filter(|message| message.qos == 0).count();
    if came.is_empty() {
        let found = format!("silent for {} s", listen.as_secs());
        let next =
            "wait for a sensor, or listen longer (--listen 60); a granted filter does not prove that we may read it";
        return Step::open(step, found, next);
    }
    let found = format!("{} messages, {kept} of them retained, {weak} with QoS 0", came.len());
    if weak > 0 {
        let next = format!("QoS 0 is lost while the agent is away. At the publisher: {}", route.profile.info().qos);
        return Step::bad(step, found, next);
    }
    Step::good(step, found)
}
