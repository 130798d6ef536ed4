//! The broker: reach, login, granted filters, the session, and what comes on each route. The running agent knows it all;
//! only where none runs, a guest looks.

use crate::agent::options;
use crate::cli::agent_client::{self, Agent};
use crate::cli::check::route_steps::{late, of_route, refused, silent, weak_grant, weak_messages};
use crate::cli::check::{Step, mosquitto, running};
use crate::clock::Clock;
use crate::config::{Config, RouteConfig};
use crate::mqtt::probe::{FilterAnswer, Look, ProbeReport, visit};
use crate::record::Message;
use crate::topic::route_of;
use serde_json::Value;
use std::time::Duration;

/// Messages that the check looks at in all.
const MESSAGES: usize = 200;
/// A broker that takes longer to answer is busy.
const SLOW: Duration = Duration::from_secs(2);

pub(super) async fn steps(config: &Config, clock: &Clock, listen: Duration) -> Vec<Step> {
    let by_agent = |status: &Value| {
        let mut steps = running::steps(config, status);
        steps.extend(mosquitto::settings(config, running::rate(status), false));
        steps
    };
    match agent_client::agent(config) {
        Agent::Runs(status) if running::all_heard(&status) => by_agent(&status),
        Agent::Runs(_) => {
            tokio::time::sleep(listen).await;
            match agent_client::agent(config) {
                Agent::Runs(status) => by_agent(&status),
                _ => not_tried(config, Step::bad("broker", "the agent has just ended", "systemctl status tidegate")),
            }
        }
        Agent::Mute(why) => {
            let found = format!("an agent runs, and does not say how it goes: {why}");
            not_tried(config, Step::bad("broker", found, "sudo tidegate check"))
        }
        Agent::None => as_guest(config, clock, listen).await,
    }
}

async fn as_guest(config: &Config, clock: &Clock, listen: Duration) -> Vec<Step> {
    let broker = match options::broker(config, clock) {
        Ok(broker) => broker,
        Err(error) => {
            return not_tried(
                config,
                Step::bad("broker", format!("[mqtt]: {error}"), "mend or replace it, then: sudo tidegate check"),
            );
        }
    };
    let filters: Vec<String> = config.routes.iter().flat_map(|route| route.topics.iter().cloned()).collect();
    let look = Look { version: true, ..Look::at(&filters, listen, MESSAGES) };
    let seen = match visit(&broker, look).await {
        Ok(seen) => seen,
        Err(refused) => return not_tried(config, Step::bad("broker", refused.why, refused.remedy)),
    };
    let mut steps = vec![Step::good("broker", format!("connected to {}", config.mqtt.url))];
    steps.extend(seen.version.as_deref().filter(|version| !version.is_empty()).map(mosquitto::version));
    steps.extend(mosquitto::settings(config, None, seen.version.is_some()));
    steps.extend(
        seen.filters.iter().map(|(filter, answer)| answered(format!("filter {filter}"), *answer, look.patience)),
    );
    steps.extend(seen.answered_in.filter(|took| *took > SLOW).map(slow));
    steps.extend((0..config.routes.len()).map(|index| heard(index, &config.routes, &seen, listen)));
    steps.push(Step::open(
        "persistent session",
        "not checked: only the running agent can see its session".to_owned(),
        "the running agent knows it: systemctl start tidegate, then check again",
    ));
    steps
}

fn answered(step: String, answer: FilterAnswer, waited: Duration) -> Step {
    match answer {
        FilterAnswer::Granted(0) => weak_grant(step),
        FilterAnswer::Granted(_) => Step::good(step, "granted with QoS 1"),
        FilterAnswer::Refused => refused(step),
        FilterAnswer::Late => late(step, waited.as_secs()),
        FilterAnswer::Closed => Step::bad(
            step,
            "the broker ended the connection in the place of an answer",
            "some do so where the access list does not allow a filter: allow it there, or see the broker's log",
        ),
    }
}

fn slow(took: Duration) -> Step {
    let found =
        format!("it took {:.1} s to answer for the filters: it is busy, or waits for its disk", took.as_secs_f64());
    Step::open(
        "broker's answers",
        found,
        "look at the machine's load and the broker's log: top; journalctl -u mosquitto",
    )
}

fn not_tried(config: &Config, why: Step) -> Vec<Step> {
    let mut steps = vec![why];
    steps.extend((1..=config.routes.len()).map(|n| Step::open(format!("route {n}"), "not tried: no broker", "")));
    steps
}

/// What came on a route, and how it was published.
fn heard(index: usize, routes: &[RouteConfig], seen: &ProbeReport, listen: Duration) -> Step {
    let route = &routes[index];
    let step = of_route(index, route);
    let own = |message: &&Message| route_of(routes.iter().map(|route| &route.topics), &message.topic) == Some(index);
    let came: Vec<&Message> = seen.messages.iter().filter(own).collect();
    let kept = came.iter().filter(|message| message.retain).count();
    let weak = came.iter().filter(|message| message.qos == 0).count();
    if came.is_empty() {
        let granted = |(filter, answer): &(String, FilterAnswer)| {
            matches!(answer, FilterAnswer::Granted(_)) && route.topics.contains(filter)
        };
        if !seen.filters.iter().any(granted) {
            return Step::open(step, "nothing could come: the broker granted no filter of it", "");
        }
        return silent(step, &format!("for {} s", listen.as_secs()));
    }
    let found = format!("{} messages, {kept} of them retained, {weak} with QoS 0", came.len());
    if weak > 0 { weak_messages(step, found, route) } else { Step::good(step, found) }
}
